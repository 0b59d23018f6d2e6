defmodule Demo.Screen do
  @moduledoc "All that the demo prints: one line that moves on a terminal, a few lines elsewhere."

  @bar 20

  def opening(node, workers, python, start_us, files, processes, victims) do
    IO.puts("""

    #{bold("Krait")}: #{workers} workers of Python #{python} at #{node}, ready after #{time(start_us)}.
    #{length(files)} source files in #{root(files)}; two questions about each.
    #{processes} processes ask at the same time; #{victims} are killed at random moments.
    """)
  end

  defp root(files), do: files |> Enum.min_by(&length(Path.split(&1))) |> Path.dirname()

  @doc "How far it is. Called as often as you like: prints ten times a second, or once each quarter."
  def progress(done, total, killed, us) do
    case {:io.columns(), Process.get(:shown)} do
      {{:ok, _}, shown} when done == total or shown == nil or us - shown > 100_000 ->
        Process.put(:shown, us)
        full = div(done * @bar, total)
        bar = String.duplicate("█", full) <> String.duplicate("░", @bar - full)
        IO.write("\r  #{bar} #{figures(done, total, killed, us)}\e[K")
        if done == total, do: IO.puts("")

      {{:error, _}, shown} ->
        quarter = div(done * 4, total)

        if quarter > (shown || 0) do
          Process.put(:shown, quarter)
          IO.puts("  #{figures(done, total, killed, us)}")
        end

      _ ->
        :ok
    end
  end

  defp figures(done, total, killed, us) do
    percent = String.pad_leading("#{div(done * 100, total)} %", 5)
    "#{percent}  #{done} of #{total} done, #{killed} processes killed, #{time(us)}"
  end

  @doc "Says what came instead of an answer."
  def wrong({question, file}, answer) do
    IO.puts("\n  #{question} of #{file}: #{inspect(answer, limit: 20, printable_limit: 300)}")
  end

  @doc "The modules whose functions branch most."
  def modules(answers) do
    shapes = for {{"shape", file}, shape} <- answers, into: %{}, do: {file, shape}
    imports = for {{"imports", file}, imports} <- answers, into: %{}, do: {file, imports}
    importers = imports |> Map.values() |> Enum.flat_map(& &1["imports"]) |> Enum.frequencies()

    # One column is for wide screens only, and long names are cut on narrow ones.
    {room, wide?} = {room(columns()), columns() >= 120}

    rows =
      for {file, shape} <- shapes |> Enum.sort_by(&(-elem(&1, 1)["branches"])) |> Enum.take(10) do
        name = get_in(imports, [file, "module"]) || Path.basename(file)
        longest = cut(shape["longest"]["name"], room, " (#{shape["longest"]["lines"]})")
        hardest = cut(shape["hardest"]["name"], room, " (#{shape["hardest"]["branches"]})")
        row = [cut(name, room), shape["lines"], shape["functions"], shape["branches"], longest]
        row ++ if(wide?, do: [hardest], else: []) ++ [Map.get(importers, name, 0)]
      end

    heads = ["module", "lines", "functions", "branches", "longest (lines)"]
    heads = heads ++ if(wide?, do: ["most branches in"], else: []) ++ ["used by"]
    IO.puts("\n#{bold("The most complex modules")}")
    table([heads | rows])
  end

  defp columns do
    case :io.columns() do
      {:ok, columns} -> columns
      {:error, _} -> 120
    end
  end

  defp room(columns) when columns < 100, do: 19
  defp room(_), do: 28

  defp cut(name, room, rest \\ "") do
    room = room - String.length(rest)

    if String.length(name) > room,
      do: String.slice(name, 0, room - 1) <> "…" <> rest,
      else: name <> rest
  end

  @doc "Throughput, and how long an answer took."
  def speed(job, latency) do
    done = length(job.answers)

    mb =
      for({{"shape", _}, shape} <- job.answers, do: shape["bytes"]) |> Enum.sum() |> Kernel./(1.0e6)

    IO.puts("\n#{bold("Speed")}")

    IO.puts(
      "  #{done} analyses in #{time(job.ms * 1000)}: #{div(done * 1000, max(job.ms, 1))} a second " <>
        "(#{round(mb)} MB of source, read twice)\n"
    )

    sorted = job.latencies |> Enum.sort() |> List.to_tuple()
    at = fn share -> elem(sorted, trunc(share * (tuple_size(sorted) - 1))) end
    callers = %{p50: at.(0.5), p95: at.(0.95), p99: at.(0.99), max: at.(1.0)}

    table([
      ["", "p50", "p95", "p99", "max"],
      ["Python at work on a call" | percentiles(latency.call)],
      ["waiting for one of the workers" | percentiles(latency.wait)],
      ["all that a caller waited" | percentiles(callers)],
      ["a fresh worker after a kill" | percentiles(latency.start)]
    ])
  end

  defp percentiles(p), do: Enum.map([p.p50, p.p95, p.p99, p.max], &time/1)

  @doc "The books, `{what, number, what it must be, remark}`. Returns whether they balance."
  def books(lines) do
    IO.puts("\n#{bold("The books")}")

    for {what, number, wanted, remark} <- lines do
      mark =
        cond do
          wanted == nil -> " "
          wanted == number -> paint("✓", :green)
          true -> paint("✗ should be #{wanted}", :red)
        end

      remark = if remark == "", do: "", else: paint("  #{remark}", :light_black)

      IO.puts(
        "  #{String.pad_trailing(what, 24)}#{String.pad_leading("#{number}", 6)} #{mark}#{remark}"
      )
    end

    balanced? = Enum.all?(lines, fn {_, number, wanted, _} -> wanted in [nil, number] end)

    IO.puts(
      if balanced?,
        do: "\nThe books balance.\n",
        else: "\n#{paint("The books do not balance.", :red)}\n"
    )

    balanced?
  end

  # Texts to the left, numbers and the columns of numbers to the right.
  defp table([heads | rows]) do
    texts = for row <- [heads | rows], do: Enum.map(row, &to_string/1)

    widths =
      texts
      |> Enum.zip_with(& &1)
      |> Enum.map(&(&1 |> Enum.map(fn t -> String.length(t) end) |> Enum.max()))

    right =
      for column <- Enum.zip_with(rows, & &1),
          do: Enum.all?(column, &(is_integer(&1) or &1 =~ ~r/^[\d.]+ (µs|ms|s)$/))

    for {row, index} <- Enum.with_index(texts) do
      line =
        [row, widths, right]
        |> Enum.zip_with(fn
          [text, width, true] -> String.pad_leading(text, width)
          [text, width, false] -> String.pad_trailing(text, width)
        end)
        |> Enum.join("  ")
        |> String.trim_trailing()

      IO.puts("  " <> if(index == 0, do: paint(line, :light_black), else: line))
    end
  end

  defp time(us) when us < 1000, do: "#{us} µs"
  defp time(us) when us < 10_000, do: "#{:erlang.float_to_binary(us / 1000, decimals: 1)} ms"
  defp time(us) when us < 1_000_000, do: "#{div(us, 1000)} ms"
  defp time(us), do: "#{:erlang.float_to_binary(us / 1.0e6, decimals: 1)} s"

  defp bold(text), do: paint(text, :bright)

  defp paint(text, style) do
    if match?({:ok, _}, :io.columns()) and System.get_env("NO_COLOR") == nil,
      do: IO.iodata_to_binary(IO.ANSI.format([style, text], true)),
      else: text
  end
end
