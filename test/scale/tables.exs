defmodule Scale.Tables do
  @moduledoc "The tables of docs/scale.md, as lines: costs and the model first, then what was simulated."

  import Bench.Data, only: [thousands: 1, short: 1, decimals: 2]
  alias Scale.Model

  def origin(data) do
    "# What things cost: test/scale/costs.exs, " <> text =
      Path.join(data, "costs.tsv") |> File.stream!() |> Enum.at(0)

    ["Costs recorded #{String.trim(text)}"]
  end

  def costs(c) do
    us = &"#{decimals(c[&1], 1)} µs"
    kb = &"#{decimals(c[&1] / 1000, 1)} kB"
    mb = &"#{decimals(c[&1] / 1.0e6, 1)} MB"

    calls =
      for size <- Model.sizes() do
        [
          size_name(size) <> ", there and back"
          | for(p <- ~w(beam node python), do: us.("call_#{size}_#{p}_us"))
        ] ++
          ["#{thousands(c["call_#{size}_bytes"])} bytes"]
      end

    items =
      ["an item of a stream" | for(p <- ~w(beam node python), do: us.("item_#{p}_us"))] ++
        ["#{thousands(c["item_bytes"])} bytes"]

    table(
      ["a call with", "BEAM", "node", "Python", "network"],
      calls ++ [items, ["`status`", us.("status_beam_us"), us.("status_node_us"), "", ""]]
    ) ++
      [""] ++
      table(["", "memory of the node", "descriptors of the node", "besides"], [
        ["the node itself, one worker", mb.("node_rss"), "#{round(c["node_fds"])}", ""],
        [
          "a further worker",
          kb.("worker_node_rss"),
          "#{round(c["worker_fds"])}",
          "#{mb.("worker_pss")} of its own (#{mb.("worker_numpy_pss")} with numpy preloaded); its start #{decimals(c["worker_start_us"] / 1000, 1)} ms of processor time"
        ],
        ["a connected peer", kb.("peer_rss"), "#{round(c["peer_fds"])}", ""],
        [
          "a waiting request of #{round(c["waiting_payload"])} bytes",
          "#{round(c["waiting_rss"])} bytes",
          "0",
          ""
        ]
      ])
  end

  def ends(c) do
    for_calls =
      for size <- Model.sizes() do
        node = Model.call(c, :node, size)
        calls = Model.per_second(node)

        [
          size_name(size),
          thousands(calls),
          "#{short(calls * Model.call(c, :bytes, size) * 8 / 1.0e9)} Gbit/s",
          short(calls * Model.call(c, :beam, size) / 1.0e6),
          short(calls * Model.call(c, :python, size) / 1.0e6)
        ]
      end

    items = Model.per_second(c["item_node_us"])

    stream = [
      "an item of a stream",
      thousands(items),
      "#{short(items * c["item_bytes"] * 8 / 1.0e9)} Gbit/s",
      short(items * c["item_beam_us"] / 1.0e6),
      short(items * c["item_python_us"] / 1.0e6)
    ]

    run_times = [{"1 ms", 0.001}, {"10 ms", 0.01}, {"50 ms", 0.05}, {"1 s", 1.0}]

    workers =
      for size <- [1000, 64_000, 1_000_000] do
        [
          size_name(size)
          | for(
              {_, run} <- run_times,
              do: thousands(Model.limits(c, %{run: run, bytes: size, slots: 1, items: 0}).loop)
            )
        ]
      end

    fds =
      for n <- [1024, 65_536, 1_048_576],
          do: [
            "#{thousands(n)}",
            thousands((n - c["node_fds"]) / c["worker_fds"]),
            thousands(n - c["node_fds"])
          ]

    ["One loop at 70 % carries, a second:", ""] ++
      table(
        [
          "",
          "calls or items",
          "network",
          "cores of BEAM",
          "cores of Python, only to decode and encode"
        ],
        for_calls ++ [stream]
      ) ++
      [
        "",
        "Workers, one core each, that keep one loop at 70 %, by what a call takes in Python:",
        ""
      ] ++
      table(["a call with" | Enum.map(run_times, &elem(&1, 0))], workers) ++
      [
        "",
        "Descriptors (`ulimit -Hn`; the node raises its own limit to that): room for so many workers, or peers:",
        ""
      ] ++
      table(["limit", "workers", "or peers"], fds)
  end

  def nodes(c) do
    for {name, w} <- Model.workloads(), cores <- [1, 100, 10_000] do
      p = Model.plan(c, w, cores)

      limit =
        cond do
          cores == 1 -> "Python"
          p.limit == :loop -> "the node's loop"
          p.limit == :machine -> "cores of the machine"
          true -> "network of the machine"
        end

      [
        if(cores == 1, do: name, else: ""),
        thousands(cores),
        thousands(p.calls) |> or_short(p.calls),
        if(p.items > 0, do: thousands(p.items), else: ""),
        thousands(p.nodes),
        thousands(p.machines),
        thousands(p.beams),
        "#{short(p.gigabits)}",
        limit
      ]
    end
    |> then(
      &table(
        [
          "workload",
          "cores of Python",
          "calls/s",
          "items/s",
          "nodes",
          "machines",
          "cores of BEAM",
          "Gbit/s",
          "limited by"
        ],
        &1
      )
    )
  end

  defp or_short(_, calls) when calls < 10, do: short(calls)
  defp or_short(text, _), do: text

  @rules [
    {"one_line", "one line"},
    {"priorities", "priorities"},
    {"queue_limit", "+ `queue_limit`"},
    {"queue_timeout", "+ `queue_timeout`"}
  ]

  def runs(runs, service, arrivals) do
    for load <- [50, 80, 95, 120], {rules, name} <- @rules do
      [high, normal, low, all] =
        for class <- ~w(high normal low all), do: one(runs, service, arrivals, rules, load, class)

      ["#{load} %", name] ++
        for(c <- [high, normal, low], do: "#{ms(c["wait_p50"])} / #{ms(c["wait_p99"])}") ++
        ["#{ms(all["total_p99"])}"] ++
        for(c <- [high, normal, low], do: lost(c)) ++ [percent(all["goodput"])]
    end
    |> then(
      &table(
        [
          "load",
          "rules",
          "wait high",
          "normal",
          "low",
          "total p99, all",
          "lost high",
          "normal",
          "low",
          "of use"
        ],
        &1
      )
    )
  end

  def services(runs) do
    for service <- ~w(features inference documents), {rules, name} <- @rules do
      cells =
        for load <- [80, 120] do
          high = one(runs, service, "poisson", rules, load, "high")
          low = one(runs, service, "poisson", rules, load, "low")

          [
            "#{ms(high["wait_p99"])} / #{ms(low["wait_p99"])}",
            "#{lost(high)} / #{lost(low)}",
            percent(low["goodput"])
          ]
        end

      [service, name] ++ Enum.concat(cells)
    end
    |> then(
      &table(
        [
          "calls",
          "rules",
          "80 %: wait p99 high / low",
          "lost high / low",
          "of use",
          "120 %: wait p99 high / low",
          "lost high / low",
          "of use"
        ],
        &1
      )
    )
  end

  defp one(runs, service, arrivals, rules, load, class) do
    Enum.find(
      runs,
      &(&1["service"] == service and &1["arrivals"] == arrivals and &1["rules"] == rules and
          round(&1["load"]) == load and &1["class"] == class)
    )
  end

  defp lost(c), do: percent(1 - c["ok"] / c["arrived"])
  defp percent(share) when share == 0, do: "0"
  defp percent(share), do: "#{decimals(share * 100, 1)} %"
  defp ms(us) when us == 0, do: "0"
  defp ms(us) when us < 10_000, do: decimals(us / 1000, 1)
  defp ms(us), do: thousands(us / 1000)

  def ahead(runs) do
    for [none, some] <- Enum.chunk_every(runs, 2) do
      [
        "#{ms(none["mean"])} ms",
        "#{round(none["load"])} %",
        percent(some["sent"]),
        percent(some["recalled"])
      ] ++
        for(
          key <- ~w(wait_mean high_p99 low_p99),
          run <- [none, some],
          do: decimals(run[key] / 1000, 2)
        )
    end
    |> then(
      &table(
        [
          "calls",
          "load",
          "sent ahead",
          "had back",
          "mean wait: none ahead",
          "8 ahead",
          "high p99: none",
          "8",
          "low p99: none",
          "8"
        ],
        &1
      )
    )
  end

  def overload(rows) do
    for [rule, answered, overloaded, timeout, p99, starts] <- rows do
      [rule, answered, overloaded, timeout, "#{ms(String.to_integer(p99))} ms", starts]
    end
    |> then(
      &table(
        ["", "answered", "refused", "timed out", "p99 of the answered", "starts of workers"],
        &1
      )
    )
  end

  @measures %{
    "must_wait" => "chance to wait (Erlang C)",
    "mean_wait" => "mean wait (Erlang C)",
    "wait_high" => "mean wait, high (Cobham)",
    "wait_low" => "mean wait, low (Cobham)",
    "queue_limit" => "refused, `queue_limit` 16 (M/M/8/24)",
    "queue_timeout" => "given up, `queue_timeout` half a service time (M/M/8+D)"
  }

  def theory(theory) do
    for t <- theory do
      [
        @measures[t["measure"]],
        "#{round(t["load"])} %" | for(k <- ~w(theory simulated error), do: decimals(t[k], 4))
      ] ++
        [if(t["error"] > 0, do: decimals((t["simulated"] - t["theory"]) / t["error"], 1), else: "")]
    end
    |> then(&table(["", "load", "theory", "simulated", "standard error", "off by, in errors"], &1))
  end

  def real(pairs) do
    for load <- ["80", "120"], {class, name} <- [{0, "high"}, {1, "normal"}, {2, "low"}] do
      {real, simulated} = pairs[load]

      quantile = fn told, q ->
        told
        |> Enum.filter(&(elem(&1, 0) == class))
        |> Enum.map(&elem(&1, 1))
        |> Enum.sort()
        |> then(&Enum.at(&1, div(q * length(&1), 100)))
      end

      refused = fn told ->
        Enum.count(told, fn {row, _} ->
          Enum.at(row, 1) == "#{class}" and Enum.at(row, 3) == "overloaded"
        end)
      end

      ["#{load} %", name, "#{refused.(simulated)}", "#{refused.(real)}"] ++
        for q <- [50, 90, 99], told <- [simulated, real], do: ms(quantile.(totals(told), q))
    end
    |> then(
      &table(
        [
          "load",
          "priority",
          "refused: simulated",
          "real",
          "p50, ms: simulated",
          "real",
          "p90: simulated",
          "real",
          "p99: simulated",
          "real"
        ],
        &1
      )
    )
  end

  defp size_name(64), do: "a small map"
  defp size_name(1000), do: "1 kB"
  defp size_name(64_000), do: "64 kB"
  defp size_name(1_000_000), do: "1 MB"

  @doc "Class and time to the answer of those that were answered, of what report.exs has read."
  def totals(told) do
    for {[_, class, _, "ok" | _] = row, at} <- told,
        do: {String.to_integer(class), String.to_integer(Enum.at(row, at))}
  end

  defp table([first | others] = head, rows) do
    line = &"| #{Enum.join(&1, " | ")} |"

    left =
      if(first in ["load", "calls"],
        do: ["---", "---" | tl(Enum.map(others, fn _ -> "---:" end))],
        else: ["---" | Enum.map(others, fn _ -> "---:" end)]
      )

    [line.(head), line.(left) | Enum.map(rows, line)]
  end
end
