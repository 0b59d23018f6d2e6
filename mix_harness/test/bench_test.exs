defmodule Krait.BenchTest do
  @moduledoc """
  The benchmark works: in miniature it measures every part, and its numbers, tables and plots are whole. What
  the numbers are is nobody's business here.
  """
  use ExUnit.Case, async: false

  @bench Path.expand("../bench", __DIR__)
  @floor System.get_env("KRAIT_BENCH_FLOOR") ||
           Path.expand("../../build/release/bench_floor", __DIR__)

  @tag timeout: 120_000
  test "every part is measured; numbers, tables and plots are whole" do
    assert File.exists?(@floor), "make build/release/bench_floor"
    directory = Path.join(System.tmp_dir!(), "krait_bench_test_#{System.pid()}")
    on_exit(fn -> File.rm_rf!(directory) end)
    json = Path.join(directory, "bench.json")
    File.mkdir_p!(directory)

    run!(["bench.exs", "--quick", "--json", json, "--report", directory])
    data = json |> File.read!() |> Krait.Json.parse!()
    report = File.read!(Path.join(directory, "bench.md"))
    details = File.read!(Path.join(directory, "bench-details.md"))

    assert_rounds(data)
    assert_tables(report)
    assert_tables(details)
    assert_plots(directory)
    assert_report_is_of_the_numbers(json, report, directory)
    assert_compared(json)
  end

  # Every side at each concurrency, in every round.
  defp assert_rounds(%{"run" => %{"rounds" => rounds}} = data) do
    assert data["calls"]["sides"] |> Map.keys() |> Enum.sort() == ~w(C D F a b c d e f g)

    for {side, by_concurrency} <- data["calls"]["sides"], {n, series} <- by_concurrency do
      assert length(series["calls_per_s"]) == rounds, "#{side} at #{n}"
      assert Enum.all?(series["calls_per_s"], &(&1 > 0)), "#{side} at #{n} did nothing"
    end

    for {_, %{"sides" => sides}} <- data["payloads"],
        {_, series} <- sides,
        do: assert(length(series["mb_per_s"]) == rounds)

    assert %{"calls" => ways, "streams" => %{"items_per_s" => streams}} = data["ways"]
    assert ways |> Map.keys() |> Enum.sort() == ~w(batch checkout genserver krait lease session)
    assert map_size(streams) == 4

    scale = data["scale"]
    assert scale["peers"]["connected"] >= scale["peers"]["peers"]
    assert scale["work"] |> Map.keys() |> Enum.sort() == ~w(death dequeue enqueue timeout)
    assert %{"idle" => _, "memory" => _, "replacements" => _, "starts" => _} = scale
  end

  # All rows of a table have as many cells as its head, and none is empty where numbers belong.
  defp assert_tables(text) do
    tables =
      text
      |> String.split("\n")
      |> Enum.chunk_by(&String.starts_with?(&1, "|"))
      |> Enum.filter(&String.starts_with?(hd(&1), "|"))

    assert length(tables) >= 4

    for [head, rule | rows] <- tables do
      assert rule =~ ~r/^\|( -+:? \|)+$/
      assert rows != [], "no row below #{head}"
      for row <- rows, do: assert(cells(row) == cells(head), row)
    end

    refute text =~ ~r/nil|NaN|inf/
  end

  defp cells(row), do: row |> String.graphemes() |> Enum.count(&(&1 == "|"))

  defp assert_plots(directory) do
    plots = Path.wildcard(Path.join(directory, "*.svg"))

    assert Enum.map(plots, &Path.basename/1) ==
             ~w(bench-latency.svg bench-payloads.svg bench-throughput.svg)

    parse = "import sys, xml.etree.ElementTree as tree\nfor f in sys.argv[1:]: tree.parse(f)"
    assert {"", 0} = System.cmd("python3", ["-c", parse | plots], stderr_to_stdout: true)

    for plot <- plots, text = File.read!(plot) do
      assert text =~ "prefers-color-scheme: dark"
      assert text =~ ~r/(µs|calls\/s|MB\/s)/
      assert text =~ "Krait.call"
    end
  end

  # Tables are made of the file, and of nothing that only the run knew.
  defp assert_report_is_of_the_numbers(json, report, directory) do
    again = Path.join(directory, "again")
    run!(["bench.exs", "--from", json, "--report", again])
    assert File.read!(Path.join(again, "bench.md")) == report
  end

  defp assert_compared(json) do
    text = run!(["compare.exs", json, json])
    assert text =~ ~r/^\d+ numbers, 0 of them differ by more than noise/m
  end

  defp run!([script | arguments]) do
    code = Enum.flat_map(:code.get_path(), &["-pa", to_string(&1)])
    env = [{"KRAIT_BIN", System.get_env("KRAIT_BIN")}, {"KRAIT_BENCH_FLOOR", @floor}]

    {text, status} =
      System.cmd("elixir", code ++ [Path.join(@bench, script) | arguments],
        env: env,
        stderr_to_stdout: true
      )

    assert status == 0, text
    text
  end
end
