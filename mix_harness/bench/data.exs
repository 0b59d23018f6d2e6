defmodule Bench.Data do
  @moduledoc "Questions to the numbers of a run, as they stand in its JSON. `nil` is: was not measured."

  alias Bench.Stats

  @doc "The rounds of a quantity, where it lies in the JSON."
  def rounds(data, path), do: get_in(data, Enum.map(path, &to_string/1))

  @doc "Their median."
  def median(data, path) do
    case rounds(data, path) do
      list when is_list(list) -> list |> Enum.reject(&is_nil/1) |> middle()
      _ -> nil
    end
  end

  defp middle([]), do: nil
  defp middle(list), do: Stats.median(list)

  @doc "A small call of a side: the median over the rounds."
  def call(data, side, concurrency, quantity),
    do: median(data, [:calls, :sides, side, concurrency | List.wrap(quantity)])

  @doc "The ratio of two quantities, taken within each round: `{median, least, most}`."
  def ratio(data, path, over) do
    with list when is_list(list) <- rounds(data, path),
         others when is_list(others) <- sum(Enum.map(over, &rounds(data, &1))),
         [_ | _] = ratios <- for({a, b} <- Enum.zip(list, others), a && b && b > 0, do: a / b) do
      {Stats.median(ratios), Enum.min(ratios), Enum.max(ratios)}
    else
      _ -> nil
    end
  end

  # Of each round; nil for one in which something was not measured.
  defp sum(lists) do
    if Enum.all?(lists, &is_list/1),
      do: Enum.zip_with(lists, &if(Enum.all?(&1), do: Enum.sum(&1)))
  end

  @doc "The concurrencies that were measured, as numbers in order."
  def concurrencies(data), do: get_in(data, ["run", "concurrency"])

  @doc "The widest noise of all throughputs of small calls, as a share."
  def noise(data) do
    for(
      {_, sides} <- get_in(data, ["calls", "sides"]) || %{},
      {_, s} <- sides,
      do: Stats.noise(s["calls_per_s"])
    )
    |> Enum.max(fn -> 0.0 end)
  end

  @doc "A number with its thousands apart."
  def thousands(nil), do: "–"

  def thousands(number) do
    number
    |> round()
    |> Integer.to_string()
    |> String.reverse()
    |> String.replace(~r/(\d{3})(?=\d)/, "\\1 ")
    |> String.reverse()
  end

  @doc "A number with three digits that count."
  def short(nil), do: "–"
  def short(number) when abs(number) >= 100, do: thousands(number)
  def short(number) when abs(number) >= 10, do: decimals(number, 1)
  def short(number), do: decimals(number, 2)

  @doc "A number with so many decimals."
  def decimals(number, n), do: :erlang.float_to_binary(number * 1.0, decimals: n)

  @doc "What every table says of where it comes from."
  def origin(%{"run" => run}) do
    "Krait #{run["version"]} (#{run["commit"]}), #{String.slice(run["when"], 0, 10)}, on #{run["cores"]} cores " <>
      "(#{run["processor"]}), Linux #{run["kernel"]}, OTP #{run["otp"]}, Elixir #{run["elixir"]}, " <>
      "Python #{run["python"]} with msgpack #{run["msgpack"]}"
  end
end
