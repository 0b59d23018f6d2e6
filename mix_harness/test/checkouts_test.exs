defmodule Krait.CheckoutsTest do
  # Leases: one worker for one owner, until one of them ends.
  use Krait.Case, async: true

  test "calls on a lease run on one worker, which nobody else gets" do
    node = start_node(size: 2)
    lease = lease!(node)
    {:ok, mine} = ask(lease, {:call, :os, :getpid, []})

    for _ <- 1..10 do
      assert ask(lease, {:call, "os", "getpid", [], timeout: 5_000}) == {:ok, mine}
      assert {:ok, other} = ask(node, {:call, :os, :getpid, []})
      assert other != mine
    end

    assert %{leased: 1} = pool_status(node)
    assert ask(lease, :checkin) == :ok
    await_rest(node)
  end

  test "several calls of the owner wait for one another, in order" do
    node = start_node(size: 1)
    lease = lease!(node)

    ids =
      for i <- 1..10,
          do: :gen_server.send_request(lease, eval("(#{i}, __import__('time').monotonic_ns())"))

    answers =
      for id <- ids do
        {:reply, {:ok, {i, at}}} = :gen_server.wait_response(id, 5_000)
        {i, at}
      end

    assert Enum.map(answers, &elem(&1, 0)) == Enum.to_list(1..10)
    assert Enum.sort_by(answers, &elem(&1, 1)) == answers
    assert ask(lease, :checkin) == :ok
  end

  test "a checkout waits for a worker, and gets the one that is given back" do
    node = start_node(size: 1)
    first = lease!(node)
    id = :gen_server.send_request(node.pool, {:checkout, :anonymous})
    await_queued(node, 1)
    assert ask(first, :checkin) == :ok
    assert {:reply, {:ok, second}} = :gen_server.wait_response(id, 5_000)
    assert second != first
    assert py(second, "1") == {:ok, 1}
    assert ask(second, :checkin) == :ok
  end

  describe "the owner" do
    test "alone may call, check in and give away" do
      node = start_node()
      lease = lease!(node)

      task =
        Task.async(fn ->
          for request <- [{:call, :math, :sqrt, [4.0]}, :checkin, {:give_away, self()}] do
            ask(lease, request)
          end
        end)

      assert Task.await(task) == List.duplicate({:error, :not_owner}, 3)
      assert py(lease, "1") == {:ok, 1}
      assert ask(lease, :checkin) == :ok
      assert Exception.message(Error.new(:not_owner)) =~ "belongs to another process"
    end

    test "gives it back by its death, and its reason is the lease's" do
      node = start_node(size: 1)
      before = os_pids(node)
      parent = self()

      for {reason, seen} <- [
            {:normal, :normal},
            {{:my, "reason"}, {:my, "reason"}},
            {:kill, :killed}
          ] do
        owner =
          spawn(fn ->
            send(parent, {:lease, lease!(node)})
            receive do: ({:exit, reason} -> exit(reason))
          end)

        assert_receive {:lease, lease}, 5_000
        ref = Process.monitor(lease)
        # The monitor has arrived before its owner dies: the node has answered after it.
        assert ask(node, :ping) == :pong
        if reason == :kill, do: Process.exit(owner, :kill), else: send(owner, {:exit, reason})
        assert_receive {:DOWN, ^ref, :process, ^lease, ^seen}, 5_000
        await_rest(node)
      end

      assert os_pids(node) == before
    end

    test "that dies in a call on its lease costs that worker" do
      node = start_node(size: 2)
      parent = self()

      owner =
        spawn(fn ->
          lease = lease!(node)
          {:ok, os_pid} = ask(lease, {:call, :os, :getpid, []})
          send(parent, {:leased, lease, os_pid})
          ask(lease, eval(sleep(60)))
        end)

      assert_receive {:leased, lease, os_pid}, 5_000
      ref = Process.monitor(lease)
      await_running(node, 1)
      kill(owner)
      assert_receive {:DOWN, ^ref, _, _, :killed}, 5_000
      await_rest(node)
      refute os_pid in os_pids(node)
    end

    test "whose node goes leaves with noconnection" do
      node = start_node(size: 1)
      {peer, _} = start_peer()
      lease = lease!(node)
      # A node can watch over processes of BEAMs that are connected to it.
      assert :peer.call(peer, :krait, :ping, [node.pool]) == :pong
      owner = :peer.call(peer, :erlang, :spawn, [:timer, :sleep, [:infinity]])
      assert ask(lease, {:give_away, owner}) == :ok
      ref = Process.monitor(lease)
      assert ask(node, :ping) == :pong
      :peer.cast(peer, :erlang, :halt, [0])
      assert_receive {:DOWN, ^ref, _, _, :noconnection}, 5_000
      await_rest(node)
    end
  end

  describe "give_away" do
    test "makes another process the owner" do
      node = start_node()
      lease = lease!(node)
      parent = self()

      heir =
        spawn(fn ->
          receive do: (:yours -> send(parent, {:answer, py(lease, "1")}))
          receive do: (:end -> :ok)
        end)

      assert ask(lease, {:give_away, heir}) == :ok
      assert py(lease, "1") == {:error, :not_owner}
      send(heir, :yours)
      assert_receive {:answer, {:ok, 1}}, 5_000
      ref = Process.monitor(lease)
      assert ask(node, :ping) == :pong
      send(heir, :end)
      assert_receive {:DOWN, ^ref, _, _, :normal}, 5_000
      await_rest(node)
    end

    test "to a dead process is noproc, and the lease stays where it was" do
      node = start_node()
      lease = lease!(node)
      dead = spawn(fn -> :ok end)
      kill(dead)
      assert ask(lease, {:give_away, dead}) == {:error, :noproc}
      assert py(lease, "1") == {:ok, 1}
      assert Krait.give_away(lease, dead) |> elem(1) |> Map.fetch!(:reason) == :noproc
      assert ask(lease, :checkin) == :ok
    end

    test "to oneself changes nothing; to what is no pid is a bad request" do
      node = start_node()
      lease = lease!(node)
      assert ask(lease, {:give_away, self()}) == :ok
      assert py(lease, "1") == {:ok, 1}

      for not_a_pid <- [:name, 42, nil, make_ref(), {:a, :b}] do
        assert {:error, {:bad_request, _}} = ask(lease, {:give_away, not_a_pid})
      end

      assert ask(lease, :checkin) == :ok
    end
  end

  describe "a lease ends" do
    test "with the worker that dies under it" do
      node = start_node()
      lease = lease!(node)
      ref = Process.monitor(lease)
      assert {:error, {:worker_exit, death}} = py(lease, "__import__('os')._exit(9)")
      assert death.exit == {:exit, 9}
      assert_receive {:DOWN, ^ref, _, _, {:worker_exit, %{exit: {:exit, 9}}}}, 5_000
      assert exit_reason(fn -> py(lease, "1") end) == :noproc
      await_rest(node)
    end

    test "with a call that runs out of time, when abandon is kill" do
      node = start_node()
      lease = lease!(node)
      ref = Process.monitor(lease)
      assert py(lease, sleep(60), timeout: 100) == {:error, {:timeout, :call}}
      assert_receive {:DOWN, ^ref, _, _, {:timeout, :call}}, 5_000
      await_rest(node)
    end

    test "not with a call that runs out of time, when abandon is interrupt or finish" do
      for abandon <- [:interrupt, :finish] do
        node = start_node(size: 1, abandon: abandon, interrupt_grace: 5_000)
        lease = lease!(node)
        assert {:ok, os_pid} = py(lease, "__import__('os').getpid()")
        assert py(lease, sleep(0.5), timeout: 100) == {:error, {:timeout, :call}}
        assert py(lease, "__import__('os').getpid()") == {:ok, os_pid}
        assert ask(lease, :checkin) == :ok
        await_rest(node)
      end
    end

    test "for calls that wait on it, with an answer or with its reason" do
      node = start_node()
      lease = lease!(node)
      running = :gen_server.send_request(lease, eval("__import__('os')._exit(3)"))
      waiting = :gen_server.send_request(lease, eval("1"))
      assert {:reply, {:error, {:worker_exit, _}}} = :gen_server.wait_response(running, 5_000)

      case :gen_server.wait_response(waiting, 5_000) do
        {:reply, {:error, :lease_closed}} -> :ok
        {:error, {{:worker_exit, _}, _}} -> :ok
        # The first call had ended before the second arrived.
        {:error, {:noproc, _}} -> :ok
      end

      await_rest(node)
    end

    test "only once: a second checkin finds nothing" do
      node = start_node()
      lease = lease!(node)
      assert ask(lease, :checkin) == :ok
      assert exit_reason(fn -> ask(lease, :checkin) end) == :noproc
      assert :krait.checkin(lease) == {:error, :lease_closed}
      assert {:error, %Error{kind: :lease_closed}} = Krait.checkin(lease)
      assert {:error, %Error{kind: :lease_closed}} = Krait.call(lease, "math", "sqrt", [4.0])
      await_rest(node)
    end
  end

  describe "a checkout with a function" do
    test "gives the worker back after it" do
      node = start_node(size: 1)

      assert Krait.checkout(node.pool, fn lease -> Krait.call!(lease, "math", "sqrt", [4.0]) end) ==
               {:ok, 2.0}

      await_rest(node)
      assert :krait.with_lease(node.instance, fn lease -> :krait.ping(lease) end) |> elem(0) == :ok
      await_rest(node)
    end

    test "gives it back when the function raises, throws or exits; the exception goes on" do
      node = start_node(size: 1)
      before = os_pids(node)

      assert_raise RuntimeError, "oops", fn ->
        Krait.checkout(node.pool, fn _ -> raise "oops" end)
      end

      await_rest(node)
      assert catch_throw(Krait.checkout(node.pool, fn _ -> throw(:ball) end)) == :ball
      await_rest(node)
      assert catch_exit(Krait.checkout(node.pool, fn _ -> exit(:enough) end)) == :enough
      await_rest(node)
      assert os_pids(node) == before
      assert Process.info(self(), :messages) == {:messages, []}
    end

    test "is an error when its worker dies, or a call on it runs out of time" do
      node = start_node(size: 1)

      assert {:error, %Error{reason: {:worker_exit, %{exit: {:exit, 5}}}}} =
               Krait.checkout(
                 node.pool,
                 &Krait.call(&1, "builtins", "eval", ["__import__('os')._exit(5)"])
               )

      assert {:error, %Error{reason: {:timeout, :call}}} =
               Krait.checkout(node.pool, &Krait.call(&1, "time", "sleep", [60], timeout: 50))

      await_rest(node)
      assert Process.info(self(), :messages) == {:messages, []}
    end

    test "is an error when there is no worker to be had in time" do
      node = start_node(size: 1)
      lease = lease!(node)

      assert {:error, %Error{reason: {:timeout, :queue}}} =
               Krait.checkout(node.pool, fn _ -> flunk("ran") end, queue_timeout: 20)

      assert ask(lease, :checkin) == :ok
    end

    test "leaves a lease that it gave away with its new owner" do
      node = start_node(size: 1)
      heir = spawn(fn -> receive do: (:end -> :ok) end)

      assert {:ok, {:ok, lease}} =
               Krait.checkout(node.pool, fn lease -> {Krait.give_away(lease, heir), lease} end)

      assert is_pid(lease)
      assert %{leased: 1} = pool_status(node)
      kill(heir)
      await_rest(node)
    end

    test "that checked in by itself is content" do
      node = start_node(size: 1)
      assert Krait.checkout(node.pool, fn lease -> Krait.checkin(lease) end) == {:ok, :ok}
      await_rest(node)
    end
  end
end
