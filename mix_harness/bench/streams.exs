# streams.exs - a stream of Krait beside a raw port that sends the same items (`make bench`).
#
#   elixir mix_harness/bench/streams.exs [--rounds 5] [--scale 1.0] [--full]
#
# Both sides take turns within each round, and each round begins with the other one; the medians over the
# rounds are shown, the ratio first. The port's items are msgpack that nobody decodes (Elixir has none
# without a package), and nothing holds it up: that favours it. The stream's items are terms when they
# arrive, its consumer asks for as many as it has read, eight thousand ahead, and it can be cancelled.
#
# --full: streams once 1 000 000 small items and 1 GB in items of 1 MB, and shows the resident memory of
# node and worker at a tenth and at the end.

Code.require_file("load.exs", __DIR__)
Code.require_file("port_pool.exs", __DIR__)
Code.require_file("node_under_test.exs", __DIR__)

defmodule BenchStreams do
  alias Bench.{Load, PortPool}

  @root Path.expand("../..", __DIR__)
  @ahead 8000
  # Items in one measurement: about half a second each.
  @kinds [{"int", 100_000}, {"row", 60_000}, {"1 kB", 60_000}, {"1 MB", 400}]

  def main(argv) do
    {options, [], []} =
      OptionParser.parse(argv, strict: [rounds: :integer, scale: :float, full: :boolean])

    python = python()
    {_, 0} = System.cmd("epmd", ["-daemon"])
    Application.put_env(:kernel, :inet_dist_use_interface, {127, 0, 0, 1})
    {:ok, _} = Node.start(:"bench_streams_#{System.pid()}@127.0.0.1")

    args = ["--size", "1", "--pythonpath", __DIR__, "--python", python]
    node = Bench.Node.start(Path.join(@root, "priv/krait"), args)
    :ok = Bench.Node.call(node, :await_ready)
    port = PortPool.open({python, [Path.join(__DIR__, "bench_streams.py")]})

    IO.puts(compare(node, port, options[:rounds] || 5, options[:scale] || 1.0))
    if options[:full], do: IO.puts("\n" <> full(node))
    Port.close(port)
    Bench.Node.stop(node)
  end

  defp python do
    candidates = [System.get_env("KRAIT_PYTHON"), "python3", "/usr/bin/python3"]

    Enum.find_value(candidates, fn name ->
      path = name && System.find_executable(name)

      path && match?({_, 0}, System.cmd(path, ["-c", "import msgpack"], stderr_to_stdout: true)) &&
        path
    end) || raise "no Python with msgpack found; set KRAIT_PYTHON"
  end

  defp compare(node, port, rounds, scale) do
    sides = [stream: &stream(node, &1, &2), port: &port(port, &1, &2)]

    results =
      for round <- 1..rounds,
          {kind, count} <- @kinds,
          {side, run} <- if(rem(round, 2) == 0, do: sides, else: Enum.reverse(sides)) do
        count = max(round(count * scale), 1)
        {us, :ok} = :timer.tc(fn -> run.(kind, count) end)
        {{side, kind}, count * 1_000_000 / us}
      end

    rows =
      for {kind, _} <- @kinds do
        [stream, port] =
          for side <- [:stream, :port],
              do: Load.median(for {{^side, ^kind}, rate} <- results, do: rate)

        "| #{kind} | #{:erlang.float_to_binary(stream / port, decimals: 2)} | #{round(stream)} | #{round(port)} |"
      end

    """
    | item | stream / port | stream: items/s | raw port: items/s |
    | --- | ---: | ---: | ---: |
    #{Enum.join(rows, "\n")}

    Medians of #{rounds} alternating rounds. The port's items stay msgpack, the stream's are terms.\
    """
  end

  defp port(port, kind, count) do
    Port.command(port, "#{kind} #{count}")
    count_packets(port, count)
  end

  defp count_packets(_, 0), do: :ok

  defp count_packets(port, left) do
    receive do: ({^port, {:data, _}} -> count_packets(port, left - 1))
  end

  defp stream(node, kind, count) do
    stream = open(node, kind, count)
    :ok = drink(stream, count, 0)
    receive do: ({:krait_stream, ^stream, :done} -> :ok)
  end

  defp open(node, kind, count) do
    request = {:stream, "bench_streams", "items", [kind, count], [demand: @ahead]}
    {:ok, stream} = Bench.Node.call(node, request)
    stream
  end

  defp drink(_, 0, _), do: :ok

  defp drink(stream, left, read) do
    receive do
      {:krait_stream, ^stream, {:item, _}} when read + 1 == div(@ahead, 4) ->
        send(stream, {:ask, read + 1})
        drink(stream, left - 1, 0)

      {:krait_stream, ^stream, {:item, _}} ->
        drink(stream, left - 1, read + 1)
    end
  end

  defp full(node) do
    {:ok, [%{os_pid: worker}]} = Bench.Node.call(node, :workers)

    for {kind, count} <- [{"row", 1_000_000}, {"1 MB", 1024}] do
      stream = open(node, kind, count)
      begin = System.monotonic_time(:microsecond)
      :ok = drink(stream, div(count, 10), 0)
      early = {rss(node.os_pid), rss(worker)}
      :ok = drink(stream, count - div(count, 10), 0)
      late = {rss(node.os_pid), rss(worker)}
      receive do: ({:krait_stream, ^stream, :done} -> :ok)
      seconds = (System.monotonic_time(:microsecond) - begin) / 1.0e6

      "- #{count} items (#{kind}) in #{Float.round(seconds, 1)} s; resident at a tenth and at the end: " <>
        "node #{elem(early, 0)} and #{elem(late, 0)} kB, worker #{elem(early, 1)} and #{elem(late, 1)} kB"
    end
    |> Enum.join("\n")
  end

  defp rss(os_pid) do
    [_, kib] = Regex.run(~r/VmRSS:\s+(\d+) kB/, File.read!("/proc/#{os_pid}/status"))
    String.to_integer(kib)
  end
end

BenchStreams.main(System.argv())
