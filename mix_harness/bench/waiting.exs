defmodule Bench.Waiting do
  @moduledoc """
  What requests cost the node that wait for a worker: memory each, and work for each that comes, goes,
  dies or runs out of time, with a thousand and with ten thousand of them.

  The pool is paused meanwhile, so every request waits. Memory is what the node's resident memory grows by,
  beyond the request's own external term. Work is the node's processor time: O(1) means that it is the same
  for each whether there are many or few.
  """

  alias Bench.{Proc, Rounds, Values}

  @memory_of 10_000

  @doc "Bytes of resident memory for each waiting request, by both ways of calling."
  def memory(run) do
    for way <- [:genserver, :krait], into: %{} do
      Rounds.progress("memory of waiting requests, #{way}")
      {way, memory(run, way, scaled(@memory_of, run))}
    end
  end

  defp memory(run, way, count) do
    node = paused(run)
    # A few beforehand, so that what the first ones cost is not counted.
    few = callers(node, way, div(count, 100), [])
    queued(node, length(few))
    before = Proc.rss(node.os_pid)
    many = callers(node, way, count, [])
    queued(node, length(few) + count)
    grown = Proc.rss(node.os_pid) - before
    kill(few ++ many)
    queued(node, 0)
    Bench.Node.stop(node)
    %{waiting: count, bytes: grown / count, payload: payload(way)}
  end

  defp payload(way) do
    request = {:call, "bench_echo", "echo", [Values.small()]}

    case way do
      :genserver -> {:"$gen_call", {self(), [:alias | make_ref()]}, request}
      :krait -> {10_000, request, self()}
    end
    |> :erlang.external_size()
  end

  @doc "Microseconds of the node's processor time for each request, by what happens to it."
  def work(run) do
    node = paused(run)

    jobs =
      for count <- [scaled(1_000, run), scaled(10_000, run)],
          what <- [:death, :timeout, :dequeue],
          do: {{what, count}, fn -> work(node, what, count) end}

    results = Rounds.run(jobs, run.rounds, "work for waiting requests")
    Bench.Node.stop(node)

    ends = for {{what, count}, list} <- results, do: {what, count, Enum.map(list, &elem(&1, 1))}

    comes = for {{_, count}, list} <- results, do: {:enqueue, count, Enum.map(list, &elem(&1, 0))}

    for {what, list} <- Enum.group_by(ends ++ comes, &elem(&1, 0)), into: %{} do
      {what,
       list
       |> Enum.group_by(&elem(&1, 1), &elem(&1, 2))
       |> Map.new(fn {n, l} -> {n, Enum.concat(l)} end)}
    end
  end

  # What it costs that they come, and that they go, each. Those that shall be late must not be so before the
  # last of them has come; on a machine where they were, they get twice the time.
  defp work(node, what, count, timeout \\ nil) do
    timeout = timeout || 200 + div(count, 10)
    options = if what == :timeout, do: [%{timeout: timeout}], else: []
    start = Proc.cpu_ns(node.os_pid)
    callers = callers(node, :genserver, count, options)

    if all_queued?(node, callers) do
      full = Proc.cpu_ns(node.os_pid)
      go(node, what, callers)
      queued(node, 0)
      gone(callers)
      empty = Proc.cpu_ns(node.os_pid)
      :ok = Bench.Node.call(node, :pause)
      {(full - start) / 1000 / count, (empty - full) / 1000 / count}
    else
      gone(callers)
      work(node, what, count, timeout * 2)
    end
  end

  defp go(_, :death, callers), do: kill(callers)
  defp go(node, :dequeue, _), do: :ok = Bench.Node.call(node, :resume)
  defp go(_, :timeout, _), do: :ok

  defp all_queued?(node, callers) do
    count = length(callers)

    Bench.Node.wait_for(
      fn ->
        Bench.Node.status(node).queued == count or not Enum.all?(callers, &Process.alive?/1)
      end,
      50
    )

    Enum.all?(callers, &Process.alive?/1)
  end

  defp paused(run) do
    node = Bench.Node.start_ready(run.krait, run.node_args ++ ["--queue-limit", "20000"])
    :ok = Bench.Node.call(node, :pause)
    node
  end

  defp callers(node, way, count, options) do
    arguments = ["bench_echo", "echo", [Values.small()]] ++ options
    pool = Bench.Node.pool(node)
    request = List.to_tuple([:call | arguments])

    for _ <- 1..max(count, 1) do
      spawn(fn ->
        case way do
          :genserver -> GenServer.call(pool, request, :infinity)
          :krait -> apply(Krait, :call, [pool | arguments])
        end
      end)
    end
  end

  # Each look costs the node some microseconds, so there are few.
  defp queued(node, count),
    do: Bench.Node.wait_for(fn -> Bench.Node.status(node).queued == count end, 100)

  defp gone(callers), do: Bench.Node.wait_for(fn -> not Enum.any?(callers, &Process.alive?/1) end)

  defp kill(pids), do: Enum.each(pids, &Process.exit(&1, :kill))

  defp scaled(count, run), do: max(round(count * run.scale), 20)
end
