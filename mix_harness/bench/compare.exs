# compare.exs - two runs of the benchmark, side by side (`make bench-compare OLD=A.json NEW=B.json`).
#
#   elixir mix_harness/bench/compare.exs OLD.json NEW.json [--all]
#
# For each number that both files have: NEW over OLD, of the medians over the rounds, and how much either
# run differed in itself (half of what lies between its rounds, as a share of the median). A ratio that is
# within both noises together says nothing (of what was measured once, within 10 %); only the others are shown, or with --all every one. Two runs
# are comparable if they were made on one machine, one after the other; best is OLD, NEW, OLD again.

for file <- ~w(../test/support/json.ex json.exs stats.exs data.exs),
    do: Code.require_file(file, __DIR__)

defmodule Bench.Compare do
  @moduledoc false

  alias Bench.{Data, Json, Stats}

  def main(argv) do
    case OptionParser.parse(argv, strict: [all: :boolean]) do
      {options, [old, new], []} -> compare(read(old), read(new), options[:all] || false)
      _ -> wrong("usage: compare.exs OLD.json NEW.json [--all]")
    end
  end

  defp read(file) do
    case File.read(file) do
      {:ok, text} -> Json.decode(text)
      {:error, reason} -> wrong("#{file}: #{:file.format_error(reason)}")
    end
  end

  defp wrong(text) do
    IO.puts(:stderr, "compare: #{text}")
    System.halt(2)
  end

  defp compare(old, new, all?) do
    {before, later} = {numbers(old), numbers(new)}

    rows =
      for {path, was} <- Enum.sort_by(before, &in_order/1), is = later[path], do: row(path, was, is)

    shown = if all?, do: rows, else: Enum.filter(rows, & &1.differs)

    IO.puts("old: #{Data.origin(old)}")
    IO.puts("new: #{Data.origin(new)}\n")

    if shown != [] do
      IO.puts("| | new / old | old | ± % | new | ± % |\n| --- | ---: | ---: | ---: | ---: | ---: |")
      Enum.each(shown, &IO.puts(&1.text))
      IO.puts("")
    end

    IO.puts(
      "#{length(rows)} numbers, #{Enum.count(rows, & &1.differs)} of them differ by more than noise."
    )
  end

  # 8 before 64.
  defp in_order({path, _}),
    do: Enum.map(path, &with({n, ""} <- Integer.parse(&1), do: n, else: (_ -> &1)))

  defp row(path, was, is) do
    {old, new} = {Stats.median(was), Stats.median(is)}
    {noise_old, noise_new} = {Stats.noise(was), Stats.noise(is)}
    ratio = if old == 0, do: nil, else: new / old

    cells = [
      ratio && Data.decimals(ratio, 2),
      Data.short(old),
      percent(noise_old),
      Data.short(new),
      percent(noise_new)
    ]

    %{
      differs: differs?(ratio, new, max(noise_old + noise_new, least(was))),
      text: "| #{Enum.join(path, " ")} | #{Enum.map_join(cells, " | ", &(&1 || "–"))} |"
    }
  end

  defp differs?(nil, new, _), do: new != 0
  defp differs?(ratio, _, noise), do: abs(ratio - 1) > noise

  # What was measured once tells nothing of its noise.
  defp least([_]), do: 0.1
  defp least(_), do: 0.01

  defp percent(share), do: "#{round(share * 100)}"

  # Every number or list of numbers of a run, by where it stands; those that say what was run left out.
  defp numbers(data), do: data |> Map.delete("run") |> leaves([]) |> Map.new()

  defp leaves(map, path) when is_map(map),
    do: Enum.flat_map(map, fn {key, value} -> leaves(value, [key | path]) end)

  defp leaves(list, path) when is_list(list) do
    case Enum.reject(list, &is_nil/1) do
      [] -> []
      numbers -> [{Enum.reverse(path), numbers}]
    end
  end

  defp leaves(number, path) when is_number(number), do: [{Enum.reverse(path), [number]}]
  defp leaves(_, _), do: []
end

Bench.Compare.main(System.argv())
