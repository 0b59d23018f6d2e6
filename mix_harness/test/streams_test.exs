defmodule Krait.StreamsTest do
  # Section 4 of the contract: a generator's items, one at a time, under the client's control.
  use Krait.Case, async: true

  alias Krait.{Chaos, LightPeer}

  defp stream!(to, function, args \\ [], options \\ []) do
    assert {:ok, stream} = ask(to, {:stream, "krait_generators", function, args, options})
    stream
  end

  # A generator that has not begun has no `finally` to run: its first item is here.
  defp begun!(to, function, args \\ [], options \\ []) do
    stream = stream!(to, function, args, options)
    assert [_] = take(stream, 1)
    stream
  end

  defp take(stream, n) do
    for _ <- 1..n//1 do
      assert_receive {:krait_stream, ^stream, {:item, item}}, 10_000
      item
    end
  end

  # All that is left of it: its items and its end.
  defp rest(stream, items \\ []) do
    receive do
      {:krait_stream, ^stream, {:item, item}} -> rest(stream, [item | items])
      {:krait_stream, ^stream, last} -> {Enum.reverse(items), last}
    after
      10_000 -> flunk("no end after #{length(items)} items")
    end
  end

  # What the node sends comes in order: after an answer nothing older is under way.
  defp assert_silent(node, stream) do
    assert ask(node, :ping) == :pong
    refute_received {:krait_stream, ^stream, _}
  end

  defp assert_line(node, line) do
    name = node.name
    assert_receive {:krait_line, ^name, _, _, text} when is_binary(text), 10_000
    if String.ends_with?(text, ": " <> line), do: :ok, else: assert_line(node, line)
  end

  # How often the generator was resumed, when it is known to have been closed.
  defp resumed_and_closed(node, count \\ 0) do
    name = node.name
    assert_receive {:krait_line, ^name, _, _, text}, 10_000

    cond do
      text =~ "stdout: resumed" -> resumed_and_closed(node, count + 1)
      text =~ "stdout: closed" -> count
      true -> resumed_and_closed(node, count)
    end
  end

  defp assert_down(ref, reason) do
    assert_receive {:DOWN, ^ref, :process, _, seen}, 5_000
    assert seen == reason
  end

  # A process that opens a stream, tells the test, and does what it is told.
  defp owner(node, function, args, options \\ []) do
    parent = self()

    pid =
      spawn(fn ->
        stream = begun!(node, function, args, options)
        send(parent, {:opened, self(), stream})
        receive do: ({:exit, reason} -> exit(reason))
      end)

    assert_receive {:opened, ^pid, stream}, 10_000
    {pid, stream}
  end

  # It arrives before whatever is said to the node afterwards.
  defp monitor(node, stream) do
    ref = Process.monitor(stream)
    assert ask(node, :ping) == :pong
    ref
  end

  describe "items" do
    test "come in order, then done, once, and the worker is free" do
      node = start_node(size: 1)
      before = os_pids(node)
      stream = stream!(node, "count", [1000], demand: 1001)
      ref = Process.monitor(stream)
      assert rest(stream) == {Enum.to_list(0..999), :done}
      # Either it was still there or it was not: never silence.
      assert_receive {:DOWN, ^ref, :process, ^stream, reason}, 10_000
      assert reason in [:normal, :noproc]
      assert_silent(node, stream)
      await_rest(node)
      assert os_pids(node) == before
      assert %{ok: 1, received: 1, late: 0} = Map.merge(%{late: 0}, totals(node))
    end

    test "are those of any iterable, an asynchronous one too" do
      node = start_node()

      for {module, function, args, items} <- [
            {:builtins, :list, [[1, "two", :three]], [1, "two", :three]},
            {:builtins, :range, [3], [0, 1, 2]},
            {:builtins, :str, ["añb"], ["a", "ñ", "b"]},
            {:builtins, :dict, [[{"k", 1}]], ["k"]},
            {:itertools, :repeat, [%{a: 1}, 2], [%{a: 1}, %{a: 1}]},
            {:builtins, :list, [[]], []},
            {:krait_generators, :count_async, [4], [0, 1, 2, 3]}
          ] do
        assert {:ok, stream} = ask(node, {:stream, module, function, args})
        expected = for item <- items, do: if(item == %{a: 1}, do: %{"a" => 1}, else: item)
        expected = if function == :repeat, do: items, else: expected
        assert {got, :done} = rest(stream)
        assert inspect(got) == inspect(expected) or got == items
      end
    end

    test "of large and small sizes stay whole" do
      node = start_node(size: 1)
      stream = stream!(node, "blocks", [40, 3_000_000], demand: 41)
      {items, :done} = rest(stream)

      for {item, i} <- Enum.with_index(items) do
        assert item == :binary.copy(<<i::64>>, 375_000)
      end

      stream = stream!(node, "rows", [5000], demand: 100_000)
      {items, :done} = rest(stream)
      assert items == for(i <- 0..4999, do: %{"id" => i, "name" => "krait", "values" => [1, 2, 3]})
    end

    test "of many streams at once do not mix" do
      node = start_node(size: 3)

      tasks =
        for i <- 1..30 do
          Task.async(fn -> rest(stream!(node, "count", [200, i * 1000], demand: 1000)) end)
        end

      for {task, i} <- Enum.with_index(tasks, 1) do
        assert Task.await(task, 20_000) == {Enum.to_list((i * 1000)..(i * 1000 + 199)), :done}
      end

      await_rest(node)
    end
  end

  test "streams in the slots of one worker are apart: in order, cancelled one by one" do
    node = start_node(size: 1, slots: 3)
    before = os_pids(node)
    [one, two, three] = for i <- 1..3, do: stream!(node, "count", [1000, i * 1000], demand: 1)
    for stream <- [one, two, three], do: assert([_] = take(stream, 1))
    send(two, {:cancel})
    assert rest(two) == {[], :done}
    send(one, {:ask, 2000})
    assert rest(one) == {Enum.to_list(1001..1999), :done}
    send(three, {:ask, 1})
    assert take(three, 1) == [3001]
    Process.exit(three, :shutdown)
    assert rest(three) == {[], :done}
    await_rest(node)
    assert os_pids(node) == before
  end

  describe "credit" do
    test "is 16 items unless told otherwise" do
      node = start_node(size: 1, lines: true)
      stream = stream!(node, "told", [100])
      assert take(stream, 16) == Enum.to_list(0..15)
      assert_silent(node, stream)
      send(stream, {:cancel})
      assert rest(stream) == {[], :done}
      assert resumed_and_closed(node) == 16
    end

    test "resumes the generator as often as was asked, and no further" do
      node = start_node(size: 1, lines: true)
      stream = stream!(node, "told", [100], demand: 0)
      assert_silent(node, stream)
      send(stream, {:ask, 3})
      assert take(stream, 3) == [0, 1, 2]
      send(stream, {:ask, 1})
      send(stream, {:ask, 1})
      assert take(stream, 2) == [3, 4]
      assert_silent(node, stream)
      send(stream, {:cancel})
      assert rest(stream) == {[], :done}
      assert resumed_and_closed(node) == 5
    end

    test "may be given long before it is used, and one by one" do
      node = start_node(size: 1)
      stream = stream!(node, "count", [2000], demand: 1)
      for _ <- 1..999, do: send(stream, {:ask, 1})
      assert take(stream, 1000) == Enum.to_list(0..999)
      assert_silent(node, stream)
      send(stream, {:ask, 1_000_000_000})
      send(stream, {:ask, 1_000_000_000})
      assert rest(stream) == {Enum.to_list(1000..1999), :done}
    end

    test "may come from any process that knows the stream" do
      node = start_node(size: 1)
      stream = stream!(node, "count", [3], demand: 0)
      spawn(fn -> send(stream, {:ask, 10}) end)
      assert rest(stream) == {[0, 1, 2], :done}
    end

    test "of a consumer who asks for nothing may take longer than the time-out" do
      node = start_node(size: 2, preload: ["krait_generators"])
      stream = stream!(node, "count", [4], demand: 1, timeout: 1_000)
      assert take(stream, 1) == [0]
      # That nothing ends it meanwhile shows only when the time-out is over.
      assert {:ok, nil} = py(node, sleep(1.1))
      send(stream, {:ask, 1})
      assert take(stream, 1) == [1]
      assert {:ok, nil} = py(node, sleep(1.1))
      send(stream, {:ask, 9})
      assert rest(stream) == {[2, 3], :done}
    end

    test "that is no number from 1 to 1000000000 ends the stream" do
      node = start_node(size: 1, lines: true)
      before = os_pids(node)

      for bad <- [0, -1, 1_000_000_001, 2 ** 70, 1.0, "1", :infinity, [], {1}] do
        stream = stream!(node, "forever", [], demand: 2)
        ref = monitor(node, stream)
        assert take(stream, 2) == [0, 1]
        send(stream, {:ask, bad})
        assert {[], {:error, {:bad_request, expected}} = error} = rest(stream)
        assert expected =~ "{ask, N}, N an integer from 1 to 1000000000"
        assert_down(ref, elem(error, 1))
        assert_line(node, "closed")
      end

      await_rest(node)
      assert os_pids(node) == before
    end
  end

  describe "before it is open a stream is a request:" do
    test "what is wrong with it is the answer" do
      node = start_node(size: 1, allow: ["krait_generators", "krait_faults"])
      open = &ask(node, {:stream, "krait_generators", &1, &2})
      assert {:error, {:no_function, "krait_generators", "nowhere"}} = open.("nowhere", [])
      assert {:error, {:python, %{type: "TypeError"}}} = open.("not_iterable", [])
      assert {:error, {:python, %{type: "KeyError"}}} = open.("fails", [])
      assert {:error, {:not_allowed, :os, :listdir}} = ask(node, {:stream, :os, :listdir, []})
      assert {:error, {:bad_request, "{stream, " <> _}} = ask(node, {:stream, 1, 2, 3})
      assert {:error, {:unencodable, "args[0]", _}} = open.("count", [[1 | 2]])

      for {key, value} <- [demand: -1, demand: 1_000_001, demand: :all, timeout: 0, colour: 1] do
        assert {:error, {:bad_option, ^key, _}} =
                 ask(node, {:stream, :krait_generators, :count, [1], [{key, value}]})
      end

      await_rest(node)
    end

    test "it queues as calls do" do
      node = start_node(size: 1)
      gate = Krait.Gate.new()
      caller(:busy, node, eval(Krait.Gate.behind(gate, "7")))
      await_running(node, 1)

      assert ask(node, {:stream, "krait_generators", "count", [1], queue_timeout: 50}) ==
               {:error, {:timeout, :queue}}

      request = {:stream, "krait_generators", "count", [2], []}
      id = :gen_server.send_request(node.pool, request)
      await_queued(node, 1)
      Krait.Gate.open(gate)
      assert {:reply, {:ok, stream}} = :gen_server.wait_response(id, 10_000)
      assert_receive {:busy, {:ok, 7}}, 10_000
      assert rest(stream) == {[0, 1], :done}
    end

    test "the time-out bounds the opening" do
      node = start_node(size: 1)

      assert ask(node, {:stream, "krait_generators", "slow_open", [30], timeout: 200}) ==
               {:error, {:timeout, :call}}

      await_rest(node)
    end

    test "a caller who gives up is sent nothing, and his worker does not go on" do
      node = start_node(size: 1)
      request = {:stream, "krait_generators", "slow_open", [0.4], []}
      assert exit_reason(fn -> ask(node, request, 100) end) == :timeout
      await_rest(node)
      assert ask(node, :ping) == :pong
      refute_received {:krait_stream, _, _}
      assert %{abandoned: 1} = totals(node)
    end

    test "a caller who gave up just as it was opened is not sent its end" do
      node = start_node(size: 1, lines: true)
      {:ok, peer} = LightPeer.connect(node.name)
      request = {:stream, "krait_generators", "told", [100], [demand: 1]}
      # It does not read, so nothing has told the node that the opening was heard.
      opened = LightPeer.request(peer, :default, request)
      assert_line(node, "resumed 0")
      :ok = LightPeer.give_up(peer, opened)
      assert_line(node, "closed")
      await_rest(node)
      assert %{abandoned: 1} = totals(node)
      again = LightPeer.request(peer, :default, :ping)
      assert ends(peer, again.ref) == []
      LightPeer.close(peer)
    end

    # What comes until the answer to a request, of ends of streams.
    defp ends(peer, ref, seen \\ []) do
      case LightPeer.receive_message(peer, 5_000) do
        {:ok, _, {[:alias | ^ref], :pong}} -> seen
        {:ok, _, {:krait_stream, _, {:item, _}}} -> ends(peer, ref, seen)
        {:ok, _, {:krait_stream, _, ending}} -> ends(peer, ref, [ending | seen])
        {:ok, _, _} -> ends(peer, ref, seen)
      end
    end

    test "the death of its worker is the answer, or is retried" do
      node = start_node(size: 1)
      request = {:stream, "krait_faults", "crash", ["SIGKILL"]}
      assert {:error, {:worker_exit, %{exit: {:signal, :sigkill}}}} = ask(node, request)
      caller(:busy, node, {:stream, "krait_generators", "slow_open", [0.5], retry: 1})
      await_running(node, 1)
      [os_pid] = os_pids(node)
      signal(os_pid, "KILL")
      assert_receive {:busy, {:ok, _}}, 10_000
      await_rest(node)
    end

    test "a cast opens none" do
      node = start_node(size: 1)
      GenServer.cast(node.pool, {:stream, "krait_generators", "count", [1]})
      assert ask(node, :ping) == :pong
      await_rest(node)
    end
  end

  describe "it ends with an error" do
    test "when the generator raises" do
      node = start_node(size: 1)
      stream = stream!(node, "told", [2, "raise"], demand: 0)
      ref = monitor(node, stream)
      send(stream, {:ask, 3})
      assert {[0, 1], {:error, {:python, map} = reason}} = rest(stream)
      assert %{type: "ValueError", args: ["spoilt", 2], traceback: traceback} = map
      assert traceback =~ "krait_generators.py"
      assert_down(ref, reason)
      assert_silent(node, stream)
      await_rest(node)
      assert %{python: 1, ok: 0} = totals(node)
    end

    test "when the worker dies" do
      node = start_node(size: 1)
      stream = stream!(node, "told", [2, "exit"], demand: 0)
      ref = monitor(node, stream)
      send(stream, {:ask, 3})
      assert {[0, 1], {:error, {:worker_exit, %{exit: {:exit, 3}}} = reason}} = rest(stream)
      assert_down(ref, reason)
      stream = stream!(node, "told", [2])
      assert take(stream, 2) == [0, 1]
      await_rest(node)
    end

    test "when an item takes longer than the time-out" do
      node = start_node(size: 1, preload: ["krait_generators"])
      stream = stream!(node, "told", [2, "hang"], timeout: 1_500)
      {ms, {[0, 1], {:error, reason}}} = timed(fn -> rest(stream) end)
      assert reason == {:timeout, :call}
      assert ms >= 900
      await_rest(node)
    end

    test "when an item has no term, with the path" do
      node = start_node(size: 1, lines: true)
      before = os_pids(node)

      for {function, at, path, what} <- [
            {"spoilt", 0, "item.bad[1]", "krait_faults.Unencodable"},
            {"spoilt", 40, "item.bad[1]", "krait_faults.Unencodable"},
            {"twice", 0, "item.good[0].a", :duplicate_key},
            {"twice", 40, "item.good[0].a", :duplicate_key}
          ] do
        stream = stream!(node, function, [at], demand: 0)
        ref = monitor(node, stream)
        send(stream, {:ask, 1000})
        assert {items, {:error, {:unencodable, where, said} = reason}} = rest(stream)
        assert items == Enum.to_list(0..(at - 1)//1)
        assert where == path
        assert said == what or said =~ "Unencodable"
        assert_down(ref, reason)
        assert_line(node, "closed")
      end

      await_rest(node)
      assert os_pids(node) == before
    end

    test "when an item is too large" do
      node = start_node(size: 1, max_result_bytes: 100_000)
      stream = stream!(node, "blocks", [3, 1_000_000])
      assert {[], {:error, {:too_large, _, 100_000}}} = rest(stream)
      await_rest(node)
    end
  end

  test "the time-out is each item's own" do
    node = start_node(size: 1, preload: ["krait_generators"])
    stream = stream!(node, "slow", [8, 0.2], timeout: 1_000)
    assert rest(stream) == {Enum.to_list(0..7), :done}
  end

  describe "it is closed, its finally runs and its worker stays," do
    setup do
      node = start_node(size: 1, lines: true)
      %{node: node, before: os_pids(node)}
    end

    defp assert_closed(node, before) do
      assert_line(node, "closed")
      await_rest(node)
      assert os_pids(node) == before
    end

    test "by {cancel}, and its owner hears done", %{node: node, before: before} do
      stream = stream!(node, "forever")
      ref = monitor(node, stream)
      assert take(stream, 3) == [0, 1, 2]
      send(stream, {:cancel})
      send(stream, {:cancel})
      assert {_, :done} = rest(stream)
      assert_down(ref, :normal)
      assert_silent(node, stream)
      assert_closed(node, before)
    end

    test "while it waits for credit", %{node: node, before: before} do
      stream = stream!(node, "forever", [], demand: 1)
      assert take(stream, 1) == [0]
      send(stream, {:cancel})
      assert rest(stream) == {[], :done}
      assert_closed(node, before)
    end

    test "before its first item", %{node: node} do
      stream = stream!(node, "told", [3], demand: 0)
      send(stream, {:cancel})
      assert rest(stream) == {[], :done}
      await_rest(node)
    end

    test "by an exit signal, and that is its reason", %{node: node, before: before} do
      for {reason, seen} <- [{:shutdown, :shutdown}, {{:my, "own"}, {:my, "own"}}, {:kill, :killed}] do
        stream = begun!(node, "forever")
        ref = monitor(node, stream)
        Process.exit(stream, reason)
        assert {_, :done} = rest(stream)
        assert_down(ref, seen)
        assert_closed(node, before)
      end
    end

    test "but not by the reason normal", %{node: node} do
      stream = stream!(node, "count", [20], demand: 1)
      Process.exit(stream, :normal)
      send(stream, {:ask, 100})
      assert rest(stream) == {Enum.to_list(0..19), :done}
    end

    test "by the end of a linked process", %{node: node, before: before} do
      stream = begun!(node, "forever")
      ref = monitor(node, stream)
      parent = self()

      linked =
        spawn(fn ->
          Process.link(stream)
          :pong = ask(node, :ping)
          send(parent, :linked)
          receive do: ({:exit, reason} -> exit(reason))
        end)

      assert_receive :linked, 5_000
      send(linked, {:exit, :linked_died})
      assert {_, :done} = rest(stream)
      assert_down(ref, :linked_died)
      assert_closed(node, before)
    end

    test "by its owner's death", %{node: node, before: before} do
      for {reason, seen} <- [{:normal, :normal}, {:crash, :crash}, {:kill, :killed}] do
        {owner, stream} = owner(node, "forever", [])
        ref = monitor(node, stream)
        if reason == :kill, do: kill(owner), else: send(owner, {:exit, reason})
        assert_down(ref, seen)
        assert_closed(node, before)
      end

      assert %{abandoned: 3} = totals(node)
    end

    test "by the end of its owner's BEAM, or of the connection to it", context do
      %{node: node, before: before} = context
      {peer, name} = start_peer()
      request = {:stream, "krait_generators", "forever", [], [demand: 100_000]}

      for how <- [:disconnect, :halt] do
        :peer.cast(peer, Chaos, :hold_stream, [node.pool, request, self()])
        assert_receive {:stream, stream}, 10_000
        ref = monitor(node, stream)

        if how == :halt,
          do: :peer.cast(peer, :erlang, :halt, [0]),
          else: assert(:peer.call(peer, :erlang, :disconnect_node, [node.name]))

        assert_down(ref, :noconnection)
        assert_closed(node, before)
      end

      Node.disconnect(name)
    end

    test "by a linked process' BEAM, and its owner hears done", %{node: node, before: before} do
      {peer, name} = start_peer()
      stream = begun!(node, "forever")
      ref = monitor(node, stream)
      :peer.cast(peer, Chaos, :hold_link, [stream, node.pool, self()])
      assert_receive :linked, 10_000
      :peer.cast(peer, :erlang, :halt, [0])
      assert {_, :done} = rest(stream)
      assert_down(ref, :noconnection)
      assert_closed(node, before)
      Node.disconnect(name)
    end
  end

  describe "closing" do
    test "that takes too long costs the worker, and its owner hears so" do
      node = start_node(size: 1, lines: true, interrupt_grace: 200)
      before = os_pids(node)
      stream = begun!(node, "stubborn", ["hang"])
      ref = monitor(node, stream)
      send(stream, {:cancel})
      assert {_, {:error, {:timeout, :call} = reason}} = rest(stream)
      assert_down(ref, reason)
      assert_line(node, "closing")
      await_rest(node)
      assert os_pids(node) != before
    end

    test "of a dead owner's stream has the same time" do
      node = start_node(size: 1, lines: true, interrupt_grace: 200)
      before = os_pids(node)
      {owner, _} = owner(node, "stubborn", ["hang"])
      kill(owner)
      assert_line(node, "closing")
      await_rest(node)
      assert os_pids(node) != before
    end

    test "interrupts what the generator is in the middle of, after that time" do
      node = start_node(size: 1, lines: true, interrupt_grace: 200)
      before = os_pids(node)
      stream = begun!(node, "stands_still")
      assert_line(node, "begun")
      send(stream, {:cancel})
      assert {_, {:error, {:timeout, :call}}} = rest(stream)
      assert_line(node, "closed")
      {owner, _} = owner(node, "stands_still", [])
      assert_line(node, "begun")
      kill(owner)
      assert_line(node, "closed")
      await_rest(node)
      assert os_pids(node) == before
    end

    test "ends at once what is awaited, and a call back" do
      for options <- [[], [slots: 2]] do
        node = start_node([size: 1, lines: true, interrupt_grace: 60_000] ++ options)
        before = os_pids(node)
        silent = spawn_link(fn -> receive do: (:stop -> :ok) end)

        for {function, args} <- [{"awaits", []}, {"calls", [silent]}], _ <- 1..3 do
          stream = begun!(node, function, args)
          assert_line(node, "begun")
          send(stream, {:cancel})
          assert {[], :done} = rest(stream)
          assert_line(node, "closed")
        end

        await_rest(node)
        assert os_pids(node) == before
      end
    end

    test "that raises ends with what it raised" do
      node = start_node(size: 1)

      for {function, args, text} <- [
            {"bad_finally", [], "the finally has failed"},
            {"stubborn", ["yield"], "generator ignored GeneratorExit"}
          ] do
        stream = begun!(node, function, args)
        send(stream, {:cancel})
        assert {_, {:error, {:python, %{message: ^text}}}} = rest(stream)
      end

      await_rest(node)
    end

    test "goes on when its owner dies meanwhile" do
      node = start_node(size: 1, lines: true, interrupt_grace: 300)
      {owner, stream} = owner(node, "stubborn", ["hang"])
      ref = monitor(node, stream)
      send(stream, {:cancel})
      assert_line(node, "closing")
      kill(owner)
      assert_receive {:DOWN, ^ref, _, _, _}, 5_000
      await_rest(node)
      assert py(node, "1") == {:ok, 1}
    end
  end

  describe "as a process" do
    test "it exits normally to those who are linked when it is done" do
      node = start_node(size: 1)
      Process.flag(:trap_exit, true)
      stream = stream!(node, "count", [5], demand: 0)
      Process.link(stream)
      send(stream, {:ask, 10})
      assert {_, :done} = rest(stream)
      assert_receive {:EXIT, ^stream, :normal}, 5_000

      stream = stream!(node, "told", [1, "raise"], demand: 0)
      Process.link(stream)
      send(stream, {:ask, 10})
      assert {_, {:error, reason}} = rest(stream)
      assert_receive {:EXIT, ^stream, ^reason}, 5_000
    end

    test "it answers ping, and knows no other request" do
      node = start_node(size: 1)
      stream = stream!(node, "count", [1], demand: 0)
      assert ask(stream, :ping) == :pong

      for {request, name} <- [
            {:checkin, :checkin},
            {{:call, :math, :sqrt, [4.0]}, :call},
            {{:stream, :builtins, :range, [3]}, :stream},
            {:status, :status},
            {{:ask, 1}, :ask},
            {:nonsense, :nonsense}
          ] do
        assert ask(stream, request) == {:error, {:unknown_request, name}}
      end

      assert {:error, {:bad_request, _}} = ask(stream, {:ping, :worker})
      assert {:error, {:bad_request, _}} = ask(stream, "text")
      send(stream, {:ask, 10})
      assert rest(stream) == {[0], :done}
    end

    test "it drops and counts what is no request" do
      node = start_node(size: 1)
      stream = stream!(node, "count", [1], demand: 0)
      before = totals(node).ignored

      for junk <- [:cancel, {:cancel, 1}, :ask, {:ask}, {:ask, 1, 2}, {}, [], "x", 7, %{ask: 1}] do
        send(stream, junk)
      end

      assert totals(node).ignored == before + 10
      send(stream, {:ask, 1})
      send(stream, {:ask, 1})
      assert rest(stream) == {[0], :done}
    end

    test "it is nobody after its end" do
      node = start_node(size: 1)
      stream = stream!(node, "count", [1])
      assert rest(stream) == {[0], :done}
      before = totals(node).ignored
      send(stream, {:ask, 1})
      send(stream, {:ask, -1})
      send(stream, {:cancel})
      Process.exit(stream, :kill)
      ref = Process.monitor(stream)
      assert_down(ref, :noproc)
      assert totals(node).ignored == before + 3
      assert exit_reason(fn -> ask(stream, :ping) end) == :noproc
      assert_silent(node, stream)
    end
  end

  describe "on a lease" do
    test "it runs on the leased worker, and the next call waits for its end" do
      node = start_node(size: 2)
      lease = lease!(node)
      {:ok, mine} = py(lease, "__import__('os').getpid()")

      assert {:ok, stream} =
               ask(
                 lease,
                 {:stream, "builtins", "eval", ["[__import__('os').getpid()] * 3"], demand: 1}
               )

      assert take(stream, 1) == [mine]
      id = :gen_server.send_request(lease, eval("'after'"))
      assert :gen_server.wait_response(id, 100) == :timeout
      send(stream, {:ask, 10})
      assert rest(stream) == {[mine, mine], :done}
      assert :gen_server.wait_response(id, 5_000) == {:reply, {:ok, "after"}}
      assert ask(lease, :checkin) == :ok
      await_rest(node)
    end

    test "it can be cancelled, and the lease goes on" do
      node = start_node(size: 1, lines: true)
      lease = lease!(node)
      stream = begun!(lease, "forever")
      send(stream, {:cancel})
      assert {_, :done} = rest(stream)
      assert_line(node, "closed")
      assert py(lease, "1") == {:ok, 1}
      assert ask(lease, :checkin) == :ok
    end

    test "it ends with the lease" do
      node = start_node(size: 1, lines: true)
      lease = lease!(node)
      stream = begun!(lease, "forever")
      ref = monitor(node, stream)
      Process.exit(lease, :shutdown)
      assert {_, ending} = rest(stream)
      assert ending == :done or match?({:error, _}, ending)
      assert_receive {:DOWN, ^ref, _, _, _}, 5_000
      await_rest(node)
    end

    test "it belongs to the lease's owner alone" do
      node = start_node(size: 1)
      lease = lease!(node)
      request = {:stream, "krait_generators", "count", [1], []}
      assert Task.await(Task.async(fn -> ask(lease, request) end)) == {:error, :not_owner}
    end
  end

  describe "a stop" do
    test "waits for an open stream" do
      node = start_node(size: 1, stop_timeout: 10_000)
      stream = stream!(node, "count", [50], demand: 1)
      assert take(stream, 1) == [0]
      assert ask({:krait, node.name}, :stop) == :ok
      assert {:error, :draining} = ask(node, {:stream, "krait_generators", "count", [1], []})
      send(stream, {:ask, 100})
      assert rest(stream) == {Enum.to_list(1..49), :done}
    end

    test "ends it after stop_timeout" do
      node = start_node(size: 1, stop_timeout: 200)
      stream = stream!(node, "forever", [], demand: 1)
      ref = monitor(node, stream)
      assert ask({:krait, node.name}, :stop) == :ok
      assert rest(stream) == {[0], {:error, :draining}}
      assert_receive {:DOWN, ^ref, _, _, reason}, 5_000
      assert reason in [:draining, :noconnection]
    end
  end

  describe "a worker that breaks the protocol" do
    test "by more items than were asked for is killed, and its stream ends" do
      node = start_node(size: 1)
      stream = stream!(node, "floods", [100_000], demand: 10)
      assert {items, {:error, {:worker_exit, %{exit: {:killed, :bad_frame}}}}} = rest(stream)
      assert length(items) <= 10
      await_rest(node)
    end

    test "by items that are none is killed, or its stream ends" do
      node = start_node(size: 1)

      for kind <- ["two", "none"] do
        stream = stream!(node, "bad_item", [kind])
        # What it had sent before it was killed may still come.
        assert {[0 | _], {:error, {:worker_exit, %{exit: {:killed, :bad_frame}}}}} = rest(stream)
      end

      for {kind, what} <- [{"corrupt", :corrupt}, {"atom", :invalid_atom}] do
        stream = stream!(node, "bad_item", [kind])
        assert {[0], {:error, {:unencodable, "item", ^what}}} = rest(stream)
      end

      await_rest(node)
    end

    test "by items of other streams harms none of them" do
      node = start_node(size: 2)
      mine = stream!(node, "stream_id", [], demand: 1)
      [id] = take(mine, 1)
      assert {:ok, nil} = ask(node, {:call, "krait_generators", "stray_to", [id]})
      strays = stream!(node, "strays")
      assert rest(strays) == {[0, 1], :done}
      assert totals(node).late >= 1000
      assert_silent(node, mine)
      send(mine, {:ask, 5})
      assert rest(mine) == {[0], :done}
      await_rest(node)
    end

    test "by an end without an opening gives a clear error" do
      for kind <- ["result", "pong"] do
        node = start_node(size: 1)

        assert {:error, {:unencodable, "result", :not_a_stream}} =
                 ask(node, {:stream, "krait_generators", "never_opened", [kind]})
      end
    end

    test "by an item before the opening loses that item" do
      node = start_node(size: 1)
      stream = stream!(node, "early")
      assert rest(stream) == {[1, 2], :done}
    end
  end

  describe "a consumer that does not read" do
    # A peer that is stopped: its kernel's buffers fill, then what the node has for it waits.
    setup do
      node = start_node(size: 2, lines: true)
      {peer, _} = start_peer()
      os_pid = :peer.call(peer, :os, :getpid, []) |> List.to_integer()
      # One that was stopped cannot be asked to leave.
      on_exit(fn -> Chaos.try_signal(os_pid, "KILL") end)

      %{
        node: node,
        before: os_pids(node),
        memory: Chaos.rss(node.os_pid),
        peer: peer,
        os_pid: os_pid
      }
    end

    defp hold(node, peer, function, args) do
      request = {:stream, "krait_generators", function, args, [demand: 1]}
      :peer.cast(peer, Chaos, :hold_stream, [node.pool, request, self()])
      assert_receive {:stream, stream}, 10_000
      stream
    end

    # From now on it reads nothing; then everything is asked for in its name.
    defp stop_reading(node, os_pid, streams) do
      TestNode.signal(os_pid, "STOP")
      for stream <- streams, do: send(stream, {:ask, 1_000_000})
      eventually(still?(node))
    end

    # The node stands still: whatever could go on has gone on.
    defp still?(node) do
      before = Proc.cpu_ms(node.os_pid)
      receive do: (:never -> :ok), after: (300 -> :ok)
      Proc.cpu_ms(node.os_pid) == before
    end

    test "costs no memory, whatever it has asked for, and holds up nobody", context do
      %{node: node, before: before, memory: memory, peer: peer, os_pid: os_pid} = context
      # Its items are small, and many are asked for at once, until they suddenly are large.
      held = hold(node, peer, "grows", [1_000_000])
      stop_reading(node, os_pid, [held])
      Chaos.assert_memory_bounded(node, memory)
      for _ <- 1..100, do: assert(ask(node, :ping) == :pong)
      # Whoever closes it need not wait for that peer, and nor need its worker.
      send(held, {:cancel})
      await_rest(node)
      assert os_pids(node) == before
      TestNode.signal(os_pid, "KILL")
      assert py(node, "1") == {:ok, 1}
    end

    test "misses nothing when it reads again", %{node: node, peer: peer, os_pid: os_pid} do
      streams =
        for {function, args} <- [{"grows", [1_000_000, 10_300]}, {"blocks", [3_000, 100_000]}] do
          request = {:stream, "krait_generators", function, args, [demand: 1]}
          :peer.cast(peer, Chaos, :count_stream, [node.pool, request, self()])
          assert_receive {:stream, stream}, 10_000
          stream
        end

      stop_reading(node, os_pid, streams)
      TestNode.signal(os_pid, "CONT")
      assert_receive {:counted, 10_300, :done}, 20_000
      assert_receive {:counted, 3_000, :done}, 20_000
      await_rest(node)
    end

    test "costs no memory and holds up no other call of its worker's slots", context do
      node = start_node(size: 1, slots: 3)
      memory = Chaos.rss(node.os_pid)
      streams = for _ <- 1..2, do: hold(node, context.peer, "blocks", [1_000_000, 100_000])
      stop_reading(node, context.os_pid, streams)
      Chaos.assert_memory_bounded(node, memory)
      assert py(node, "'mine'") == {:ok, "mine"}
      mine = stream!(node, "count", [3])
      assert rest(mine) == {[0, 1, 2], :done}
      for stream <- streams, do: send(stream, {:cancel})
      await_rest(node)
    end

    test "costs its stream when it is gone", %{node: node, peer: peer, os_pid: os_pid} = context do
      streams = for _ <- 1..2, do: hold(node, peer, "blocks", [1_000_000, 100_000])
      stop_reading(node, os_pid, streams)
      Chaos.assert_memory_bounded(node, context.memory)
      TestNode.signal(os_pid, "KILL")
      await_rest(node)
      assert os_pids(node) == context.before
    end
  end

  @tag :large
  test "a million small items and a gigabyte of large ones leave memory as it was" do
    node = start_node(size: 1)
    [os_pid] = os_pids(node)

    for {function, args, items} <- [
          {"rows", [1_000_000], 1_000_000},
          {"blocks", [1024, 1_048_576], 1024}
        ] do
      stream = stream!(node, function, args, demand: 1000)
      drink(stream, div(items, 10), 0)
      early = {Chaos.rss(node.os_pid), Chaos.rss(os_pid)}
      drink(stream, items - div(items, 10), 0)
      late = {Chaos.rss(node.os_pid), Chaos.rss(os_pid)}
      assert rest(stream) == {[], :done}

      # AddressSanitizer keeps what was freed for a while.
      allowed = if Chaos.sanitized?(node), do: 300_000_000, else: 16_000_000
      assert elem(late, 0) - elem(early, 0) < allowed
      assert elem(late, 1) - elem(early, 1) < 16_000_000
    end

    await_rest(node)
  end

  # Reads so many items, and asks for as many as it has read.
  defp drink(_, 0, _), do: :ok

  defp drink(stream, left, read) do
    receive do
      {:krait_stream, ^stream, {:item, _}} ->
        if read == 499 do
          send(stream, {:ask, 500})
          drink(stream, left - 1, 0)
        else
          drink(stream, left - 1, read + 1)
        end
    after
      10_000 -> flunk("#{left} items are missing")
    end
  end
end
