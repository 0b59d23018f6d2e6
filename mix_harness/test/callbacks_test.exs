defmodule Krait.CallbacksTest do
  # Section 6 of the contract: Python calls, watches and sends to processes of the cluster.
  use Krait.Case, async: true

  alias Krait.{Callee, LightPeer}

  defp back(function, args, options \\ []),
    do: {:call, :krait_back, function, args, options}

  defp outcome(node, dest, request, timeout \\ 5),
    do: ask(node, back(:outcome, [dest, request, timeout]))

  defp callee_name, do: :"callee_#{System.unique_integer([:positive])}"

  defp dead do
    pid = spawn(fn -> :ok end)
    ref = Process.monitor(pid)
    assert_receive {:DOWN, ^ref, _, _, _}, 5_000
    pid
  end

  defp await_line(node, part) do
    name = node.name
    assert_receive {:krait_line, ^name, _, _, text}, 10_000
    if String.contains?(text, part), do: text, else: await_line(node, part)
  end

  describe "a call" do
    test "to a pid, a name, and a name on a node is answered as GenServer.call answers" do
      node = start_node()
      name = callee_name()
      pid = Callee.start(name: name)
      terms = [1, "text", :atom, {:a, [1, 2.5, %{"k" => nil}]}, pid, make_ref(), <<255>>]

      for term <- terms, dest <- [pid, name, {name, node()}, [name, to_string(node())]] do
        assert ask(node, back(:call, [dest, {:echo, term}])) == {:ok, term}
      end

      await_rest(node)
    end

    test "that somebody else answers is answered" do
      node = start_node(size: 1)

      assert ask(node, back(:call, [Callee.start(), {:delegate, "by another"}])) ==
               {:ok, "by another"}
    end

    test "to nobody, and to one who dies of it, exits with the reason that GenServer.call exits with" do
      node = start_node(size: 1)
      assert outcome(node, dead(), :hello) == {:ok, {:exit, :noproc}}
      assert outcome(node, callee_name(), :hello) == {:ok, {:exit, :noproc}}
      assert outcome(node, {callee_name(), node()}, :hello) == {:ok, {:exit, :noproc}}

      for reason <- [:normal, :boom, {:shutdown, %{"a" => [1]}}] do
        assert outcome(node, Callee.start(), {:stop, reason}) == {:ok, {:exit, reason}}
      end

      # A reason without a form in Python.
      assert outcome(node, Callee.start(), :stop_improper) == {:ok, {:exit, :unencodable}}
      await_rest(node)
    end

    test "has a time-out of its own, and an answer that comes later is heard by nobody" do
      node = start_node(size: 1)
      callee = Callee.start()
      assert outcome(node, callee, {:hold, 1}, 0.05) == {:ok, :timeout}
      assert_receive {:held, 1, {pid, _} = from}, 5_000
      assert node(pid) == node.name
      assert_receive {:caller_down, 1, reason}, 5_000
      assert reason in [:normal, :noproc]
      %{ignored_messages: before} = status(node)
      GenServer.reply(from, :late)
      eventually(status(node).ignored_messages == before + 1)
      assert outcome(node, callee, {:echo, 2}) == {:ok, {:ok, 2}}
      assert outcome(node, callee, {:hold, 3}, 0) == {:ok, :timeout}
      await_rest(node)
    end

    test "is a process to the one that it calls, which can watch it and be linked to it" do
      node = start_node(size: 1)
      callee = Callee.start()
      caller(:answer, node, back(:outcome, [callee, {:hold, 1}, nil]))
      assert_receive {:held, 1, {pid, _} = from}, 5_000
      refute_received {:caller_down, _, _}
      test = self()

      spawn(fn ->
        Process.flag(:trap_exit, true)
        Process.link(pid)
        send(test, :linked)
        receive do: (message -> send(test, {:heard, message}))
      end)

      assert_receive :linked, 5_000
      # Messages that are no answer are none.
      for message <- [:junk, {make_ref(), :wrong}, {1, 2}, {}], do: send(pid, message)
      GenServer.reply(from, :done)
      assert_receive {:answer, {:ok, {:ok, :done}}}, 5_000
      assert_receive {:caller_down, 1, :normal}, 5_000
      assert_receive {:heard, {:EXIT, ^pid, :normal}}, 5_000
      # And an exit signal ends it, as it ends a process.
      caller(:answer, node, back(:outcome, [callee, {:hold, 2}, nil]))
      assert_receive {:held, 2, {pid, _}}, 5_000
      Process.exit(pid, :enough)
      assert_receive {:answer, {:ok, {:exit, :enough}}}, 5_000
      assert_receive {:caller_down, 2, _}, 5_000
      await_rest(node)
    end

    test "that the outer call's time is up for ends with it: kill, interrupt and finish" do
      for abandon <- [:kill, :interrupt, :finish] do
        node = start_node(size: 1, abandon: abandon, lines: true, preload: ["krait_back"])
        callee = Callee.start()
        # Time enough to get as far as the callee.
        request = back(:told, [callee, {:hold, abandon}], timeout: 1_500)
        assert ask(node, request) == {:error, {:timeout, :call}}
        assert_receive {:held, ^abandon, _}, 5_000
        assert_receive {:caller_down, ^abandon, _}, 5_000
        if abandon == :finish, do: assert(await_line(node, "told:") =~ "timeout")
        await_rest(node)
        assert outcome(node, callee, {:echo, 1}) == {:ok, {:ok, 1}}
      end
    end

    test "whose outer caller dies ends with it: kill, interrupt and finish" do
      for abandon <- [:kill, :interrupt, :finish] do
        node = start_node(size: 1, abandon: abandon, lines: true)
        callee = Callee.start()
        outer = caller(:never, node, back(:told, [callee, {:hold, abandon}]))
        assert_receive {:held, ^abandon, _}, 5_000
        kill(outer)
        assert_receive {:caller_down, ^abandon, _}, 5_000
        if abandon == :finish, do: assert(await_line(node, "told:") =~ "refused")
        await_rest(node)
        assert outcome(node, callee, {:echo, 1}) == {:ok, {:ok, 1}}
      end
    end

    test "of a worker that is killed ends with it, and its caller hears of the worker" do
      node = start_node(size: 1)
      callee = Callee.start()
      caller(:answer, node, back(:outcome, [callee, {:hold, 1}, nil]))
      assert_receive {:held, 1, from}, 5_000
      [os_pid] = os_pids(node)
      signal(os_pid, "KILL")
      assert_receive {:answer, {:error, {:worker_exit, %{exit: {:signal, :sigkill}}}}}, 5_000
      assert_receive {:caller_down, 1, _}, 5_000
      GenServer.reply(from, :late)
      assert outcome(node, callee, {:echo, 1}) == {:ok, {:ok, 1}}
    end

    test "runs beside others in a coroutine, and each can be cancelled alone" do
      node = start_node(size: 1)
      callee = Callee.start()
      numbers = Enum.to_list(1..200)
      assert ask(node, back(:gather, [callee, numbers])) == {:ok, numbers}
      others = for _ <- 1..3, do: Callee.start()
      caller(:answer, node, back(:first, [others]))
      held = for _ <- 1..3, do: assert_receive({:held, :first, _}, 5_000)
      {:held, _, from} = hd(held)
      GenServer.reply(from, :won)
      assert_receive {:answer, {:ok, :won}}, 5_000
      for _ <- 1..3, do: assert_receive({:caller_down, :first, :normal}, 5_000)
      await_rest(node)
    end

    test "is one of 1024 at most, and the next one is refused in words" do
      node = start_node(size: 1)
      callee = Callee.start()
      caller(:outcomes, node, back(:outcomes, [callee, 1100, nil]))
      held = for _ <- 1..1024, do: assert_receive({:held, 0, _}, 10_000)
      # None ends before the last one was made.
      assert_receive {:got, :all}, 10_000
      for {:held, 0, from} <- held, do: GenServer.reply(from, 1)
      assert_receive {:outcomes, {:ok, %{"int" => 1024, "RuntimeError" => 76}}}, 10_000
      assert outcome(node, callee, {:echo, 1}) == {:ok, {:ok, 1}}
      await_rest(node)
    end

    test "with a name alone has no node to go to when it is a cast, and says so" do
      node = start_node(size: 1, lines: true)
      name = callee_name()
      Callee.start(name: name)
      GenServer.cast(node.pool, back(:told, [name, {:echo, 1}]))
      assert await_line(node, "told:") =~ "refused"
      GenServer.cast(node.pool, back(:told, [{name, node()}, {:echo, 1}]))
      assert await_line(node, "told:") =~ "ok"
    end

    test "to the node itself is refused" do
      node = start_node()
      lease = lease!(node)
      assert {:ok, {:refused, text}} = outcome(node, lease, :checkin)
      assert text =~ "the node that this worker belongs to"
      assert {:ok, {:refused, _}} = outcome(node, {:default, node.name}, :ping)
    end

    test "whose answer has no form in Python, or is too long, is refused in words" do
      node = start_node(size: 1, max_request_bytes: 100_000)
      callee = Callee.start()

      assert {:ok, {:refused, text}} = outcome(node, callee, :improper)
      assert text =~ "improper_list"
      # An answer that is too long for anybody here.
      long = :binary.copy("x", 90_000)
      assert {:ok, ^long} = ask(node, back(:call, [callee, {:echo, long}]))
      caller(:answer, node, back(:outcome, [callee, {:hold, 1}, nil]))
      assert_receive {:held, 1, from}, 5_000
      GenServer.reply(from, :binary.copy("x", 200_000))
      assert_receive {:answer, {:ok, {:refused, text}}}, 5_000
      assert text =~ "max_request_bytes"
      await_rest(node)
    end
  end

  describe "a message" do
    test "reaches a pid, a name, and a name on a node, in order" do
      node = start_node(size: 1)
      name = callee_name()
      callee = Callee.start(name: name)

      for dest <- [callee, name, {name, node()}, self()] do
        terms = for n <- 1..100, do: {n, "text", %{n => [n]}}
        assert ask(node, back(:send, [dest, terms])) == {:ok, 100}

        for term <- terms do
          if dest == self(), do: assert_receive(^term), else: assert_receive({:got, ^term}, 5_000)
        end
      end
    end

    test "to nobody is lost, as messages are" do
      node = start_node(size: 1)

      for dest <- [dead(), callee_name()],
          do: assert({:ok, 1} = ask(node, back(:send, [dest, [1]])))

      assert ask(node, :ping) == :pong
      await_rest(node)
    end

    test "to a peer that does not read makes its worker wait, not the node grow" do
      node = start_node(size: 2, max_output_bytes: 10_000_000)
      {:ok, deaf} = LightPeer.connect(node.name)
      pid = LightPeer.process(deaf, 7)
      test = self()

      # 100 MB towards somebody who reads nothing: more than may wait for one peer.
      spawn(fn ->
        send(test, {:flooded, ask(node, back(:flood, [pid, 100, 1_000_000]), 60_000)})
      end)

      # The other worker serves on, in the meantime.
      for n <- 1..500, do: assert(py(node, "#{n}") == {:ok, n})
      refute_receive {:flooded, _}, 300
      numbers = for _ <- 1..100, do: read_flood(deaf, pid)
      assert numbers == Enum.to_list(0..99)
      assert_receive {:flooded, {:ok, "flooded"}}, 10_000
      LightPeer.close(deaf)
      await_rest(node)
    end

    defp read_flood(peer, pid) do
      case LightPeer.receive_message(peer, 10_000) do
        {:ok, {2, _, ^pid}, {n, payload}} when byte_size(payload) == 1_000_000 -> n
        {:ok, _, _} -> read_flood(peer, pid)
      end
    end
  end

  describe "an rpc" do
    test "runs on the caller's node or a named one, and returns what the function returns" do
      node = start_node(size: 1)
      {_peer, other} = start_peer()
      assert ask(node, back(:rpc, ["Elixir.Enum", "sum", [[1, 2, 3]]])) == {:ok, {:ok, 6}}
      assert ask(node, back(:rpc, ["erlang", "node", []])) == {:ok, {:ok, node()}}
      assert ask(node, back(:rpc, ["erlang", "node", [], to_string(other)])) == {:ok, {:ok, other}}
      # Where it prints: the process `user` of that node.
      user = Process.whereis(:user)
      assert ask(node, back(:rpc, ["erlang", "group_leader", []])) == {:ok, {:ok, user}}
      await_rest(node)
    end

    test "that fails exits with how it failed" do
      node = start_node(size: 1)
      rpc = fn m, f, a -> ask(node, back(:rpc, [m, f, a])) end
      assert {:ok, {:exit, {:exception, :badarith, stack}}} = rpc.("erlang", "div", [1, 0])
      assert [{:erlang, :div, [1, 0], _} | _] = stack
      assert rpc.("erlang", "exit", ["why"]) == {:ok, {:exit, {:exception, "why"}}}
      assert rpc.("erlang", "throw", [:ball]) == {:ok, {:exit, {:throw, :ball}}}
      assert {:ok, {:exit, {:exception, :undef, _}}} = rpc.("no_such_module", "f", [])
      assert {:ok, {:exit, {:signal, :killed}}} = rpc.("Elixir.Krait.Callee", "kill_me", [])
      await_rest(node)
    end

    test "takes no longer than its time-out" do
      node = start_node(size: 1)
      request = back(:rpc, ["timer", "sleep", [60_000], nil, 0.2])
      assert {ms, {:ok, :timeout}} = timed(fn -> ask(node, request) end)
      assert ms in 150..5_000
      await_rest(node)
    end
  end

  describe "a monitor" do
    test "tells the reason that a process ended for" do
      node = start_node()

      for dest <- [:pid, :name, :name_node], reason <- [:killed, {:bad, ["thing"]}] do
        name = callee_name()
        callee = Callee.start(name: name)
        to = %{pid: callee, name: name, name_node: {name, node()}}[dest]
        caller(:answer, node, back(:watch, [to, self()]))
        assert_receive :watched, 5_000
        if reason == :killed, do: Process.exit(callee, :kill), else: GenServer.stop(callee, reason)
        assert_receive {:answer, {:ok, ^reason}}, 5_000
      end

      assert ask(node, back(:watch, [dead(), self()])) == {:ok, :noproc}
      await_rest(node)
    end

    test "is taken off when it is cancelled, and when its call ends" do
      node = start_node(size: 1)
      callee = Callee.start()
      other = Callee.start()
      caller(:answer, node, back(:watch_no_more, [callee, [other, {:hold, 1}]]))
      assert_receive {:held, 1, from}, 5_000
      assert Process.info(callee, :monitored_by) == {:monitored_by, []}
      GenServer.reply(from, :go)
      assert_receive {:answer, {:ok, :go}}, 5_000
      assert {:ok, {10, []}} = ask(node, back(:watch_many, [callee, 10]))
      eventually(Process.info(callee, :monitored_by) == {:monitored_by, []})
      await_rest(node)
    end

    test "over the bound is refused and says so" do
      node = start_node(size: 1)
      callee = Callee.start()
      assert {:ok, {1024, [{:refused, text}]}} = ask(node, back(:watch_too_many, [callee, 1025]))
      assert text =~ "1024"
      await_rest(node)
    end
  end

  describe "a node that is not connected" do
    test "is connected to: for a call, a message, an rpc and a monitor" do
      node = start_node()

      for kind <- [:call, :send, :rpc, :monitor] do
        {peer, name} = start_peer()
        callee = Callee.start_on(peer, :callee)

        case kind do
          :call ->
            assert ask(node, back(:call, [{:callee, name}, {:echo, 1}])) == {:ok, 1}
            assert ask(node, back(:call, [callee, {:echo, 2}])) == {:ok, 2}

          :send ->
            assert ask(node, back(:send, [callee, [1, 2, 3]])) == {:ok, 3}
            for n <- 1..3, do: assert_receive({:got, ^n}, 5_000)

          :rpc ->
            request = back(:rpc, ["erlang", "node", [], to_string(name)])
            assert ask(node, request) == {:ok, {:ok, name}}

          :monitor ->
            caller(:answer, node, back(:watch, [{:callee, name}, self()]))
            # It is watched as soon as there is a connection.
            eventually({:monitored_by, []} != monitored_by(peer, callee))
            GenServer.stop(callee, {:shutdown, :done})
            assert_receive {:answer, {:ok, {:shutdown, :done}}}, 5_000
        end

        assert node.name in :peer.call(peer, Node, :list, [:hidden])
      end

      await_rest(node)
    end

    defp monitored_by(peer, pid), do: :peer.call(peer, Process, :info, [pid, :monitored_by])

    test "is connected to when a lease is given to one of its processes" do
      node = start_node(size: 1)
      {peer, name} = start_peer()
      heir = Callee.start_on(peer, :callee)
      lease = lease!(node)
      assert ask(lease, {:give_away, heir}) == :ok
      assert ask(lease, :checkin) == {:error, :not_owner}
      :peer.stop(peer)
      await_rest(node)
      again = lease!(node)
      refute name in Node.list(:connected)
      assert ask(again, {:give_away, heir}) == {:error, :noproc}
      assert ask(again, :checkin) == :ok
    end

    test "that knows another cookie, is gone, or never was: noconnection, soon and in words" do
      node = start_node(size: 2, lines: true, handshake_timeout: 2_000)
      {peer, gone} = start_peer()
      {other, stranger} = start_peer()
      :peer.call(other, :erlang, :set_cookie, [:another])
      :peer.call(other, :logger, :set_primary_config, [:level, :none])
      :peer.stop(peer)

      for name <- [gone, stranger, :"nobody@127.0.0.1", :"nobody@no-such-host.invalid"] do
        {ms, answer} = timed(fn -> outcome(node, {:callee, name}, :hello, 10) end)
        assert answer == {:ok, {:exit, :noconnection}}
        assert ms < 5_000
        assert ask(node, back(:send, [{:callee, name}, [1, 2]])) == {:ok, 2}
        assert ask(node, back(:watch, [{:callee, name}, self()])) == {:ok, :noconnection}
        rpc = back(:rpc, ["erlang", "node", [], to_string(name)])
        assert ask(node, rpc) == {:ok, {:exit, :noconnection}}
      end

      assert {:ok, {:exit, :noconnection}} = outcome(node, {:callee, :not_a_node}, :hello)
      await_rest(node)
    end

    test "is dialled once for a flood, and not again within a second of a failure" do
      node = start_node(size: 2, lines: true)
      {peer, name} = start_peer()
      Callee.start_on(peer, :callee)
      numbers = Enum.to_list(1..100)
      assert ask(node, back(:gather, [{:callee, name}, numbers])) == {:ok, numbers}
      text = "peer #{name}"
      # lines come by another way than answers
      ups = fn -> Enum.count(lines(node), &match?({_, ^text, "up," <> _}, &1)) end
      eventually(ups.() > 0)
      assert ups.() == 1

      flood = back(:flood, [{:callee, :"nobody@127.0.0.1"}, 1000, 10])
      {ms, answer} = timed(fn -> ask(node, flood) end)
      assert answer == {:ok, "flooded"}

      assert ask(node, :ping) == :pong
      failures = fn -> Enum.count(lines(node), &match?({_, _, "cannot connect" <> _}, &1)) end
      eventually(failures.() > 0)
      assert failures.() in 1..(div(ms, 1_000) + 2)
    end

    test "that dials us at the same moment ends up with one connection" do
      node = start_node(size: 2)

      for _ <- 1..5 do
        {peer, name} = start_peer()
        Callee.start_on(peer, :callee)
        test = self()

        spawn(fn ->
          send(test, {:theirs, :peer.call(peer, Krait.Case, :ask, [node.pool, :ping])})
        end)

        assert ask(node, back(:call, [{:callee, name}, {:echo, 1}])) == {:ok, 1}
        assert_receive {:theirs, :pong}, 5_000
        assert ask(node, back(:call, [{:callee, name}, {:echo, 2}])) == {:ok, 2}
      end

      await_rest(node)
    end

    test "that goes away ends what it was asked and what watches it" do
      node = start_node(size: 2)
      {peer, name} = start_peer()
      Callee.start_on(peer, :callee)
      caller(:watch, node, back(:watch, [{:callee, name}, self()]))
      assert_receive :watched, 5_000
      caller(:call, node, back(:outcome, [{:callee, name}, {:hold, 1}, nil]))
      await_running(node, 2)
      :peer.call(peer, :sys, :get_state, [:callee])
      :peer.stop(peer)
      assert_receive {:watch, {:ok, :noconnection}}, 5_000
      assert_receive {:call, {:ok, {:exit, :noconnection}}}, 5_000
      await_rest(node)
    end
  end

  describe "progress" do
    test "reaches the caller who asked for it, in order and before the answer" do
      node = start_node(size: 1)
      reports = [1, "half", %{"at" => 3}, {:tuple, [1]}]
      request = back(:progress, [reports, :result], progress: {:tag, 1})
      assert ask(node, request) == {:ok, :result}
      {:messages, messages} = Process.info(self(), :messages)
      assert messages == for(term <- reports, do: {:krait_progress, {:tag, 1}, term})
    end

    test "of a call that did not ask, or that nobody waits for, goes nowhere" do
      node = start_node(size: 1)
      assert ask(node, back(:progress, [[1, 2, 3], :result])) == {:ok, :result}
      GenServer.cast(node.pool, back(:progress, [[1]], progress: :tag))
      # The library looks whether it was asked for; who does not look is not heard all the same.
      assert ask(node, back(:raw_frames, [[[8, "id", 1], [8, 1, 1]]])) == {:ok, "said"}
      assert ask(node, back(:progress, [[], :result])) == {:ok, :result}
      refute_received {:krait_progress, _, _}
      refute Enum.any?(lines(node), fn {_, _, text} -> text =~ "closed:" end)
    end

    test "that is faster than its caller's node reads makes the worker wait" do
      node = start_node(size: 1, max_output_bytes: 10_000_000)
      {:ok, deaf} = LightPeer.connect(node.name)
      request = back(:progress_flood, [100, 1_000_000], progress: :tag)
      request = LightPeer.request(deaf, :default, request)
      await_running(node, 1)
      for _ <- 1..500, do: assert(ask(node, :ping) == :pong)
      assert read_progress(deaf, request, 0) == 100
      LightPeer.close(deaf)
    end

    defp read_progress(peer, %{ref: ref} = request, n) do
      case LightPeer.receive_message(peer, 20_000) do
        {:ok, _, {:krait_progress, :tag, _}} -> read_progress(peer, request, n + 1)
        {:ok, _, {[:alias | ^ref], {:ok, "flooded"}}} -> n
        {:ok, _, _} -> read_progress(peer, request, n)
      end
    end
  end

  describe "an input" do
    defp source(items), do: Callee.start(tell: {:items, items})

    test "is an iterator over what a process gives, as an argument and as a keyword" do
      node = start_node(size: 1)
      numbers = Enum.to_list(1..100)
      assert ask(node, back(:items, [{:krait_input, source(numbers)}])) == {:ok, {:ok, numbers}}
      kwargs = %{source: {:krait_input, source(numbers)}, ahead: 1}
      assert ask(node, back(:items, [], kwargs: kwargs)) == {:ok, {:ok, numbers}}
      assert ask(node, back(:items, [{:krait_input, source([])}])) == {:ok, {:ok, []}}
      assert ask(node, back(:kind, [{:krait_input, self()}])) == {:ok, "Input"}
      assert ask(node, back(:kind, [[{:krait_input, self()}]])) == {:ok, "list"}
      assert ask(node, back(:kind, [{:krait_input, 1}])) == {:ok, "tuple"}
      await_rest(node)
    end

    test "whose process fails or dies exits with its reason" do
      node = start_node(size: 1)

      assert ask(node, back(:items, [{:krait_input, source([{:fail, :dry}])}])) ==
               {:ok, {:exit, :dry}}

      assert ask(node, back(:items, [{:krait_input, source([{:stop, :ill}])}])) ==
               {:ok, {:exit, :ill}}

      assert ask(node, back(:items, [{:krait_input, dead()}])) == {:ok, {:exit, :noproc}}
    end
  end

  describe "a worker that says what no library would" do
    test "is killed for a frame that is not one, and costs nobody else anything" do
      node = start_node(size: 2)
      callee = Callee.start()

      for frame <- [
            [7, 1],
            [7, 1, 1, "call"],
            [7, 0, "id", "call", callee, 1, nil],
            [7, 5, "id", "send", callee, 1, nil],
            [7, 5, "id", "frobnicate", callee, 1, nil],
            [7, 5, "id", "call", callee, 1, -1],
            [7, 5, "id", "call", callee, 1, "soon"],
            [7, 5, "text", "call", callee, 1, nil],
            [7, 5, "id", 7, callee, 1, nil],
            [7, 5, "id", "call", callee, 1, nil, nil],
            [8, "id"],
            [8, "id", 1, 2]
          ] do
        expression = "#{sleep(20)} if c.raw_frames([f]) else 0"
        run = "(lambda c, f: #{expression})(__import__('krait_back'), f)"
        options = [progress: :tag]

        assert {:error, {:worker_exit, %{exit: {:killed, :bad_frame}}}} =
                 ask(node, {:call, :builtins, :eval, [run, %{"f" => frame}], options}),
               inspect(frame)
      end

      run = "(lambda c: #{sleep(20)} if c.raw_duplicate(d) else 0)(__import__('krait_back'))"

      assert {:error, {:worker_exit, %{exit: {:killed, :bad_frame}}}} =
               ask(node, {:call, :builtins, :eval, [run, %{"d" => callee}]})

      await_rest(node)
      assert outcome(node, callee, {:echo, 1}) == {:ok, {:ok, 1}}
    end

    test "is told what is wrong with an address, a value, or the call that it names" do
      node = start_node(size: 1)
      callee = Callee.start()

      for {dest, value} <- [
            {nil, 1},
            {7, 1},
            {["a", "b", "c"], 1},
            {["", to_string(node())], 1},
            {String.duplicate("n", 256), 1},
            {["a", String.duplicate("h", 9_000)], 1},
            {[to_string(node()), 1], 1}
          ],
          kind <- ["call", "rpc", "monitor", "send"] do
        id = if kind == "send", do: 0, else: 5

        assert ask(node, back(:raw_frames, [[[7, id, "id", kind, dest, value, 50]]])) ==
                 {:ok, "said"}
      end

      # Calls that do not run here, and ends of what there never was.
      frames = for id <- [0, 1, 999_999_999_999], do: [7, 5, id, "call", callee, {:echo, 1}, nil]
      assert ask(node, back(:raw_frames, [frames])) == {:ok, "said"}
      ends = for kind <- ["cancel", "demonitor"], do: [7, 99, "id", kind, nil, nil, nil]
      assert ask(node, back(:raw_frames, [ends])) == {:ok, "said"}
      # An end of the call itself while it waits: what is left of it ends, too.
      assert outcome(node, callee, {:echo, 1}) == {:ok, {:ok, 1}}
      await_rest(node)
    end
  end

  describe "workers that wait for processes that wait for workers" do
    defp nested(callee, node), do: back(:call, [callee, {:ask, node.pool, eval("1 + 1")}, nil])

    test "hear of it when no worker could ever serve them: by pid, name, name on a node, and rpc" do
      node = start_node(size: 1)
      name = callee_name()
      callee = Callee.start(name: name)

      for dest <- [callee, name, {name, node()}] do
        assert {:ok, {:error, {:deadlock, text}}} = ask(node, nested(dest, node))
        assert text =~ "waits"
      end

      rpc = back(:rpc, ["Elixir.GenServer", "call", [node.pool, eval("1 + 1")], nil, nil])
      assert {:ok, {:ok, {:error, {:deadlock, _}}}} = ask(node, rpc)
      assert %{deadlock: 4} = totals(node)
      await_rest(node)
    end

    test "are refused no more than it takes" do
      node = start_node(size: 2)
      parent = self()

      callees = for _ <- 1..2, do: Callee.start()
      # None asks before both workers are taken.
      Enum.each(callees, &:sys.suspend/1)

      for {callee, n} <- Enum.with_index(callees),
          do: spawn(fn -> send(parent, {:nested, n, ask(node, nested(callee, node))}) end)

      await_running(node, 2)
      Enum.each(callees, &:sys.resume/1)
      assert_receive {:nested, _, {:ok, one}}, 5_000
      assert_receive {:nested, _, {:ok, other}}, 5_000
      assert [{:error, {:deadlock, _}}, {:ok, 2}] = Enum.sort([one, other])
      await_rest(node)
    end

    test "hear of it when it hangs on a name that was not waited for yet when they were looked at" do
      node = start_node(size: 2)
      name = callee_name()
      Callee.start(name: name)
      request = {:ask, node.pool, eval("1 + 1")}
      # It waits for the name 60 ms after the other waits for a pid; the first look is at 100 ms.
      caller(:late, node, back(:call_late, [0.06, name, request]))
      await_running(node, 1)
      caller(:early, node, back(:call, [Callee.start(), request, nil]))
      assert_receive {:early, {:ok, one}}, 5_000
      assert_receive {:late, {:ok, other}}, 5_000
      assert [{:error, {:deadlock, _}}, {:ok, 2}] = Enum.sort([one, other])
      await_rest(node)
    end

    test "hold nobody else's request against him" do
      node = start_node(size: 1)
      callee = Callee.start()
      caller(:held, node, back(:call, [callee, {:hold, 1}, nil]))
      assert_receive {:held, 1, from}, 5_000
      for n <- 1..20, do: caller({:other, n}, node, eval("#{n}"))
      # The worker waits for the callee, and the callee for nobody.
      await_queued(node, 20)
      refute_receive {{:other, _}, _}, 300
      GenServer.reply(from, :go)
      assert_receive {:held, {:ok, :go}}, 5_000
      for n <- 1..20, do: assert_receive({{:other, ^n}, {:ok, ^n}}, 5_000)

      # One that is in a deadlock, and others queue with it: before and after.
      slow = Callee.start()
      caller(:first, node, back(:call, [slow, {:hold, 2}, nil]))
      assert_receive {:held, 2, from}, 5_000
      for n <- 1..5, do: caller({:other, n}, node, eval("#{n}"))
      await_queued(node, 5)
      caller(:nested, node, nested(callee, node))
      await_queued(node, 6)
      GenServer.reply(from, :go)
      assert_receive {:first, {:ok, :go}}, 5_000
      for n <- 6..10, do: caller({:other, n}, node, eval("#{n}"))
      assert_receive {:nested, {:ok, {:error, {:deadlock, _}}}}, 5_000
      for n <- 1..10, do: assert_receive({{:other, ^n}, {:ok, ^n}}, 5_000)
      await_rest(node)
    end

    test "run what the waiting call's own session asks for inside of it, sixteen deep" do
      node = start_node(size: 1)
      callee = Callee.start()
      session = [session: "nested", timeout: 10_000]
      request = {:ask, node.pool, eval("'inside'", session)}
      assert ask(node, back(:call, [callee, request, nil], session)) == {:ok, {:ok, "inside"}}
      nest = fn depth -> ask(node, back(:nest, [callee, node.pool, depth, "nested"], session)) end
      assert nest.(16) == {:ok, Enum.to_list(16..1)}
      # Of another session, or none, it would never be served.
      for options <- [[session: "other"], []] do
        request = {:ask, node.pool, eval("'inside'", options)}

        assert {:ok, {:error, {:deadlock, _}}} =
                 ask(node, back(:call, [callee, request, nil], session))
      end

      await_rest(node)
    end

    test "hear of it when it is one particular worker that could never serve them" do
      node = start_node(size: 2)
      callee = Callee.start()
      session = [session: "here"]
      {:ok, os_pid} = py(node, "__import__('os').getpid()", session)
      # A call of no session, on the worker that has the session: it is the one that was used last.
      request = {:ask, node.pool, eval("'inside'", session)}

      assert {:ok, {^os_pid, {:error, {:deadlock, _}}}} =
               ask(node, back(:call_with_pid, [callee, request]))

      # The other worker has no part in it.
      request = {:ask, node.pool, eval("'beside'")}
      assert {:ok, {_, {:ok, "beside"}}} = ask(node, back(:call_with_pid, [callee, request]))
      await_rest(node)
    end

    test "may ask without waiting, and are served when there is a worker" do
      node = start_node(size: 1)
      callee = Callee.start()
      request = {:ask_later, node.pool, eval("'served'")}
      assert ask(node, back(:call, [callee, request, nil])) == {:ok, :asked}
      assert_receive {:got, {[:alias | _], {:ok, "served"}}}, 5_000
      await_rest(node)
    end
  end

  defp status(node) do
    {:ok, map} = ask(node, :status)
    map
  end
end
