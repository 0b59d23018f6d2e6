# overload.exs - a real node with more calls than it can serve, by three rules (`make record-overload`).
#
#   KRAIT_BIN=priv/krait elixir -pa build/demo test/scale/overload.exs docs/data/overload.tsv
#
# Four workers sleep 5 ms for each call, 900 calls a second come, which is a fifth too many, and each is to be
# answered within 200 ms. What differs is what else the pool is told.
Code.require_file("../../mix_harness/test/support/local_node.ex", __DIR__)

defmodule Overload do
  @calls 8000
  @gap_us 1111
  @rules [
    {"nothing else", []},
    {"`queue_limit` 16", [queue_limit: 16]},
    {"`queue_timeout` 20 ms", [queue_timeout: 20]}
  ]

  def main([path]) do
    Logger.configure(level: :error)
    :ok = Krait.LocalNode.start("overload_#{System.pid()}")
    lines = for {name, options} <- @rules, do: Enum.join([name | run(options)], "\t")

    File.write!(path, """
    # A real node, 4 workers, #{@calls} calls of 5 ms, one every #{@gap_us} us, call_timeout 200 ms: test/scale/overload.exs,
    # #{Date.utc_today()}.
    rule\tanswered\toverloaded\ttimeout\tp99_us\tstarts
    #{Enum.join(lines, "\n")}
    """)
  end

  defp run(options) do
    fixed = [size: 4, pythonpath: [__DIR__], await_ready: true, call_timeout: 200]
    {:ok, pool} = Krait.start_link(fixed ++ options)
    for _ <- 1..100, do: Krait.call!(pool, "services", "sleep_us", [5000])
    from = System.monotonic_time(:microsecond)
    answers = 1..@calls |> Enum.map(&ask(pool, from + &1 * @gap_us)) |> Task.await_many(:infinity)
    {:ok, %{pools: %{default: %{totals: totals}}}} = Krait.status(pool)
    GenServer.stop(pool)
    counts = Enum.frequencies_by(answers, &elem(&1, 0))
    ok = for({:ok, total} <- answers, do: total) |> Enum.sort()
    counted = for kind <- [:ok, :overloaded, :timeout], do: Map.get(counts, kind, 0)
    counted ++ [Enum.at(ok, div(length(ok) * 99, 100)), totals.starts]
  end

  defp ask(pool, at) do
    left = div(at - System.monotonic_time(:microsecond), 1000)
    if left > 1, do: Process.sleep(left)

    Task.async(fn ->
      begin = System.monotonic_time(:microsecond)

      case Krait.call(pool, "services", "sleep_us", [5000]) do
        {:ok, _} -> {:ok, System.monotonic_time(:microsecond) - begin}
        {:error, %{kind: kind}} -> {kind, nil}
      end
    end)
  end
end

Overload.main(System.argv())
