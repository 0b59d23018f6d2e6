defmodule Bench.Ways do
  @moduledoc """
  The ways of calling, with one small map each time: alone, in a lease, in a session, in batches. How many
  do so at once: one, as many as there are workers, and many. A lease holds a worker, so with more than four
  holders only the way that gives it back after each call makes sense.
  """

  alias Bench.{Load, Rounds, Values}

  @batch 64
  @ways [
    genserver: {"`GenServer.call`", [1, 4, 64]},
    krait: {"`Krait.call`", [1, 4, 64]},
    lease: {"one lease, many calls", [1, 4]},
    checkout: {"checkout, one call, checkin", [1, 4, 64]},
    session: {"in a session of its own", [1, 4, 64]},
    batch: {"batches of #{@batch} calls", [1, 4, 64]}
  ]

  @doc "Key, name and concurrencies of each way, in the order of the table."
  def all, do: @ways

  def run(run) do
    node = Bench.Node.start_ready(run.krait, run.node_args)
    pool = Bench.Node.pool(node)
    {:ok, 1} = Krait.call(pool, "bench_echo", "echo", [1])
    delay = Bench.Node.delay_send(node)
    ms = %{warm: run.warm_ms, window: run.window_ms}

    jobs =
      for {way, {_, list}} <- @ways, n <- list, n <= run.most do
        {{way, n},
         fn ->
           Bench.Node.delay_send(node, way != :genserver and delay)
           measure(way, n, ms, pool)
         end}
      end

    results = Rounds.run(jobs, run.rounds, "ways of calling")
    Bench.Node.stop(node)

    for {way, {_, list}} <- @ways, into: %{} do
      {way, for(n <- list, n <= run.most, into: %{}, do: {n, Rounds.series(results[{way, n}])})}
    end
  end

  defp measure(:batch, n, ms, pool) do
    value = Values.small()
    calls = List.duplicate({"bench_echo", "echo", [value]}, @batch)
    answers = List.duplicate({:ok, value}, @batch)
    result = Load.processes(n, ms, fn _ -> {:ok, ^answers} = Krait.batch(pool, calls) end)
    %{result | calls: result.calls * @batch}
  end

  defp measure(:lease, n, ms, pool) do
    lease = fn _ -> elem({:ok, _} = Krait.checkout_lease(pool), 1) end
    Load.processes(n, ms, &call(&1, []), lease, &Krait.checkin/1)
  end

  defp measure(:checkout, n, ms, pool) do
    Load.processes(n, ms, fn _ -> {:ok, _} = Krait.checkout(pool, &call(&1, [])) end)
  end

  defp measure(:session, n, ms, pool) do
    session = fn id -> [session: {:bench, id}] end
    forget = fn [session: id] -> Krait.end_session(pool, id) end
    Load.processes(n, ms, &call(pool, &1), session, forget)
  end

  defp measure(:krait, n, ms, pool), do: Load.processes(n, ms, fn _ -> call(pool, []) end)

  defp measure(:genserver, n, ms, pool) do
    value = Values.small()
    request = {:call, "bench_echo", "echo", [value]}
    Load.processes(n, ms, fn _ -> {:ok, ^value} = GenServer.call(pool, request, 60_000) end)
  end

  defp call(to, options) do
    value = Values.small()
    {:ok, ^value} = Krait.call(to, "bench_echo", "echo", [value], options)
  end
end
