defmodule Krait.ClusterSessionsTest do
  # A session stays on its node, whoever asks and whatever nodes come; when that is gone, it says so once.
  use Krait.Case, async: true

  import Krait.TestCluster

  alias Krait.Cluster
  alias Krait.Cluster.{Pick, Table}

  # A session whose name leads to that node, of those given.
  defp session_for(node, nodes, i \\ 1) do
    addresses = for node <- nodes, do: node.pool
    home = Enum.max_by(addresses, &Pick.score(&1, {:s, i}))
    if home == node.pool, do: {:s, i}, else: session_for(node, nodes, i + 1)
  end

  describe "a session" do
    test "stays on one node, the same one for every BEAM" do
      nodes = for _ <- 1..2, do: start_node()
      names = for node <- nodes, do: node.name
      one = start_cluster(nodes: names, local: &(&1 == hd(names)))
      other = start_cluster(nodes: Enum.reverse(names), local: fn _ -> false end)

      for node <- nodes do
        id = session_for(node, nodes)

        for n <- [1, 3, 5] do
          assert count(one, id) == {:ok, n}
          assert count(other, id) == {:ok, n + 1}
        end

        assert {:ok, [%{id: ^id}]} = Krait.sessions(node.pool)
        assert Cluster.end_session(other, id) == :ok
        assert count(other, id) == {:ok, 1}
      end
    end

    test "that exists stays when a node comes, for those too that never used it" do
      [a, b] = nodes = for _ <- 1..2, do: start_node()
      id = session_for(b, nodes)
      one = start_cluster(nodes: [a.name])
      other = start_cluster(nodes: [a.name])
      assert count(one, id) == {:ok, 1}

      for cluster <- [one, other] do
        :ok = Cluster.join(cluster, b.name)
        :ok = Cluster.await(cluster, b.name)
      end

      third = start_cluster(nodes: [b.name, a.name])
      assert count(other, id) == {:ok, 2}
      assert count(third, id) == {:ok, 3}
      assert count(one, id) == {:ok, 4}
    end

    test "is lost with its node, and told so once; then it begins on another" do
      [a, b] = nodes = for _ <- 1..2, do: start_node()
      expect_exit(a, [nil, 137])
      id = session_for(a, nodes)
      cluster = start_cluster(nodes: [a.name, b.name])
      hint = session_for(a, nodes, 100)
      assert count(cluster, id) == {:ok, 1}
      assert count(cluster, hint) == {:ok, 1}
      signal(a.os_pid, "KILL")
      await_state(cluster, a, :down)
      assert {:error, %Error{reason: {:session_lost, ^id}}} = count(cluster, id)
      assert count(cluster, id) == {:ok, 1}
      assert count(cluster, id) == {:ok, 2}
      assert count(cluster, hint, session_mode: :hint) == {:ok, 1}
    end

    test "that is lost with a node which comes back at once is told so" do
      a = start_node()
      cluster = start_cluster(nodes: [a.name])
      assert count(cluster, :s) == {:ok, 1}
      assert Krait.stop(a.instance) == :ok
      await_state(cluster, a, :down)
      _ = start_node(name: a.name)
      :ok = Cluster.await(cluster, a.name, 20_000)
      assert {:error, %Error{reason: {:session_lost, :s}}} = count(cluster, :s)
      assert count(cluster, :s) == {:ok, 1}
    end

    test "outlives a connection that breaks" do
      a = start_node()
      cluster = start_cluster(nodes: [a.name])
      assert count(cluster, :s) == {:ok, 1}
      before = life(cluster, a)
      Node.disconnect(a.name)
      # It may be connected again before anybody has seen that it was not.
      eventually(life(cluster, a) > before and state(cluster, a) == :up)
      assert count(cluster, :s) == {:ok, 2}
    end

    # The lives of the connection to a node are counted.
    defp life(cluster, node) do
      {:ok, config} = Table.config(cluster)
      Table.row(config, node.pool).generation
    end

    test "that begins while its node is asked for its sessions is not forgotten" do
      a = start_node()
      cluster = start_cluster(nodes: [a.name], interval: 60_000)
      {:ok, config} = Table.config(cluster)
      row = Table.row(config, a.pool)
      pin = Table.pin_new(config, :young, row, false)
      asked_ms = Table.now_ms() + 1
      Table.reconcile(config, row, [], asked_ms, config.session_ttl)
      assert Table.pin(config, :young) == pin
      # Its first call is answered after the node was asked, and before the answer to that is here.
      eventually(Table.now_ms() > asked_ms)
      Table.begun(config, pin)
      Table.reconcile(config, row, [], asked_ms, config.session_ttl)
      assert Table.pin(config, :young) != nil
      # It has ended: it was known to live before the node was asked.
      eventually(Table.now_ms() > asked_ms + 1)
      Table.reconcile(config, row, [], Table.now_ms() + 1, config.session_ttl)
      assert Table.pin(config, :young) == nil
    end

    test "that has not begun is no loss" do
      [a, b] = nodes = for _ <- 1..2, do: start_node()
      id = session_for(a, nodes)
      cluster = start_cluster(nodes: [a.name, b.name], interval: 60_000)
      assert :ok = Krait.drain(a.pool)
      assert count(cluster, id) == {:ok, 1}
      assert {:ok, [%{id: ^id}]} = Krait.sessions(b.pool)
    end
  end
end
