defmodule Krait.ClusterHostsTest do
  # A cluster over several hosts: on addresses of the loopback interface, which every machine lets one use,
  # and in network namespaces, where that is allowed.
  use Krait.Case, async: true

  alias Krait.{Cluster, Gate, NetHost}

  defp names(cluster), do: for(%{node: node, state: :up} <- Cluster.nodes(cluster), do: node)

  test "nodes on addresses of their own are one cluster" do
    nodes =
      for i <- 2..4 do
        [alive, _] = String.split(Atom.to_string(unique_name()), "@")
        start_node(name: :"#{alive}@127.0.0.#{i}", listen: "127.0.0.#{i}", size: 1)
      end

    names = for node <- nodes, do: node.name
    name = :"cluster_#{System.unique_integer([:positive])}"
    start_supervised!({Cluster, name: name, nodes: names, local: fn _ -> false end, interval: 50})
    assert names(name) == Enum.sort(names)

    # So many at once that each of them is the less loaded one of two, some time.
    gate = Gate.new()
    held = fn -> Cluster.call(name, "builtins", "eval", [Gate.behind(gate, "1")]) end
    tasks = for _ <- 1..30, do: Task.async(held)
    eventually(nodes |> Enum.map(&totals(&1).received) |> Enum.sum() == 30)
    Gate.open(gate)
    assert Task.await_many(tasks, 20_000) == List.duplicate({:ok, 1}, 30)
    for node <- nodes, do: assert(totals(node).answered > 0)

    # Each listens on its own address alone.
    for node <- nodes, other <- 2..4 do
      [alive, host] = String.split(Atom.to_string(node.name), "@")
      {:port, port, _} = :erl_epmd.port_please(to_charlist(alive), {127, 0, 0, 1})
      reached = :gen_tcp.connect({127, 0, 0, other}, port, [], 5_000)
      assert host == "127.0.0.#{other}" == match?({:ok, _}, reached)
      with {:ok, socket} <- reached, do: :gen_tcp.close(socket)
    end

    [first | rest] = nodes
    assert Krait.stop(first.instance) == :ok
    for _ <- 1..10, do: assert(Cluster.call(name, "operator", "neg", [1]) == {:ok, -1})
    eventually(names(name) == Enum.sort(for node <- rest, do: node.name))
  end

  unless NetHost.possible?(), do: @tag(skip: "no right to make network namespaces here")

  test "two hosts: each serves itself, and the other when it cannot; a cable is pulled" do
    {one, two} = NetHost.pair()

    [{beam1, _}, {beam2, name2}] = for host <- [one, two], do: NetHost.start_beam(host)

    nodes =
      for {host, beam} <- [{one, beam1}, {two, beam2}] do
        name = :"krait@#{host.address}"
        options = Keyword.drop(Krait.TestNode.defaults(self()), [:log, :log_level])

        options =
          Keyword.merge(options, name: name, listen: host.address, log: &Function.identity/1)

        assert :ok = :peer.call(beam, Krait.Owner, :start, [options], 30_000)
        options = [name: :python, group: :hosts, nodes: [name], interval: 100]
        assert :ok = :peer.call(beam, Krait.Owner, :start_child, [Cluster, options], 30_000)
        name
      end

    [krait1, krait2] = nodes
    assert :peer.call(beam1, :net_kernel, :connect_node, [name2])
    ask = fn beam, m, f, args -> :peer.call(beam, m, f, args, 30_000) end

    for {beam, name} <- [{beam1, krait2}, {beam2, krait1}],
        do: assert(:ok = ask.(beam, Cluster, :await, [:python, name, 10_000]))

    call = fn beam -> ask.(beam, Cluster, :call, [:python, "operator", "neg", [1]]) end

    answered = fn beam, node ->
      {:ok, %{pools: %{default: %{totals: totals}}}} = ask.(beam, Krait, :status, [node])
      totals.answered
    end

    # Its own first, by its name alone.
    for beam <- [beam1, beam2], _ <- 1..5, do: assert(call.(beam) == {:ok, -1})
    assert answered.(beam1, krait1) == 5
    assert answered.(beam2, krait2) == 5

    # The other one's when its own takes none.
    assert :ok = ask.(beam1, Krait, :drain, [krait1])
    for _ <- 1..5, do: assert(call.(beam1) == {:ok, -1})
    assert answered.(beam2, krait2) == 10
    assert :ok = ask.(beam1, Krait, :resume, [krait1])

    state = fn beam, name ->
      Enum.find_value(ask.(beam, Cluster, :nodes, [:python]), &(&1.node == name and &1.state))
    end

    eventually(state.(beam1, krait1) == :up)

    # Nobody says that a cable was pulled. What is here goes on; what is there is silent.
    NetHost.unplug(two)
    eventually(state.(beam1, krait2) == :silent)
    for beam <- [beam1, beam2], _ <- 1..5, do: assert(call.(beam) == {:ok, -1})
    NetHost.plug(two)
    eventually(state.(beam1, krait2) == :up, 30_000)
    eventually(state.(beam2, krait1) == :up, 30_000)

    for beam <- [beam1, beam2], do: :peer.stop(beam)
    for node <- nodes, do: assert(Krait.Proc.await_none(node) == [])
  end
end
