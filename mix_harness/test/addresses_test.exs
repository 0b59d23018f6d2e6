defmodule Krait.AddressesTest do
  # Section 1 of the contract: what can be addressed, monitored, linked to.
  use Krait.Case, async: true

  describe "a node" do
    test "answers net_adm:ping and is hidden" do
      node = start_node(await_ready: false)
      assert :net_adm.ping(node.name) == :pong
      assert node.name in Node.list(:hidden)
      refute node.name in Node.list()
    end

    test "answers at krait as well as at its pool" do
      node = start_node(await_ready: false)
      assert ask({:krait, node.name}, :ping) == :pong
      assert ask(node.pool, :ping) == :pong
      assert {:ok, %{node: name}} = ask({:krait, node.name}, :status)
      assert name == node.name
    end

    test "has its pool under the name that the operator gave, and no other" do
      node = start_node(pool: :numbers)
      assert ask({:numbers, node.name}, {:call, :math, :sqrt, [4.0]}) == {:ok, 2.0}
      assert exit_reason(fn -> ask({:default, node.name}, :ping) end) == :noproc
      assert Krait.call(node.instance, "math", "sqrt", [4.0]) == {:ok, 2.0}
      assert {:error, %Error{kind: :noproc} = error} = Krait.call(node.name, "math", "sqrt", [4.0])
      assert Exception.message(error) =~ "option pool"
    end

    test "serves no rpc unless it is told to, and says so at once" do
      node = start_node(await_ready: false)
      assert {ms, {:badrpc, _}} = timed(fn -> :rpc.call(node.name, :math, :sqrt, [4.0], 5_000) end)
      assert ms < 2_000
    end
  end

  describe "an unknown name" do
    test "is noproc at once, for calls and for monitors" do
      node = start_node(await_ready: false)
      {ms, reason} = timed(fn -> exit_reason(fn -> ask({:nosuch, node.name}, :ping) end) end)
      assert reason == :noproc
      assert ms < 1_000

      ref = Process.monitor({:nosuch, node.name})
      assert_receive {:DOWN, ^ref, :process, {:nosuch, _}, :noproc}, 1_000
    end
  end

  describe "a monitor on a pool" do
    test "fires when the node ends" do
      node = start_node(await_ready: false)
      ref = Process.monitor(node.pool)
      assert ask(node, :ping) == :pong
      refute_received {:DOWN, _, _, _, _}
      assert Krait.stop(node.instance) == :ok
      assert_receive {:DOWN, ^ref, :process, _, reason}, 5_000
      assert reason in [:normal, :shutdown, :noconnection]
    end

    test "can be taken away" do
      node = start_node(await_ready: false)
      ref = Process.monitor(node.pool)
      assert ask(node, :ping) == :pong
      assert Process.demonitor(ref)
      assert Krait.stop(node.instance) == :ok
      refute_received {:DOWN, ^ref, _, _, _}
    end
  end

  describe "a monitor on a lease" do
    setup do
      node = start_node()
      lease = lease!(node)
      %{node: node, lease: lease, ref: Process.monitor(lease)}
    end

    test "is a pid of the node", %{node: node, lease: lease} do
      assert is_pid(lease)
      assert node(lease) == node.name
    end

    test "fires with normal when it is checked in", %{lease: lease, ref: ref} do
      assert ask(lease, :checkin) == :ok
      assert_receive {:DOWN, ^ref, :process, ^lease, :normal}, 5_000
    end

    test "fires with the reason of an exit signal", %{node: node, lease: lease, ref: ref} do
      Process.exit(lease, {:because, [1, "two"]})
      assert_receive {:DOWN, ^ref, :process, ^lease, {:because, [1, "two"]}}, 5_000
      await_rest(node)
    end

    test "fires with killed when it is killed", %{node: node, lease: lease, ref: ref} do
      Process.exit(lease, :kill)
      assert_receive {:DOWN, ^ref, :process, ^lease, :killed}, 5_000
      await_rest(node)
    end

    test "ignores an exit signal whose reason is normal, as a process does", c do
      Process.exit(c.lease, :normal)
      assert py(c.lease, "1 + 1") == {:ok, 2}
      refute_received {:DOWN, _, _, _, _}
    end

    test "fires with worker_exit when the worker dies", %{node: node, lease: lease, ref: ref} do
      {:ok, os_pid} = ask(lease, {:call, :os, :getpid, []})
      signal(os_pid, "KILL")
      assert_receive {:DOWN, ^ref, :process, ^lease, {:worker_exit, death}}, 5_000
      assert death.exit == {:signal, :sigkill}
      await_rest(node)
    end

    test "fires with noproc at once when it has ended", %{lease: lease, ref: ref} do
      assert ask(lease, :checkin) == :ok
      assert_receive {:DOWN, ^ref, _, _, :normal}, 5_000
      late = Process.monitor(lease)
      assert_receive {:DOWN, ^late, :process, ^lease, :noproc}, 5_000
      assert exit_reason(fn -> ask(lease, {:call, :math, :sqrt, [4.0]}) end) == :noproc
    end

    test "fires for every process that set one", %{lease: lease, ref: ref} do
      parent = self()

      others =
        for _ <- 1..5 do
          spawn(fn ->
            ref = Process.monitor(lease)
            send(parent, {:set, self()})
            receive do: ({:DOWN, ^ref, _, _, reason} -> send(parent, {:down, self(), reason}))
          end)
        end

      for pid <- others, do: assert_receive({:set, ^pid}, 5_000)
      Process.exit(lease, :enough)
      assert_receive {:DOWN, ^ref, _, _, :enough}, 5_000
      for pid <- others, do: assert_receive({:down, ^pid, :enough}, 5_000)
    end
  end

  describe "a link to a lease" do
    test "brings its end, checkin included" do
      node = start_node()
      Process.flag(:trap_exit, true)
      lease = lease!(node)
      Process.link(lease)
      assert ask(lease, :checkin) == :ok
      assert_receive {:EXIT, ^lease, :normal}, 5_000

      lease = lease!(node)
      Process.link(lease)
      Process.exit(lease, :kill)
      assert_receive {:EXIT, ^lease, :killed}, 5_000
      await_rest(node)
    end

    test "ends the lease with the process that is linked, whoever owns it" do
      node = start_node()
      lease = lease!(node)
      ref = Process.monitor(lease)
      parent = self()

      pid =
        spawn(fn ->
          Process.link(lease)
          send(parent, :linked)
          receive do: (:die -> exit(:linked_died))
        end)

      assert_receive :linked, 5_000
      # Signals between two processes keep their order: this answer comes after the link arrived.
      send(pid, :die)
      assert_receive {:DOWN, ^ref, :process, ^lease, :linked_died}, 5_000
      await_rest(node)
    end

    test "that was taken away brings nothing, in either direction" do
      node = start_node()
      Process.flag(:trap_exit, true)
      lease = lease!(node)
      parent = self()

      pid =
        spawn(fn ->
          Process.link(lease)
          Process.unlink(lease)
          send(parent, :unlinked)
          receive do: (:die -> exit(:boom))
        end)

      assert_receive :unlinked, 5_000
      kill(pid)
      assert py(lease, "1 + 1") == {:ok, 2}

      Process.link(lease)
      Process.unlink(lease)
      assert ask(lease, :checkin) == :ok
      refute_received {:EXIT, _, _}
    end

    test "to one that has ended is noproc" do
      node = start_node()
      Process.flag(:trap_exit, true)
      lease = lease!(node)
      assert ask(lease, :checkin) == :ok
      Process.link(lease)
      assert_receive {:EXIT, ^lease, :noproc}, 5_000
    end
  end
end
