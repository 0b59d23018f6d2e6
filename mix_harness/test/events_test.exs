defmodule Krait.EventsTest do
  # What subscribers hear of a node: its events. Log lines are in logs_test.exs.
  use Krait.Case, async: true

  alias Krait.{Gate, LightPeer}

  @page Path.expand("../../docs/events.md", __DIR__)

  defp subscribe(node, topics \\ :events), do: ask({:krait, node.name}, {:subscribe, topics})

  # The next event of that name, and nothing before it in this mailbox matters.
  defp event(node, name, timeout \\ 10_000) do
    node = node.name
    assert_receive {:krait_event, ^node, ^name, measurements, metadata}, timeout
    {measurements, metadata}
  end

  # Everything that has been said so far: a node that has answered has sent what came before.
  defp heard(node) do
    :pong = ask({:krait, node.name}, :ping)
    :ok = ask({:krait, node.name}, :unsubscribe)
    heard_now(node.name)
  end

  defp heard_now(node) do
    receive do
      {:krait_event, ^node, name, measurements, metadata} ->
        [{name, measurements, metadata} | heard_now(node)]
    after
      0 -> []
    end
  end

  # %{[:krait, :call, :stop] => {measurements, metadata}} of docs/events.md
  defp catalogue do
    page = File.read!(@page)
    [request] = Regex.run(~r/\*request\* stands for ([^:]*):/, page, capture: :all_but_first)

    for row <- Regex.scan(~r/^\| `\[(krait, .*?)\]` \| (.*?) \| (.*?) \|/m, page), into: %{} do
      [_, name, measurements, metadata] = row
      metadata = String.replace(metadata, "*request*", request)
      {atoms(name, ~r/\w+/), {atoms("`system_time_us`" <> measurements), atoms(metadata)}}
    end
  end

  defp atoms(text, pattern \\ ~r/(?<=`)\w+(?=`)/) do
    for [word] <- Regex.scan(pattern, text), do: String.to_atom(word)
  end

  describe "the catalogue" do
    test "is what a node sends: every event, with these keys and no others" do
      node = start_node(size: 1, backoff_base: 20, breaker_threshold: 2, max_sessions: 5)
      pool = node.pool
      assert subscribe(node) == :ok

      assert {:ok, 2.0} = ask(pool, {:call, :math, :sqrt, [4.0]})
      assert {:error, {:not_allowed, _, _}} = ask(pool, {:call, :math, :_sqrt, [4.0]})
      assert :ok = ask(lease!(node), :checkin)
      assert {:ok, stream} = ask(pool, {:stream, :builtins, :range, [3], demand: 10})
      assert_receive {:krait_stream, ^stream, :done}, 5_000
      assert {:ok, _} = py(node, "1", session: 1)
      assert {:ok, _} = py(node, "1", session: 2)
      assert :ok = ask(pool, {:end_session, 1})

      [%{id: first}] = workers(node)
      assert :ok = ask(pool, {:recycle, first})
      event(node, [:krait, :worker, :replaced])
      event(node, [:krait, :worker, :exited])
      event(node, [:krait, :session, :lost])
      assert :ok = ask(pool, :reload)
      assert :ok = ask(pool, :pause)
      assert :ok = ask(pool, :resume)
      assert :ok = ask(pool, {:resize, {1, 2}})

      {:ok, light} = LightPeer.connect(node.name)
      event(node, [:krait, :peer, :up])
      LightPeer.close(light)
      event(node, [:krait, :peer, :down])

      assert :ok = ask(pool, :drain)
      assert :ok = ask(pool, :resume)
      expect_exit(node, [0])
      events = heard(node)
      seen = MapSet.new(events, fn {name, _, _} -> name end)
      catalogue = catalogue()

      for {name, measurements, metadata} <- events do
        assert {these, those} = catalogue[name], "not in the page: #{inspect(name)}"
        assert Enum.sort(Map.keys(measurements)) == Enum.sort(these), inspect(name)
        assert Enum.sort(Map.keys(metadata)) == Enum.sort(those), inspect(name)
        for {_, value} <- measurements, do: assert(is_integer(value) and value >= 0)
      end

      # What the tests below are about, and what was taken out of the mailbox above.
      elsewhere = [
        [:krait, :breaker, :opened],
        [:krait, :breaker, :half_open],
        [:krait, :breaker, :closed],
        [:krait, :config, :changed],
        [:krait, :node, :stopping],
        [:krait, :pool, :shrunk],
        [:krait, :subscriber, :lost],
        [:krait, :worker, :replaced],
        [:krait, :worker, :exited],
        [:krait, :session, :lost],
        [:krait, :pool, :grown],
        [:krait, :peer, :up],
        [:krait, :peer, :down]
      ]

      assert Map.keys(catalogue) -- (MapSet.to_list(seen) ++ elsewhere) == []
    end
  end

  describe "a request" do
    test "is received, started and stopped, with all that is known of it" do
      node = start_node(size: 1)
      me = self()
      [%{id: worker, os_pid: os_pid}] = workers(node)
      assert subscribe(node) == :ok
      trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      options = %{session: {:user, 5}, traceparent: trace, priority: :high}
      assert {:ok, "aaaa"} = ask(node, {:call, :operator, "mul", ["a", 4], options})

      {%{request_bytes: bytes, queued: 0}, received} = event(node, [:krait, :call, :received])
      assert %{priority: :high, request: id, verb: :call} = received
      assert bytes in 10..300

      same = %{
        pool: :default,
        request: id,
        verb: :call,
        module: :operator,
        function: "mul",
        caller: me,
        session: {:user, 5},
        traceparent: trace
      }

      assert Map.delete(received, :priority) == same
      {%{wait_us: wait, queued: 0}, started} = event(node, [:krait, :call, :start])
      assert started == Map.merge(same, %{worker: worker, os_pid: os_pid})

      {%{wait_us: ^wait, run_us: run, request_bytes: ^bytes, result_bytes: 5}, stopped} =
        event(node, [:krait, :call, :stop])

      assert stopped == Map.merge(same, %{worker: worker, outcome: :ok, error: nil})
      assert run > 0
    end

    test "ends in one outcome, the one that its caller heard" do
      node = start_node(size: 1)
      assert subscribe(node) == :ok

      for {request, outcome, error} <- [
            {{:call, :math, :sqrt, [1]}, :ok, nil},
            {{:call, :math, :sqrt, [-1]}, :python, "ValueError"},
            {{:call, :math, :nothing, []}, :no_function, nil},
            {{:call, :krait_faults, :exit, [3]}, :worker_exit, nil},
            {{:call, :time, :sleep, [60], timeout: 30}, :timeout_call, nil},
            {{:call, :builtins, :object, []}, :unencodable, nil},
            {{:batch, [{:math, :sqrt, [1]}, {:math, :sqrt, [-1]}]}, :ok, nil},
            {{:ping, :worker}, :ok, nil}
          ] do
        ask(node, :await_ready)
        ask(node, request)
        {_, stop} = event(node, [:krait, :call, :stop])
        assert {stop.outcome, stop.error} == {outcome, error}, inspect(request)
        assert stop.worker != nil
      end

      ask(node, :pause)
      ask(node, {:call, :math, :sqrt, [1], queue_timeout: 5})
      assert {%{run_us: 0, result_bytes: 0}, stop} = event(node, [:krait, :call, :stop])
      assert %{outcome: :timeout_queue, worker: nil} = stop
      caller = caller(:dead, node, eval("1"))
      await_queued(node, 1)
      kill(caller)
      assert {_, %{outcome: :abandoned, caller: ^caller}} = event(node, [:krait, :call, :stop])
      GenServer.cast(node.pool, eval("1"))
      ask(node, :resume)
      assert {_, %{outcome: :ok, caller: nil}} = event(node, [:krait, :call, :stop])

      started = for {[:krait, :call, what], _, meta} <- heard(node), do: {what, meta.request}
      assert Enum.all?(Keyword.values(started), &is_integer/1)
    end

    test "that is refused says why, and by whom it was asked" do
      node = start_node(size: 1, allow: ["math"])
      me = self()
      assert subscribe(node) == :ok

      for {request, outcome} <- [
            {{:call, :os, :getpid, []}, :not_allowed},
            {{:call, :math}, :bad_request},
            {:nonsense, :bad_request},
            {{:call, :math, :sqrt, [fn -> 1 end]}, :unencodable},
            {{:end_session, 1}, :no_session}
          ] do
        ask(node, request)

        if outcome == :unencodable,
          do: event(node, [:krait, :call, :stop]),
          else:
            assert(
              {%{count: 1}, %{pool: :default, outcome: ^outcome, caller: ^me}} =
                event(node, [:krait, :call, :refused])
            )
      end
    end

    test "that is retried starts twice and stops once" do
      node = start_node(size: 1)
      assert subscribe(node) == :ok
      path = temporary("once")
      on_exit(fn -> File.rm(path) end)

      once =
        "1 if __import__('os').path.exists('#{path}') else " <>
          "(open('#{path}', 'w').close(), __import__('os')._exit(3))"

      assert py(node, once, retry: 1) == {:ok, 1}
      {_, %{worker: first, request: id}} = event(node, [:krait, :call, :start])
      {_, %{worker: second, request: ^id}} = event(node, [:krait, :call, :start])
      {_, %{worker: ^second, request: ^id}} = event(node, [:krait, :call, :stop])
      assert first != second
      refute [:krait, :call, :stop] in Enum.map(heard(node), &elem(&1, 0))
    end
  end

  describe "what is held" do
    test "a lease is granted and ends, with its owner and the reason" do
      node = start_node(size: 1)
      me = self()
      assert subscribe(node) == :ok
      {:ok, lease} = ask(node, {:checkout, {:session, "s"}})
      {%{wait_us: _}, granted} = event(node, [:krait, :lease, :granted])
      assert %{lease: ^lease, owner: ^me, session: "s", worker: worker} = granted
      ask(lease, :checkin)
      {%{held_us: held}, ended} = event(node, [:krait, :lease, :ended])
      assert %{lease: ^lease, owner: ^me, worker: ^worker, reason: :checked_in} = ended
      assert held > 0

      {owner, ref} = spawn_monitor(fn -> lease!(node) end)
      assert_receive {:DOWN, ^ref, _, _, _}, 5_000
      assert {_, %{owner: ^owner, reason: :owner_gone}} = event(node, [:krait, :lease, :ended])

      lease = lease!(node)
      ask(lease, {:call, :krait_faults, :exit, [1]})
      assert {_, %{lease: ^lease, reason: :worker_gone}} = event(node, [:krait, :lease, :ended])
    end

    test "a stream is opened and ends, with its items" do
      node = start_node(size: 1)
      assert subscribe(node) == :ok
      {:ok, stream} = ask(node, {:stream, :builtins, :range, [100], demand: 101})
      assert_receive {:krait_stream, ^stream, :done}, 5_000
      assert {_, %{stream: ^stream, function: :range}} = event(node, [:krait, :stream, :opened])
      assert {%{items: 100, bytes: 100}, ended} = event(node, [:krait, :stream, :ended])
      assert %{stream: ^stream, outcome: :ok} = ended
      assert {_, %{verb: :stream, outcome: :ok}} = event(node, [:krait, :call, :stop])

      broken = "(1 // (2 - x) for x in range(5))"
      {:ok, _} = ask(node, {:stream, :builtins, :eval, [broken], demand: 10})
      assert {%{items: 2}, %{outcome: :python}} = event(node, [:krait, :stream, :ended])
    end

    test "a session starts and ends, or is lost with its worker at once" do
      node = start_node(size: 1, max_sessions: 2)
      [%{id: worker}] = workers(node)
      assert subscribe(node) == :ok
      for id <- [:a, :b, :c], do: {:ok, _} = py(node, "1", session: id)
      {:ok, _} = py(node, "1", session: :c)
      ask(node, {:end_session, :c})

      assert {%{sessions: 1}, %{session: :a}} = event(node, [:krait, :session, :started])
      assert {_, %{session: :b, worker: ^worker}} = event(node, [:krait, :session, :started])
      assert {%{calls: 1}, evicted} = event(node, [:krait, :session, :ended])
      assert evicted == %{pool: :default, worker: worker, session: :a, reason: :evicted}
      assert {_, %{session: :c}} = event(node, [:krait, :session, :started])
      assert {%{calls: 2}, ended} = event(node, [:krait, :session, :ended])
      assert %{session: :c, reason: :ended} = ended

      ask(node, {:kill, worker})
      assert {%{calls: 1}, lost} = event(node, [:krait, :session, :lost])
      assert lost == %{pool: :default, worker: worker, session: :b}
      assert {:error, {:session_lost, :b}} = py(node, "1", session: :b)
      assert {:ok, 1} = py(node, "1", session: :b)
      assert {_, %{session: :b, worker: next}} = event(node, [:krait, :session, :started])
      assert next != worker
    end
  end

  describe "workers and pools" do
    test "a worker is started, ready, and exits for a reason" do
      node = start_node(size: 1)
      [%{id: id, os_pid: os_pid}] = workers(node)
      assert subscribe(node) == :ok
      ask(node, {:call, :krait_faults, :crash, []})
      assert {%{calls: 0}, exited} = event(node, [:krait, :worker, :exited])

      assert %{worker: ^id, os_pid: ^os_pid, exit: {:signal, :sigsegv}, cause: :crashed, index: 0} =
               exited

      assert {_, %{worker: next, index: 0}} = event(node, [:krait, :worker, :started])
      assert {%{ready: 1}, ready} = event(node, [:krait, :worker, :ready])
      assert %{worker: ^next, os_pid: _} = ready

      ask(node, {:call, :krait_faults, :exit, [7]})
      assert {_, %{exit: {:exit, 7}, cause: :crashed}} = event(node, [:krait, :worker, :exited])
      ask(node, :await_ready)
      [%{id: id}] = workers(node)
      ask(node, {:kill, id})
      exited = event(node, [:krait, :worker, :exited])
      assert {_, %{exit: {:killed, :by_request}, cause: :killed}} = exited
      ask(node, :await_ready)
      ask(node, {:call, :time, :sleep, [60], timeout: 20})
      exited = event(node, [:krait, :worker, :exited])
      assert {_, %{exit: {:killed, :timeout}, cause: :timeout}} = exited
      ask(node, :await_ready)
      [%{id: id}] = workers(node)
      ask(node, {:recycle, id})
      assert {_, %{worker: ^id, reason: :recycle}} = event(node, [:krait, :worker, :replaced])
      assert {_, %{worker: ^id, cause: :recycle}} = event(node, [:krait, :worker, :exited])
    end

    test "starts that fail open the circuit, with the cause, and one that works closes it" do
      path = temporary("fixed")
      on_exit(fn -> File.rm(path) end)

      node =
        start_node(
          size: 1,
          await_ready: false,
          expose: [thing: "absent_when_broken:thing"],
          pythonpath: [path, TestNode.faults()],
          start_timeout: 5_000,
          breaker_threshold: 2,
          backoff_base: 100
        )

      assert subscribe(node) == :ok
      assert {%{failures: 2, retry_after_ms: ms}, opened} = event(node, [:krait, :breaker, :opened])
      assert ms > 0
      assert opened.cause =~ "absent_when_broken"
      assert {_, %{cause: :start_failed}} = event(node, [:krait, :worker, :exited])
      assert {_, %{cause: cause}} = event(node, [:krait, :breaker, :half_open])
      assert cause =~ "absent_when_broken"
      File.mkdir_p!(path)
      File.write!(Path.join(path, "absent_when_broken.py"), "def thing(): return 1\n")
      assert {%{ready: 1}, %{pool: :default}} = event(node, [:krait, :breaker, :closed], 20_000)
      File.rm_rf!(path)
    end

    test "a pool that grows and shrinks says so" do
      node = start_node(size: {1, 2}, grow_after: 20, idle_ttl: 50)
      assert subscribe(node) == :ok
      gate = Gate.new()
      held = Task.async(fn -> py(node, Gate.behind(gate, "7")) end)
      await_running(node, 1)
      assert py(node, "1") == {:ok, 1}
      assert {%{from: 1, to: 2}, %{pool: :default}} = event(node, [:krait, :pool, :grown])
      Gate.open(gate)
      assert Task.await(held, 20_000) == {:ok, 7}
      assert {%{from: 2, to: 1}, %{pool: :default}} = event(node, [:krait, :pool, :shrunk])
      assert {_, %{cause: :surplus}} = event(node, [:krait, :worker, :exited])
    end

    test "what an operator does is told, with the node that he did it from" do
      node = start_node(size: 1)
      assert subscribe(node) == :ok
      {peer, other} = start_peer()
      by = fn request -> :peer.call(peer, GenServer, :call, [node.pool, request]) end

      for {request, name} <- [
            {:pause, :paused},
            {:resume, :resumed},
            {{:resize, 2}, :resized},
            {:drain, :draining}
          ] do
        assert by.(request) == :ok
        assert {_, %{by: ^other, pool: :default}} = event(node, [:krait, :pool, name])
      end

      assert {%{queued: 0, running: 0}, %{by: nil}} = event(node, [:krait, :pool, :drained])
      assert by.(:resume) == :ok
      assert by.(:reload) == :ok
      assert {_, %{outcome: :ok, detail: nil}} = event(node, [:krait, :pool, :reloaded])
      assert {%{peers: _}, %{peer: ^other}} = event(node, [:krait, :peer, :up])
      :peer.stop(peer)
      assert {_, %{peer: ^other, reason: reason}} = event(node, [:krait, :peer, :down])
      assert is_binary(reason)
    end

    test "an option that has a new value is told, with the old one" do
      node = start_node(size: 1)
      me = node()
      assert subscribe(node) == :ok
      assert {:ok, {_, 7_000}} = ask(node, {:set, :call_timeout, 7_000})
      assert {%{changes: 1}, changed} = event(node, [:krait, :config, :changed])
      assert %{by: ^me, difference: %{pools: %{default: %{call_timeout: {_, 7_000}}}}} = changed
    end

    test "a node that is told to stop says so to the last" do
      node = start_node(size: 1)
      assert subscribe(node) == :ok
      assert ask({:krait, node.name}, :stop) == :ok
      assert {_, %{reason: "told by a peer"}} = event(node, [:krait, :node, :stopping])
      assert {_, %{cause: :stop}} = event(node, [:krait, :worker, :exited])
    end
  end

  describe "a subscription" do
    test "is of one process, which may change it, and ends with unsubscribe" do
      node = start_node(size: 1)
      name = node.name
      assert subscribe(node, :log) == :ok
      assert py(node, "print('one')") == {:ok, nil}
      assert_receive {:krait_log, ^name, %{line: "one"}}, 5_000
      assert subscribe(node, [:events]) == :ok
      assert py(node, "print('two')") == {:ok, nil}
      event(node, [:krait, :call, :stop])
      # The line comes by another way than the answer.
      eventually(Enum.any?(lines(node), fn {_, _, text} -> text =~ "two" end))
      assert subscribe(node, [:log, :events]) == :ok
      assert py(node, "print('three')") == {:ok, nil}
      event(node, [:krait, :call, :stop])
      assert_receive {:krait_log, ^name, %{line: "three"}}, 5_000
      assert ask(node, :unsubscribe) == :ok
      assert ask(node, :unsubscribe) == :ok
      assert py(node, "print('four')") == {:ok, nil}
      assert ask(node, :ping) == :pong
      # a message of ours that has come back has come after all others of the node
      refute_received {:krait_log, _, %{line: "two"}}
      refute_received {:krait_log, _, %{line: "four"}}
      stops = for {[_, :call, :stop], _, _} <- heard_now(name), do: :stop
      assert stops == []
    end

    test "to a pool hears of that pool alone" do
      node = start_node(size: 1, pools: %{left: %{}, right: %{}})
      left = {:left, node.name}
      right = {:right, node.name}
      everything = Krait.Listener.start(node.name)
      assert ask(left, {:subscribe, :all}) == :ok
      for pool <- [right, left], do: assert(ask(pool, eval("print('x') or 1")) == {:ok, 1})
      assert {_, %{pool: :left}} = event(node, [:krait, :call, :stop])
      {:ok, light} = LightPeer.connect(node.name)
      LightPeer.close(light)
      assert ask(right, {:subscribe, :events}) == :ok
      assert ask(right, eval("1")) == {:ok, 1}
      assert {_, %{pool: :right}} = event(node, [:krait, :call, :stop])
      events = heard(node)
      assert events != []
      for {_, _, meta} <- events, do: assert(meta.pool in [:left, :right])
      assert for({[_, :call, :stop], _, meta} <- events, do: meta.pool) == []
      assert %{events: all} = Krait.Listener.finish(everything)
      assert all > length(events)
    end

    test "in the wrong words is refused; a cast is nobody's" do
      node = start_node(size: 1)

      for topics <- [:everything, [], [:log, :nothing], "log", [:log | :events], 1] do
        assert {:error, {:bad_request, text}} = subscribe(node, topics)
        assert text =~ "log, events, all"
      end

      GenServer.cast({:krait, node.name}, {:subscribe, :all})
      assert {:ok, 1} = py(node, "1")
      assert heard(node) == []
    end

    test "ends with its process; 256 may hear at once, and each hears all" do
      node = start_node(size: 1)
      parent = self()

      listen = fn ->
        spawn(fn ->
          send(parent, {:subscribed, self(), subscribe(node)})
          {_, %{request: id}} = event(node, [:krait, :call, :received], 20_000)
          send(parent, {:heard, self(), id})
          receive do: (:never -> :ok)
        end)
      end

      pids = for _ <- 1..256, do: listen.()
      for pid <- pids, do: assert_receive({:subscribed, ^pid, :ok}, 10_000)

      assert {:error, {:overloaded, %{subscribers: 256, limit: 256}}} = subscribe(node)
      assert {:ok, 1} = py(node, "1")
      ids = for pid <- pids, do: assert_receive({:heard, ^pid, id}, 10_000) && id
      assert length(Enum.uniq(ids)) == 1
      Enum.each(pids, &kill/1)
      eventually(subscribe(node) == :ok)
      assert {:ok, 1} = py(node, "1")
      event(node, [:krait, :call, :stop])
    end

    test "of a peer that vanishes is forgotten" do
      node = start_node(size: 1)
      {:ok, light} = LightPeer.connect(node.name)
      assert LightPeer.ask(light, :krait, {:subscribe, :all}) == {:ok, :ok}
      assert {:ok, 1} = py(node, "1")
      assert next_event(light) == [:krait, :call, :received]
      LightPeer.reset(light)
      for _ <- 1..50, do: assert(py(node, "1") == {:ok, 1})
      await_rest(node)
    end
  end

  defp next_event(light) do
    case LightPeer.receive_message(light, 5_000) do
      {:ok, _, {:krait_event, _, name, _, _}} -> name
      {:ok, _, _} -> next_event(light)
    end
  end

  describe "a slow subscriber" do
    test "loses events and is told how many; nobody else notices, and the node does not grow" do
      node = start_node(size: 1, log_rate: 1_000_000, log_level: :error)
      {peer, _} = start_peer()
      slow = :peer.call(peer, Krait.Listener, :start, [node.name])
      beam = :peer.call(peer, :os, :getpid, []) |> List.to_integer()
      healthy = Krait.Listener.start(node.name)
      assert py(node, "print('first')") == {:ok, nil}
      assert %{logs: 1} = Krait.Listener.await(healthy, {:last, "first"})
      before = Proc.rss(node.os_pid)

      # one that stays stopped would outlive a test that fails
      on_exit(fn -> Krait.Chaos.try_signal(beam, "CONT") end)
      signal(beam, "STOP")

      # More than the kernel keeps for a connection, and the 4 MiB that the node does; but not all at
      # once, for this BEAM must be able to follow.
      for i <- 1..30 do
        many = "[print('x' * 1000) for _ in range(1000)] and print('mark #{i}')"
        assert py(node, many, timeout: 60_000) == {:ok, nil}
        Krait.Listener.await(healthy, {:last, "mark #{i}"})
      end

      assert py(node, "print('last')") == {:ok, nil}
      assert %{lost: 0, logs: 30_032} = Krait.Listener.await(healthy, {:last, "last"})
      # a sanitizer keeps what was freed
      allowed = if Krait.Chaos.sanitized?(node), do: 300, else: 24
      assert Proc.rss(node.os_pid) - before < allowed * 1024 * 1024

      signal(beam, "CONT")
      assert %{lost: lost} = Krait.Listener.await(slow, {:lost, 1})
      assert lost > 1_000
      assert py(node, "print('after')") == {:ok, nil}
      assert %{messages: all, lost: 0} = Krait.Listener.finish(healthy)
      Krait.Listener.await(slow, {:last, "after"})
      told = Krait.Listener.finish(slow)
      assert told.messages + told.lost == all
    end
  end
end
