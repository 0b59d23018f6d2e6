defmodule Krait.FairnessTest do
  # Peers of one priority take turns: a flood of one BEAM does not starve another.
  use Krait.Case, async: true

  alias Krait.Gate

  # In Python, of one worker: who was served, in order.
  @order "__import__('sys').__dict__.setdefault('krait_order', [])"

  defp note(who), do: eval("#{@order}.append('#{who}')")

  test "a flood of one BEAM does not starve another" do
    node = start_node(size: 1)
    {peer, _} = start_peer()
    gate = Gate.new()
    caller(:first, node, eval(Gate.behind(gate, "1")))
    await_running(node, 1)
    for _ <- 1..100, do: GenServer.cast(node.pool, note("flood"))
    await_queued(node, 100)
    for _ <- 1..5, do: :peer.call(peer, GenServer, :cast, [node.pool, note("quiet")])
    await_queued(node, 105)
    Gate.open(gate)
    assert_receive {:first, {:ok, 1}}, 10_000
    eventually(totals(node).queued + totals(node).running == 0)
    {:ok, order} = py(node, @order)
    turns = for _ <- 1..5, word <- ["flood", "quiet"], do: word
    assert Enum.take(order, 10) == turns
    assert Enum.count(order, &(&1 == "flood")) == 100
  end

  test "a flood of one BEAM into a session does not starve another that waits for its worker" do
    node = start_node(size: 1)
    {peer, _} = start_peer()
    gate = Gate.new()
    caller(:first, node, eval(Gate.behind(gate, "1"), session: "s"))
    await_running(node, 1)
    in_session = Tuple.append(Tuple.delete_at(note("flood"), 4), session: "s")
    for _ <- 1..50, do: GenServer.cast(node.pool, in_session)
    await_queued(node, 50)
    for _ <- 1..3, do: :peer.call(peer, GenServer, :cast, [node.pool, note("quiet")])
    await_queued(node, 53)
    Gate.open(gate)
    assert_receive {:first, {:ok, 1}}, 10_000
    eventually(totals(node).queued + totals(node).running == 0)
    {:ok, order} = py(node, @order)
    assert order |> Enum.take(6) |> Enum.count(&(&1 == "quiet")) == 3
  end

  test "priority comes before turns" do
    node = start_node(size: 1)
    {peer, _} = start_peer()
    gate = Gate.new()
    caller(:first, node, eval(Gate.behind(gate, "1")))
    await_running(node, 1)
    :peer.call(peer, GenServer, :cast, [node.pool, note("quiet")])
    await_queued(node, 1)
    high = Tuple.append(Tuple.delete_at(note("high"), 4), priority: :high)
    for _ <- 1..10, do: GenServer.cast(node.pool, high)
    await_queued(node, 11)
    Gate.open(gate)
    assert_receive {:first, {:ok, 1}}, 10_000
    eventually(totals(node).queued + totals(node).running == 0)
    {:ok, order} = py(node, @order)
    assert order == List.duplicate("high", 10) ++ ["quiet"]
  end
end
