defmodule Bench.Targets do
  @moduledoc """
  What Krait wants to reach, beside what was measured. All ratios are those of one run, taken within its
  rounds.

  The floor has two forms (sides.exs). Throughput is held against c, one request at a time for each Python:
  what a pool can do that is able to take a request back until a worker is free for it. The ratio to C, to
  which all requests are pipelined, stands beside it.
  """

  alias Bench.{Data, Stats}

  @doc "All targets: `%{text, aim, value, range, beside, met}`; value `nil` where nothing was measured."
  def all(data) do
    for {text, aim, measured, beside} <- list(data) do
      {value, range} = value(measured)

      %{
        text: text,
        aim: aim,
        value: value,
        range: range,
        beside: beside,
        met: value && met?(aim, value)
      }
    end
  end

  defp value({value, least, most}), do: {value, {least, most}}
  defp value(value), do: {value, nil}

  defp met?({:at_most, aim, _}, value), do: value <= aim
  defp met?({:at_least, aim, _}, value), do: value >= aim

  defp list(data) do
    through_the_node(data) ++ lanes(data) ++ payloads(data) ++ cpu(data) ++ scale(data)
  end

  defp through_the_node(data) do
    [
      {"`GenServer.call`, 1 at a time: p50 over the floor's and the ping's together",
       {:at_most, 1.05, :ratio}, both(data, :f, :c, :d), delayed(both(data, :F, :c, :D))},
      {"`GenServer.call`, 64 at a time: calls/s over pings/s", {:at_least, 0.9, :ratio},
       rate(data, :f, :d, 64), delayed(rate(data, :F, :D, 64))}
    ]
  end

  defp both(data, call, floor, ping) do
    Data.ratio(data, p50(call), [p50(floor), p50(ping)])
  end

  defp p50(side), do: [:calls, :sides, side, 1, :p50_us]

  defp rate(data, side, over, n) do
    Data.ratio(data, rate_of(side, n), [rate_of(over, n)])
  end

  defp rate_of(side, n), do: [:calls, :sides, side, n, :calls_per_s]

  defp delayed(nil), do: nil
  defp delayed({value, _, _}), do: "with `delay_send`: #{Data.decimals(value, 2)}"

  defp lanes(data) do
    over_ports =
      for n <- [64, 1024] do
        {"`Krait.call`, #{n} at a time: calls/s over the pool of ports'", {:at_least, 2, :ratio},
         rate(data, :g, :b, n), nil}
      end

    over_floor =
      for n <- [64, 1024] do
        {"`Krait.call`, #{n} at a time: calls/s over the floor's", {:at_least, 0.85, :ratio},
         rate(data, :g, :c, n), pipelined(rate(data, :g, :C, n))}
      end

    latency =
      {"`Krait.call`, 1 at a time: p50 over that of `GenServer.call`", {:at_most, 1, :ratio},
       Data.ratio(data, p50(:g), [p50(:f)]), nil}

    over_ports ++ over_floor ++ [latency]
  end

  defp pipelined(nil), do: nil
  defp pipelined({value, _, _}), do: "of the pipelined floor: #{Data.decimals(value, 2)}"

  defp payloads(data) do
    for size <- ["1 MB", "16 MB"],
        {side, name, aim} <- [{:a, "raw port", 2}, {:b, "pool of ports", 1.3}] do
      path = fn side -> [:payloads, size, :sides, side, :mb_per_s] end

      {"#{size} by `Krait.call`: MB/s over those of the #{name}", {:at_least, aim, :ratio},
       Data.ratio(data, path.(:g), [path.(side)]), nil}
    end
  end

  defp cpu(data) do
    by = fn side -> Data.call(data, side, 64, [:cpu_us, :between]) end
    beside = by.(:f) && "by `GenServer.call`: #{Data.decimals(by.(:f), 1)} µs"

    [
      {"Processor time of the node for a `Krait.call`, 64 at a time", {:at_most, 6, "µs"}, by.(:g),
       beside}
    ]
  end

  defp scale(%{"scale" => scale}) do
    killed = scale["replacements"]

    [
      {"Replacement of a killed worker, p50", {:at_most, 10, "ms"}, Stats.median(killed), nil},
      {"Replacement of a killed worker, p99", {:at_most, 25, "ms"}, Stats.percentile(killed, 0.99),
       "of #{length(killed)}"},
      {"Start of the node with 64 workers", {:at_most, 1000, "ms"}, start(scale, 64), nil},
      memory(scale),
      work(scale),
      peers(scale),
      {"Wake-ups of an idle node in #{Data.short(scale["idle"]["seconds"])} s, a tick among them",
       {:at_most, 1, ""}, scale["idle"]["node"]["wake_ups"], nil}
    ]
  end

  defp scale(_), do: []

  defp start(scale, workers) do
    samples = scale["starts"]["#{workers}"]
    samples && Stats.median(samples)
  end

  defp memory(%{"memory" => memory}) do
    beyond = fn way -> memory[way]["bytes"] - memory[way]["payload"] end

    {"Memory of each of #{Data.thousands(memory["genserver"]["waiting"])} waiting requests beyond its payload",
     {:at_most, 300, "bytes"}, beyond.("genserver"),
     "by `Krait.call`: #{Data.thousands(beyond.("krait"))} bytes"}
  end

  # The worst of the four.
  defp work(%{"work" => work}) do
    {ratio, what} =
      Enum.max(for {what, by_count} <- work, do: {Stats.median(per_request(by_count)), what})

    {"Work for a request that comes, goes, dies or is late: of many over that of a tenth of them",
     {:at_most, 1.3, :ratio}, ratio, "the worst: #{what}"}
  end

  @doc "For each round, what one of many costs over what one of few does."
  def per_request(by_count) do
    [{_, few}, {_, many}] = Enum.sort_by(by_count, fn {n, _} -> String.to_integer(n) end)
    Enum.zip_with(many, few, &(&1 / max(&2, 0.001)))
  end

  defp peers(%{"peers" => peers} = scale) do
    path = fn which -> ["peers", "calls", 64, which, "cpu_us", "between"] end

    {"Processor time of the node for a call beside #{Data.thousands(peers["peers"])} idle peers, over that without",
     {:at_most, 1.1, :ratio}, Data.ratio(scale, path.("beside"), [path.("alone")]), nil}
  end

  @doc "The table."
  def table(data) do
    rows =
      for target <- all(data), target.value do
        "| #{target.text} | #{aim(target.aim)} | #{measured(target)} | #{if target.met, do: "met", else: "**missed**"} |"
      end

    if rows == [],
      do: "",
      else: Enum.join(["| target | aim | measured | |", "| --- | ---: | --- | --- |" | rows], "\n")
  end

  defp aim({:at_most, aim, unit}), do: "≤ #{number(aim)}#{suffix(unit)}"
  defp aim({:at_least, aim, unit}), do: "≥ #{number(aim)}#{suffix(unit)}"

  defp number(aim) when is_integer(aim), do: Data.thousands(aim)
  defp number(aim), do: "#{aim}"

  defp suffix(unit) when unit in [:ratio, ""], do: ""
  defp suffix(unit), do: " " <> unit

  defp measured(%{value: value, aim: {_, _, unit}} = target) do
    text = if unit == "", do: Data.thousands(value), else: Data.short(value) <> suffix(unit)
    notes = Enum.reject([range(target.range), target.beside], &is_nil/1)
    if notes == [], do: text, else: "#{text} (#{Enum.join(notes, "; ")})"
  end

  defp range(nil), do: nil
  defp range({least, most}), do: "#{Data.short(least)} to #{Data.short(most)}"
end
