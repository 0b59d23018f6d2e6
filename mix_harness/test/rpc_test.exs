defmodule Krait.RpcTest do
  # rpc, row by row of OTP's manual page, and the name rex behind it, with a node that was started with --rpc.
  use Krait.Case, async: true

  defp rpc_node(options \\ []), do: start_node([rpc: true] ++ options)

  describe "call" do
    test "returns the result as it is" do
      node = rpc_node()
      assert :rpc.call(node.name, :math, :sqrt, [2.0]) == :math.sqrt(2.0)
      assert :rpc.call(node.name, :krait_faults, :echo, [%{a: [1]}], 5_000) == %{a: [1]}
      await_rest(node)
    end

    test "tells an exception as a badrpc whose stack is Python's" do
      node = rpc_node()

      assert {:badrpc, {:EXIT, {{:python, %{type: "ZeroDivisionError"}}, stack}}} =
               :rpc.call(node.name, :krait_rpc, :divide, [1, 0])

      assert [{:krait_rpc, :divide, 2, [file: file, line: line]}] = stack
      assert file |> File.read!() |> String.split("\n") |> Enum.at(line - 1) =~ "return a / b"
    end

    test "tells everything else that can happen as a badrpc" do
      node = rpc_node(allow: ["math", "krait_faults"], size: 1)
      off = start_node(await_ready: false)

      for {name, m, f, args, reason} <- [
            {node.name, :math, :nosuch, [1], {:EXIT, {:undef, [{:math, :nosuch, 1, []}]}}},
            {node.name, :os, :system, ["ls"],
             {:EXIT, {{:not_allowed, :os, :system}, [{:os, :system, 1, []}]}}},
            {node.name, :math, :sqrt, [1 | 2], {:EXIT, {:badarg, [{:erlang, :apply, 3, []}]}}},
            {node.name, :krait_faults, :slow, [3600], :timeout},
            {:"nobody_at_all@127.0.0.1", :math, :sqrt, [1], :nodedown},
            {off.name, :math, :sqrt, [1], :notsup}
          ] do
        assert {f, :rpc.call(name, m, f, args, 2_000)} == {f, {:badrpc, reason}}
      end

      eventually(totals(node).abandoned == 1)
      refute_received _
      await_rest(node)
    end
  end

  describe "cast, multicall and async_call" do
    test "cast is true, whatever becomes of it" do
      node = rpc_node(size: 1)
      assert :rpc.cast(node.name, :krait_faults, :incr, [2])
      assert :rpc.cast(node.name, :nosuch, :f, [])
      assert :rpc.eval_everywhere([node.name], :krait_faults, :incr, [3]) == :abcast
      assert :rpc.call(node.name, :krait_faults, :incr, [0]) == 5
      refute_received _
    end

    test "multicall has results, errors, and the nodes that did not answer" do
      one = rpc_node(size: 1)
      two = rpc_node(size: 1, allow: ["math.floor"])
      off = start_node(await_ready: false)
      {_, beam} = start_peer()
      nodes = [one.name, :"nobody_at_all@127.0.0.1", beam, two.name, off.name, node()]
      root = :math.sqrt(2.0)

      assert :rpc.multicall(nodes, :math, :sqrt, [2.0], 10_000) ==
               {[
                  root,
                  root,
                  {:badrpc, {:EXIT, {{:not_allowed, :math, :sqrt}, [{:math, :sqrt, 1, []}]}}},
                  {:badrpc, :notsup},
                  root
                ], [:"nobody_at_all@127.0.0.1"]}

      busy = :rpc.async_call(one.name, :krait_faults, :slow, [3600])
      await_running(one, 1)
      assert :rpc.multicall([one.name, node()], :math, :sqrt, [2.0], 300) == {[root], [one.name]}
      assert :rpc.nb_yield(busy) == :timeout
      refute_received _
    end

    test "async_call has its result fetched by yield, and asked for by nb_yield" do
      node = rpc_node()
      assert :rpc.yield(:rpc.async_call(node.name, :math, :sqrt, [4])) == 2.0

      assert {:badrpc, {:EXIT, {{:python, _}, _}}} =
               :rpc.yield(:rpc.async_call(node.name, :krait_rpc, :divide, [1, 0]))

      gate = Krait.Gate.new()
      key = :rpc.async_call(node.name, :builtins, :eval, [Krait.Gate.behind(gate, "7")])
      assert :rpc.nb_yield(key) == :timeout
      Krait.Gate.open(gate)
      assert :rpc.nb_yield(key, 10_000) == {:value, 7}

      keys = for n <- 1..50, do: :rpc.async_call(node.name, :krait_faults, :echo, [n])
      assert Enum.map(keys, &:rpc.yield/1) == Enum.to_list(1..50)
      refute_received _
    end
  end

  describe "rex" do
    test "serves block_call" do
      node = rpc_node(size: 1)
      assert :rpc.block_call(node.name, :math, :sqrt, [4]) == 2.0
      assert :rpc.block_call(node.name, :math, :sqrt, [4], 5_000) == 2.0

      assert {:badrpc, {:EXIT, {{:python, _}, [{:krait_rpc, :divide, 2, [_, _]}]}}} =
               :rpc.block_call(node.name, :krait_rpc, :divide, [1, 0])

      assert :rpc.block_call(node.name, :nosuch, :f, [1, 2]) ==
               {:badrpc, {:EXIT, {:undef, [{:nosuch, :f, 2, []}]}}}

      assert :rpc.block_call(node.name, :math, :sqrt, [1 | 2]) ==
               {:badrpc, {:EXIT, {:badarg, [{:erlang, :apply, 3, []}]}}}

      assert :rpc.block_call(node.name, :krait_faults, :echo, [[1 | 2]]) ==
               {:badrpc,
                {:EXIT,
                 {{:unencodable, "args[0]", :improper_list}, [{:krait_faults, :echo, 1, []}]}}}

      assert :rpc.block_call(node.name, :krait_faults, :slow, [3600], 300) == {:badrpc, :timeout}
      eventually(totals(node).abandoned == 1)
      refute_received _
      await_rest(node)
    end

    test "serves gen_server calls and casts as rpc of older nodes makes them" do
      node = rpc_node(size: 1)
      rex = {:rex, node.name}
      assert GenServer.call(rex, {:call, :math, :sqrt, [4], self()}) == 2.0
      GenServer.cast(rex, {:cast, :krait_faults, :incr, [4], self()})
      GenServer.cast(rex, {:cast, :nosuch, :incr, [4], self()})
      GenServer.cast(rex, :nothing)
      assert GenServer.call(rex, {:call, :krait_faults, :incr, [0], :user}) == 4

      for request <- [:stop, :ping, {:call, :math, :sqrt, [4]}, {:other, 1, 2, 3, 4}] do
        assert {:badrpc, {:bad_request, expected}} = GenServer.call(rex, request)
        assert expected =~ "GroupLeader"
      end
    end

    test "serves what C nodes send, and what nodes ask about each other" do
      node = rpc_node()
      name = node.name
      rex = {:rex, name}
      send(rex, {self(), {:call, :math, :sqrt, [4.0], :user}})
      assert_receive {:rex, 2.0}, 5_000
      send(rex, {self(), {:call, :math, :sqrt, ["x"], :send_stdout_to_caller}})
      assert_receive {:rex, {:badrpc, {:EXIT, {{:python, _}, [{:math, :sqrt, 1, []}]}}}}, 5_000
      send(rex, {self(), {:call, "math", :sqrt, [4.0], :user}})
      assert_receive {:rex, {:badrpc, {:EXIT, {:badarg, _}}}}, 5_000
      send(rex, {self(), :features_request})
      assert_receive {:features_reply, ^name, [:erpc]}, 5_000
      assert :rpc.sbcast([name], :default, :hello) == {[], [name]}

      junk = [1, {self()}, {self(), 1}, {1, {:call, :math, :sqrt, [4], :user}}]

      for message <- junk ++ [{self(), {:sbcast, 1, 2}}, {self(), {:a, 1, 2, 3, 4}}],
          do: send(rex, message)

      assert :rpc.block_call(name, :math, :sqrt, [4]) == 2.0
      refute_received _
    end

    test "is a name that can be monitored, with --rpc only" do
      node = rpc_node()
      off = start_node(await_ready: false)
      ref = Process.monitor({:rex, node.name})
      gone = Process.monitor({:rex, off.name})
      assert_receive {:DOWN, ^gone, :process, _, :noproc}, 5_000
      refute_received {:DOWN, ^ref, _, _, _}

      assert {:badrpc, {:EXIT, {:noproc, _}}} = :rpc.block_call(off.name, :math, :sqrt, [4])
      GenServer.cast({:rex, off.name}, {:cast, :math, :sqrt, [4], self()})
      send({:rex, off.name}, {self(), :features_request})
      send({:rex, off.name}, {self(), {:call, :math, :sqrt, [4], :user}})
      assert_receive {:rex, {:badrpc, :notsup}}, 5_000
      assert ask(off, :ping) == :pong
      refute_received _
      assert totals(off).received == 0
    end

    test "refuses requests that are too long alone" do
      node = rpc_node(max_request_bytes: 100_000)
      long = String.duplicate("x", 200_000)

      assert {:badrpc, {:EXIT, {{:too_large, bytes, 100_000}, _}}} =
               :rpc.block_call(node.name, :krait_faults, :echo, [long])

      assert bytes > 200_000
      send({:rex, node.name}, {self(), {:call, :krait_faults, :echo, [long], :user}})
      assert_receive {:rex, {:badrpc, {:EXIT, {{:too_large, _, 100_000}, _}}}}, 5_000
      GenServer.cast({:rex, node.name}, {:cast, :krait_faults, :echo, [long], self()})
      send({:rex, node.name}, long)
      assert :rpc.block_call(node.name, :math, :sqrt, [4]) == 2.0
      assert totals(node).too_large == 2
    end
  end

  describe "erl_call" do
    defp erl_call do
      System.find_executable("erl_call") ||
        Path.join([:code.root_dir(), "erts-#{:erlang.system_info(:version)}", "bin", "erl_call"])
    end

    defp arguments(node, apply) do
      ["-name", "#{node.name}", "-c", "#{Node.get_cookie()}", "-timeout", "20", "-a", apply]
    end

    defp erl_call(node, apply),
      do: System.cmd(erl_call(), arguments(node, apply), stderr_to_stdout: true)

    test "-a runs a function and prints its result" do
      node = rpc_node(allow: ["math", "builtins", "krait_rpc"])
      assert erl_call(node, "math sqrt [2.0]") == {"1.414214", 0}
      assert erl_call(node, "builtins pow [2,10]") == {"1024", 0}
      assert {text, 0} = erl_call(node, "krait_rpc divide [1,0]")
      assert text =~ "{badrpc, {'EXIT', {{python,"
      assert text =~ "[{krait_rpc, divide, 2, [{file, "
      assert {text, 0} = erl_call(node, "os system [1]")
      assert text =~ "{not_allowed, os, system}"
      await_rest(node)
    end

    test "of a node without --rpc hears notsup" do
      node = start_node(await_ready: false)
      assert erl_call(node, "math sqrt [2.0]") == {"{badrpc, notsup}", 0}
    end

    test "that is killed takes its call with it" do
      node = rpc_node(size: 1)

      port =
        Port.open({:spawn_executable, erl_call()}, [
          :exit_status,
          args: arguments(node, "krait_faults slow [3600]")
        ])

      await_running(node, 1)
      {:os_pid, os_pid} = Port.info(port, :os_pid)
      signal(os_pid, "KILL")
      assert_receive {^port, {:exit_status, 137}}, 5_000
      eventually(totals(node).abandoned == 1)
      await_rest(node)
    end
  end
end
