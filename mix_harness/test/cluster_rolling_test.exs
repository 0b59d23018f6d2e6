defmodule Krait.ClusterRollingTest do
  # One node takes another's place, is resized, and gets fresh code, while many call: nobody notices.
  use Krait.Case, async: true

  import Krait.TestCluster

  alias Krait.{Cluster, Gate}

  # Callers that call until they are told to stop: answers that are right are counted, all others are kept.
  defp load(callers, call) do
    stop = :counters.new(1, [])

    tasks =
      for i <- 1..callers do
        Task.async(fn -> loop(fn -> call.(i) end, stop, 0, []) end)
      end

    {stop, tasks}
  end

  defp loop(call, stop, right, wrong) do
    {right, wrong} =
      case call.() do
        :right -> {right + 1, wrong}
        other -> {right, [other | wrong]}
      end

    if :counters.get(stop, 1) == 0, do: loop(call, stop, right, wrong), else: {right, wrong}
  end

  defp finish({stop, tasks}) do
    :counters.add(stop, 1, 1)
    {right, wrong} = tasks |> Task.await_many(30_000) |> Enum.unzip()
    {Enum.sum(right), List.flatten(wrong)}
  end

  defp await_more(nodes, n) do
    before = answered(nodes)
    eventually(answered(nodes) >= before + n)
  end

  defp answered(nodes), do: nodes |> Enum.map(&totals(&1).answered) |> Enum.sum()

  defp echo(cluster, options \\ []) do
    n = System.unique_integer()

    case Cluster.call(cluster, "operator", "neg", [n], options) do
      {:ok, answer} when answer == -n -> :right
      other -> other
    end
  end

  # Three calls in a session of its own, and its end: state that is lost, or made twice, would show.
  defp conversation(cluster) do
    id = {self(), System.unique_integer()}
    say = fn -> count(cluster, id) end

    with [{:ok, 1}, {:ok, 2}, {:ok, 3}, :ok] <-
           [say.(), say.(), say.(), Cluster.end_session(cluster, id)],
         do: :right
  end

  test "a node is replaced under load, and no call fails" do
    old = start_node()
    other = start_node()
    cluster = start_cluster(nodes: [old.name, other.name], local: fn _ -> false end)
    # Another cluster that knows the nodes, and is not told which one goes.
    new = start_node()
    bystander = start_cluster(nodes: [old.name, other.name, new.name], local: fn _ -> false end)

    plain = load(40, fn i -> echo(if(rem(i, 2) == 0, do: cluster, else: bystander)) end)
    sessions = load(10, fn _ -> conversation(cluster) end)
    await_more([old, other], 200)

    assert :ok = Cluster.replace(cluster, old.name, new.name, session_grace: 10_000)
    before = totals(new).answered
    eventually(totals(new).answered > before + 100)

    assert {right, []} = finish(plain)
    assert right > 200
    assert {right, []} = finish(sessions)
    assert right > 10

    assert Enum.sort(Enum.map(Cluster.nodes(cluster), & &1.node)) ==
             Enum.sort([other.name, new.name])

    await_rest(new)
    await_rest(other)
  end

  test "a node whose successor does not start stays" do
    old = start_node()
    cluster = start_cluster(nodes: [old.name])

    assert {:error, %Error{kind: :nodedown}} =
             Cluster.replace(cluster, old.name, :"nowhere@127.0.0.1")

    assert Enum.map(Cluster.nodes(cluster), & &1.node) == [old.name]
    assert echo(cluster) == :right
  end

  test "a drain that takes too long says so, and may be taken up again" do
    [old, new] = for _ <- 1..2, do: start_node()
    cluster = start_cluster(nodes: [old.name])
    gate = Gate.new()
    code = Gate.behind(gate, "'served'")
    task = Task.async(fn -> Cluster.call(cluster, "builtins", "eval", [code]) end)
    await_running(old, 1)

    assert {:error, %Error{reason: {:timeout, :call}}} =
             Cluster.replace(cluster, old.name, new.name, timeout: 50)

    assert echo(cluster) == :right
    assert totals(new).answered == 1
    Gate.open(gate)
    assert :ok = Cluster.replace(cluster, old.name, new.name, stop: false)
    assert {:ok, "served"} = Task.await(task)
    assert Krait.ping(old.pool) == :pong
    assert Enum.map(Cluster.nodes(cluster), & &1.node) == [new.name]
  end

  test "sessions that do not end in their grace are lost, and say so once" do
    [old, new] = for _ <- 1..2, do: start_node()
    cluster = start_cluster(nodes: [old.name])

    say = fn id, options -> count(cluster, id, options) end

    for id <- [:strict, :hint], do: assert(say.(id, []) == {:ok, 1})
    assert :ok = Cluster.replace(cluster, old.name, new.name)
    assert {:error, %Error{reason: {:session_lost, :strict}}} = say.(:strict, [])
    assert say.(:strict, []) == {:ok, 1}
    assert say.(:hint, session_mode: :hint) == {:ok, 1}
  end

  test "a session goes on while its node waits for it to end, and new ones begin elsewhere" do
    [old, new] = for _ <- 1..2, do: start_node()
    cluster = start_cluster(nodes: [old.name])
    say = fn id -> count(cluster, id) end
    assert say.(1) == {:ok, 1}

    task =
      Task.async(fn -> Cluster.replace(cluster, old.name, new.name, session_grace: :infinity) end)

    eventually(Enum.any?(Cluster.nodes(cluster), & &1.leaving))
    assert say.(1) == {:ok, 2}
    for id <- 2..5, do: assert(say.(id) == {:ok, 1})
    assert {:ok, [%{id: 1}]} = Krait.sessions(old.pool)
    assert :ok = Cluster.end_session(cluster, 1)
    assert Task.await(task, 20_000) == :ok
    assert say.(1) == {:ok, 1}
  end

  test "a session whose first call still waits is waited for, too" do
    [old, new] = for _ <- 1..2, do: start_node()
    cluster = start_cluster(nodes: [old.name], interval: 1_000)
    assert :ok = Krait.pause(old.pool)
    first = Task.async(fn -> count(cluster, 1) end)
    await_queued(old, 1)

    replacing =
      Task.async(fn -> Cluster.replace(cluster, old.name, new.name, session_grace: 60_000) end)

    eventually(Enum.any?(Cluster.nodes(cluster), & &1.leaving))
    # A drain would end the pause.
    for _ <- 1..50, do: assert(pool_status(old).state == :paused)
    assert :ok = Krait.resume(old.pool)
    assert Task.await(first) == {:ok, 1}
    assert count(cluster, 1) == {:ok, 2}
    assert :ok = Cluster.end_session(cluster, 1)
    assert Task.await(replacing, 30_000) == :ok
  end

  test "a pool is resized and gets fresh code under load, and no call fails" do
    node = start_node(size: 2)
    cluster = start_cluster(nodes: [node.name])
    plain = load(20, fn _ -> echo(cluster) end)
    await_more([node], 50)

    for size <- [5, 1, 3] do
      assert :ok = Krait.resize(node.pool, size)
      assert :ok = Krait.await_ready(node.pool)
      await_more([node], 50)
    end

    before = os_pids(node)
    assert :ok = Krait.reload(node.pool)
    eventually(before -- os_pids(node) == before)
    assert {right, []} = finish(plain)
    assert right > 200
    await_rest(node)
  end
end
