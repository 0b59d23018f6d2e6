defmodule Krait.LanesTest do
  # Lanes, section 5a of the contract: as the Erlang client speaks them, and bare.
  use Krait.Case, async: true

  # A process that says {krait_lane, ...} to a pool and passes on what it hears.
  defp lane(%TestNode{pool: pool}) do
    parent = self()
    spawn(fn -> lane_loop(parent, pool) end)
  end

  defp lane_loop(parent, pool) do
    receive do
      {:say, calls, gone} -> send(pool, {:krait_lane, self(), calls, gone})
      {:krait_lane, answers} -> for answer <- answers, do: send(parent, {:heard, answer})
    end

    lane_loop(parent, pool)
  end

  defp add(a, b), do: {:call, "operator", "add", [a, b]}

  test "each call of a lane is answered with its id, whatever it asks for" do
    node = start_node()
    lane = lane(node)

    send(lane, {:say, [{1, add(1, 2)}, {"two", :ping}, {{3}, {:call, "no", "thing", []}}], []})

    assert_receive {:heard, {1, {:ok, 3}}}, 5_000
    assert_receive {:heard, {"two", :pong}}, 5_000
    assert_receive {:heard, {{3}, {:error, {:no_function, "no", "thing"}}}}, 5_000
  end

  test "a call that is none, and an id that is in use, hear why; the others do not notice" do
    node = start_node()
    lane = lane(node)
    calls = [{1, eval(sleep(1))}, {1, :ping}, {2, {:call, 7}}, {3}, :x, {4, add(1, 1)}]
    send(lane, {:say, calls, []})

    assert_receive {:heard, {1, {:error, {:bad_request, "an Id that is not in use"}}}}, 5_000
    assert_receive {:heard, {2, {:error, {:bad_request, _}}}}, 5_000
    assert_receive {:heard, {4, {:ok, 2}}}, 5_000
    assert_receive {:heard, {1, {:ok, nil}}}, 5_000
    refute_received {:heard, _}
    await_rest(node)
  end

  test "who is gone frees his worker, and nobody is answered" do
    node = start_node(size: 1)
    lane = lane(node)
    send(lane, {:say, [{1, eval(sleep(60))}, {2, eval(sleep(60))}, {3, add(1, 1)}], []})
    await_queued(node, 2)
    send(lane, {:say, [], [1, 2]})

    assert_receive {:heard, {3, {:ok, 2}}}, 10_000
    refute_received {:heard, _}
    await_rest(node)
    assert totals(node).abandoned == 2
  end

  test "a lane's death abandons all its calls" do
    node = start_node(size: 1)
    lane = lane(node)
    send(lane, {:say, for(i <- 1..10, do: {i, eval(sleep(60))}), []})
    await_queued(node, 9)
    kill(lane)
    await_rest(node)
    assert totals(node).abandoned == 10
  end

  test "workers name the caller that the lane named" do
    node = start_node(size: 1)
    lane = lane(node)
    send(lane, {:say, [{1, eval(sleep(60)), self()}], []})
    assert eventually(Enum.any?(workers(node), &(&1.caller == self())))
    kill(lane)
    await_rest(node)
  end

  test "answers that come together come in one message" do
    node = start_node(size: 1)
    %{pool: pool} = node
    send(pool, {:krait_lane, self(), for(i <- 1..20, do: {i, :ping}), []})
    assert_receive {:krait_lane, answers}, 5_000
    assert answers == for(i <- 1..20, do: {i, :pong})
  end

  test "what a lane checks out belongs to the caller that it named" do
    node = start_node(size: 1)
    owner = spawn(fn -> Process.sleep(:infinity) end)
    lane = lane(node)
    send(lane, {:say, [{1, {:checkout, :anonymous}, owner}], []})
    assert_receive {:heard, {1, {:ok, lease}}}, 5_000
    assert ask(lease, {:call, "operator", "add", [1, 1]}) == {:error, :not_owner}
    ref = Process.monitor(lease)
    kill(owner)
    assert_receive {:DOWN, ^ref, :process, ^lease, _}, 5_000
    await_rest(node)
  end

  test "messages that look like lanes and are none are counted and dropped" do
    node = start_node()

    for wrong <- [
          {:krait_lane, self(), [], :x},
          {:krait_lane, self(), :x, []},
          {:krait_lane, :x, [], []},
          {:krait_lane, self(), []},
          {:krait_lane, self(), [{1, :ping} | :x], []},
          {:krait_lane, self(), [{:binary.copy("x", 100), :ping}], []}
        ],
        do: send(node.pool, wrong)

    assert ask(node, :ping) == :pong
    assert totals(node).received == 0
  end

  describe "the client" do
    test "answers each of many concurrent callers with his own result" do
      node = start_node(size: 4)

      sums =
        1..2_000
        |> Task.async_stream(fn i -> Krait.call(node.pool, "operator", "add", [i, 1]) end,
          max_concurrency: 200
        )
        |> Enum.map(fn {:ok, {:ok, sum}} -> sum end)

      assert sums == Enum.to_list(2..2_001)
      await_rest(node)
    end

    test "callers that die and give up leave nothing behind" do
      node = start_node(size: 2)
      call = fn timeout -> Krait.call(node.pool, "time", "sleep", [60], timeout: timeout) end
      pids = for _ <- 1..20, do: spawn(fn -> call.(:infinity) end)
      await_queued(node, 18)
      Enum.each(pids, &kill/1)
      assert {:error, %Error{reason: {:timeout, _}}} = call.(50)
      await_rest(node)
      refute_received _
    end

    test "hears that the node is gone, and goes on with its successor" do
      node = start_node(size: 1)
      parent = self()

      spawn(fn ->
        send(parent, {:heard, Krait.call(node.pool, "time", "sleep", [60])})
      end)

      await_running(node, 1)
      expect_exit(node, [nil, 137])
      signal(node.os_pid, "KILL")
      assert_receive {:heard, {:error, %Error{reason: {:nodedown, _}}}}, 10_000
    end
  end
end
