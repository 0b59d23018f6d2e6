defmodule Bench.Tables do
  @moduledoc "A run as the tables of the README: each fits on a screen, ratios come first."

  import Bench.Data, only: [call: 4, concurrencies: 1, decimals: 2, short: 1, thousands: 1]
  alias Bench.{Data, Sides, Stats, Streams, Targets, Ways}

  @payload_sides [:a, :b, :c, :f, :g]

  @doc "All tables of what was measured."
  def markdown(data) do
    [origin(data), targets(data), throughput(data), latency(data), payloads(data), ways(data)]
    |> Enum.concat([streams(data), scale(data)])
    |> Enum.reject(&(&1 == ""))
    |> Enum.join("\n\n")
  end

  defp origin(data) do
    %{"rounds" => rounds, "window_ms" => ms, "node_args" => args} = data["run"]
    with_args = if args == "", do: "", else: " The node had `#{args}`."

    "#{Data.origin(data)}.#{with_args} Medians of #{rounds} alternating rounds of #{ms / 1000} s; 4 workers; between " <>
      "its rounds a side's calls/s differed by up to ± #{round(Data.noise(data) * 100)} %."
  end

  defp targets(data) do
    case Targets.table(data) do
      "" ->
        ""

      table ->
        "**Every target.** Ratios are of this run; in brackets the least and the most of the rounds.\n\n" <>
          table
    end
  end

  # Sides that were measured, with their series at each concurrency.
  defp sides(data) do
    for {side, name} <- Sides.all(),
        numbers = get_in(data, ["calls", "sides", "#{side}"]),
        do: {side, name, numbers}
  end

  defp throughput(%{"calls" => calls} = data) do
    list = concurrencies(data)
    ratios = for n <- [64, 1024], n in list, do: n

    rows =
      for {side, name, _} <- sides(data) do
        over = for n <- ratios, do: over(data, side, n)
        [side, name | over] ++ for n <- list, do: thousands(call(data, side, n, :calls_per_s))
      end

    """
    **Small calls**, a map of #{calls["bytes"]} bytes: calls/s. The ratio is that of `Krait.call`s to this side's.

    #{table(["", "side" | Enum.map(ratios, &"ratio at #{&1}")] ++ Enum.map(list, &at/1), 2, rows)}\
    ![Throughput by concurrency](docs/images/bench-throughput.svg)\
    """
  end

  defp throughput(_), do: ""

  defp over(data, side, n) do
    path = fn side -> [:calls, :sides, side, n, :calls_per_s] end

    case Data.ratio(data, path.(:g), [path.(side)]) do
      {ratio, _, _} when side != :g -> decimals(ratio, 2)
      _ -> "–"
    end
  end

  defp at(n), do: "#{n} at a time"

  defp latency(%{"calls" => _} = data) do
    list = for n <- [1, 64], n in concurrencies(data), do: n
    head = for n <- list, q <- ["p50", "p99", "p99.9"], do: "#{n}: #{q}"

    rows =
      for {side, name, _} <- sides(data) do
        [side, name] ++
          for n <- list, q <- [:p50_us, :p99_us, :p999_us], do: thousands(call(data, side, n, q))
      end

    """
    **Their latency** in µs, 1 and 64 at a time:

    #{table(["", "side" | head], 2, rows)}\
    ![Latency, percentiles](docs/images/bench-latency.svg)\
    """
  end

  defp latency(_), do: ""

  defp payloads(%{"payloads" => payloads} = data) do
    rows = Enum.concat(for name <- Bench.Values.names(), payloads[name], do: payload(data, name))
    head = ["payload", "g / a", "g / b", "g / c"] ++ for(side <- @payload_sides, do: "#{side}")

    """
    **Payloads**, echoed, 4 under way: MB/s of the payload's own bytes, counted once for there and back.

    #{table(head, 1, rows)}\
    #{Enum.map_join(@payload_sides, "; ", &"#{&1}: #{Sides.name(&1)}")}. Python decodes and encodes on every \
    side. The callers of a and b send bytes made beforehand and compare bytes, those of f and g get terms; \
    "as terms": the callers of b make and read the msgpack themselves.

    ![Payloads](docs/images/bench-payloads.svg)\
    """
  end

  defp payloads(_), do: ""

  defp payload(data, name) do
    path = fn side -> [:payloads, name, :sides, side, :mb_per_s] end
    terms = [:payloads, name, :as_terms, :b, :mb_per_s]
    ratio = fn over -> ratio(Data.ratio(data, path.(:g), [over])) end
    rates = for side <- @payload_sides, do: short(Data.median(data, path.(side)))
    row = [name | for(side <- [:a, :b, :c], do: ratio.(path.(side)))] ++ rates

    if Data.median(data, terms) do
      [a, b, c, f, g] = ["–", short(Data.median(data, terms)), "–" | Enum.take(rates, -2)]
      [row, ["#{name}, as terms", "–", ratio.(terms), "–", a, b, c, f, g]]
    else
      [row]
    end
  end

  defp ratio(nil), do: "–"
  defp ratio({value, _, _}), do: decimals(value, 2)

  defp ways(%{"ways" => %{"calls" => calls}} = data) do
    list = [1, 4, 64] |> Enum.filter(&calls["krait"]["#{&1}"])
    path = fn way, n -> [:ways, :calls, way, n, :calls_per_s] end

    rows =
      for {way, {name, _}} <- Ways.all() do
        over = ratio(Data.ratio(data, path.(way, 4), [path.(:krait, 4)]))

        [name, over | for(n <- list, do: thousands(Data.median(data, path.(way, n))))] ++
          [thousands(Data.median(data, [:ways, :calls, way, 1, :p50_us]))]
      end

    head = ["way of calling", "ratio at 4" | Enum.map(list, &at/1)] ++ ["p50 µs of one"]

    """
    **Ways of calling**: calls/s; the ratio is to `Krait.call` with 4 callers. A lease holds one of the 4 workers.

    #{table(head, 1, rows)}\
    """
    |> String.trim_trailing()
  end

  defp ways(_), do: ""

  defp streams(%{"ways" => %{"streams" => %{"items_per_s" => items, "full" => full}}} = data) do
    path = fn kind, side -> [:ways, :streams, :items_per_s, kind, side] end

    rows =
      for kind <- Streams.kinds(), items[kind] do
        [
          kind,
          ratio(Data.ratio(data, path.(kind, :stream), [path.(kind, :port)])),
          thousands(Data.median(data, path.(kind, :stream))),
          thousands(Data.median(data, path.(kind, :port)))
        ]
      end

    """
    **Streams**, beside a raw `Port` to which Python writes the same items; the port's stay msgpack that nobody \
    decodes, the stream's are terms:

    #{table(["item", "stream / port", "stream: items/s", "raw port: items/s"], 1, rows)}\
    #{Enum.join(for(kind <- Streams.kinds(), one = full[kind], do: full(kind, one)), " ")}\
    """
  end

  defp streams(_), do: ""

  defp full(kind, one) do
    "#{thousands(one["items"])} items (#{kind}) took #{decimals(one["seconds"], 1)} s; from a tenth of them to " <>
      "the end the node grew by #{kib(one["node_grew"])}, the worker by #{kib(one["worker_grew"])}."
  end

  defp kib(bytes), do: "#{thousands(bytes / 1024)} KiB"

  defp scale(%{"scale" => scale}) do
    rows = starts(scale) ++ waiting(scale) ++ peers(scale) ++ idle(scale)

    "**Starts, memory, peers, idling**\n\n" <>
      String.trim_trailing(table(["", "median", "worst"], 1, rows))
  end

  defp scale(_), do: ""

  defp starts(scale) do
    starts =
      for {workers, samples} <- Enum.sort_by(scale["starts"], &String.to_integer(elem(&1, 0))) do
        [
          "start of the program to #{workers} workers ready, ms",
          short(Stats.median(samples)),
          short(Enum.max(samples))
        ]
      end

    killed = scale["replacements"]
    p99 = short(Stats.percentile(killed, 0.99))
    worst = "#{short(Enum.max(killed))} (p99 #{p99})"

    starts ++
      [
        [
          "death of the only worker to the next one's first answer, ms",
          short(Stats.median(killed)),
          worst
        ]
      ]
  end

  defp waiting(%{"memory" => memory, "work" => work} = scale) do
    memory =
      for {way, name} <- [{"genserver", "`GenServer.call`"}, {"krait", "`Krait.call`"}],
          m = memory[way] do
        text = "memory for each of #{thousands(m["waiting"])} waiting requests by #{name}, bytes"
        [text, "#{thousands(m["bytes"])}, #{thousands(m["payload"])} of them payload", "–"]
      end

    awake = scale["awake"] || %{}

    memory ++
      for {measured, what, name} <- [
            {work, "enqueue", "that comes"},
            {work, "dequeue", "that is served"},
            {work, "death", "that dies"},
            {work, "timeout", "that is late"},
            {awake, "enqueue", "that comes, wake-ups included"},
            {awake, "death", "that dies, wake-ups included"}
          ],
          {count, us} <- Enum.sort_by(measured[what] || %{}, &String.to_integer(elem(&1, 0))) do
        [
          "node's processor time for one of #{thousands(String.to_integer(count))} #{name}, µs",
          short(Stats.median(us)),
          short(Enum.max(us))
        ]
      end
  end

  defp peers(%{"peers" => peers}) do
    calls =
      for n <- [1, 64],
          series = peers["calls"]["#{n}"],
          {which, name} <- [{"alone", "without"}, {"beside", "beside"}] do
        p50 = Enum.reject(series[which]["p50_us"], &is_nil/1)
        cpu = series[which]["cpu_us"]["between"]

        [
          "call #{name} #{thousands(peers["peers"])} idle peers, #{at(n)}: p50 µs, node's processor time µs",
          "#{short(Data.median(series, [which, :p50_us]))}, #{short(Stats.median(cpu))}",
          "#{short(Enum.max(p50, fn -> nil end))}, #{short(Enum.max(cpu))}"
        ]
      end

    calls ++ [["memory for each connected peer, bytes", thousands(peers["bytes_each"]), "–"]]
  end

  defp idle(%{"idle" => %{"seconds" => seconds, "node" => node, "python" => python}}) do
    for {name, part} <- [{"node", node}, {"processes below it", python}] do
      wakes = part["wake_ups"]

      [
        "idle #{name}, #{short(seconds)} s: processor time ms, wake-ups",
        "#{short(part["cpu_ms"])}, #{wakes}",
        "–"
      ]
    end
  end

  @doc "A Markdown table; all columns but the first `words` are numbers."
  def table(head, words, rows) do
    line = fn cells -> "| #{Enum.join(cells, " | ")} |" end
    rule = for n <- 1..length(head), do: if(n <= words, do: "---", else: "---:")
    Enum.map_join([head, rule | rows], "\n", line) <> "\n\n"
  end
end
