# flame.exs - where the node spends its time on small calls, as a flame graph (`make bench-flame`).
#
#   elixir -pa build/demo mix_harness/bench/flame.exs [--seconds 5] [--concurrency 64] [--way krait|genserver]
#       [--svg FILE] [--markdown FILE]
#
# Needs `perf` (Debian: linux-perf) and the right to profile (root, or perf_event_paranoid at most 1). Each box
# is a function, those above it are what it calls, its width is its share of the node's processor time. What
# lies in the kernel has a colour of its own. The table has the functions with the largest shares of their own.

for file <-
      ~w(../test/support/local_node.ex ../test/support/json.ex
               stats.exs data.exs proc.exs load.exs pack.exs values.exs machine.exs
               node_under_test.exs svg.exs),
    do: Code.require_file(file, __DIR__)

defmodule Bench.Flame do
  @moduledoc false

  alias Bench.{Data, Load, Machine, Proc, Svg, Values}

  @root Path.expand("../..", __DIR__)
  @width 1200
  @left 10
  @row 18
  # Boxes narrower than this are left out, and text in those narrower than that.
  @least 0.6
  @readable 34

  def main(argv) do
    {options, [], []} =
      OptionParser.parse(argv,
        strict: [
          seconds: :integer,
          concurrency: :integer,
          way: :string,
          svg: :string,
          markdown: :string
        ]
      )

    System.find_executable("perf") || wrong("perf is needed (Debian: linux-perf)")
    Machine.distribute()
    run = %{python: Machine.python(), seconds: options[:seconds] || 5}
    way = options[:way] || "krait"
    concurrency = options[:concurrency] || 64
    {samples, us} = record(run, way, concurrency)
    table = table(samples, us, "#{name(way)}, #{concurrency} at a time")
    IO.puts(table)
    if options[:markdown], do: File.write!(options[:markdown], table)
    if options[:svg], do: File.write!(options[:svg], svg(samples, us, concurrency))
  end

  defp name("krait"), do: "`Krait.call`"
  defp name("genserver"), do: "`GenServer.call`"

  defp wrong(text) do
    IO.puts(:stderr, "flame: #{text}")
    System.halt(2)
  end

  # Profiles the node under load: `[{frames from the root, count}]`, and its processor time for one call.
  defp record(run, way, concurrency) do
    krait = System.get_env("KRAIT_BIN") || Path.join(@root, "priv/krait")

    node =
      Bench.Node.start_ready(krait, ["--size", "4", "--pythonpath", __DIR__, "--python", run.python])

    file = Path.join(System.tmp_dir!(), "krait_flame_#{System.pid()}.data")
    load = Task.async(fn -> load(node, way, concurrency, run.seconds * 1000 + 1000) end)

    record =
      ~w(record -q -e cpu-clock -F 1999 --call-graph dwarf,32768 -p #{node.os_pid} -o #{file})

    {said, status} =
      System.cmd("perf", record ++ ~w(-- sleep #{run.seconds}), stderr_to_stdout: true)

    us = Task.await(load, :infinity)
    Bench.Node.stop(node)
    if status != 0, do: wrong("perf record: #{said}")

    {text, 0} =
      System.cmd("perf", ~w(script -i #{file} -F ip,sym --no-inline), stderr_to_stdout: true)

    File.rm(file)
    {stacks(text), us}
  end

  defp load(node, way, concurrency, ms) do
    pool = Bench.Node.pool(node)
    value = Values.small()
    request = {:call, "bench_echo", "echo", [value]}
    before = Proc.cpu_ns(node.os_pid)

    result =
      Load.processes(concurrency, %{warm: 100, window: ms}, fn _ ->
        {:ok, ^value} =
          if way == "krait",
            do: Krait.call(pool, "bench_echo", "echo", [value]),
            else: GenServer.call(pool, request, 60_000)
      end)

    (Proc.cpu_ns(node.os_pid) - before) / 1000 / result.all
  end

  # A sample is a line for each frame, the innermost first, and an empty line.
  defp stacks(text) do
    text
    |> String.split("\n\n", trim: true)
    |> Enum.map(fn sample ->
      sample
      |> String.split("\n", trim: true)
      |> Enum.flat_map(&frame/1)
      |> Enum.reverse()
      |> from_main()
    end)
    |> Enum.reject(&(&1 == []))
    |> Enum.frequencies()
    |> Map.to_list()
  end

  defp frame(line) do
    case Regex.run(~r/^\s*([0-9a-f]+)\s+(\S.*)$/, line) do
      # Functions of libraries that were stripped: their time is that of who called them.
      [_, _, "[unknown]"] -> []
      [_, ip, name] -> [{place(ip), name |> String.split("+") |> hd()}]
      nil -> []
    end
  end

  # What starts a program is not looked at. A stack that could not be followed to there stands on its own.
  defp from_main(frames) do
    case Enum.drop_while(frames, fn {_, name} -> name != "main" end) do
      [] -> [{:user, "(from elsewhere)"} | Enum.take(frames, -1)]
      [_ | rest] -> rest
    end
  end

  defp place("ffff" <> _ = ip) when byte_size(ip) == 16, do: :kernel
  defp place(_), do: :user

  # --- the table ------------------------------------------------------------------------------------

  defp table(samples, us, what) do
    all = count(samples)

    rows =
      samples
      |> Enum.group_by(fn {frames, _} -> List.last(frames) end, &elem(&1, 1))
      |> Enum.map(fn {frame, counts} -> {frame, Enum.sum(counts)} end)
      |> Enum.sort_by(&(-elem(&1, 1)))
      |> Enum.take(20)
      |> Enum.map(fn {{place, name}, own} ->
        "| `#{name}` | #{place} | #{Data.decimals(100 * own / all, 1)} | #{Data.decimals(us * own / all, 2)} |"
      end)

    kernel =
      count(
        for {frames, _} = sample <- samples, match?({:kernel, _}, List.last(frames)), do: sample
      )

    """
    The node by #{what}: #{Data.decimals(us, 1)} µs of processor time a call, \
    #{round(100 * kernel / all)} % of them in the kernel (#{all} samples).

    | function | | own share, % | µs a call |
    | --- | --- | ---: | ---: |
    #{Enum.join(rows, "\n")}
    """
  end

  defp count(samples), do: samples |> Enum.map(&elem(&1, 1)) |> Enum.sum()

  # --- the graph ------------------------------------------------------------------------------------

  defp svg(samples, us, concurrency) do
    per_sample = (@width - 2 * @left) / count(samples)
    boxes = boxes(samples, @left * 1.0, 0, per_sample)
    deepest = boxes |> Enum.map(& &1.depth) |> Enum.max()
    bottom = 70 + (deepest + 1) * @row

    about =
      "#{concurrency} at a time, #{Data.decimals(us, 1)} µs of the node's processor time a call; " <>
        "teal: the node, orange: the kernel for it"

    Svg.document(
      @width,
      bottom + 14,
      "The node on small calls",
      about,
      Enum.map(boxes, &box(&1, bottom))
    )
  end

  # One level: samples that share their next frame are one box, and what is below it lies upon it.
  defp boxes(samples, x, depth, per_sample) do
    {boxes, _} =
      samples
      |> Enum.reject(fn {frames, _} -> frames == [] end)
      |> Enum.group_by(fn {[frame | _], _} -> frame end, fn {[_ | rest], n} -> {rest, n} end)
      |> Enum.sort_by(fn {{_, name}, _} -> name end)
      |> Enum.map_reduce(x, fn {{place, name}, inner}, x ->
        width = count(inner) * per_sample
        mine = %{x: x, width: width, depth: depth, place: place, name: name, n: count(inner)}
        above = if width >= @least, do: [mine | boxes(inner, x, depth + 1, per_sample)], else: []
        {above, x + width}
      end)

    List.flatten(boxes)
  end

  defp box(%{x: x, width: width, depth: depth} = box, bottom) do
    y = bottom - (depth + 1) * @row
    color = if box.place == :kernel, do: "orange", else: "teal"
    fits = trunc((width - 6) / 7)

    text =
      if width >= @readable,
        do: Svg.text(x + 4, y + 13, String.slice(box.name, 0, fits), "page small"),
        else: ""

    [
      ~s(<g><title>#{Svg.escape(box.name)}, #{box.n} samples</title>),
      Svg.box(x, y, max(width - 0.6, 0.3), @row - 1, color),
      text,
      "</g>"
    ]
  end
end

Bench.Flame.main(System.argv())
