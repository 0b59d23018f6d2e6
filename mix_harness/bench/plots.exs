defmodule Bench.Plots do
  @moduledoc """
  A run as three plots, made of the same numbers as its tables: throughput by concurrency, percentiles of
  latency, payloads. A side has the same colour in all of them; one that is written to otherwise is dashed.
  """

  alias Bench.{Data, Sides, Svg, Values}

  # colour, dash, width of the line
  @looks %{
    a: {"orange", nil, 2},
    b: {"pink", nil, 2},
    c: {"soft", nil, 2},
    C: {"soft", "2 4", 2},
    d: {"green", nil, 2},
    D: {"green", "2 4", 2},
    e: {"violet", nil, 2},
    f: {"teal", nil, 2.5},
    F: {"teal", "2 4", 2.5},
    g: {"blue", nil, 3.5}
  }
  @short %{
    a: "raw port, pipelined",
    b: "pool of 4 ports",
    c: "floor: C to 4 Pythons",
    C: "floor, pipelined",
    d: "GenServer.call: ping",
    D: "… with delay_send",
    e: "BEAM to BEAM",
    f: "GenServer.call to Python",
    F: "… with delay_send",
    g: "Krait.call to Python"
  }
  @width 860
  @apart 17

  @doc "Name and text of each plot for which there are numbers."
  def all(data) do
    plots = [
      {"throughput", data["calls"] && throughput(data)},
      {"latency", data["calls"] && latency(data)},
      {"payloads", data["payloads"] && payloads(data)}
    ]

    for {name, svg} <- plots, svg, do: {name, svg}
  end

  defp about(data) do
    run = data["run"]
    "Medians of #{run["rounds"]} rounds, 4 workers, #{run["cores"]} cores (#{run["processor"]})"
  end

  defp sides(data),
    do: for({side, _} <- Sides.all(), get_in(data, ["calls", "sides", "#{side}"]), do: side)

  defp look(side), do: @looks[side]
  defp color(side), do: elem(look(side), 0)
  defp strong(:g), do: " strong"
  defp strong(_), do: ""

  # --- throughput by concurrency --------------------------------------------------------------------

  defp throughput(data) do
    list = Data.concurrencies(data)
    {left, right, top, bottom} = {70, 560, 90, 430}
    # Equal steps: each concurrency is some times the one before it.
    x = fn n -> left + 20 + index(list, n) * (right - left - 40) / max(length(list) - 1, 1) end
    series = for side <- sides(data), do: {side, for(n <- list, do: rate(data, side, n))}
    axis = series |> Enum.flat_map(&elem(&1, 1)) |> Svg.axis(bottom, top)

    ends =
      apart(
        for {side, rates} <- series, do: {side, Svg.at(axis, List.last(rates)), List.last(rates)}
      )

    Svg.document(@width, 490, "Small calls: throughput by concurrency", about(data), [
      for(tick <- Svg.ticks(axis), do: across(axis, tick, left, right)),
      Svg.text(left, top - 16, "calls/s", "soft small", anchor: "end"),
      for(n <- list, do: Svg.text(x.(n), bottom + 22, "#{n}", "ink", anchor: "middle")),
      Svg.text((left + right) / 2, bottom + 44, "calls under way at once", "soft small",
        anchor: "middle"
      ),
      for({side, rates} <- series, do: curve(side, Enum.zip(Enum.map(list, x), rates), axis)),
      for({side, y, rate} <- ends, do: ending(side, y, rate, axis, x.(List.last(list)), right))
    ])
  end

  defp index(list, n), do: Enum.find_index(list, &(&1 == n))

  defp rate(data, side, n), do: max(Data.call(data, side, n, :calls_per_s), 1)

  defp across(axis, tick, left, right) do
    y = Svg.at(axis, tick)

    [
      Svg.line([{left, y}, {right, y}], "grid"),
      Svg.text(left - 10, y + 4, Svg.number(tick), "soft small", anchor: "end")
    ]
  end

  defp curve(side, points, axis) do
    {color, dash, width} = look(side)
    points = for {x, rate} <- points, do: {x, Svg.at(axis, rate)}

    [
      Svg.line(points, color, dash: dash, width: width),
      for({x, y} <- points, do: Svg.dot(x, y, if(side == :g, do: 4.5, else: 3), color))
    ]
  end

  defp ending(side, y, rate, axis, x, right) do
    from = {x + 6, Svg.at(axis, rate)}
    text = "#{side}  #{@short[side]}: #{Svg.number(rate)}"

    [
      Svg.line([from, {right + 4, y}, {right + 10, y}], "grid"),
      Svg.text(right + 14, y + 4, text, color(side) <> strong(side))
    ]
  end

  # Labels in the order of what they stand for, none on another, and near to where they belong.
  defp apart(ends) do
    sorted = Enum.sort_by(ends, &elem(&1, 1))

    {down, _} =
      Enum.map_reduce(sorted, -1.0e9, fn {side, y, rate}, last ->
        y = max(y, last + @apart)
        {{side, y, rate}, y}
      end)

    shift =
      Enum.sum(for {{_, y, _}, {_, was, _}} <- Enum.zip(down, sorted), do: y - was) /
        max(length(ends), 1)

    for {side, y, rate} <- down, do: {side, y - shift, rate}
  end

  # --- percentiles ----------------------------------------------------------------------------------

  defp latency(data) do
    panels = for n <- [1, 64], n in Data.concurrencies(data), do: n
    sides = sides(data)
    {left, top, step} = {200, 108, 27}
    bottom = top + step * length(sides)
    wide = (@width - left - 20) / length(panels)

    Svg.document(@width, bottom + 74, "Small calls: latency", about(data), [
      for {side, row} <- Enum.with_index(sides) do
        Svg.text(20, top + row * step + 18, "#{side}  #{@short[side]}", color(side) <> strong(side))
      end,
      for {n, place} <- Enum.with_index(panels) do
        panel(
          data,
          n,
          sides,
          {left + place * wide + 10, left + (place + 1) * wide - 30},
          {top, bottom, step}
        )
      end,
      legend(left + 10, bottom + 58)
    ])
  end

  defp panel(data, n, sides, {left, right}, {top, bottom, step}) do
    rows =
      for side <- sides,
          do: {side, for(q <- [:p50_us, :p99_us, :p999_us], do: Data.call(data, side, n, q))}

    axis = rows |> Enum.flat_map(&elem(&1, 1)) |> Enum.filter(& &1) |> Svg.axis(left, right)

    [
      Svg.text(left, top - 28, "#{n} at a time", "ink strong"),
      for(tick <- Svg.ticks(axis), do: down(axis, tick, top - 8, bottom)),
      Svg.text((left + right) / 2, bottom + 32, "µs from asking to the answer", "soft small",
        anchor: "middle"
      ),
      for(
        {{side, values}, row} <- Enum.with_index(rows),
        Enum.all?(values),
        do: percentiles(axis, side, values, top + row * step + 13)
      )
    ]
  end

  defp down(axis, tick, top, bottom) do
    x = Svg.at(axis, tick)

    [
      Svg.line([{x, top}, {x, bottom}], "grid"),
      Svg.text(x, bottom + 15, Svg.number(tick), "soft small", anchor: "middle")
    ]
  end

  defp percentiles(axis, side, values, y) do
    {color, dash, _} = look(side)
    [p50, p99, p999] = for value <- values, do: Svg.at(axis, value)

    [
      Svg.line([{p50, y}, {p999, y}], color, width: 2, dash: dash),
      Svg.line([{p999, y - 6}, {p999, y + 6}], color, width: 2),
      Svg.dot(p99, y, 4, color, :ring),
      Svg.dot(p50, y, 5, color)
    ]
  end

  defp legend(x, y) do
    [
      Svg.dot(x, y - 4, 5, "soft"),
      Svg.text(x + 12, y, "p50", "soft small"),
      Svg.dot(x + 70, y - 4, 4, "soft", :ring),
      Svg.text(x + 82, y, "p99", "soft small"),
      Svg.line([{x + 140, y - 10}, {x + 140, y + 2}], "soft", width: 2),
      Svg.text(x + 150, y, "p99.9", "soft small")
    ]
  end

  # --- payloads -------------------------------------------------------------------------------------

  defp payloads(data) do
    names = for name <- Values.names(), data["payloads"][name], do: name
    sides = [:a, :b, :c, :f, :g]
    {left, right, top, step, gap} = {110, 600, 84, 15, 14}
    group = length(sides) * step + gap
    bottom = top + group * length(names)

    rate = fn name, side ->
      max(Data.median(data, [:payloads, name, :sides, side, :mb_per_s]), 0.001)
    end

    axis = Svg.axis(for(name <- names, side <- sides, do: rate.(name, side)), left, right)

    Svg.document(@width, bottom + 54, "Payloads: MB/s, 4 under way", about(data), [
      for(tick <- Svg.ticks(axis), do: down(axis, tick, top - 6, bottom)),
      Svg.text((left + right) / 2, bottom + 36, "MB/s, there and back counted once", "soft small",
        anchor: "middle"
      ),
      for {name, place} <- Enum.with_index(names) do
        y = top + place * group

        [
          Svg.text(left - 14, y + group / 2, name, "ink", anchor: "end"),
          for(
            {side, row} <- Enum.with_index(sides),
            do: stem(axis, side, rate.(name, side), y + row * step + 10)
          )
        ]
      end,
      for {side, row} <- Enum.with_index(sides) do
        y = top + 16 + row * 22

        [
          Svg.dot(right + 60, y - 4, 4.5, color(side)),
          Svg.text(right + 74, y, "#{side}  #{@short[side]}", color(side) <> strong(side))
        ]
      end
    ])
  end

  defp stem({_, _, left, _} = axis, side, rate, y) do
    x = Svg.at(axis, rate)

    [
      Svg.line([{left, y}, {x, y}], color(side), width: if(side == :g, do: 3, else: 1.5)),
      Svg.dot(x, y, 4, color(side)),
      Svg.text(x + 9, y + 4, Svg.number(rate), "soft small")
    ]
  end
end
