defmodule Krait.ClusterTest do
  # Several nodes as one: where calls go, and where they go on.
  use Krait.Case, async: true

  import Krait.TestCluster

  alias Krait.{Cluster, Gate}

  describe "a cluster" do
    test "of no nodes says so" do
      cluster = start_cluster(nodes: [])
      assert {:error, %Error{kind: :no_node} = error} = call(cluster, "1")
      assert Exception.message(error) =~ "has no nodes"
    end

    test "of nodes that are not there says which, and calls return at once" do
      cluster = start_cluster(nodes: [:"nowhere@127.0.0.1"])
      {ms, {:error, error}} = timed(fn -> call(cluster, "1") end)
      assert error.kind == :no_node
      assert Exception.message(error) =~ "default at nowhere@127.0.0.1 is down"
      assert ms < 1_000
    end

    test "that is not there is noproc" do
      assert {:error, %Error{kind: :noproc}} = call(:no_such_cluster, "1")
    end

    test "takes a node that comes later, and joins and leaves at run time" do
      a = start_node()
      cluster = start_cluster(nodes: [])
      assert :ok = Cluster.join(cluster, a.name)
      assert :ok = Cluster.await(cluster, a.name)
      assert call(cluster, "6 * 7") == {:ok, 42}
      assert :ok = Cluster.leave(cluster, a.name)
      assert Cluster.nodes(cluster) == []
      assert {:error, %Error{kind: :no_node}} = call(cluster, "1")
      assert {:error, %Error{kind: :timeout}} = Cluster.await(cluster, a.name, 50)
    end

    test "finds its nodes by a function, and forgets those that it no longer names" do
      a = start_node()
      {:ok, names} = Agent.start_link(fn -> [a.name] end)
      find = fn -> Agent.get(names, & &1) end
      cluster = start_cluster(find: find, find_interval: 20)
      assert :ok = Cluster.await(cluster, a.name)
      Agent.update(names, fn _ -> [] end)
      eventually(Cluster.nodes(cluster) == [])
    end

    test "goes on with what it knows when that function fails" do
      a = start_node()
      {:ok, calls} = Agent.start_link(fn -> 0 end)

      find = fn ->
        if Agent.get_and_update(calls, &{&1, &1 + 1}) == 0, do: [a.name], else: raise("no")
      end

      cluster = start_cluster(find: find, find_interval: 20)
      assert :ok = Cluster.await(cluster, a.name)
      eventually(Agent.get(calls, & &1) > 3)
      assert call(cluster, "1") == {:ok, 1}
    end

    test "is there once" do
      cluster = start_cluster(nodes: [])
      assert {:error, {:already_started, _}} = Cluster.start_link(name: cluster)
    end

    test "refuses wrong options with what was got" do
      for {options, words} <- [
            {[nodes: :a@b], "a list of nodes"},
            {[nodes: [:a]], "a list of nodes"},
            {[interval: 0], "at least 10"},
            {[spill: 0], "over 0"},
            {[find: 1], "no arguments"},
            {[colour: :red], "one of find"},
            {[pool: "x"], "an atom"}
          ] do
        assert {:error, %Error{} = error} = Cluster.start_link([name: :wrong] ++ options)
        assert Exception.message(error) =~ words
      end

      assert {:error, %Error{}} = Cluster.start_link(nodes: [])
    end
  end

  describe "calls" do
    test "go to all nodes when none is local, by their load" do
      [a, b] = for _ <- 1..2, do: start_node()
      cluster = start_cluster(nodes: [a.name, b.name], local: fn _ -> false end)
      # Both workers of one node are held.
      {:ok, lease1} = Krait.checkout_lease(a.pool)
      {:ok, lease2} = Krait.checkout_lease(a.pool)
      eventually(Enum.any?(Cluster.nodes(cluster), &(&1.node == a.name and &1.load >= 1.0)))
      before = totals(b).received
      for _ <- 1..20, do: assert(call(cluster, "1") == {:ok, 1})
      assert totals(b).received - before == 20
      for lease <- [lease1, lease2], do: Krait.checkin(lease)
    end

    test "of a crowd are spread by what this BEAM has sent, long before the next report" do
      nodes = for _ <- 1..2, do: start_node(size: 4)
      names = for node <- nodes, do: node.name
      cluster = start_cluster(nodes: names, local: fn _ -> false end, interval: 60_000)
      before = for node <- nodes, do: totals(node).received

      gate = Gate.new()
      held = for _ <- 1..8, do: Task.async(fn -> call(cluster, Gate.behind(gate, "1")) end)
      took = fn -> for {node, n} <- Enum.zip(nodes, before), do: totals(node).received - n end
      eventually(Enum.sum(took.()) == 8)
      took = took.()
      Gate.open(gate)
      assert Task.await_many(held, 20_000) == List.duplicate({:ok, 1}, 8)
      assert Enum.min(took) >= 3
    end

    test "of thousands at once are all answered, and no process is between them and a node" do
      nodes = for _ <- 1..2, do: start_node()
      cluster = start_cluster(nodes: Enum.map(nodes, & &1.name), local: fn _ -> false end)
      # It serves those who ask for changes; the table is enough for the rest.
      :ok = :sys.suspend(Cluster.Server.server(cluster))

      answers =
        1..3000
        |> Enum.map(&Task.async(fn -> Cluster.call(cluster, "operator", "neg", [&1]) end))
        |> Task.await_many(30_000)

      assert answers == Enum.map(1..3000, &{:ok, -&1})
      :ok = :sys.resume(Cluster.Server.server(cluster))
      for node <- nodes, do: assert(totals(node).answered > 900)
    end

    test "that have ended are no load any more" do
      a = start_node(size: 1)
      b = start_node(size: 1)
      options = [nodes: [a.name, b.name], local: &(&1 == a.name), interval: 60_000]
      cluster = start_cluster(options)
      for _ <- 1..10, do: assert(call(cluster, "1") == {:ok, 1})
      assert totals(a).answered == 10
    end

    test "prefer a local node, until it has no room" do
      [a, b] = for _ <- 1..2, do: start_node()
      options = [nodes: [a.name, b.name], local: &(&1 == b.name), interval: 60_000]
      cluster = start_cluster(options)
      before = totals(b).received
      for _ <- 1..10, do: call(cluster, "1")
      assert totals(b).received - before == 10

      gate = Gate.new()
      held = for _ <- 1..2, do: Task.async(fn -> call(cluster, Gate.behind(gate, "2")) end)
      await_running(b, 2)
      before = totals(a).received
      assert call(cluster, "1") == {:ok, 1}
      assert totals(a).received - before == 1
      Gate.open(gate)
      assert Task.await_many(held, 20_000) == [{:ok, 2}, {:ok, 2}]
    end

    test "move on from a node that drains, at the first refusal and before any report" do
      [a, b] = for _ <- 1..2, do: start_node()
      options = [nodes: [a.name, b.name], local: &(&1 == a.name), interval: 60_000]
      cluster = start_cluster(options)
      assert :ok = Krait.drain(a.pool)
      before = totals(a).received
      for _ <- 1..10, do: assert(call(cluster, "1") == {:ok, 1})
      # Asked once in vain, then no more.
      assert totals(a).received - before == 1
      assert totals(b).answered == 10
      assert :ok = Krait.drain(b.pool)
      assert {:error, %Error{kind: :draining}} = call(cluster, "1")
    end

    test "move on from a node that is full" do
      a = start_node(size: 1, queue_limit: 1)
      b = start_node(size: 1)
      options = [nodes: [a.name, b.name], local: &(&1 == a.name), spill: 1000, interval: 60_000]
      cluster = start_cluster(options)
      gate = Gate.new()
      held = for _ <- 1..2, do: Task.async(fn -> py(a, Gate.behind(gate, "2")) end)
      await_queued(a, 1)
      assert call(cluster, "1") == {:ok, 1}
      assert totals(b).answered == 1
      Gate.open(gate)
      assert Task.await_many(held, 20_000) == [{:ok, 2}, {:ok, 2}]
    end

    test "move on from a node without such a pool" do
      a = start_node(pool: :other)
      b = start_node()
      cluster = start_cluster(nodes: [a.name, b.name])
      assert state(cluster, a) == :no_pool
      for _ <- 1..5, do: assert(call(cluster, "1") == {:ok, 1})
      also = start_cluster(nodes: [{:other, a.name}])
      assert call(also, "1") == {:ok, 1}
    end

    test "go to a node that tells this BEAM nothing of itself" do
      a = start_node(watch: ["ops@*"], admin: ["ops@*"], await_ready: false)
      cluster = start_cluster(nodes: [a.name])
      assert {:error, %Error{kind: :forbidden} = error} = Krait.status(a.pool)
      assert Exception.message(error) =~ "may not ask for status"
      assert call(cluster, "1", session: 1) == {:ok, 1}
      assert [%{state: :up}] = Cluster.nodes(cluster)
    end

    test "go back to a node that was paused, and is no more" do
      [a, b] = for _ <- 1..2, do: start_node()
      cluster = start_cluster(nodes: [a.name, b.name], local: &(&1 == a.name))
      assert :ok = Krait.pause(a.pool)
      await_state(cluster, a, :paused)
      assert call(cluster, "1") == {:ok, 1}
      assert totals(b).answered == 1
      assert :ok = Krait.resume(a.pool)
      await_state(cluster, a, :up)
      assert call(cluster, "1") == {:ok, 1}
      assert totals(b).answered == 1
    end

    test "that broke under way run again only as often as they may" do
      [a, b] = for _ <- 1..2, do: start_node()
      expect_exit(a, [nil, 137])
      cluster = start_cluster(nodes: [a.name, b.name], local: &(&1 == a.name))
      parent = self()
      gate = Gate.new()
      held = Gate.behind(gate, "1")

      for retry <- [0, 1] do
        spawn_link(fn -> send(parent, {retry, call(cluster, held, retry: retry)}) end)
      end

      await_running(a, 2)
      signal(a.os_pid, "KILL")
      assert_receive {0, {:error, %Error{kind: :nodedown}}}, 10_000
      Gate.open(gate)
      assert_receive {1, {:ok, 1}}, 10_000
      assert totals(b).answered == 1
    end

    test "find a node that was killed and started again under its name" do
      a = start_node()
      b = start_node()
      cluster = start_cluster(nodes: [a.name, b.name], local: &(&1 == a.name))
      assert Krait.stop(a.instance) == :ok
      await_state(cluster, a, :down)
      assert call(cluster, "1") == {:ok, 1}
      # Nobody else connects to it.
      again = start_node(name: a.name, await_ready: false)
      assert :ok = Cluster.await(cluster, a.name, 20_000)
      assert call(cluster, "1") == {:ok, 1}
      assert totals(again).answered == 1
    end

    test "have one time for all tries" do
      gate = Gate.new()
      a = start_node(size: 1)
      b = start_node(size: 1)
      expect_exit(a, [nil, 137])
      cluster = start_cluster(nodes: [a.name, b.name], local: &(&1 == a.name))

      options = [timeout: 60_000, retry: 3]
      task = Task.async(fn -> call(cluster, Gate.behind(gate, "1"), options) end)
      eventually(match?({:ok, [%{age_ms: ms}]} when ms > 1_500, Krait.Admin.requests(a.pool)))
      signal(a.os_pid, "KILL")
      # What is left of the time is what the next node is told.
      await_running(b, 1)
      {:ok, [%{age_ms: age, left_ms: left}]} = Krait.Admin.requests(b.pool)
      assert age + left <= 58_500
      Gate.open(gate)
      assert Task.await(task, 20_000) == {:ok, 1}
      assert totals(b).received == 1
    end

    test "leave a node that has fallen silent, and come back when it answers" do
      [a, b] = for _ <- 1..2, do: start_node()
      cluster = start_cluster(nodes: [a.name, b.name], local: &(&1 == a.name))
      signal(a.os_pid, "STOP")
      await_state(cluster, a, :silent)
      assert call(cluster, "1") == {:ok, 1}
      assert totals(b).answered == 1
      signal(a.os_pid, "CONT")
      await_state(cluster, a, :up)
    end
  end

  describe "other requests" do
    setup do
      [a, b] = for _ <- 1..2, do: start_node()
      options = [nodes: [a.name, b.name], local: &(&1 == a.name), interval: 60_000]
      cluster = start_cluster(options)
      assert :ok = Krait.drain(a.pool)
      %{cluster: cluster, a: a, b: b}
    end

    test "a batch moves on", c do
      calls = [{"math", "sqrt", [4.0]}, {"math", "sqrt", [-1.0]}]
      assert {:ok, [{:ok, 2.0}, {:error, %Error{kind: :python}}]} = Cluster.batch(c.cluster, calls)
    end

    test "a stream moves on until it is open, and ends with its consumer", c do
      stream = Cluster.stream(c.cluster, "itertools", "count", [1])
      assert Enum.take(stream, 3) == [1, 2, 3]
      await_rest(c.b)
      assert :ok = Krait.drain(c.b.pool)
      assert_raise Error, ~r/no new requests/, fn -> Enum.take(stream, 1) end
    end

    test "a checkout moves on, and gives its worker back", c do
      assert {:ok, pid} = Cluster.checkout(c.cluster, &Krait.call!(&1, "os", "getpid"))
      assert pid in os_pids(c.b)
      assert_raise RuntimeError, fn -> Cluster.checkout(c.cluster, fn _ -> raise "x" end) end
      await_rest(c.b)
      {:ok, lease} = Cluster.checkout_lease(c.cluster, session: 7)
      assert node(lease) == c.b.name
      assert {:ok, [%{id: 7}]} = Krait.sessions(c.b.pool)
      assert :ok = Krait.checkin(lease)
    end
  end
end
