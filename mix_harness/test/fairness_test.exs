defmodule Krait.FairnessTest do
  # Peers of one priority take turns: a flood of one BEAM does not starve another.
  use Krait.Case, async: true

  alias Krait.Gate

  # In Python, of one worker: who was served, in order.
  @order "__import__('sys').__dict__.setdefault('krait_order', [])"

  defp note(who, options \\ []), do: eval("#{@order}.append('#{who}')", options)

  # Who has run, in that order, of those who queue up while the one worker is busy.
  defp order(node, queue_up, options \\ []) do
    gate = Gate.new()
    caller(:first, node, eval(Gate.behind(gate, "1"), options))
    await_running(node, 1)
    queue_up.()
    Gate.open(gate)
    assert_receive {:first, {:ok, 1}}, 10_000
    eventually(totals(node).queued + totals(node).running == 0)
    {:ok, order} = py(node, @order)
    order
  end

  test "a flood of one BEAM does not starve another" do
    node = start_node(size: 1)
    {peer, _} = start_peer()

    order =
      order(node, fn ->
        for _ <- 1..100, do: GenServer.cast(node.pool, note("flood"))
        await_queued(node, 100)
        for _ <- 1..5, do: :peer.call(peer, GenServer, :cast, [node.pool, note("quiet")])
        await_queued(node, 105)
      end)

    turns = for _ <- 1..5, word <- ["flood", "quiet"], do: word
    assert Enum.take(order, 10) == turns
    assert Enum.count(order, &(&1 == "flood")) == 100
  end

  test "a flood of one BEAM into a session does not starve another that waits for its worker" do
    node = start_node(size: 1)
    {peer, _} = start_peer()

    queue_up = fn ->
      for _ <- 1..50, do: GenServer.cast(node.pool, note("flood", session: "s"))
      await_queued(node, 50)
      for _ <- 1..3, do: :peer.call(peer, GenServer, :cast, [node.pool, note("quiet")])
      await_queued(node, 53)
    end

    order = order(node, queue_up, session: "s")
    assert order |> Enum.take(6) |> Enum.count(&(&1 == "quiet")) == 3
  end

  test "priority comes before turns" do
    node = start_node(size: 1)
    {peer, _} = start_peer()

    order =
      order(node, fn ->
        :peer.call(peer, GenServer, :cast, [node.pool, note("quiet")])
        await_queued(node, 1)
        for _ <- 1..10, do: GenServer.cast(node.pool, note("high", priority: :high))
        await_queued(node, 11)
      end)

    assert order == List.duplicate("high", 10) ++ ["quiet"]
  end
end
