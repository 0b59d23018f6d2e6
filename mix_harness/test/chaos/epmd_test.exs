defmodule Krait.ChaosEpmdTest do
  # What the name server does to a node: it dies, hangs, and forgets. Its own one: see PrivateEpmd.
  use Krait.Case, async: true

  alias Krait.{Chaos, Gate, PrivateEpmd}

  defp begin(options \\ []) do
    port = PrivateEpmd.start()
    owner = PrivateEpmd.start_beam(port)
    client = PrivateEpmd.start_beam(port)
    node = PrivateEpmd.start_node(owner, options)
    before = :peer.call(owner, Chaos, :before, [node])
    %{port: port, owner: owner, client: client, node: node, before: before}
  end

  # By the node's own BEAM: the one that runs the suites does not know this epmd.
  defp finish(%{owner: owner, client: client, node: node, before: before}) do
    true = :peer.call(client, Node, :disconnect, [node.name])
    assert :peer.call(owner, Chaos, :assert_unharmed, [node, before], 40_000) == :ok
    PrivateEpmd.assert_nothing_left(owner, node)
  end

  defp await_published(%{port: port, node: node}) do
    eventually(match?({:port, _}, PrivateEpmd.lookup(port, node)))
  end

  test "epmd is SIGKILLed again and again: calls go on, the node is found again where it was" do
    %{port: port, owner: owner, client: client, node: node} = all = begin()
    where = await_published(all) && PrivateEpmd.lookup(port, node)
    gate = Gate.new()
    long = Task.async(fn -> PrivateEpmd.ask(owner, node, eval(Gate.behind(gate, "'long'"))) end)

    for i <- 1..3 do
      PrivateEpmd.kill(port)
      assert PrivateEpmd.ask(owner, node, eval("#{i}")) == {:ok, i}
      # By itself: the node starts what it needs.
      await_published(all)
      assert PrivateEpmd.lookup(port, node) == where
      # A BEAM that must ask epmd for the way.
      assert PrivateEpmd.ask(client, node, eval("#{i}")) == {:ok, i}
      assert :peer.call(client, Node, :disconnect, [node.name])
    end

    # it has run all the time
    Gate.open(gate)
    assert Task.await(long, 20_000) == {:ok, "long"}
    assert PrivateEpmd.ask(client, node, :ping) == :pong
    finish(all)
  end

  test "epmd is SIGSTOPped: connected callers notice nothing, others come when it goes on" do
    %{port: port, owner: owner, client: client, node: node} = all = begin()
    await_published(all)
    PrivateEpmd.signal(port, "STOP")
    for i <- 1..50, do: assert(PrivateEpmd.ask(owner, node, eval("#{i}")) == {:ok, i})
    newcomer = Task.async(fn -> PrivateEpmd.ask(client, node, eval("'came'")) end)
    for i <- 1..50, do: assert(PrivateEpmd.ask(owner, node, eval("#{i}")) == {:ok, i})
    PrivateEpmd.signal(port, "CONT")
    assert Task.await(newcomer, 20_000) == {:ok, "came"}
    finish(all)
  end

  test "epmd comes back and a stranger has the name: the node serves on, and is found when it is free" do
    %{port: port, owner: owner, client: client, node: node} = all = begin()
    where = await_published(all) && PrivateEpmd.lookup(port, node)

    stranger =
      eventually(
        case kill_and_take(port, node) do
          {:ok, socket} -> socket
          :taken -> nil
        end
      )

    assert PrivateEpmd.lookup(port, node) == {:port, 1}
    # It has heard more than once by then that the name is taken: it asks every half second.
    assert PrivateEpmd.ask(owner, node, eval("#{sleep(1.2)} or 'served'")) == {:ok, "served"}
    assert PrivateEpmd.lookup(port, node) == {:port, 1}
    :gen_tcp.close(stranger)
    eventually(PrivateEpmd.lookup(port, node) == where)
    assert PrivateEpmd.ask(client, node, eval("'found'")) == {:ok, "found"}
    finish(all)
  end

  # The node may be quicker; then once more.
  defp kill_and_take(port, node) do
    PrivateEpmd.kill(port)
    PrivateEpmd.run(port)
    PrivateEpmd.take_name(port, node)
  end
end
