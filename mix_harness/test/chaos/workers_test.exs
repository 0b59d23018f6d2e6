defmodule Krait.ChaosWorkersTest do
  # SIGKILL, SIGSTOP and SIGCONT, for workers and for the fork server, under load.
  use Krait.Case, async: true

  import Krait.Chaos

  # Callers that ask until told to stop, each for answers that nobody else asks for; the tally of each
  # comes back when it has stopped.
  defp start_callers(node, count, options) do
    for c <- 1..count, do: Task.async(fn -> ask_on(node, c * 1_000_000, options, %{}) end)
  end

  defp ask_on(node, nonce, options, tally) do
    receive do
      :enough -> tally
    after
      0 ->
        outcome =
          case ask(node, {:call, :operator, :add, [nonce, 1], options}) do
            {:ok, sum} when sum == nonce + 1 -> :right
            {:ok, _} -> :wrong
            {:error, {:worker_exit, %{}}} -> :worker_exit
            # in the queue as well, where this machine is busy and every worker has been stopped
            {:error, {:timeout, _}} -> :timeout
            other -> other
          end

        ask_on(node, nonce + 1, options, Map.update(tally, outcome, 1, &(&1 + 1)))
    end
  end

  defp stop_callers(callers) do
    for task <- callers, do: send(task.pid, :enough)

    callers
    |> Task.await_many(30_000)
    |> Enum.reduce(%{}, &Map.merge(&1, &2, fn _, a, b -> a + b end))
  end

  # One that serves: what happens to one that starts, or is on its way out already, is another story.
  defp some_worker(node) do
    eventually(
      case Enum.filter(workers(node), &(&1.state not in [:starting, :stopping])) do
        [] -> nil
        serving -> Enum.random(serving).os_pid
      end
    )
  end

  defp kill_workers(node, count) do
    for n <- 1..count do
      try_signal(some_worker(node), "KILL")
      eventually(totals(node).exits >= n)
    end
  end

  test "workers are SIGKILLed under load: each call hears its own answer or worker_exit" do
    node = start_node(size: 4)
    before = before(node)
    callers = start_callers(node, 8, [])

    kill_workers(node, 30)

    tally = stop_callers(callers)
    assert_unharmed(node, before)
    assert tally.right > 100
    assert Map.keys(tally) -- [:right, :worker_exit] == []
  end

  test "with retries, callers do not even notice" do
    node = start_node(size: 4)
    before = before(node)
    callers = start_callers(node, 8, retry: 50)

    kill_workers(node, 30)

    assert %{right: right} = tally = stop_callers(callers)
    assert_unharmed(node, before)
    assert right > 100
    assert Map.keys(tally) == [:right]
  end

  test "workers that are SIGSTOPped and go on after a while lose nothing" do
    node = start_node(size: 4)
    before = before(node)
    workers = os_pids(node)

    for round <- 1..10 do
      for os_pid <- workers, do: signal(os_pid, "STOP")
      ids = for i <- 1..40, do: :gen_server.send_request(node.pool, eval("#{round}, #{i}"))
      eventually(match?(%{running: 4, queued: 36}, totals(node)))
      for os_pid <- workers, do: signal(os_pid, "CONT")

      for {id, i} <- Enum.with_index(ids, 1) do
        assert :gen_server.wait_response(id, 10_000) == {:reply, {:ok, {round, i}}}
      end
    end

    assert_unharmed(node, before)
    assert os_pids(node) == workers
  end

  test "workers that are SIGSTOPped for good cost a call each, and are replaced" do
    node = start_node(size: 4)
    before = before(node)
    workers = os_pids(node)
    callers = start_callers(node, 8, timeout: 250)

    for n <- 1..10 do
      try_signal(some_worker(node), "STOP")
      eventually(totals(node).left.timeout >= n)
    end

    tally = stop_callers(callers)
    assert_unharmed(node, before)
    assert tally.right > 100
    assert Map.keys(tally) -- [:right, :timeout] == []
    assert os_pids(node) -- workers != []
  end

  test "a leased worker that is SIGKILLed takes its lease along, and the monitor hears of it" do
    node = start_node(size: 4)
    before = before(node)

    for _ <- 1..25 do
      lease = lease!(node)
      ref = Process.monitor(lease)
      {:ok, os_pid} = ask(lease, {:call, :os, :getpid, []})
      signal(os_pid, "KILL")
      assert_receive {:DOWN, ^ref, :process, ^lease, reason}, 5_000
      assert reason != :normal
      assert ask_or_exit(lease) in [{:error, :lease_closed}, :exit]
    end

    assert_unharmed(node, before)
    assert Process.info(self(), :messages) == {:messages, []}
  end

  defp ask_or_exit(lease) do
    ask(lease, eval("1"))
  catch
    :exit, _ -> :exit
  end

  test "the fork server is SIGKILLed again and again under load; the pool heals each time" do
    node = start_node(size: 4)
    before = before(node)
    callers = start_callers(node, 8, [])

    for _ <- 1..5 do
      fork_server = eventually(fork_server(node))
      try_signal(fork_server, "KILL")
      eventually(not Proc.alive?(fork_server))
      # Its orphans may seem to serve for a moment; then there are four of another parent.
      eventually(fork_server(node) not in [nil, fork_server])
      eventually(match?(%{ready: 4}, pool_status(node)))
    end

    tally = stop_callers(callers)
    assert_unharmed(node, before)
    assert tally.right > 100
    assert Map.keys(tally) -- [:right, :worker_exit] == []
  end

  test "while the fork server is SIGSTOPped the workers that live serve; it goes on, and all are there" do
    node = start_node(size: 4)
    before = before(node)
    workers = os_pids(node)
    fork_server = fork_server(node)
    [one, another | _] = workers
    signal(fork_server, "STOP")
    signal(one, "KILL")
    signal(another, "KILL")
    # Two of four are left; a call may meet one that is dead and not yet missed.
    answers = for i <- 1..200, do: {i, py(node, "#{i}", timeout: 5_000)}
    lost = for {i, answer} <- answers, answer != {:ok, i}, do: answer
    assert length(lost) <= 2
    assert Enum.all?(lost, &match?({:error, {:worker_exit, _}}, &1))
    assert {:ok, %{}} = ask(node, :status)
    signal(fork_server, "CONT")
    assert_unharmed(node, before)
    assert length(os_pids(node) -- workers) == 2
  end
end
