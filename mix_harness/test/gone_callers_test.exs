defmodule Krait.GoneCallersTest do
  # The end of section 2: callers that are gone, late answers, and what `abandon` makes of a call.
  use Krait.Case, async: true

  alias Krait.Gate

  # The two ways in which a worker can survive an abandoned call, or not.
  defp busy_pid(node) do
    await_running(node, 1)
    [worker] = Enum.filter(workers(node), &(&1.state == :busy))
    worker.os_pid
  end

  # A function of krait_faults says so when it runs: the call is not only sent.
  defp await_begun(%{name: name}) do
    assert_receive {:krait_line, ^name, _, _, line}, 5_000
    unless line =~ ~r/: begun$/, do: await_begun(%{name: name})
  end

  describe "a caller that gives up" do
    test "never gets the late answer, whatever abandon says" do
      for abandon <- [:kill, :interrupt, :finish] do
        node = start_node(size: 1, abandon: abandon)
        gate = Gate.new()
        late = eval(Gate.behind(gate, "'late'"))
        assert exit_reason(fn -> ask(node, late, 100) end) == :timeout
        eventually(totals(node).abandoned == 1)
        Gate.open(gate)
        await_rest(node)
        assert py(node, "1") == {:ok, 1}
        assert Process.info(self(), :messages) == {:messages, []}
      end
    end

    test "while it waits leaves the queue at once" do
      node = start_node(size: 1)
      lease = lease!(node)
      assert exit_reason(fn -> ask(node, eval("1"), 50) end) == :timeout
      eventually(match?(%{queued: 0, abandoned: 1}, totals(node)))
      assert exit_reason(fn -> ask(node, {:checkout, :anonymous}, 50) end) == :timeout
      eventually(match?(%{queued: 0, abandoned: 2}, totals(node)))
      assert ask(lease, :checkin) == :ok
      await_rest(node)
      assert balanced?(totals(node))
    end

    test "of send_request by dropping its monitor is gone as well" do
      node = start_node(size: 1)
      lease = lease!(node)
      id = :gen_server.send_request(node.pool, eval("1"))
      await_queued(node, 1)
      assert :gen_server.receive_response(id, 0) == :timeout
      eventually(totals(node).queued == 0)
      assert ask(lease, :checkin) == :ok
      await_rest(node)
    end

    test "hears {timeout, call} of the client when the node cannot answer in time" do
      node = start_node(size: 1)
      signal(node.os_pid, "STOP")

      assert {:error, %Error{reason: {:timeout, :call}}} =
               Krait.await_ready(node.pool, timeout: 100)

      assert :krait.await_ready(node.pool, :all, 50) == {:error, {:timeout, :call}}
      signal(node.os_pid, "CONT")
      assert Krait.ping(node.pool) == :pong
      assert Process.info(self(), :messages) == {:messages, []}
    end
  end

  describe "a caller that is killed" do
    test "in the queue costs nobody anything" do
      node = start_node(size: 1)
      before = os_pids(node)
      lease = lease!(node)
      doomed = for i <- 1..20, do: caller(i, node, eval("1"))
      await_queued(node, 20)
      survivor = caller(:survivor, node, eval("'next'"))
      await_queued(node, 21)
      assert is_pid(survivor)
      Enum.each(doomed, &kill/1)
      eventually(match?(%{queued: 1, abandoned: 20}, totals(node)))
      assert ask(lease, :checkin) == :ok
      assert_receive {:survivor, {:ok, "next"}}, 5_000
      await_rest(node)
      assert os_pids(node) == before
    end

    test "in its call costs one worker, which is replaced at once" do
      node = start_node(size: 2)
      before = os_pids(node)
      doomed = caller(:doomed, node, eval(sleep(60)))
      busy = busy_pid(node)
      kill(doomed)
      await_rest(node)
      assert busy in before
      # It has been killed; that it is gone is told to its parent alone, the fork server.
      eventually(not Proc.alive?(busy))
      assert [_, _] = now = os_pids(node)
      assert before -- now == [busy]
      assert %{abandoned: 1} = totals(node)
    end
  end

  describe "abandon = interrupt" do
    test "raises KeyboardInterrupt and keeps the worker that obeys" do
      node = start_node(size: 1, abandon: :interrupt, interrupt_grace: 5_000, lines: true)
      before = os_pids(node)
      doomed = caller(:doomed, node, {:call, :krait_faults, :hang, []})
      await_begun(node)
      {ms, _} = timed(fn -> kill(doomed) && await_rest(node) end)
      assert ms < 5_000
      assert os_pids(node) == before

      assert ask(node, {:call, :krait_faults, :hang, [], timeout: 300}) ==
               {:error, {:timeout, :call}}

      {ms, _} = timed(fn -> await_rest(node) end)
      assert ms < 5_000
      assert os_pids(node) == before
      assert py(node, "1") == {:ok, 1}
    end

    test "is not lost on a call that has not begun yet" do
      node = start_node(size: 1, abandon: :interrupt, interrupt_grace: 5_000)
      before = os_pids(node)

      for _ <- 1..20 do
        assert {:error, {:timeout, _}} = py(node, sleep(60), timeout: 1)
        {ms, _} = timed(fn -> await_rest(node) end)
        assert ms < 5_000
      end

      assert os_pids(node) == before
    end

    test "lets finally blocks run" do
      node = start_node(size: 1, abandon: :interrupt, interrupt_grace: 5_000, lines: true)
      path = temporary("finally")
      on_exit(fn -> File.rm(path) end)

      block = """
      def f():
          import time
          try:
              print('begun', flush=True)
              time.sleep(60)
          finally:
              open('#{path}', 'w').write('ran')
      """

      doomed = caller(:doomed, node, {:call, :builtins, :exec, [block <> "\nf()", %{}]})
      await_begun(node)
      kill(doomed)
      await_rest(node)
      assert File.read!(path) == "ran"
    end

    test "kills the worker that does not obey within its grace" do
      node = start_node(size: 1, abandon: :interrupt, interrupt_grace: 100, lines: true)
      before = os_pids(node)

      stubborn = """
      import time
      while True:
          try:
              print('begun', flush=True)
              time.sleep(60)
          except KeyboardInterrupt:
              pass
      """

      doomed = caller(:doomed, node, {:call, :builtins, :exec, [stubborn, %{}]})
      await_begun(node)
      kill(doomed)
      await_rest(node)
      assert [pid] = os_pids(node)
      refute pid in before
    end
  end

  describe "abandon = finish" do
    test "lets the call end, drops its answer, and then goes on with the same worker" do
      node = start_node(size: 1, abandon: :finish)
      before = os_pids(node)
      path = temporary("finish")
      on_exit(fn -> File.rmdir(path) end)
      gate = Gate.new()
      doomed = caller(:doomed, node, eval(Gate.behind(gate, "__import__('os').mkdir('#{path}')")))
      await_running(node, 1)
      kill(doomed)
      eventually(totals(node).abandoned == 1)
      Gate.open(gate)
      assert py(node, "__import__('os').path.isdir('#{path}')") == {:ok, true}
      await_rest(node)
      assert os_pids(node) == before
      refute_received {:doomed, _}
    end

    test "answers the timeout at its time, not when the call has ended" do
      node = start_node(size: 1, abandon: :finish)
      gate = Gate.new()
      assert py(node, Gate.behind(gate, "7"), timeout: 100) == {:error, {:timeout, :call}}
      Gate.open(gate)
      assert py(node, "1") == {:ok, 1}
    end
  end

  describe "a caller's BEAM that" do
    test "halts takes its queued, running and leased things along" do
      node = start_node(size: 2)
      {peer, _} = start_peer()
      before = os_pids(node)
      # The calls of the peer's own control process: casts do not wait for their results.
      :peer.cast(peer, GenServer, :call, [node.pool, eval(sleep(60)), :infinity])
      await_running(node, 1)
      :peer.cast(peer, GenServer, :call, [node.pool, eval(sleep(60)), :infinity])
      await_running(node, 2)
      :peer.cast(peer, GenServer, :call, [node.pool, eval(sleep(60)), :infinity])
      await_queued(node, 1)
      :peer.cast(peer, :erlang, :halt, [0])
      await_rest(node)
      assert %{abandoned: 3} = totals(node)
      assert Enum.all?(os_pids(node), &(&1 not in before))
    end

    test "disconnects is gone for its calls, and may come back" do
      node = start_node(size: 1)
      {peer, _} = start_peer()
      :peer.cast(peer, GenServer, :call, [node.pool, eval(sleep(60)), :infinity])
      await_running(node, 1)
      assert :peer.call(peer, Node, :disconnect, [node.name])
      await_rest(node)
      assert %{abandoned: 1} = totals(node)
      assert :peer.call(peer, :krait, :call, [node.pool, :math, :sqrt, [4.0]]) == {:ok, 2.0}
    end

    test "falls silent is gone after the net tick time" do
      node = start_node(size: 1, net_ticktime: 2)
      {peer, _} = start_peer()
      os_pid = :peer.call(peer, :os, :getpid, []) |> List.to_integer()
      :peer.cast(peer, GenServer, :call, [node.pool, eval(sleep(60)), :infinity])
      await_running(node, 1)
      signal(os_pid, "STOP")
      # We are heard meanwhile: asking is our sign of life.
      {ms, _} = timed(fn -> await_rest(node) end)
      signal(os_pid, "CONT")
      assert ms in 500..10_000
      assert %{abandoned: 1} = totals(node)
    end
  end

  test "a node that is gone is nodedown for a call under way, with the clients; and no exit" do
    node = start_node()
    expect_exit(node, [137])
    parent = self()
    name = node.name
    spawn(fn -> send(parent, {:answer, :krait.call(node.pool, :time, :sleep, [60])}) end)
    await_running(node, 1)
    signal(node.os_pid, "KILL")
    assert_receive {:answer, {:error, {:nodedown, ^name}}}, 5_000
    assert {:error, %Error{kind: :nodedown} = error} = Krait.call(name, "math", "sqrt", [4.0])
    assert Exception.message(error) =~ "Is the node running"
  end
end
