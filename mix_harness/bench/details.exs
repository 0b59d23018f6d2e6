defmodule Bench.Details do
  @moduledoc "A run as the tables of docs/performance.md: what the README leaves out."

  import Bench.Data, only: [call: 4, concurrencies: 1, decimals: 2, short: 1, thousands: 1]
  alias Bench.{Data, Sides, Tables}

  @doc "All tables of what was measured."
  def markdown(data) do
    [Data.origin(data) <> "." | [cpu(data), percentiles(data), rounds(data), pairs(data)]]
    |> Enum.reject(&(&1 == ""))
    |> Enum.join("\n\n")
  end

  defp sides(data),
    do: for({side, _} <- Sides.all(), get_in(data, ["calls", "sides", "#{side}"]), do: side)

  defp cpu(%{"calls" => _} = data) do
    list = Enum.filter([1, 64, 1024], &(&1 in concurrencies(data)))
    parts = [beam: "BEAM", between: "node, C or other BEAM", python: "Python"]
    head = for n <- list, {_, name} <- parts, do: "#{n}: #{name}"

    rows =
      for side <- sides(data) do
        ["#{side}", Sides.name(side)] ++
          for n <- list, {part, _} <- parts, do: us(call(data, side, n, [:cpu_us, part]))
      end

    "**Where the processor time of a small call goes**, µs a call, by the scheduler's account:\n\n" <>
      String.trim_trailing(Tables.table(["", "side" | head], 2, rows))
  end

  defp cpu(_), do: ""

  defp us(nil), do: "–"
  defp us(number), do: decimals(number, 1)

  defp percentiles(%{"calls" => _} = data) do
    list = concurrencies(data)
    head = for n <- list, do: "#{n}: p50 / p99 / p99.9"

    rows =
      for side <- sides(data) do
        ["#{side}"] ++
          for n <- list do
            Enum.map_join([:p50_us, :p99_us, :p999_us], " / ", &thousands(call(data, side, n, &1)))
          end
      end

    "**All percentiles**, µs:\n\n" <> String.trim_trailing(Tables.table(["" | head], 1, rows))
  end

  defp percentiles(_), do: ""

  defp rounds(%{"calls" => _} = data) do
    list = concurrencies(data)

    rows =
      for side <- sides(data) do
        ["#{side}"] ++
          for n <- list do
            rates = Data.rounds(data, [:calls, :sides, side, n, :calls_per_s])
            "#{thousands(Enum.min(rates))} to #{thousands(Enum.max(rates))}"
          end
      end

    "**The least and the most of the rounds**, calls/s:\n\n" <>
      String.trim_trailing(Tables.table(["" | Enum.map(list, &"#{&1} at a time")], 1, rows))
  end

  defp rounds(_), do: ""

  # How long one payload takes, and what it costs the node.
  defp pairs(%{"payloads" => payloads}) do
    rows =
      for name <- Bench.Values.names(),
          sides = payloads[name]["sides"],
          side <- ["a", "b", "c", "f", "g"] do
        cpu = fn part -> us(Data.median(sides, [side, :cpu_us, part])) end

        [
          name,
          side,
          short(Data.median(sides, [side, :p50_us])),
          cpu.("beam"),
          cpu.("between"),
          cpu.("python")
        ]
      end

    head = ["payload", "side", "p50 µs", "BEAM µs", "node or C µs", "Python µs"]

    "**Payloads**, 4 under way: how long one takes, and the processor time for it:\n\n" <>
      String.trim_trailing(Tables.table(head, 2, rows))
  end

  defp pairs(_), do: ""
end
