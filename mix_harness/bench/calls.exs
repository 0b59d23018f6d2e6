defmodule Bench.Calls do
  @moduledoc "Small calls: every side at every concurrency."

  alias Bench.{Rounds, Sides, Values}

  def run(run) do
    tools = Sides.open(run.sides, run)
    load = Sides.load(Values.small(), "small", run)
    ms = %{warm: run.warm_ms, window: run.window_ms}

    jobs =
      for concurrency <- run.concurrency, side <- run.sides do
        {{side, concurrency}, fn -> Sides.measure(side, concurrency, ms, load, tools) end}
      end

    results = Rounds.run(jobs, run.rounds, "small calls")
    Sides.close(tools)

    %{
      bytes: Values.bytes(Values.small()),
      client_delay_send: tools.delay,
      sides:
        for side <- run.sides, into: %{} do
          {side, for(n <- run.concurrency, into: %{}, do: {n, Rounds.series(results[{side, n}])})}
        end
    }
  end
end
