defmodule Krait.StatusTest do
  # Section 8 of the contract: what the node says of itself, and that its books balance.
  use Krait.Case, async: true

  test "status has every key of the contract" do
    node = start_node()
    assert {:ok, status} = ask(node, :status)
    assert status.node == node.name
    assert status.os_pid == node.os_pid
    assert is_binary(status.version)
    assert is_integer(status.uptime_ms) and status.uptime_ms >= 0
    assert Map.has_key?(status, :peers)
    pool = status.pools.default

    for key <- [:size, :ready, :busy, :leased, :starting, :queued, :queue_limit, :sessions] do
      assert {^key, number} = {key, pool[key]}
      assert is_integer(number)
    end

    assert %{size: 2, ready: 2, busy: 0, leased: 0, starting: 0, queued: 0} = pool
    assert Map.has_key?(pool, :state) and Map.has_key?(pool, :breaker)

    for which <- [:wait, :call, :start], percentile <- [:p50, :p95, :p99, :max] do
      assert is_integer(pool.latency_us[which][percentile])
    end

    for key <- [:received, :answered, :abandoned, :queued, :running] do
      assert is_integer(pool.totals[key])
    end

    assert {:ok, ^status} = {:ok, %{status | uptime_ms: status.uptime_ms}}
    assert {:ok, %{node: _}} = Krait.status(node.instance)
    assert {:ok, %{node: _}} = :krait.status({:krait, node.name})
  end

  test "latencies are those of the calls" do
    node = start_node()
    for _ <- 1..3, do: py(node, sleep(0.05))
    %{call: call, start: start} = pool_status(node).latency_us
    assert call.p50 in 40_000..10_000_000
    assert call.max >= call.p99 and call.p99 >= call.p95 and call.p95 >= call.p50
    assert start.max > 0
  end

  test "workers has one map for each, with its call and its caller" do
    node = start_node(size: 2)
    parent = self()
    gate = Krait.Gate.new()
    caller = caller(:done, node, eval(Krait.Gate.behind(gate, "7")))
    await_running(node, 1)
    workers = workers(node)
    assert length(workers) == 2

    for worker <- workers do
      assert is_integer(worker.os_pid) and Proc.alive?(worker.os_pid)
      assert is_integer(worker.since_ms) and worker.since_ms >= 0
      assert is_integer(worker.calls)
      assert is_integer(worker.rss_bytes) and worker.rss_bytes > 1_000_000
      assert worker.last_error == nil
      for key <- [:id, :sessions, :call, :caller], do: assert(Map.has_key?(worker, key))
    end

    assert [busy] = Enum.filter(workers, &(&1.state == :busy))
    assert busy.call == {"builtins", "eval"}
    assert busy.caller == caller
    assert [idle] = Enum.filter(workers, &(&1.state == :idle))
    assert {idle.call, idle.caller} == {nil, nil}
    Krait.Gate.open(gate)
    assert_receive {:done, {:ok, 7}}, 10_000

    lease = lease!(node)
    assert [leased] = Enum.filter(workers(node), &(&1.state == :leased))
    assert leased.caller in [nil, parent]
    assert ask(lease, :checkin) == :ok
    assert {:ok, [_, _]} = Krait.workers(node.pool)
  end

  test "a worker's map remembers calls and the last error" do
    node = start_node(size: 1)
    for _ <- 1..3, do: {:ok, 1} = py(node, "1")
    assert [%{calls: 3, last_error: nil}] = workers(node)
    assert {:error, {:python, _}} = py(node, "1 / 0")
    assert [%{calls: 4, last_error: error}] = workers(node)
    assert error != nil
  end

  test "the books count every request once, whatever its end" do
    node = start_node(size: 1, queue_limit: 1)
    assert {:ok, 1} = py(node, "1")
    assert {:error, {:python, _}} = py(node, "1 / 0")
    assert {:error, {:no_function, _, _}} = ask(node, {:call, :math, :nothing, []})
    assert {:error, {:bad_request, _}} = ask(node, {:call, 1, 2, 3})
    assert {:error, {:unknown_request, _}} = ask(node, :frobnicate)
    assert {:error, {:worker_exit, _}} = py(node, "__import__('os')._exit(1)")
    await_rest(node)
    assert {:error, {:timeout, :call}} = py(node, sleep(30), timeout: 50)
    lease = lease!(node)
    assert {:error, {:timeout, :queue}} = py(node, "1", queue_timeout: 10)
    waiter = caller(:waiter, node, eval("1"))
    await_queued(node, 1)
    assert {:error, {:overloaded, _}} = py(node, "1")
    before = totals(node)
    assert balanced?(before)
    assert before.queued == 1
    kill(waiter)
    eventually(totals(node).abandoned == before.abandoned + 1)
    assert {:ok, 2} = py(lease, "2")
    assert ask(lease, :checkin) == :ok
    await_rest(node)
    totals = totals(node)
    assert balanced?(totals)
    assert %{queued: 0, running: 0, abandoned: 1, worker_exit: 1, overloaded: 1} = totals
    assert %{timeout_queue: 1, timeout_call: 1} = totals
  end
end
