defmodule Krait.LanesTest do
  # Lanes, section 12 of the contract: as the Erlang client speaks them, and bare.
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

  test "while many calls of a lane wait for workers, answers wait for company" do
    node = start_node(size: 1)
    %{pool: pool} = node
    send(pool, {:krait_lane, self(), for(i <- 1..2_000, do: {i, add(i, 1)}), []})
    messages = hear(2_000, [])
    assert Enum.sort(Enum.concat(messages)) == for(i <- 1..2_000, do: {i, {:ok, i + 1}})
    # One worker answers one call after the other.
    assert length(messages) < 1_000
    await_rest(node)
  end

  test "an answer does not wait for company that does not come" do
    node = start_node(size: 1)
    %{pool: pool} = node
    calls = [{0, add(1, 1)} | for(i <- 1..20, do: {i, eval(sleep(60))})]
    send(pool, {:krait_lane, self(), calls, []})
    assert_receive {:krait_lane, [{0, {:ok, 2}}]}, 5_000
    await_queued(node, 19)
    send(pool, {:krait_lane, self(), [], Enum.to_list(1..20)})
    await_rest(node)
  end

  defp hear(0, messages), do: messages

  defp hear(n, messages) do
    assert_receive {:krait_lane, answers}, 20_000
    hear(n - length(answers), [answers | messages])
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

    # What nobody wants any more the lane returns.
    send(lane, {:say, [{2, {:checkout, :anonymous}}], []})
    assert_receive {:heard, {2, {:ok, lease}}}, 5_000
    Process.exit(lease, :shutdown)
    await_rest(node)
  end

  test "the limit of a request is that of each call, not of the message they come in" do
    node = start_node(size: 1, max_request_bytes: 100_000)
    lane = lane(node)
    length_of = fn bytes -> {:call, "builtins", "len", [:binary.copy("x", bytes)]} end
    calls = for(i <- 1..5, do: {i, length_of.(60_000)}) ++ [{6, length_of.(150_000)}, {7, :ping}]
    send(lane, {:say, calls, []})

    for i <- 1..5, do: assert_receive({:heard, {^i, {:ok, 60_000}}}, 5_000)
    assert_receive {:heard, {6, {:error, {:too_large, bytes, 100_000}}}}, 5_000
    assert bytes > 150_000
    assert_receive {:heard, {7, :pong}}, 5_000
    await_rest(node)
  end

  test "of a message that is too long for a lane, the calls that begin it hear so" do
    node = start_node(size: 1, max_request_bytes: 100_000)
    lane = lane(node)
    giant = {:call, "builtins", "len", [:binary.copy("x", 40_000_000)]}
    send(lane, {:say, [{1, :ping}, {2, giant}, {3, :ping}], []})
    limit = 32 * 1024 * 1024
    assert_receive {:heard, {1, {:error, {:too_large, bytes, ^limit}}}}, 20_000
    assert bytes > 40_000_000
    assert_receive {:heard, {2, {:error, {:too_large, ^bytes, ^limit}}}}, 5_000
    send(lane, {:say, [{1, :ping}], []})
    assert_receive {:heard, {1, :pong}}, 5_000
    refute_received {:heard, _}
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

    test "is served at any size that a request may have, and hears what is too large" do
      node = start_node(size: 2, max_request_bytes: 100_000)
      length_of = fn bytes -> Krait.call(node.pool, "builtins", "len", [:binary.copy("x", bytes)]) end

      for {bytes, many} <- [{20_000, 200}, {90_000, 20}] do
        callers = for _ <- 1..many, do: Task.async(fn -> length_of.(bytes) end)
        assert Task.await_many(callers, 20_000) == List.duplicate({:ok, bytes}, many)
      end

      task = Task.async(fn -> length_of.(150_000) end)
      assert {:error, %Error{reason: {:too_large, bytes, 100_000}}} = Task.await(task, 5_000)
      assert bytes > 150_000
      await_rest(node)
    end

    test "what is large goes alone" do
      node = start_node(size: 1)
      length_of = fn bytes -> {:call, "builtins", "len", [:binary.copy("x", bytes)]} end
      assert {:answer, {:ok, 60_000}} = :krait_lane.attempt(node.pool, length_of.(60_000), 5_000)
      assert :krait_lane.attempt(node.pool, length_of.(70_000), 5_000) == :no_lane
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

    test "a caller who dies is noticed: before his lane watches him, and after" do
      node = start_node(size: 1)
      late = spawn(fn -> Krait.call(node.pool, "time", "sleep", [60]) end)
      await_running(node, 1)
      lane = lane_of(late)
      assert eventually({:process, late} in monitors(lane))
      kill(late)
      await_rest(node)

      # What the lane takes comes from one who is dead already.
      true = :erlang.suspend_process(lane)
      request = {:call, "time", "sleep", [60]}

      early =
        spawn(fn ->
          send(lane, {:ask, 1, make_ref(), self(), request})
          Process.sleep(:infinity)
        end)

      assert eventually(Process.info(lane, :message_queue_len) == {:message_queue_len, 1})
      kill(early)
      true = :erlang.resume_process(lane)
      assert eventually(totals(node).abandoned == 2)
      await_rest(node)
    end

    test "who gives up hears nothing later, and his call is abandoned" do
      node = start_node(size: 1)
      address = node.pool
      request = {:call, "time", "sleep", [60], %{timeout: :infinity}}
      assert :krait_lane.attempt(address, request, 30) == :timeout
      await_rest(node)
      assert totals(node).abandoned == 1
      assert Process.info(self(), :monitors) == {:monitors, []}
      refute_received _
    end

    test "an answer that nobody waits for any more reaches nobody, whatever pid is in it" do
      node = start_node(size: 1)
      Process.flag(:trap_exit, true)
      lane = :krait_lanes.find(node.pool)
      send(lane, {:krait_lane, [{:nobody, {:ok, self()}}]})

      # The lane has read that before it takes what comes after it.
      send(lane, {:ask, 1, make_ref(), self(), add(1, 2)})
      assert_receive message, 5_000
      assert {tag, {:ok, 3}} = message
      assert is_reference(tag)
    end

    test "a lane whose connection takes nothing still hears who gives up and who dies" do
      node = start_node(size: 1)
      {_, name} = address = node.pool
      assert {:ok, 3} = Krait.call(address, "operator", "add", [1, 2])
      signal(node.os_pid, "STOP")
      fill(name, :binary.copy("x", 1_000_000))

      assert :krait_lane.attempt(address, :ping, 30) == :timeout
      # So does a new one, and its start holds up nobody.
      assert :krait_lane.attempt({:another_pool, name}, :ping, 30) == :timeout
      dead = spawn(fn -> Krait.call(address, "time", "sleep", [60]) end)
      lane = lane_of(dead)
      assert eventually({:process, dead} in monitors(lane))
      kill(dead)
      assert eventually({:process, dead} not in monitors(lane))

      signal(node.os_pid, "CONT")
      assert {:ok, 3} = Krait.call(address, "operator", "add", [1, 2])
      await_rest(node)
      # He who was dead before his call could be sent has asked for nothing.
      assert totals(node).received == 2
    end

    test "what is written to a node is gathered, on each connection to it" do
      node = start_node(size: 1)
      {_, name} = address = node.pool
      assert {:ok, 3} = Krait.call(address, "operator", "add", [1, 2])
      assert eventually(delay_send?(name))
      true = Node.disconnect(name)
      assert eventually({:ok, 3} == Krait.call(address, "operator", "add", [1, 2]))
      assert eventually(delay_send?(name))
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

  # A caller monitors his lane.
  defp lane_of(caller) do
    assert eventually(monitors(caller) != [])
    [{:process, lane}] = monitors(caller)
    lane
  end

  defp monitors(pid), do: pid |> Process.info(:monitors) |> elem(1)

  # Until the BEAM keeps no more for that connection, and its socket takes no more either: the node is stopped,
  # so what is full stays full. That the socket takes no more is told by nobody. As long as it does, what is
  # kept goes there and another message is taken: not one in twenty tries over a tenth of a second says that it
  # is full.
  defp fill(node, bytes, refused \\ 0)
  defp fill(_, _, 20), do: :ok

  defp fill(node, bytes, refused) do
    case Process.send({:nobody_of_this_name, node}, bytes, [:nosuspend]) do
      :ok ->
        fill(node, bytes)

      :nosuspend ->
        Process.sleep(5)
        fill(node, bytes, refused + 1)
    end
  end

  defp delay_send?(node) do
    case List.keyfind(:erlang.system_info(:dist_ctrl), node, 0) do
      {_, port} -> :inet.getopts(port, [:delay_send]) == {:ok, [delay_send: true]}
      nil -> false
    end
  end
end
