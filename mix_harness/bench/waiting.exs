defmodule Bench.Waiting do
  @moduledoc """
  What requests cost the node that wait for a worker: memory each, and work for each that comes, goes,
  dies or runs out of time, with a thousand and with ten thousand of them.

  The pool is paused meanwhile, so every request waits. Memory is what the node's resident memory grows by,
  beyond the request's own external term.

  Work is the node's processor time: O(1) means that it is the same for each whether many wait already or few. A
  wake-up of the node takes about as much as four requests, and how many come for each hangs on how the BEAM
  writes them: that is measured, too, but as something else (`awake`). For the work itself they come, die, and
  have heard their answers a thousand at a time while the node is stopped (SIGSTOP), and it finds all that when
  it goes on.
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

  @doc """
  Microseconds of the node's processor time for each request, by what happens to it: `work`, and `awake`, where
  the node reads them as they are written, all at once.
  """
  def work(run) do
    node = paused(run)
    few = scaled(1_000, run)

    jobs =
      for(
        what <- [:death, :timeout, :dequeue],
        count <- [few, scaled(10_000, run)],
        do: {{:work, what, count}, fn -> work(node, what, count, few) end}
      ) ++
        for count <- [few, scaled(10_000, run)],
            do: {{:awake, :death, count}, fn -> work(node, :death, count, nil) end}

    results = Rounds.run(jobs, run.rounds, "work for waiting requests")
    Bench.Node.stop(node)

    for how <- [:work, :awake], into: %{} do
      ends = for {{^how, what, n}, list} <- results, do: {what, n, Enum.map(list, &elem(&1, 1))}
      comes = for {{^how, _, n}, list} <- results, do: {:enqueue, n, Enum.map(list, &elem(&1, 0))}
      {how, by_what(ends ++ comes)}
    end
  end

  defp by_what(list) do
    for {what, list} <- Enum.group_by(list, &elem(&1, 0)), into: %{} do
      {what,
       list
       |> Enum.group_by(&elem(&1, 1), &elem(&1, 2))
       |> Map.new(fn {n, l} -> {n, Enum.concat(l)} end)}
    end
  end

  # What it costs that they come, and that they go, each; `wave`: how many at a time, at a node that is stopped
  # meanwhile, or nil. Those that shall be late must not be so before the last of them has come; on a machine
  # where they were, they get twice the time.
  defp work(node, what, count, wave, timeout \\ nil) do
    timeout = timeout || 200 + div(count, 5)
    options = if what == :timeout, do: [%{timeout: timeout}], else: []
    start = Proc.cpu_ns(node.os_pid)
    callers = come(node, count, wave, options, [])

    if length(callers) == count do
      full = Proc.cpu_ns(node.os_pid)
      go(node, what, callers, wave)
      empty = Proc.cpu_ns(node.os_pid)
      :ok = Bench.Node.call(node, :pause)
      {(full - start) / 1000 / count, (empty - full) / 1000 / count}
    else
      answered(callers)
      thank(node, callers, wave)
      work(node, what, count, wave, timeout * 2)
    end
  end

  # Until so many wait, or some are late already: then fewer.
  defp come(_, count, _, _, callers) when length(callers) >= count, do: callers

  defp come(node, count, wave, options, callers) do
    new =
      stopped(node, wave, fn ->
        new = callers(node, if(wave, do: :patient, else: :genserver), wave || count, options)
        if wave, do: Bench.Node.wait_for(fn -> Enum.all?(new, &asked?/1) end, 1)
        new
      end)

    callers = callers ++ new

    if all_queued?(node, length(callers)),
      do: come(node, count, wave, options, callers),
      else: callers
  end

  # It waits for the answer.
  defp asked?(pid), do: Process.info(pid, :status) in [{:status, :waiting}, {:status, :suspended}]

  defp all_queued?(node, count) do
    Bench.Node.wait_for(fn -> Bench.Node.status(node).queued == count or any_answered?() end, 50)
    not any_answered?()
  end

  defp any_answered? do
    {:messages, messages} = Process.info(self(), :messages)
    Enum.any?(messages, &match?({:answered, _}, &1))
  end

  defp go(node, :death, callers, wave) do
    for some <- Enum.chunk_every(callers, wave || length(callers)), reduce: length(callers) do
      left ->
        stopped(node, wave, fn ->
          kill(some)
          gone(some)
        end)

        queued(node, left - length(some))
        left - length(some)
    end
  end

  defp go(node, what, callers, wave) do
    if what == :dequeue, do: :ok = Bench.Node.call(node, :resume)
    answered(callers)
    thank(node, callers, wave)
  end

  defp answered(callers) do
    for pid <- callers do
      receive do
        {:answered, ^pid} -> :ok
      end
    end
  end

  # They have heard their answers; the node knows it when it answers `status`.
  defp thank(node, callers, wave) do
    for some <- Enum.chunk_every(callers, wave) do
      stopped(node, wave, fn ->
        Enum.each(some, &send(&1, :thanks))
        gone(some)
      end)

      Bench.Node.status(node)
    end
  end

  # The node does nothing while `fun` runs, unless `wave` is nil.
  defp stopped(_, nil, fun), do: fun.()

  defp stopped(node, _, fun) do
    Proc.signal(node.os_pid, "STOP")
    fun.()
  after
    Proc.signal(node.os_pid, "CONT")
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
    asker = self()

    for _ <- 1..max(count, 1) do
      spawn(fn ->
        case way do
          :genserver -> GenServer.call(pool, request, :infinity)
          :krait -> apply(Krait, :call, [pool | arguments])
          :patient -> patient(pool, request, asker)
        end
      end)
    end
  end

  # As GenServer.call, but the node hears only when it is told to thank that the answer was heard.
  defp patient(pool, request, asker) do
    ref = :erlang.monitor(:process, pool, alias: :demonitor)
    send(pool, {:"$gen_call", {self(), [:alias | ref]}, request})

    receive do
      {[:alias | ^ref], _} -> send(asker, {:answered, self()})
    end

    receive do
      :thanks -> Process.demonitor(ref, [:flush])
    end
  end

  # Each look costs the node some microseconds, so there are few.
  defp queued(node, count),
    do: Bench.Node.wait_for(fn -> Bench.Node.status(node).queued == count end, 100)

  defp gone(callers),
    do: Bench.Node.wait_for(fn -> not Enum.any?(callers, &Process.alive?/1) end, 1)

  defp kill(pids), do: Enum.each(pids, &Process.exit(&1, :kill))

  defp scaled(count, run), do: max(round(count * run.scale), 20)
end
