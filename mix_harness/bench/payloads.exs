defmodule Bench.Payloads do
  @moduledoc """
  Payloads from 64 bytes to 16 MB, echoed, four under way on every side: one for each of four Pythons, or,
  on the raw port, four in the pipe of its one.

  MB/s are the payload's own bytes, counted once for there and back. Every caller compares what comes back
  with what it sent. The nested structure is measured twice for the ports: as bytes that Elixir neither makes
  nor reads ("nested"), and with the msgpack made and read by the caller ("nested, as terms"), as Krait's
  callers get terms.
  """

  alias Bench.{Load, Pack, PortPool, Rounds, Sides, Values}

  @under_way 4
  @sides [:a, :b, :c, :f, :g]

  def run(run) do
    tools = Sides.open(@sides, run)

    jobs =
      for name <- run.payloads do
        load = Sides.load(Values.payload(name), name, run)
        ms = window(name, run)
        of_sides = for side <- @sides, do: {{name, side}, fn -> measure(side, ms, load, tools) end}
        of_sides ++ as_terms(name, ms, load, tools)
      end

    results = jobs |> List.flatten() |> Rounds.run(run.rounds, "payloads")
    Sides.close(tools)

    for name <- run.payloads, into: %{} do
      value = Values.payload(name)

      {name,
       %{
         bytes: Values.bytes(value),
         sides: for(side <- @sides, into: %{}, do: {side, rates(results[{name, side}], value)}),
         as_terms:
           for({{^name, {:terms, side}}, r} <- results, into: %{}, do: {side, rates(r, value)})
       }}
    end
  end

  # A call of 16 MB takes a tenth of a second.
  defp window("16 MB", run), do: %{warm: run.warm_ms * 4, window: run.window_ms * 2}
  defp window(_, run), do: %{warm: run.warm_ms, window: run.window_ms}

  defp measure(side, ms, load, tools), do: Sides.measure(side, @under_way, ms, load, tools)

  defp as_terms("nested" = name, ms, %{value: value}, %{pool: pool}) do
    [{{name, {:terms, :b}}, fn -> terms(ms, value, pool) end}]
  end

  defp as_terms(_, _, _, _), do: []

  defp terms(ms, value, pool) do
    Load.processes(@under_way, ms, fn _ ->
      answer = PortPool.checkout!(pool, &PortPool.ask(&1, Pack.request(value)), 60_000)
      ^value = Pack.result(answer)
    end)
  end

  defp rates(results, value) do
    series = Rounds.series(results)
    bytes = Values.bytes(value)

    series
    |> Map.delete(:p999_us)
    |> Map.put(:mb_per_s, for(calls <- series.calls_per_s, do: calls * bytes / 1.0e6))
  end
end
