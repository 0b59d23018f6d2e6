defmodule Krait.ErpcTest do
  # erpc, row by row of OTP's manual page, with a node that was started with --rpc.
  use Krait.Case, async: true

  alias Krait.Gate

  defp rpc_node(options \\ []), do: start_node([rpc: true] ++ options)

  defp raised(fun) do
    fun.()
    flunk("did not raise")
  catch
    class, reason -> {class, reason}
  end

  defp call(node, m, f, args, timeout \\ 20_000), do: :erpc.call(node.name, m, f, args, timeout)

  # A process by hand, as erpc asks for it, and the pid that erpc never shows.
  defp spawn_call(node, m, f, args, options \\ [:monitor]) do
    ref = make_ref()
    id = :erlang.spawn_request(node.name, :erpc, :execute_call, [ref, m, f, args], options)
    assert_receive {:spawn_reply, ^id, :ok, pid}, 5_000
    {id, ref, pid}
  end

  describe "call" do
    test "returns what the function returns, as it is" do
      node = rpc_node()
      assert :erpc.call(node.name, :math, :sqrt, [2.0]) == :math.sqrt(2.0)

      assert call(node, :krait_faults, :echo, [{:ok, %{"a" => [1, nil, self()]}}]) ==
               {:ok, %{"a" => [1, nil, self()]}}

      assert call(node, :"os.path", :join, ["a", "b"], :infinity) == "a/b"
      assert call(node, :builtins, :len, [~c"abc"]) == 3
      assert %{received: 4, ok: 4, answered: 4} = totals(node)
      refute_received _
      await_rest(node)
    end

    test "carries results and arguments of megabytes" do
      node = rpc_node()
      bytes = :crypto.strong_rand_bytes(20_000_000)
      assert call(node, :krait_faults, :echo, [{:bytes, bytes}]) == bytes
    end

    test "raises a Python exception as error:{exception, Reason, Stack}, whose stack is Python's" do
      node = rpc_node()

      assert {:error, {:exception, {:python, error}, stack}} =
               raised(fn -> call(node, :krait_rpc, :outer, [1]) end)

      assert %{type: "ZeroDivisionError", module: "builtins", args: ["division by zero"]} = error
      assert error.traceback =~ "in outer"

      assert [
               {:krait_rpc, :_inner, 0, [file: file, line: inner]},
               {:krait_rpc, :outer, 1, [file: file, line: outer]}
             ] = stack

      source = file |> File.read!() |> String.split("\n")
      assert Enum.at(source, inner - 1) =~ "return steps / 0"
      assert Enum.at(source, outer - 1) =~ "return _inner(steps)"
      await_rest(node)
    end

    test "ends every stack with the function that was called" do
      node = rpc_node()

      for {m, f, args, last} <- [
            {:math, :sqrt, [-1], {:math, :sqrt, 1, []}},
            {:builtins, :int, ["x", 10], {:builtins, :int, 2, []}},
            {:krait_rpc, :naïve, [1], {:krait_rpc, :naïve, 1}},
            {:krait_rpc, :"Model.fit", [3], {:krait_rpc, :fit, 1}},
            {:krait_rpc, :Model, [], {:krait_rpc, :Model, 0, []}}
          ] do
        assert {:error, {:exception, {:python, _}, stack}} =
                 raised(fn -> call(node, m, f, args) end)

        case {last, List.last(stack)} do
          {{_, _, _, []}, found} ->
            assert found == last

          {{m, f, a}, {fm, ff, fa, location}} ->
            assert {m, a} == {fm, fa}
            # qualified from Python 3.11 on
            assert ff |> Atom.to_string() |> String.ends_with?(Atom.to_string(f))
            assert Keyword.keys(location) == [:file, :line]
        end
      end
    end

    test "tells at most 64 frames, the innermost" do
      node = rpc_node()

      assert {:error, {:exception, {:python, _}, stack}} =
               raised(fn -> call(node, :krait_rpc, :deep, [100]) end)

      assert [{:krait_rpc, :_inner, _, _} | deep] = Enum.take(stack, 64)
      assert Enum.all?(deep, &match?({:krait_rpc, :deep, _, _}, &1))
      assert List.last(stack) |> elem(1) == :deep
      assert length(stack) in 64..65
    end

    test "makes atoms and paths of whatever Python's frames are called" do
      node = rpc_node()
      path = "/tmp/naïve/\u{1F40D}.py"

      assert {:error, {:exception, {:python, _}, [{module, :"<module>", 0, location} | _]}} =
               raised(fn -> call(node, :krait_rpc, :in_file, [path, "1/0"]) end)

      assert location == [file: String.to_charlist(path), line: 1]
      assert module |> Atom.to_string() |> String.length() == 255
    end

    test "of a function that is not there is undef, as on every node" do
      node = rpc_node()

      for {m, f, args} <- [
            {:no_such_module, :f, []},
            {:math, :no_such_function, [1, 2]},
            {:"", :f, []},
            {Enum, :map, [[], 1]}
          ] do
        assert raised(fn -> call(node, m, f, args) end) ==
                 {:error, {:exception, :undef, [{m, f, length(args), []}]}}
      end

      # a fun is erlang:apply/2, and we have no module erlang
      assert raised(fn -> :erpc.call(node.name, fn -> 1 end) end) ==
               {:error, {:exception, :undef, [{:erlang, :apply, 2, []}]}}
    end

    test "of a function that is not allowed says so" do
      node = rpc_node(allow: ["math.sqrt"])
      assert call(node, :math, :sqrt, [4]) == 2.0

      for {m, f} <- [{:math, :floor}, {:os, :system}, {:math, :__init__}] do
        assert raised(fn -> call(node, m, f, [1]) end) ==
                 {:error, {:exception, {:not_allowed, m, f}, [{m, f, 1, []}]}}
      end

      assert %{not_allowed: 3, ok: 1} = totals(node)
    end

    test "raises every other reason of the contract as error:{exception, Reason, Stack}" do
      node = rpc_node(size: 1, max_depth: 10, max_result_bytes: 10_000)
      deep = Enum.reduce(1..20, 1, fn _, inner -> [inner] end)

      for {f, args, reason} <- [
            {:echo, [1, [1 | 2]], {:unencodable, "args[1]", :improper_list}},
            {:echo, [deep], {:too_deep, 10}},
            {:unencodable, [], {:unencodable, "result", "object"}}
          ] do
        {m, f} = if f == :unencodable, do: {:builtins, :object}, else: {:krait_faults, f}

        assert raised(fn -> call(node, m, f, args) end) ==
                 {:error, {:exception, reason, [{m, f, length(args), []}]}}
      end

      assert {:ok, {was, 300}} = ask(node, {:set, :call_timeout, 300})

      assert raised(fn -> call(node, :krait_faults, :slow, [3600]) end) ==
               {:error, {:exception, {:timeout, :call}, [{:krait_faults, :slow, 1, []}]}}

      assert {:ok, {300, ^was}} = ask(node, {:set, :call_timeout, was})

      assert {:error, {:exception, {:too_large, _, 10_000}, [_]}} =
               raised(fn -> call(node, :operator, :mul, ["x", 20_000]) end)

      assert {:error, {:exception, {:worker_exit, %{exit: {:exit, 3}}}, [_]}} =
               raised(fn -> call(node, :krait_faults, :exit, [3]) end)

      assert call(node, :math, :sqrt, [4]) == 2.0
      await_rest(node)
    end

    test "queues as calls do, and hears it when the queue is full" do
      node = rpc_node(size: 1, queue_limit: 1)
      busy = :erpc.send_request(node.name, :krait_faults, :slow, [3600])
      await_running(node, 1)
      waits = :erpc.send_request(node.name, :math, :sqrt, [4])
      await_queued(node, 1)

      assert {:error, {:exception, {:overloaded, %{queued: 1, limit: 1}}, [{:math, :sqrt, 1, []}]}} =
               raised(fn -> call(node, :math, :sqrt, [4]) end)

      assert raised(fn -> :erpc.receive_response(busy, 0) end) == {:error, {:erpc, :timeout}}
      assert :erpc.receive_response(waits, 10_000) == 2.0
      await_rest(node)
    end

    test "of arguments that are no list is badarg" do
      node = rpc_node()

      assert raised(fn -> call(node, :math, :sqrt, [1 | 2]) end) ==
               {:error, {:exception, :badarg, [{:erlang, :apply, 3, []}]}}

      # and what erpc itself refuses never leaves the caller
      assert raised(fn -> :erpc.call(node.name, :math, :sqrt, :none) end) ==
               {:error, {:erpc, :badarg}}

      assert raised(fn -> :erpc.call(node.name, "math", :sqrt, []) end) ==
               {:error, {:erpc, :badarg}}

      assert raised(fn -> call(node, :math, :sqrt, [], -1) end) == {:error, {:erpc, :badarg}}
      assert totals(node).bad_request == 1
    end

    test "whose time is up raises timeout, and the call is abandoned as its pool says" do
      node = rpc_node(size: 1)
      [before] = os_pids(node)

      {ms, reason} =
        timed(fn -> raised(fn -> call(node, :krait_faults, :slow, [3600], 300) end) end)

      assert reason == {:error, {:erpc, :timeout}}
      assert ms in 300..15_000
      eventually(totals(node).abandoned == 1)
      assert call(node, :krait_faults, :pid, []) != before
      refute_received _
      await_rest(node)
    end

    test "to a node that is not there raises noconnection" do
      assert raised(fn -> :erpc.call(:"nobody_at_all@127.0.0.1", :math, :sqrt, [1]) end) ==
               {:error, {:erpc, :noconnection}}
    end

    test "to a node that is killed raises noconnection" do
      node = rpc_node(size: 1)
      expect_exit(node, [137, nil])
      request = :erpc.send_request(node.name, :krait_faults, :slow, [3600])
      await_running(node, 1)
      signal(node.os_pid, "KILL")

      assert raised(fn -> :erpc.receive_response(request, 10_000) end) ==
               {:error, {:erpc, :noconnection}}
    end

    test "to a node without --rpc raises notsup" do
      node = start_node(await_ready: false)
      assert raised(fn -> call(node, :math, :sqrt, [1]) end) == {:error, {:erpc, :notsup}}
      assert totals(node).received == 0
    end

    test "calls back to its caller's node, in Python" do
      node = rpc_node(size: 1)
      assert call(node, :krait_callbacks, :rpc, ["erlang", "node", []]) == node()
      assert call(node, :krait_callbacks, :send, [self(), {:from, "Python"}]) == nil
      assert_receive {:from, "Python"}, 5_000
      {_, beam} = start_peer()
      args = [node.name, :krait_callbacks, :rpc, ["erlang", "node", []]]
      assert :erpc.call(beam, :erpc, :call, args, 10_000) == beam
    end

    test "from another BEAM works as well" do
      node = rpc_node()
      {peer, _} = start_peer()
      assert :peer.call(peer, :erpc, :call, [node.name, :math, :sqrt, [4.0]], 10_000) == 2.0
    end
  end

  describe "a caller that dies" do
    test "takes its call with it, running or queued" do
      node = rpc_node(size: 1)
      parent = self()

      callers =
        for i <- 1..3 do
          spawn(fn -> send(parent, {i, call(node, :krait_faults, :slow, [3600])}) end)
        end

      eventually(match?(%{running: 1, queued: 2}, totals(node)))
      Enum.each(callers, &kill/1)
      eventually(totals(node).abandoned == 3)
      assert call(node, :math, :sqrt, [4]) == 2.0
      refute_received _
      await_rest(node)
    end

    test "at once does so too" do
      node = rpc_node()
      assert call(node, :math, :sqrt, [4]) == 2.0

      for n <- 1..200 do
        pid = spawn(fn -> call(node, :krait_faults, :slow, [3600]) end)
        if rem(n, 3) == 0, do: :erlang.yield()
        Process.exit(pid, :kill)
      end

      assert call(node, :math, :sqrt, [4]) == 2.0
      await_rest(node)
    end

    test "with its node does so too" do
      node = rpc_node(size: 1)
      {peer, name} = start_peer()
      :peer.cast(peer, :erpc, :call, [node.name, :krait_faults, :slow, [3600]])
      await_running(node, 1)
      :peer.stop(peer)
      eventually(totals(node).abandoned == 1)
      refute name in Node.list(:hidden)
      await_rest(node)
    end
  end

  describe "a storm of callers that die, give up and kill what they asked for" do
    test "leaves nothing behind" do
      node = rpc_node(size: 4, queue_limit: 100)
      {:ok, %{monitors: monitors}} = ask(node, :status)

      storm =
        for n <- 1..60 do
          spawn_monitor(fn -> for k <- 1..30, do: one_of_a_storm(node, rem(n + k, 6)) end)
        end

      for {{pid, _}, n} <- Enum.with_index(storm), rem(n, 4) == 0 do
        receive do
        after
          5 -> Process.exit(pid, :kill)
        end
      end

      for {pid, ref} <- storm do
        assert_receive {:DOWN, ^ref, :process, ^pid, reason}, 60_000
        assert reason in [:normal, :killed]
      end

      await_rest(node)
      eventually(match?({:ok, %{monitors: ^monitors}}, ask(node, :status)))
      assert call(node, :math, :sqrt, [4]) == 2.0
      refute_received _
    end
  end

  # Each may find the queue full, too.
  defp one_of_a_storm(node, kind) do
    case kind do
      0 -> call(node, :krait_faults, :echo, [kind])
      1 -> call(node, :krait_faults, :slow, [0.005], 3)
      2 -> call(node, :krait_rpc, :divide, [1, 0])
      3 -> :erpc.cast(node.name, :krait_faults, :echo, [kind])
      4 -> :rpc.block_call(node.name, :krait_faults, :echo, [kind])
      5 -> spawn_and_kill(node)
    end
  rescue
    ErlangError -> :ok
  end

  defp spawn_and_kill(node) do
    args = [make_ref(), :krait_faults, :slow, [0.005]]
    Process.flag(:trap_exit, true)
    id = :erlang.spawn_request(node.name, :erpc, :execute_call, args, [:monitor, :link])

    receive do
      {:spawn_reply, ^id, :ok, pid} -> Process.exit(pid, :kill)
    end

    receive do
      {:DOWN, ^id, :process, _, _} -> :ok
    end
  end

  describe "cast and multicast" do
    test "run the function, and nobody hears of it" do
      node = rpc_node(size: 1)
      assert :erpc.cast(node.name, :krait_faults, :incr, [5]) == :ok
      assert :erpc.multicast([node.name, node.name], :krait_faults, :incr, [1]) == :ok
      assert :erpc.cast(node.name, :math, :sqrt, ["no number"]) == :ok
      assert :erpc.cast(node.name, :nosuch, :f, []) == :ok
      assert :erpc.cast(node.name, :math, :sqrt, [1 | 2]) == :ok
      assert call(node, :krait_faults, :incr, [0]) == 7
      assert %{received: 7, ok: 4, python: 1, no_function: 1, bad_request: 1} = totals(node)
      refute_received _
      assert node.name in Node.list(:hidden)
    end

    test "go on when their caller is dead, and its node" do
      node = rpc_node(size: 1)
      {peer, _} = start_peer()
      gate = Gate.new()
      held = [node.name, :builtins, :eval, [Gate.behind(gate, "1")]]
      :ok = :peer.call(peer, :erpc, :cast, held, 10_000)
      await_running(node, 1)
      {:ok, %{peers: peers}} = ask(node, :status)
      :peer.stop(peer)
      eventually(match?({:ok, %{peers: left}} when left < peers, ask(node, :status)))
      Gate.open(gate)
      eventually(totals(node).ok == 1)
      assert totals(node).abandoned == 0
    end

    test "to a node without --rpc are dropped" do
      node = start_node(size: 1)
      assert :erpc.cast(node.name, :krait_faults, :incr, [5]) == :ok
      assert ask(node, {:call, :krait_faults, :incr, [0]}) == {:ok, 0}
      assert totals(node).received == 1
    end
  end

  describe "multicall" do
    test "of Krait nodes, BEAM nodes and nobody answers for each in its place" do
      one = rpc_node(size: 1)
      two = rpc_node(size: 1, allow: ["math.floor"])
      off = start_node(await_ready: false)
      {_, beam} = start_peer()
      nodes = [one.name, beam, :"nobody_at_all@127.0.0.1", two.name, node(), off.name, one.name]
      root = :math.sqrt(2.0)

      assert :erpc.multicall(nodes, :math, :sqrt, [2.0], 10_000) == [
               {:ok, root},
               {:ok, root},
               {:error, {:erpc, :noconnection}},
               {:error, {:exception, {:not_allowed, :math, :sqrt}, [{:math, :sqrt, 1, []}]}},
               {:ok, root},
               {:error, {:erpc, :notsup}},
               {:ok, root}
             ]

      refute_received _
    end

    test "whose time is up has an answer from those that were in time" do
      quick = rpc_node(size: 1)
      slow = rpc_node(size: 1)
      busy = :erpc.send_request(slow.name, :krait_faults, :slow, [3600])
      await_running(slow, 1)

      assert :erpc.multicall([quick.name, slow.name], :math, :sqrt, [4], 1_500) ==
               [{:ok, 2.0}, {:error, {:erpc, :timeout}}]

      eventually(totals(slow).abandoned == 1)
      assert raised(fn -> :erpc.receive_response(busy, 0) end) == {:error, {:erpc, :timeout}}
      await_rest(slow)
      refute_received _
    end

    test "tells exceptions as call raises them" do
      node = rpc_node()

      assert [
               {:error,
                {:exception, {:python, %{type: "ZeroDivisionError"}}, [{:krait_rpc, _, _, _} | _]}},
               {:error, {:exception, {:python, %{type: "ZeroDivisionError"}}, [_ | _]}}
             ] = :erpc.multicall([node.name, node.name], :krait_rpc, :divide, [1, 0])
    end
  end

  describe "send_request" do
    test "and receive_response: a result, an exception, a time-out" do
      node = rpc_node()
      request = :erpc.send_request(node.name, :math, :sqrt, [4])
      assert :erpc.receive_response(request) == 2.0

      request = :erpc.send_request(node.name, :krait_rpc, :divide, [1, 0])

      assert {:error, {:exception, {:python, _}, _}} =
               raised(fn -> :erpc.receive_response(request, 10_000) end)

      request = :erpc.send_request(node.name, :krait_faults, :slow, [3600])
      await_running(node, 1)

      assert raised(fn -> :erpc.receive_response(request, 100) end) == {:error, {:erpc, :timeout}}
      await_rest(node)
      refute_received _
    end

    test "and wait_response: nothing yet, then the response" do
      node = rpc_node()
      gate = Gate.new()
      request = :erpc.send_request(node.name, :builtins, :eval, [Gate.behind(gate, "7")])
      assert :erpc.wait_response(request, 0) == :no_response
      Gate.open(gate)
      assert :erpc.wait_response(request, 10_000) == {:response, 7}

      request = :erpc.send_request(node.name, :krait_rpc, :divide, [1, 0])

      assert {:error, {:exception, {:python, _}, _}} =
               raised(fn -> :erpc.wait_response(request, 10_000) end)
    end

    test "and check_response: of the messages that come, the one that is it" do
      node = rpc_node()
      request = :erpc.send_request(node.name, :math, :sqrt, [4])
      assert :erpc.check_response(:another, request) == :no_response
      assert_receive {:DOWN, _, :process, _, _} = message, 5_000
      assert :erpc.check_response(message, request) == {:response, 2.0}

      off = start_node(await_ready: false)
      request = :erpc.send_request(off.name, :math, :sqrt, [4])
      assert_receive {:spawn_reply, _, :error, :notsup} = message, 5_000
      assert raised(fn -> :erpc.check_response(message, request) end) == {:error, {:erpc, :notsup}}
    end

    test "many at once, gathered in a collection with their labels" do
      node = rpc_node(size: 2)

      ids =
        Enum.reduce(1..50, :erpc.reqids_new(), fn n, ids ->
          :erpc.send_request(node.name, :krait_faults, :echo, [n], {:label, n}, ids)
        end)

      assert gather(ids, %{}) == Map.new(1..50, &{{:label, &1}, &1})
      refute_received _
    end
  end

  defp gather(ids, results) do
    case :erpc.receive_response(ids, 10_000, true) do
      :no_request -> results
      {result, label, ids} -> gather(ids, Map.put(results, label, result))
    end
  end

  describe "the process that a spawn request asks for" do
    test "ends with the result as its reason, for whoever monitors it" do
      node = rpc_node(size: 1)
      gate = Gate.new()
      {id, ref, pid} = spawn_call(node, :builtins, :eval, [Gate.behind(gate, "7")])
      assert node(pid) == node.name
      other = Process.monitor(pid)
      assert ask(node, :ping) == :pong
      Gate.open(gate)
      assert_receive {:DOWN, ^id, :process, ^pid, {^ref, :return, 7}}, 5_000
      assert_receive {:DOWN, ^other, :process, ^pid, {^ref, :return, 7}}, 5_000
      late = Process.monitor(pid)
      assert_receive {:DOWN, ^late, :process, ^pid, :noproc}, 5_000
    end

    test "is killed by an exit signal, and its call is abandoned" do
      node = rpc_node(size: 1)

      for {signal, heard} <- [boom: :boom, kill: :killed] do
        {id, _, pid} = spawn_call(node, :krait_faults, :slow, [3600])
        await_running(node, 1)
        Process.exit(pid, :normal)
        send(pid, :hello)
        GenServer.cast(pid, :checkin)
        Process.exit(pid, signal)
        assert_receive {:DOWN, ^id, :process, ^pid, ^heard}, 5_000
        await_rest(node)
      end

      assert totals(node).abandoned == 2
    end

    test "is linked when that was asked for, in both directions" do
      node = rpc_node(size: 1)
      Process.flag(:trap_exit, true)
      {_, ref, pid} = spawn_call(node, :krait_faults, :echo, [1], [:link])
      assert_receive {:EXIT, ^pid, {^ref, :return, 1}}, 5_000

      {id, ref, pid} = spawn_call(node, :krait_faults, :echo, [2], [:link, :monitor])
      assert_receive {:EXIT, ^pid, {^ref, :return, 2}}, 5_000
      assert_receive {:DOWN, ^id, :process, ^pid, {^ref, :return, 2}}, 5_000

      gate = Gate.new()
      {_, ref, pid} = spawn_call(node, :builtins, :eval, [Gate.behind(gate, "3")], [:link])
      Process.unlink(pid)
      down = Process.monitor(pid)
      assert ask(node, :ping) == :pong
      Gate.open(gate)
      assert_receive {:DOWN, ^down, :process, ^pid, {^ref, :return, 3}}, 5_000
      refute_received {:EXIT, ^pid, _}

      caller =
        spawn(fn ->
          spawn_call(node, :krait_faults, :slow, [3600], [:link])
          receive do: (:never -> :ok)
        end)

      await_running(node, 1)
      kill(caller)
      eventually(totals(node).abandoned == 1)
      await_rest(node)
    end

    test "that nobody monitors runs to its end" do
      node = rpc_node(size: 1)
      {_, _, pid} = spawn_call(node, :krait_faults, :incr, [3], [])
      ref = Process.monitor(pid)
      assert_receive {:DOWN, ^ref, :process, ^pid, _}, 5_000
      assert call(node, :krait_faults, :incr, [0]) == 3
    end

    test "of a cast ends with normal, or as a process that crashed" do
      node = rpc_node()

      for {m, f, args, check} <- [
            {:math, :sqrt, [4], &(&1 == :normal)},
            {:math, :sqrt, [-1],
             &match?({{:exception, {{:python, _}, [{:math, :sqrt, 1, []}]}}, [_]}, &1)},
            {:nosuch, :f, [], &match?({{:exception, {:undef, [{:nosuch, :f, 0, []}]}}, _}, &1)}
          ] do
        id = :erlang.spawn_request(node.name, :erpc, :execute_cast, [m, f, args], [:monitor])
        assert_receive {:spawn_reply, ^id, :ok, pid}, 5_000
        assert_receive {:DOWN, ^id, :process, ^pid, reason}, 5_000
        assert check.(reason), inspect(reason)
      end
    end

    test "is not given for any other function, nor for arguments that are not its own" do
      node = rpc_node()
      ref = make_ref()

      for {m, f, args} <- [
            {:math, :sqrt, [4]},
            {:erlang, :apply, [:math, :sqrt, [4]]},
            {:other, :execute_call, [ref, :math, :sqrt, [4]]},
            {:erpc, :execute_call, [:math, :sqrt, [4]]},
            {:erpc, :execute_call, [ref, :math, :sqrt, [4], 5]},
            {:erpc, :execute_cast, [ref, :math, :sqrt, [4]]},
            {:erpc, :execute_call, [String.duplicate("x", 2_000), :math, :sqrt, [4]]},
            {:erpc, :call, [node.name, :math, :sqrt, [4]]}
          ] do
        id = :erlang.spawn_request(node.name, m, f, args, [:monitor])
        assert_receive {:spawn_reply, ^id, :error, :notsup}, 5_000
      end

      for fun <- [&Node.spawn/4, &Node.spawn_link/4] do
        Process.flag(:trap_exit, true)
        pid = fun.(node.name, :math, :sqrt, [4])
        Process.monitor(pid)
        assert_receive {:DOWN, _, :process, ^pid, reason}, 5_000
        assert reason in [:noproc, :notsup, :noconnection]
      end

      assert totals(node).received == 0
      assert call(node, :math, :sqrt, [4]) == 2.0
    end

    test "with a module or a function that is no atom ends with badarg, as apply/3 does" do
      node = rpc_node()

      for {m, f, args} <- [
            {"math", :sqrt, [4]},
            {:math, "sqrt", [4]},
            {:math, :sqrt, %{}},
            {1, 2, 3}
          ] do
        {id, ref, _} = spawn_call(node, m, f, args)

        assert_receive {:DOWN, ^id, :process, _,
                        {^ref, :error, :badarg, [{:erlang, :apply, 3, []}]}},
                       5_000
      end
    end

    test "is refused alone when its arguments are too long" do
      node = rpc_node(max_request_bytes: 100_000)
      long = String.duplicate("x", 200_000)
      busy = :erpc.send_request(node.name, :krait_faults, :slow, [0.5, :undisturbed])

      assert {:error, {:exception, {:too_large, bytes, 100_000}, [{:erlang, :apply, 3, []}]}} =
               raised(fn -> call(node, :krait_faults, :echo, [long]) end)

      assert bytes > 200_000
      assert :erpc.cast(node.name, :krait_faults, :echo, [long]) == :ok

      # so long that not even its reference is told
      id = :erlang.spawn_request(node.name, :erpc, :execute_call, [long, :a, :b, []], [:monitor])
      assert_receive {:spawn_reply, ^id, :error, :system_limit}, 5_000
      id = :erlang.spawn_request(node.name, :math, :sqrt, [long], [:monitor])
      assert_receive {:spawn_reply, ^id, :error, :notsup}, 5_000

      assert :erpc.receive_response(busy, 10_000) == :undisturbed
      assert call(node, :math, :sqrt, [4]) == 2.0
      assert totals(node).too_large == 2
      await_rest(node)

      off = start_node(max_request_bytes: 100_000, await_ready: false)
      assert raised(fn -> call(off, :krait_faults, :echo, [long]) end) == {:error, {:erpc, :notsup}}
      assert ask(off, :ping) == :pong
    end
  end

  describe "a crash report" do
    # a handler of OTP's logger
    def log(event, %{config: %{to: pid}}) do
      send(pid, {:report, event |> :logger_formatter.format(%{}) |> IO.chardata_to_string()})
    end

    @tag :capture_log
    test "points into Python" do
      node = rpc_node()
      id = :"crash_report_#{System.unique_integer([:positive])}"
      :ok = :logger.add_handler(id, __MODULE__, %{config: %{to: self()}})
      on_exit(fn -> :logger.remove_handler(id) end)
      {pid, ref} = spawn_monitor(fn -> call(node, :krait_rpc, :outer, [1]) end)
      assert_receive {:DOWN, ^ref, :process, ^pid, {{:exception, _, _}, _}}, 5_000
      text = report_of(pid)
      assert text =~ "ZeroDivisionError"
      assert text =~ ~r/'_inner',0,\s*\[{file,\s*"[^"]*krait_rpc\.py"},\s*{line,22}\]/
    end
  end

  defp report_of(pid) do
    assert_receive {:report, text}, 5_000
    if text =~ List.to_string(:erlang.pid_to_list(pid)), do: text, else: report_of(pid)
  end

  describe "a worker that lies about its stack" do
    test "is told as far as it makes sense, and the connection stays" do
      node = rpc_node(size: 1)
      str = fn text -> <<0xDB, byte_size(text)::32, text::binary>> end

      frame = fn m, f, file, line ->
        <<0x94, str.(m)::binary, str.(f)::binary, str.(file)::binary, line::binary>>
      end

      good = frame.("m", "f", "x.py", <<7>>)
      called = {:krait_liar, :python_error, 1, []}
      long = String.duplicate("é", 1_000)

      for {bytes, stack} <- [
            {<<0x90>>, [called]},
            {<<0xC0>>, [called]},
            {<<0x91, 0xC0>>, [called]},
            {<<>>, [called]},
            {<<0x92, good::binary, 0xC1>>, [{:m, :f, 0, file: ~c"x.py", line: 7}, called]},
            {<<0x92, good::binary, 0x93, 1, 2, 3>>, [{:m, :f, 0, file: ~c"x.py", line: 7}, called]},
            {<<0x95, good::binary>>, [{:m, :f, 0, file: ~c"x.py", line: 7}, called]},
            {<<0x91, frame.("", "\xff", "", <<0>>)::binary>>, [{:"?", :"?", 0, file: []}, called]},
            {<<0x91, frame.("m", "f", "\xff", <<0xCF, 0xFFFFFFFFFFFFFFFF::64>>)::binary>>,
             [{:m, :f, 0, file: []}, called]},
            {<<0x91, frame.("m", "f", "x", <<0xFF>>)::binary>>, [called]},
            {<<0x91, frame.(long, long, String.duplicate("x", 5_000), <<1>>)::binary>>,
             [
               {String.to_atom(String.duplicate("é", 255)),
                String.to_atom(String.duplicate("é", 255)), 0, file: [], line: 1},
               called
             ]},
            {<<0xDD, 200::32>> <> String.duplicate(good, 200),
             List.duplicate({:m, :f, 0, file: ~c"x.py", line: 7}, 64) ++ [called]},
            {<<0x91, frame.("z", "python_error", "y", <<2>>)::binary>>,
             [{:z, :python_error, 1, file: ~c"y", line: 2}]}
          ] do
        assert {:error, {:exception, {:python, %{type: "Lie"}}, found}} =
                 raised(fn -> call(node, :krait_liar, :python_error, [{:bytes, bytes}]) end)

        assert {bytes, found} == {bytes, stack}
      end

      assert node.name in Node.list(:hidden)
      assert call(node, :math, :sqrt, [4]) == 2.0
    end

    test "or about anything else, likewise" do
      node = rpc_node(size: 1)
      nan_key = <<0x82, 0xA1, ?a, 1, 0xC4, 1, ?a, 2>>

      for {lie, args, reason} <- [
            {:result, [{:bytes, nan_key}], {:unencodable, "result.a", :duplicate_key}},
            {:result, [{:bytes, <<0xC1>>}], {:unencodable, "result", :corrupt}},
            {:error, [{:bytes, <<0xC0>>}, 1], {:unencodable, "", ""}}
          ] do
        assert {:error, {:exception, ^reason, [{:krait_liar, ^lie, _, []}]}} =
                 raised(fn -> call(node, :krait_liar, lie, args) end)
      end

      assert call(node, :math, :sqrt, [4]) == 2.0
    end
  end
end
