defmodule Krait.SizesTest do
  # Pools with a range of sizes: they grow while requests wait, and shrink when they are too large.
  use Krait.Case, async: true

  alias Krait.Gate

  @os_pid "__import__('os').getpid()"

  # Calls behind a gate, each of which holds a worker.
  defp hold(node, gate, n) do
    for i <- 1..n, do: caller(i, node, eval(Gate.behind(gate, @os_pid)))
  end

  defp answers(n) do
    for i <- 1..n do
      assert_receive {^i, {:ok, os_pid}}, 10_000
      os_pid
    end
  end

  test "a pool grows while requests wait, to its largest size, and all are served" do
    node = start_node(size: {1, 3}, grow_after: 50, idle_ttl: 600_000)
    assert %{size: 1, size_min: 1, size_max: 3} = pool_status(node)
    gate = Gate.new()
    hold(node, gate, 5)
    await_running(node, 3)
    assert %{size: 3, ready: 3, queued: 2, totals: %{grown: 2}} = pool_status(node)
    Gate.open(gate)
    assert answers(5) |> Enum.uniq() |> length() == 3
    await_rest(node)
    assert totals(node).starts == 3
  end

  test "a pool that was not needed shrinks to its least, one by one" do
    node = start_node(size: {1, 3}, grow_after: 0, idle_ttl: 100, lines: true, stop_grace: 10_000)
    gate = Gate.new()
    hold(node, gate, 3)
    await_running(node, 3)
    Gate.open(gate)
    answers(3)
    eventually(match?(%{size: 1, ready: 1, stopping: 0}, pool_status(node)))
    assert %{shrunk: 2, left: %{surplus: 2, killed: 0}, kills: 0} = totals(node)
    assert_receive {:krait_line, _, :info, _, "leaves after " <> _}, 5_000
    assert py(node, "1") == {:ok, 1}
  end

  test "whoever waits for the worker of a session starts no other" do
    node = start_node(size: {1, 3}, grow_after: 50, idle_ttl: 600_000)
    gate = Gate.new()
    session = [session: "s"]
    caller(:first, node, eval(Gate.behind(gate, @os_pid), session))
    await_running(node, 1)
    caller(:pinned, node, eval(@os_pid, session))
    await_queued(node, 1)
    # It waits for longer than this one, which gets a worker for that.
    caller(:other, node, eval(@os_pid))
    assert_receive {:other, {:ok, other}}, 10_000
    assert %{size: 2, queued: 1, totals: %{grown: 1}} = pool_status(node)
    Gate.open(gate)
    assert_receive {:first, {:ok, first}}, 10_000
    assert_receive {:pinned, {:ok, ^first}}, 10_000
    assert first != other
  end

  test "a worker that holds a session does not leave for being idle" do
    node = start_node(size: {1, 2}, grow_after: 0, idle_ttl: 50)
    gate = Gate.new()
    hold(node, gate, 2)
    await_running(node, 2)
    for name <- ["a", "b"], do: caller(name, node, eval(@os_pid, session: name))
    await_queued(node, 2)
    Gate.open(gate)
    answers(2)
    assert_receive {"a", {:ok, a}}, 10_000
    assert_receive {"b", {:ok, b}}, 10_000

    if a != b do
      assert ask(node, {:end_session, "a"}) == :ok
      eventually(pool_status(node).size == 1)
      assert py(node, @os_pid, session: "b") == {:ok, b}
    end

    assert totals(node).sessions_lost == 0
  end

  test "{resize, {N, M}} is a range, {resize, N} a size" do
    node = start_node(size: 2)
    assert ask(node, {:resize, {1, 4}}) == :ok
    assert %{size: 2, size_min: 1, size_max: 4} = pool_status(node)
    assert ask(node, {:resize, {3, 4}}) == :ok
    assert ask(node, :await_ready) == :ok
    assert %{size: 3, ready: 3} = pool_status(node)
    assert ask(node, {:resize, 1}) == :ok
    assert %{size: 1, size_min: 1, size_max: 1} = pool_status(node)
    await_rest(node)
  end

  test "workers in fifo order take turns, in lifo order the last one is used again" do
    lifo = start_node(size: 3)
    fifo = start_node(size: 3, order: :fifo)
    used = fn node -> for _ <- 1..9, do: elem(py(node, @os_pid), 1) end
    assert lifo |> used.() |> Enum.uniq() |> length() == 1
    assert fifo |> used.() |> Enum.frequencies() |> Map.values() == [3, 3, 3]
  end

  test "a size that is none is refused" do
    Process.flag(:trap_exit, true)

    for size <- [0, {0, 1}, {3, 2}, {1, 2, 3}, :many] do
      assert {:error, %Error{kind: :bad_option}} = Krait.start_link(size: size)
    end
  end
end
