defmodule Scale.Plots do
  @moduledoc "What the simulation found, as plots: waits by load, what limits do, a real node beside it."

  alias Bench.Svg

  @width 860
  @height 430
  @top 92
  @bottom 352
  @left {78, 412}
  @right {504, 838}

  @doc "Name and text of each."
  def all(runs, pairs),
    do: [{"sim_wait", wait(runs)}, {"sim_shed", shed(runs)}, {"sim_real", real(pairs)}]

  # ---- the time to wait, by load ----

  defp wait(runs) do
    looks = [
      {"one_line", "all", "without priorities", "soft", "5 4"},
      {"priorities", "high", "high", "green", nil},
      {"priorities", "normal", "normal", "blue", nil},
      {"priorities", "low", "low", "orange", nil}
    ]

    panel = fn arrivals, {from, to}, title ->
      lines =
        for {rules, class, _, color, dash} <- looks do
          {color, dash,
           for(r <- of(runs, arrivals, rules, class), do: {r["load"], max(r["wait_p99"] / 1000, 5)})}
        end

      panel(
        title,
        {from, to},
        {:linear, 50, 120},
        {:log, 5, 5000},
        "load, % of what the workers can do",
        "99th percentile of the wait, ms",
        lines
      )
    end

    document(
      "Waiting for a worker, by load and priority",
      "Simulated: 8 workers, calls of 50 ms (recorded), nobody waits longer than 2 s; 20 % high, 50 % normal, 30 % low",
      [panel.("poisson", @left, "Poisson arrivals"), panel.("bursts", @right, "bursts")],
      for({_, _, name, color, dash} <- looks, do: {name, color, dash})
    )
  end

  # ---- what limits do ----

  @rules [
    {"one_line", "one line", "soft", "5 4"},
    {"priorities", "priorities", "blue", nil},
    {"queue_limit", "and queue_limit", "orange", nil},
    {"queue_timeout", "and queue_timeout", "green", "2 4"}
  ]

  defp shed(runs) do
    lines = fn class, value ->
      for {rules, _, color, dash} <- @rules do
        {color, dash, for(r <- of(runs, "poisson", rules, class), do: {r["load"], value.(r)})}
      end
    end

    x = {:linear, 50, 120}
    label = "load, % of what the workers can do"

    document(
      "What limits do to an overload",
      "Simulated: 8 workers, calls of 50 ms (recorded), Poisson arrivals; nobody is answered after 2 s",
      [
        panel(
          "work that was of use",
          @left,
          x,
          {:linear, 40, 100},
          label,
          "% of the workers' time",
          lines.("all", &(&1["goodput"] * 100))
        ),
        panel(
          "requests of high priority that were answered",
          @right,
          x,
          {:linear, 40, 100},
          label,
          "% of them",
          lines.("high", &(100 * &1["ok"] / &1["arrived"]))
        )
      ],
      for({_, name, color, dash} <- @rules, do: {name, color, dash})
    )
  end

  # ---- a real node ----

  @classes [{0, "high", "green"}, {1, "normal", "blue"}, {2, "low", "orange"}]

  defp real(pairs) do
    panel = fn load, place, title, least, most ->
      {real, simulated} = pairs[load]

      lines = for {class, _, color} <- @classes, do: {color, nil, share(simulated, class, 1..99)}

      dots =
        for {class, _, color} <- @classes,
            {x, y} <- share(real, class, [2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98]),
            do: {color, x, y}

      panel(
        title,
        place,
        {:log, least, most},
        {:linear, 0, 100},
        "from request to answer, ms",
        "% answered by then",
        lines,
        dots
      )
    end

    document(
      "A real node and the simulation, for the same requests",
      "8 workers, calls of 250 ms: lines are simulated, dots are what callers of a real node saw",
      [
        panel.("80", @left, "80 % load", 200, 2000),
        panel.("120", @right, "120 % load, queue_limit 32", 200, 5000)
      ],
      for({_, name, color} <- @classes, do: {name, color, nil})
    )
  end

  defp share(totals, class, percents) do
    sorted = totals |> Enum.filter(&(elem(&1, 0) == class)) |> Enum.map(&elem(&1, 1)) |> Enum.sort()
    sorted = List.to_tuple(sorted)
    for q <- percents, do: {elem(sorted, div(q * tuple_size(sorted), 100)) / 1000, q}
  end

  # ---- parts ----

  defp of(runs, arrivals, rules, class) do
    runs
    |> Enum.filter(
      &(&1["service"] == "inference" and &1["arrivals"] == arrivals and &1["rules"] == rules and
          &1["class"] == class)
    )
    |> Enum.sort_by(& &1["load"])
  end

  defp document(title, about, panels, legend) do
    Svg.document(@width, @height, title, about, panels ++ [legend(legend)])
  end

  defp legend(entries) do
    for {{name, color, dash}, i} <- Enum.with_index(entries) do
      x = 78 + i * 200

      [
        Svg.line([{x, @height - 18}, {x + 28, @height - 18}], color, width: 2.5, dash: dash),
        Svg.text(x + 36, @height - 14, name, "ink small")
      ]
    end
  end

  defp panel(title, {from, to}, x, y, x_label, y_label, lines, dots \\ []) do
    h = place(x, from, to)
    v = place(y, @bottom, @top)

    [
      Svg.text((from + to) / 2, @top - 12, title, "ink strong", anchor: "middle"),
      for(
        t <- ticks(y),
        do: [Svg.line([{from, v.(t)}, {to, v.(t)}], "grid"), tick(from - 8, v.(t) + 4, t, "end")]
      ),
      for(
        t <- ticks(x),
        do: [
          Svg.line([{h.(t), @bottom}, {h.(t), @bottom + 5}], "soft"),
          tick(h.(t), @bottom + 20, t, "middle")
        ]
      ),
      Svg.line([{from, @bottom}, {to, @bottom}], "soft"),
      Svg.text((from + to) / 2, @bottom + 40, x_label, "soft small", anchor: "middle"),
      upright(from - 50, (@top + @bottom) / 2, y_label),
      for(
        {color, dash, points} <- lines,
        do:
          Svg.line(Enum.map(points, fn {a, b} -> {h.(a), v.(b)} end), color, width: 2.2, dash: dash)
      ),
      for({color, a, b} <- dots, do: Svg.dot(h.(a), v.(b), 3.5, color, :ring))
    ]
  end

  defp tick(x, y, value, anchor), do: Svg.text(x, y, "#{value}", "soft small", anchor: anchor)

  defp upright(x, y, text) do
    [_, rest] =
      Svg.text(0, 0, text, "soft small", anchor: "middle") |> String.split("<text ", parts: 2)

    ~s|<text transform="translate(#{x} #{y}) rotate(-90)" | <> rest
  end

  defp place({:linear, least, most}, from, to),
    do: &(from + (to - from) * (&1 - least) / (most - least))

  defp place({:log, least, most}, from, to) do
    &(from + (to - from) * :math.log(min(max(&1, least), most) / least) / :math.log(most / least))
  end

  defp ticks({:linear, least, most}),
    do: for(t <- 0..120//10, t >= least and t <= most, rem(t, 20) == 0 or most - least < 75, do: t)

  defp ticks({:log, least, most}) do
    for p <- [1, 10, 100, 1000], m <- [1, 2, 5], p * m >= least, p * m <= most, do: p * m
  end
end
