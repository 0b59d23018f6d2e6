# bench.exs - Krait beside what a BEAM has without it, alternating in one run (`make bench`).
#
#   elixir -pa build/demo mix_harness/bench/bench.exs [--parts calls,payloads,ways,scale] [--quick]
#       [--rounds 5] [--seconds 0.5] [--concurrency 1,8,64,1024] [--sides abcCdDefFg]
#       [--node=ARGUMENTS] [--json FILE] [--report DIR]
#   elixir -pa build/demo mix_harness/bench/bench.exs --from FILE --report DIR
#
#   --parts     what is measured: small calls by every side (calls.exs), payloads (payloads.exs), the ways of
#               calling and streams (ways.exs, streams.exs), starts, memory, many peers, idling (scale)
#   --quick     everything in miniature, some seconds: shows that the benchmark works, and no numbers
#   --node      more arguments of the node, as on its command line: --node="--order fifo"
#   --json      where the numbers go, every round of them; compare.exs compares two such files
#   --report    where the tables (bench.md, bench-details.md) and the plots (bench-*.svg) go. They are made
#               of the JSON and of nothing else
#   --from      measures nothing and reports what an earlier run has written
#
# What the sides are, and what each of them decodes, stands in sides.exs. They take turns within each round,
# each round begins with another one, ratios are taken within a round, and the medians over the rounds are
# shown: noise of a shared machine is 10 to 40 %, so only numbers of one run are comparable.

for file <-
      ~w(../test/support/light_peer.ex ../test/support/local_node.ex ../test/support/json.ex
               json.exs stats.exs proc.exs load.exs
               pack.exs values.exs rounds.exs machine.exs port_pool.exs node_under_test.exs floor.exs
               beam.exs sides.exs options.exs calls.exs payloads.exs ways.exs streams.exs starts.exs
               waiting.exs peers.exs data.exs targets.exs tables.exs details.exs svg.exs plots.exs),
    do: Code.require_file(file, __DIR__)

defmodule Bench do
  alias Bench.{Json, Machine}

  @doc "Measures what the options say, or reads it, and reports it."
  def main(argv) do
    case Bench.Options.parse(argv) do
      {:ok, %{help: true}} -> help()
      {:ok, run} -> run |> numbers() |> report(run)
      {:error, text} -> wrong(text)
    end
  end

  defp help do
    __ENV__.file
    |> File.stream!()
    |> Enum.take_while(&String.starts_with?(&1, "#"))
    |> Enum.each(&(&1 |> String.trim_leading("#") |> IO.write()))
  end

  defp wrong(text) do
    IO.puts(:stderr, "bench: #{text}")
    System.halt(2)
  end

  defp numbers(%{from: file}), do: file |> File.read!() |> Json.decode()

  defp numbers(run) do
    begin = System.monotonic_time(:second)
    json = run |> measured() |> Json.encode()
    Bench.Rounds.progress("measured in #{System.monotonic_time(:second) - begin} s")
    if run[:json], do: File.write!(run.json, json <> "\n")
    # As a later reader of the file sees it.
    Json.decode(json)
  end

  defp measured(run) do
    Machine.distribute()
    python = Machine.python()
    directory = Path.join(System.tmp_dir!(), "krait_bench_#{System.pid()}")
    File.mkdir_p!(directory)

    run =
      Map.merge(run, %{
        python: python,
        directory: directory,
        node_args:
          ["--size", "4", "--pythonpath", run.pythonpath, "--python", python] ++ run.more_args
      })

    try do
      for part <- run.parts, into: %{run: facts(run)}, do: {part, measure(part, run)}
    after
      File.rm_rf!(directory)
    end
  end

  defp facts(run) do
    run
    |> Map.take([:quick, :rounds, :window_ms, :concurrency, :parts])
    |> Map.put(:node_args, Enum.join(run.more_args, " "))
    |> Map.merge(Machine.facts(run))
  end

  defp measure(:calls, run), do: Bench.Calls.run(run)
  defp measure(:payloads, run), do: Bench.Payloads.run(run)
  defp measure(:ways, run), do: %{calls: Bench.Ways.run(run), streams: Bench.Streams.run(run)}

  defp measure(:scale, run) do
    %{
      starts: for(n <- run.start_workers, into: %{}, do: {n, Bench.Starts.starts(run, n)}),
      replacements: Bench.Starts.replacements(run),
      memory: Bench.Waiting.memory(run),
      peers: Bench.Peers.run(run),
      idle: Bench.Starts.idle(run)
    }
    |> Map.merge(Bench.Waiting.work(run))
  end

  defp report(data, run) do
    summary = Bench.Tables.markdown(data)
    IO.puts(summary)

    if directory = run[:report] do
      File.mkdir_p!(directory)
      File.write!(Path.join(directory, "bench.md"), summary <> "\n")
      File.write!(Path.join(directory, "bench-details.md"), Bench.Details.markdown(data) <> "\n")

      for {name, svg} <- Bench.Plots.all(data),
          do: File.write!(Path.join(directory, "bench-#{name}.svg"), svg)
    end
  end
end

Bench.main(System.argv())
