defmodule Krait.ClusterGroupTest do
  # What one BEAM was told, all BEAMs of the group know.
  use Krait.Case, async: true

  alias Krait.Cluster

  defp options(name, group), do: [name: name, group: group, interval: 50, local: fn _ -> false end]

  defp start_cluster(group, options) do
    name = :"cluster_#{System.unique_integer([:positive])}"
    start_supervised!({Cluster, options(name, group) ++ options}, id: name)
    name
  end

  # A group of this test alone: the scope is one for all.
  defp group, do: {:group, System.unique_integer([:positive])}

  defp names(cluster), do: Enum.map(Cluster.nodes(cluster), & &1.node)

  test "a node that one was told of serves the other, until none was told of it any more" do
    a = start_node()
    group = group()
    told = start_cluster(group, nodes: [a.name])
    other = start_cluster(group, [])
    stranger = start_cluster(group(), [])
    assert :ok = Cluster.await(other, a.name)
    assert Cluster.call(other, "operator", "add", [20, 22]) == {:ok, 42}
    assert names(stranger) == []

    second = start_cluster(group, nodes: [a.name])
    :ok = Cluster.leave(told, a.name)
    assert names(told) == []
    assert names(other) == [a.name]
    stop_supervised!(second)
    eventually(names(other) == [])
  end

  test "a node that is about to leave gets no new calls from anybody" do
    [a, b] = for _ <- 1..2, do: start_node()
    group = group()
    one = start_cluster(group, nodes: [a.name, b.name])
    other = start_cluster(group, [])
    for node <- [a, b], do: assert(:ok = Cluster.await(other, node.name))
    :ok = Cluster.retire(one, a.name)
    eventually(Enum.any?(Cluster.nodes(other), &(&1.leaving and &1.node == a.name)))
    before = totals(a).received
    for _ <- 1..20, do: assert(Cluster.call(other, "operator", "add", [20, 22]) == {:ok, 42})
    assert totals(a).received == before
    :ok = Cluster.join(one, a.name)
    eventually(not Enum.any?(Cluster.nodes(other), & &1.leaving))
  end

  test "another BEAM shares it, and takes with it what it alone was told" do
    a = start_node()
    group = group()
    here = start_cluster(group, [])
    {beam, beam_name} = Krait.Runner.start_visible_peer()
    there = :"cluster_#{System.unique_integer([:positive])}"

    assert :ok =
             :peer.call(
               beam,
               Krait.Owner,
               :start_child,
               [Cluster, [name: there, group: group, nodes: [a.name]]],
               30_000
             )

    true = Node.connect(beam_name)
    assert :ok = Cluster.await(here, a.name)
    assert Cluster.call(here, "operator", "add", [20, 22]) == {:ok, 42}

    b = start_node()
    :ok = Cluster.join(here, b.name)
    assert :ok = Cluster.await(here, b.name)
    assert :ok = :peer.call(beam, Cluster, :await, [there, b.name, 20_000], 30_000)
    :peer.stop(beam)
    eventually(names(here) == [b.name])
    assert Cluster.call(here, "operator", "add", [20, 22]) == {:ok, 42}
  end
end
