# report.exs - the tables and plots of docs/scale.md (`make simulate`).
#
#   elixir test/scale/report.exs docs/data build/simulate docs
#
# From what was measured (docs/data), and what krait_simulate made of it (build/simulate). Into docs/scale.md, between
# markers, and docs/images; all runs as JSON into build/simulate/runs.json.
root = Path.expand("../..", __DIR__)

for file <- ~w(mix_harness/bench/stats.exs mix_harness/bench/data.exs mix_harness/bench/svg.exs
               test/scale/model.exs test/scale/tables.exs test/scale/plots.exs),
    do: Code.require_file(file, root)

defmodule Scale.Report do
  alias Scale.{Plots, Tables}

  def main([data, simulated, docs]) do
    costs =
      for [what, value] <- rows(Path.join(data, "costs.tsv")), into: %{}, do: {what, number(value)}

    runs = named(Path.join(simulated, "runs.tsv"))
    theory = named(Path.join(simulated, "theory.tsv"))

    pairs =
      for load <- ["80", "120"], into: %{} do
        {load, {told(data, "played", load, 4), told(simulated, "again", load, 5)}}
      end

    File.write!(Path.join(simulated, "runs.json"), json(runs))
    File.mkdir_p!(Path.join(docs, "images"))

    for {name, svg} <-
          Plots.all(
            runs,
            Map.new(pairs, fn {load, {a, b}} -> {load, {Tables.totals(a), Tables.totals(b)}} end)
          ),
        do: File.write!(Path.join([docs, "images", name <> ".svg"]), svg)

    blocks = [
      origin: Tables.origin(data),
      costs: Tables.costs(costs),
      ends: Tables.ends(costs),
      nodes: Tables.nodes(costs),
      runs: Tables.runs(runs, "inference", "poisson"),
      bursts: Tables.runs(runs, "inference", "bursts"),
      services: Tables.services(runs),
      ahead: Tables.ahead(named(Path.join(simulated, "ahead.tsv"))),
      overload: Tables.overload(rows(Path.join(data, "overload.tsv"))),
      theory: Tables.theory(theory),
      real: Tables.real(pairs)
    ]

    page = Path.join(docs, "scale.md")
    File.write!(page, Enum.reduce(blocks, File.read!(page), &replace/2))
  end

  # ---- reading ----

  defp rows(path) do
    [_ | rows] =
      path
      |> File.read!()
      |> String.split("\n", trim: true)
      |> Enum.reject(&String.starts_with?(&1, "#"))

    Enum.map(rows, &String.split(&1, "\t"))
  end

  defp named(path) do
    [names | rows] =
      path |> File.read!() |> String.split("\n", trim: true) |> Enum.map(&String.split(&1, "\t"))

    for row <- rows, do: Enum.zip(names, Enum.map(row, &number/1)) |> Map.new()
  end

  defp number(text) do
    case Float.parse(text) do
      {value, ""} -> value
      _ -> text
    end
  end

  # Class, and time to the answer, of those that were answered.
  defp told(dir, name, load, at) do
    for row <- rows(Path.join(dir, "#{name}_#{load}.tsv")), do: {row, at}
  end

  # ---- writing ----

  defp replace({name, lines}, page) do
    [before, rest] = String.split(page, "<!-- #{name} -->\n", parts: 2)
    [_, rest] = String.split(rest, "<!-- /#{name} -->", parts: 2)
    before <> "<!-- #{name} -->\n" <> Enum.join(lines, "\n") <> "\n<!-- /#{name} -->" <> rest
  end

  defp json(rows) do
    body =
      for row <- rows,
          do:
            "{" <>
              Enum.map_join(Enum.sort(row), ",", fn {k, v} ->
                ~s("#{k}":#{if is_binary(v), do: ~s("#{v}"), else: v})
              end) <> "}"

    "[\n" <> Enum.join(body, ",\n") <> "\n]\n"
  end
end

Scale.Report.main(System.argv())
