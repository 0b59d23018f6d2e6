# bench.exs - Krait beside what a BEAM has without it, alternating in one run (`make bench`).
#
#   elixir -pa build/demo mix_harness/bench/bench.exs [--rounds 5] [--seconds 1] [--concurrency 1,8,64]
#       [--sides abcdefDEF] [--no-measures] [--markdown FILE] [--json FILE]
#
# The sides:
#
#   a  one Elixir port with 4-byte packets to a Python loop; its owner keeps N requests under way
#   b  a pool of four such ports that are handed to their callers, N processes (the design of NimblePool)
#   c  C to four Pythons over socketpairs, N requests under way: the floor
#   d  GenServer.call to the node, answered by the node itself (ping), N processes
#   e  GenServer.call to the node, through Python (echo of a small map), N processes
#   f  the same by krait:call, which gathers the calls of its neighbours (lanes)
#
# and once more d, e and f, named D, E and F, with `delay_send` on the distribution connection: the BEAM then
# gathers what it writes to the node.
#
# In all of them Python decodes a msgpack request holding the same small map and encodes it again as the
# answer. The requests of a and b are encoded once, beforehand, and their answers compared as bytes, not
# decoded: Elixir has no msgpack without a package. That favours a and b. The node, in e, turns the
# caller's term into msgpack and the answer back into a term each time.
#
# The sides take turns within each round, each round begins with another one, and the medians over the
# rounds are shown: noise of a shared machine is 10 to 40 %, so only numbers of one run are comparable.

Code.require_file("load.exs", __DIR__)
Code.require_file("port_pool.exs", __DIR__)
Code.require_file("node_under_test.exs", __DIR__)
Code.require_file("measures.exs", __DIR__)

defmodule Bench do
  alias Bench.{Load, Measures, PortPool}

  @root Path.expand("../..", __DIR__)
  @echo_loop Path.join(__DIR__, "echo_loop.py")
  @sides [
    a: "one raw `Port`, requests pipelined",
    b: "pool of 4 ports, checkout (NimblePool's design)",
    c: "C to 4 Pythons, socketpairs: the floor",
    d: "`GenServer.call` to the node, `ping`",
    e: "`GenServer.call` through the node to Python",
    D: "as d, with `delay_send`",
    f: "`Krait.call`: as e, through lanes",
    E: "as e, with `delay_send`",
    F: "as f, with `delay_send`"
  ]

  # Load.value() in msgpack: [1, 0, "bench_echo", "echo", [value], {}, nil] and [2, 0, value].
  @packed <<0x83, 0xA2, "id", 42, 0xA4, "name", 0xA5, "krait", 0xA6, "values", 0x93, 1, 2, 3>>
  @request <<0x97, 1, 0, 0xAA, "bench_echo", 0xA4, "echo", 0x91, @packed::binary, 0x80, 0xC0>>
  @answer <<0x93, 2, 0, @packed::binary>>

  def main(argv) do
    options = options(argv)
    python = python()
    start_distribution()
    progress("Python: #{python}")

    args = ["--size", "4", "--pythonpath", __DIR__, "--python", python]
    run = run_sides(options, python, args)
    measures = if options.measures, do: measures(args), else: %{}
    markdown = markdown(options, run, measures)
    IO.puts(markdown)
    if options.markdown, do: File.write!(options.markdown, markdown <> "\n")
    if options.json, do: File.write!(options.json, json(%{sides: run, measures: measures}) <> "\n")
  end

  defp options(argv) do
    {given, rest, wrong} =
      OptionParser.parse(argv,
        strict: [
          rounds: :integer,
          seconds: :float,
          concurrency: :string,
          sides: :string,
          measures: :boolean,
          markdown: :string,
          json: :string
        ]
      )

    if rest != [] or wrong != [] do
      IO.puts(
        :stderr,
        "bench: do not understand #{inspect(rest ++ wrong)}; see the head of bench.exs"
      )

      System.halt(2)
    end

    %{
      rounds: given[:rounds] || 5,
      ms: round((given[:seconds] || 1.0) * 1000),
      concurrency:
        (given[:concurrency] || "1,8,64") |> String.split(",") |> Enum.map(&String.to_integer/1),
      sides:
        for({side, _} <- @sides, String.contains?(given[:sides] || "abcdefDEF", "#{side}"), do: side),
      measures: Keyword.get(given, :measures, true),
      markdown: given[:markdown],
      json: given[:json]
    }
  end

  # The same interpreter for all sides: the first that has msgpack.
  defp python do
    candidates = [System.get_env("KRAIT_PYTHON"), "python3", "/usr/bin/python3"]

    Enum.find_value(candidates, fn name ->
      path = name && System.find_executable(name)

      path && match?({_, 0}, System.cmd(path, ["-c", "import msgpack"], stderr_to_stdout: true)) &&
        path
    end) || raise "no Python with msgpack found; set KRAIT_PYTHON"
  end

  defp start_distribution do
    {_, 0} = System.cmd("epmd", ["-daemon"])
    # Nobody but this machine is meant to connect.
    Application.put_env(:kernel, :inet_dist_use_interface, {127, 0, 0, 1})
    {:ok, _} = Node.start(:"bench_#{System.pid()}@127.0.0.1")
  end

  defp krait, do: Path.join(@root, "priv/krait")

  # %{side => %{concurrency => %{calls_per_s, p50_us, p99_us, lowest, highest}}}
  defp run_sides(options, python, args) do
    sides = Map.new(options.sides, &{&1, nil})
    needs? = fn list -> Enum.any?(list, &Map.has_key?(sides, &1)) end
    node = if needs?.([:d, :e, :f, :D, :E, :F]), do: Bench.Node.start(krait(), args)
    if node, do: :ok = Bench.Node.call(node, :await_ready)
    if node, do: {:ok, _} = :krait_sup.start_link()

    tools = %{
      node: node,
      port: if(needs?.([:a]), do: PortPool.open({python, [@echo_loop]})),
      pool: if(needs?.([:b]), do: start_pool(python)),
      floor: if(needs?.([:c]), do: start_floor(python))
    }

    results =
      for round <- 1..options.rounds,
          side <- rotate(options.sides, round - 1),
          concurrency <- options.concurrency do
        progress("round #{round} of #{options.rounds}: #{side}, concurrency #{concurrency}")
        {{side, concurrency}, measure(side, concurrency, options.ms, tools)}
      end

    if node, do: Bench.Node.stop(node)
    if tools.floor, do: Port.close(tools.floor)

    for side <- options.sides, into: %{} do
      {side,
       for concurrency <- options.concurrency, into: %{} do
         {concurrency, summary(for {{^side, ^concurrency}, result} <- results, do: result)}
       end}
    end
  end

  defp start_pool(python) do
    {:ok, pool} = PortPool.start_link(4, {python, [@echo_loop]})
    pool
  end

  defp start_floor(python) do
    Port.open({:spawn_executable, Path.join(@root, "build/release/bench_floor")}, [
      :binary,
      :exit_status,
      {:line, 200},
      args: [python, @echo_loop]
    ])
  end

  defp rotate(list, by) do
    {front, back} = Enum.split(list, rem(by, length(list)))
    back ++ front
  end

  defp measure(:a, concurrency, ms, %{port: port}) do
    Load.pipeline(port, concurrency, ms, @request, @answer)
  end

  defp measure(:b, concurrency, ms, %{pool: pool}) do
    Load.processes(concurrency, ms, fn ->
      @answer =
        PortPool.checkout!(pool, fn port ->
          Port.command(port, @request)

          receive do
            {^port, {:data, answer}} -> answer
          end
        end)
    end)
  end

  defp measure(:c, concurrency, ms, %{floor: floor}) do
    Port.command(floor, "#{concurrency} #{ms}\n")

    receive do
      {^floor, {:data, {:eol, line}}} ->
        [calls, us, p50, p99] = line |> String.split() |> Enum.map(&String.to_integer/1)
        %{calls: calls, us: us, p50: p50, p99: p99}

      {^floor, {:exit_status, status}} ->
        raise "bench_floor ended with status #{status}"
    end
  end

  defp measure(side, concurrency, ms, %{node: node}) do
    Bench.Node.delay_send(node, side in [:D, :E, :F])
    to = {:default, node.name}
    value = Load.value()

    Load.processes(concurrency, ms, fn ->
      case side do
        side when side in [:d, :D] -> :pong = GenServer.call(to, :ping)
        side when side in [:f, :F] ->
          {:ok, ^value} = :krait.call(to, "bench_echo", "echo", [value])

        _ -> {:ok, ^value} = GenServer.call(to, {:call, "bench_echo", "echo", [value]})
      end
    end)
  end

  defp summary(results) do
    rates = Enum.map(results, &(&1.calls * 1_000_000 / &1.us))

    %{
      calls_per_s: Load.median(rates),
      lowest: Enum.min(rates),
      highest: Enum.max(rates),
      p50_us: Load.median(Enum.map(results, & &1.p50)) / 1000,
      p99_us: Load.median(Enum.map(results, & &1.p99)) / 1000
    }
  end

  defp measures(args) do
    progress("starts")
    start = Measures.start(krait(), args)
    progress("replacements")
    replacement = Measures.replacement(krait(), args)
    progress("memory of waiting requests")
    memory = Measures.memory(krait(), args)
    progress("10 s of idling")
    %{start: start, replacement: replacement, memory: memory, idle: Measures.idle(krait(), args)}
  end

  defp markdown(options, run, measures) do
    [table(options, run), ratios(run), facts(measures)]
    |> Enum.reject(&(&1 == ""))
    |> Enum.join("\n\n")
  end

  defp table(options, run) do
    head = Enum.map(options.concurrency, &"#{&1} at a time: calls/s | p50 µs | p99 µs")

    rows =
      for {side, name} <- @sides, numbers = run[side] do
        cells =
          for concurrency <- options.concurrency, n = numbers[concurrency] do
            "#{thousands(n.calls_per_s)} | #{thousands(n.p50_us)} | #{thousands(n.p99_us)}"
          end

        "| #{side} | #{name} | #{Enum.join(cells, " | ")} |"
      end

    spread =
      for({_, numbers} <- run, {_, n} <- numbers, do: (n.highest - n.lowest) / n.calls_per_s)
      |> Enum.max()

    """
    | | side | #{Enum.join(head, " | ")} |
    | --- | --- |#{String.duplicate(" ---: |", 3 * length(options.concurrency))}
    #{Enum.join(rows, "\n")}

    Medians of #{options.rounds} alternating rounds of #{options.ms / 1000} s on #{machine()}; \
    between the rounds calls/s differed by up to #{round(spread * 100)} % of the median.\
    """
  end

  # The two ratios that the design aims at, for both ways of writing.
  defp ratios(run) do
    lines =
      for {ping, call, note} <- [{:d, :e, ""}, {:D, :E, ", with `delay_send`"}],
          run[ping] && run[call],
          {text, value, aim} <- [latency(run, ping, call), throughput(run, ping, call)] do
        "- #{text}#{note}: #{:erlang.float_to_binary(value, decimals: 2)} (aim: #{aim})"
      end

    Enum.join(lines ++ lanes(run), "\n")
  end

  defp latency(%{c: %{1 => floor}} = run, ping, call) do
    value = run[call][1].p50_us / (floor.p50_us + run[ping][1].p50_us)
    {"p50 of a call, 1 at a time, over the floor's and the ping's together", value, "at most 1.15"}
  end

  defp latency(_, _, _), do: nil

  defp throughput(run, ping, call) do
    most = run[call] |> Map.keys() |> Enum.max()
    value = run[call][most].calls_per_s / run[ping][most].calls_per_s
    {"calls/s at #{most} at a time over pings/s", value, "at least 0.75"}
  end

  # What lanes are for: beside a pool of ports, and beside the floor.
  defp lanes(run) do
    most = run[:f] && run[:f] |> Map.keys() |> Enum.max()

    for {side, name, aim} <- [{:b, "the pool of ports", 2}, {:c, "the floor", 0.85}],
        lane <- [:f, :F],
        run[lane] && run[side] do
      value = run[lane][most].calls_per_s / run[side][most].calls_per_s
      note = if lane == :F, do: ", with `delay_send`", else: ""

      "- `Krait.call`s/s at #{most} at a time over those of #{name}#{note}: " <>
        "#{:erlang.float_to_binary(value, decimals: 2)} (aim: at least #{aim})"
    end
  end

  defp facts(measures) when measures == %{}, do: ""

  defp facts(%{start: start, replacement: replacement, memory: memory, idle: idle}) do
    """
    - From start of the program to 4 workers ready, nothing preloaded: #{ms(start.median)} \
    (median of #{start.samples}, worst #{ms(start.worst)}; aim: 500 ms)
    - From the death of the only worker to the next one's first answer: #{ms(replacement.median)} \
    (median of #{replacement.samples}, worst #{ms(replacement.worst)}; aim: 20 ms)
    - Processor time of an idle node in #{idle.seconds} s, and of the #{idle.processes - 1} processes below it: \
    #{ms(idle.node_ms)} and #{ms(idle.others_ms)} (aim: 0)
    - Memory of the node for each of #{thousands(memory.waiting)} waiting requests of \
    #{memory.payload} bytes: #{round(memory.bytes_each)} bytes, #{round(memory.beyond)} beyond \
    the request itself (aim: 1 024)\
    """
  end

  defp ms(number) when number < 10, do: "#{:erlang.float_to_binary(number * 1.0, decimals: 1)} ms"
  defp ms(number), do: "#{round(number)} ms"

  defp machine do
    model =
      case Regex.run(~r/model name\s*: (.*)/, File.read!("/proc/cpuinfo")) do
        [_, name] -> name |> String.replace(~r/\s+/, " ") |> String.trim()
        nil -> "an unnamed processor"
      end

    "#{System.schedulers_online()} cores (#{model}), OTP #{System.otp_release()}, Elixir #{System.version()}"
  end

  defp thousands(number) do
    number
    |> round()
    |> Integer.to_string()
    |> String.reverse()
    |> String.replace(~r/(\d{3})(?=\d)/, "\\1 ")
    |> String.reverse()
  end

  defp progress(text), do: IO.puts(:stderr, "bench: #{text}")

  defp json(value) when is_map(value) do
    "{" <> Enum.map_join(value, ",", fn {k, v} -> ~s("#{k}":) <> json(v) end) <> "}"
  end

  defp json(value) when is_number(value), do: "#{value}"
end

Bench.main(System.argv())
