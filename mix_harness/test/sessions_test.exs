defmodule Krait.SessionsTest do
  # A session keeps its calls on the worker that knows it, and its state in that worker.
  use Krait.Case, async: true

  alias Krait.RawPeer

  defp start(options \\ []), do: start_node([preload: ["krait_counting"]] ++ options)

  # A call of krait_counting in a session.
  defp in_session(to, id, function, args \\ [], options \\ []) do
    ask(to, {:call, "krait_counting", function, args, [session: id] ++ options})
  end

  defp count(to, id, options \\ []), do: in_session(to, id, "count", [], options)

  defp sessions(node) do
    {:ok, sessions} = ask(node, :sessions)
    sessions
  end

  defp known?(node, id), do: Enum.any?(sessions(node), &(&1.id == id))

  # Sends a call that holds its session's worker; returns when it runs there.
  defp hold(node, id, seconds, options \\ []) do
    request = {:call, "krait_counting", "counted_after", [seconds], [session: id] ++ options}

    before = totals(node).running
    request_id = :gen_server.send_request(node.pool, request)
    await_running(node, before + 1)
    request_id
  end

  defp answer(request_id) do
    {:reply, answer} = :gen_server.wait_response(request_id, 10_000)
    answer
  end

  defp await_begun(node), do: eventually(Enum.any?(lines(node), &(elem(&1, 2) =~ "begun")))

  # A cast of count() whose session's id is these bytes, from a peer that writes as no BEAM does.
  defp cast_raw(node, id) do
    peer = RawPeer.connect(node.name)
    <<131, mark::binary>> = :erlang.term_to_binary(:the_id)
    call = {:call, "krait_counting", "count", [], [session: :the_id]}
    frame = RawPeer.frame({6, self(), :"", :default}, {:"$gen_cast", call})
    :ok = RawPeer.send_frame(peer, :binary.replace(frame, mark, id))
    RawPeer.close(peer)
  end

  defp ended?(node, id, n) do
    Enum.any?(lines(node), fn {_, _, text} -> text =~ "session #{id} ended at #{n}" end)
  end

  describe "state" do
    test "is there in the next call, on the same worker, whatever else runs" do
      node = start(size: 3)
      {:ok, {1, pid}} = in_session(node, "a", "where")

      for n <- 2..20 do
        assert {:ok, {^n, ^pid}} = in_session(node, "a", "where")
        assert {:ok, false} = ask(node, {:call, "krait_counting", "in_session", []})
      end

      assert count(node, "b") == {:ok, 1}
      assert in_session(node, "a", "starts") == {:ok, 1}
      assert %{sessions: 2, totals: %{sessions_started: 2}} = pool_status(node)
      assert workers(node) |> Enum.map(& &1.sessions) |> Enum.sum() == 2
    end

    test "is kept by names of every kind, and no two different names are one" do
      node = start()

      ids = [
        :name,
        "name",
        ~c"name",
        nil,
        true,
        "",
        [],
        {},
        0,
        1,
        1.0,
        -1,
        Bitwise.bsl(1, 100),
        {:user, 1},
        {"user", 1},
        [:user, 1],
        %{},
        %{a: 1, b: %{c: [1, 2]}},
        %{%{a: 1, b: 2} => {1, 2}, [1, 2] => 3},
        self(),
        make_ref(),
        &Enum.map/2,
        <<255, 254>>,
        <<1::3>>,
        String.duplicate("x", 1000),
        {:bytes, "name"}
      ]

      for id <- ids, do: assert({id, {:ok, 1}} == {id, count(node, id)})
      for id <- Enum.reverse(ids), do: assert({id, {:ok, 2}} == {id, count(node, id)})
      assert length(sessions(node)) == length(ids)
      assert Enum.sort(for s <- sessions(node), do: s.id) == Enum.sort(ids)
      for id <- ids, do: assert({id, {:ok, id}} == {id, in_session(node, id, "name")})
      for id <- ids, do: assert({id, :ok} == {id, ask(node, {:end_session, id})})
      assert sessions(node) == []
    end

    test "is that of the same name, however it is written: maps in any order, lists in pieces" do
      node = start()
      <<131, a::binary>> = :erlang.term_to_binary(:a)
      <<131, b::binary>> = :erlang.term_to_binary("b")
      <<131, a_b::binary>> = :erlang.term_to_binary(%{:a => 1, "b" => 2})

      maps = [
        a_b,
        <<116, 2::32, a::binary, 97, 1, b::binary, 97, 2>>,
        <<116, 2::32, b::binary, 98, 2::32, a::binary, 97, 1>>
      ]

      for id <- maps, do: cast_raw(node, id)
      eventually(match?([%{calls: 3}], sessions(node)))
      assert count(node, %{:a => 1, "b" => 2}) == {:ok, 4}

      lists = [<<107, 2::16, 1, 2>>, <<108, 2::32, 97, 1, 97, 2, 106>>]
      pieces = <<108, 1::32, 97, 1, 108, 1::32, 97, 2, 106>>
      for id <- lists ++ [pieces], do: cast_raw(node, id)
      eventually(match?([_, %{calls: 3}], sessions(node)))
      assert count(node, [1, 2]) == {:ok, 4}
      assert count(node, {1, 2}) == {:ok, 1}
    end

    test "is there for casts, checkouts and leases too" do
      node = start()
      assert count(node, :s) == {:ok, 1}
      GenServer.cast(node.pool, {:call, "krait_counting", "count", [], [session: :s]})
      {:ok, lease} = ask(node, {:checkout, {:session, :s}})
      assert ask(lease, {:call, "krait_counting", "count", []}) == {:ok, 3}
      assert ask(lease, {:call, "krait_counting", "name", []}) == {:ok, :s}
      assert ask(lease, :checkin) == :ok
      {:ok, lease} = ask(node, {:checkout, :anonymous, session: :s})
      assert ask(lease, {:call, "krait_counting", "count", [], timeout: 5_000}) == {:ok, 4}
      assert ask(lease, :checkin) == :ok
      {:ok, lease} = ask(node, {:checkout, :anonymous})
      assert ask(lease, {:call, "krait_counting", "in_session", []}) == {:ok, false}
      assert ask(lease, :checkin) == :ok
      await_rest(node)
    end

    test "of a session that a checkout began is there for calls" do
      node = start()
      {:ok, lease} = ask(node, {:checkout, {:session, {:mine, 1}}})
      assert ask(lease, {:call, "krait_counting", "count", []}) == {:ok, 1}
      assert [%{id: {:mine, 1}, idle_ms: 0}] = sessions(node)
      assert ask(lease, :checkin) == :ok
      assert count(node, {:mine, 1}) == {:ok, 2}
    end

    test "is there for streams and batches, which are calls of it like any other" do
      node = start(size: 2)
      assert count(node, :s) == {:ok, 1}
      batch = List.duplicate({"krait_counting", "count", []}, 3)
      assert ask(node, {:batch, batch, session: :s}) == {:ok, [{:ok, 2}, {:ok, 3}, {:ok, 4}]}

      {:ok, stream} = ask(node, {:stream, "krait_counting", "counts", [3], session: :s, demand: 1})
      assert_receive {:krait_stream, ^stream, {:item, 5}}, 5_000
      # It goes on for as long as it likes: the session's other calls wait for it, and nobody else.
      next =
        :gen_server.send_request(node.pool, {:call, "krait_counting", "count", [], [session: :s]})

      await_queued(node, 1)
      assert py(node, "1") == {:ok, 1}
      send(stream, {:ask, 10})
      assert_receive {:krait_stream, ^stream, {:item, 7}}, 5_000
      assert_receive {:krait_stream, ^stream, :done}, 5_000
      assert answer(next) == {:ok, 8}

      # And on a lease.
      {:ok, lease} = ask(node, {:checkout, {:session, :s}})
      {:ok, stream} = ask(lease, {:stream, "krait_counting", "counts", [2], []})
      assert_receive {:krait_stream, ^stream, :done}, 5_000
      assert ask(lease, {:batch, batch, []}) == {:ok, [{:ok, 11}, {:ok, 12}, {:ok, 13}]}
      assert ask(lease, :checkin) == :ok
      await_rest(node)
    end

    test "does not keep a call's time from being limited" do
      node = start(size: 1)
      assert {:ok, left} = in_session(node, :s, "left_ms", [], timeout: 5_000)
      assert left > 3_000 and left <= 5_000
      assert in_session(node, :s, "left_ms", [], timeout: :infinity) == {:ok, nil}
      # What it waited is gone when it begins.
      held = hold(node, :s, 0.5)
      assert {:ok, left} = in_session(node, :s, "left_ms", [], timeout: 5_000)
      assert left > 3_000 and left <= 4_700
      assert answer(held) == {:ok, 1}
    end
  end

  describe "a session whose worker is busy" do
    test "waits for it (strict), and holds up nobody else" do
      node = start(size: 2)
      held = hold(node, :s, 0.7)

      waiting =
        :gen_server.send_request(node.pool, {:call, "krait_counting", "where", [], [session: :s]})

      await_queued(node, 1)
      # It came first, and those behind it are served.
      for _ <- 1..20, do: assert({:ok, 1} = py(node, "1"))
      assert %{queued: 1} = pool_status(node)
      assert answer(held) == {:ok, 1}
      assert {:ok, {2, _}} = answer(waiting)
    end

    test "takes its calls in the order of priority and arrival" do
      node = start(size: 2)
      held = hold(node, :s, 0.5)

      ids =
        for {n, priority} <- [{1, :low}, {2, :normal}, {3, :high}, {4, :normal}, {5, :high}] do
          request = {:call, "krait_counting", "count", [], [session: :s, priority: priority]}
          id = :gen_server.send_request(node.pool, request)
          await_queued(node, n)
          {n, id}
        end

      assert answer(held) == {:ok, 1}
      answers = for {n, id} <- ids, do: {answer(id), n}
      assert answers |> Enum.sort() |> Enum.map(&elem(&1, 1)) == [3, 5, 2, 4, 1]
    end

    test "tells so at once (fail_fast), by option or by the pool's rule" do
      node = start(size: 2)
      held = hold(node, {"id", 1}, 0.5)

      assert count(node, {"id", 1}, session_mode: :fail_fast) ==
               {:error, {:session_busy, {"id", 1}}}

      assert answer(held) == {:ok, 1}
      assert count(node, {"id", 1}, session_mode: :fail_fast) == {:ok, 2}

      node = start(size: 2, session_mode: :fail_fast)
      held = hold(node, :s, 0.5)
      assert count(node, :s) == {:error, {:session_busy, :s}}
      assert {:error, {:session_busy, :s}} = ask(node, {:checkout, {:session, :s}})
      assert answer(held) == {:ok, 1}
      assert totals(node).session_busy == 2
      await_rest(node)
    end

    test "goes to another, which then knows it (hint)" do
      node = start(size: 2, session_mode: :hint)
      {:ok, {1, first}} = in_session(node, :s, "where")
      assert {:ok, {2, ^first}} = in_session(node, :s, "where")
      held = hold(node, :s, 0.5)
      assert {:ok, {1, second}} = in_session(node, :s, "where")
      assert second != first
      assert {:ok, {2, ^second}} = in_session(node, :s, "where")
      assert answer(held) == {:ok, 3}
      # Where it was it has ended, with its hook.
      eventually(ended?(node, :s, 3))
      assert {:ok, {3, ^second}} = in_session(node, :s, "where")
      assert [%{id: :s, calls: 3}] = sessions(node)
      await_rest(node)
    end

    test "waits for its own worker rather than none (hint)" do
      node = start(size: 1)
      held = hold(node, :s, 0.3)
      assert in_session(node, :s, "count", [], session_mode: :hint) == {:ok, 2}
      assert answer(held) == {:ok, 1}
      await_rest(node)
    end

    test "and its calls never run beside each other" do
      node = start(size: 4)
      parent = self()

      for i <- 1..40 do
        spawn_link(fn -> send(parent, {i, in_session(node, :s, "counted_after", [0.002])}) end)
      end

      answers =
        for i <- 1..40 do
          assert_receive {^i, {:ok, n}}, 10_000
          n
        end

      assert Enum.sort(answers) == Enum.to_list(1..40)
    end

    test "whose first call still waits: the others run after it, where it did" do
      node = start(size: 1)
      held = hold(node, :other, 0.4)

      ids =
        for _ <- 1..5 do
          :gen_server.send_request(node.pool, {:call, "krait_counting", "where", [], [session: :s]})
        end

      await_queued(node, 5)
      assert [%{worker: nil, calls: 0}] = Enum.filter(sessions(node), &(&1.id == :s))
      assert {:ok, 1} = answer(held)
      assert [{:ok, {1, pid}} | _] = answers = Enum.map(ids, &answer/1)
      assert answers == for(n <- 1..5, do: {:ok, {n, pid}})
    end
  end

  describe "session_lost" do
    test "is heard once by whoever comes next, with the name as it was given; then it starts anew" do
      node = start(size: 2)
      id = %{user: "x", n: [1, 2]}
      assert {:ok, {1, pid}} = in_session(node, id, "where")
      assert count(node, :bystander) == {:ok, 1}
      signal(pid, "KILL")
      eventually(pid not in os_pids(node))
      assert count(node, id) == {:error, {:session_lost, id}}
      assert count(node, id) == {:ok, 1}
      assert count(node, id) == {:ok, 2}
      assert count(node, :bystander) in [{:ok, 2}, {:error, {:session_lost, :bystander}}]
      assert %{session_lost: lost, sessions_lost: lost} = totals(node)
    end

    test "is heard by all who wait when it happens; by nobody after that" do
      node = start(size: 2)
      held = hold(node, :s, 60)
      # What its worker had not read yet would be lost without a death in a call.
      await_begun(node)
      [busy] = for w <- workers(node), w.state == :busy, do: w

      waiting =
        for _ <- 1..3 do
          :gen_server.send_request(node.pool, {:call, "krait_counting", "count", [], [session: :s]})
        end

      await_queued(node, 3)
      signal(busy.os_pid, "KILL")
      assert {:error, {:worker_exit, _}} = answer(held)
      for id <- waiting, do: assert(answer(id) == {:error, {:session_lost, :s}})
      assert count(node, :s) == {:ok, 1}
      await_rest(node)
    end

    test "follows the worker_exit of the call that it died in, once" do
      node = start(size: 2)
      assert count(node, :s) == {:ok, 1}
      assert {:error, {:worker_exit, %{exit: {:exit, 7}}}} = in_session(node, :s, "crash")
      assert count(node, :s) == {:error, {:session_lost, :s}}
      assert count(node, :s) == {:ok, 1}
      # As it does a call that ran out of time.
      assert {:error, {:timeout, :call}} = in_session(node, :s, "hold", [60], timeout: 50)
      assert ask(node, {:checkout, {:session, :s}}) == {:error, {:session_lost, :s}}
      assert {:ok, lease} = ask(node, {:checkout, {:session, :s}})
      assert ask(lease, :checkin) == :ok
    end

    test "is not what a hint hears: it goes on elsewhere" do
      node = start(size: 2, session_mode: :hint)
      assert {:ok, {1, pid}} = in_session(node, :s, "where")
      signal(pid, "KILL")
      eventually(pid not in os_pids(node))
      assert {:ok, {1, other}} = in_session(node, :s, "where")
      assert other != pid
    end

    test "is what fail_fast hears" do
      node = start(size: 2, session_mode: :fail_fast)
      assert {:ok, {1, pid}} = in_session(node, :s, "where")
      signal(pid, "KILL")
      eventually(pid not in os_pids(node))
      assert count(node, :s) == {:error, {:session_lost, :s}}
      assert count(node, :s) == {:ok, 1}
    end

    test "a call that is repeated is repeated with a hint, and not when it relies on the state" do
      node = start(size: 2)
      assert count(node, :s) == {:ok, 1}
      assert {:error, {:worker_exit, _}} = in_session(node, :s, "crash", [], retry: 1)
      assert count(node, :s) == {:error, {:session_lost, :s}}
      crashes = totals(node).exits

      assert {:error, {:worker_exit, _}} =
               in_session(node, :t, "crash", [], retry: 2, session_mode: :hint)

      assert totals(node).exits == crashes + 3
    end
  end

  describe "a session ends" do
    test "its end is not taken for a session of the next request, which has none" do
      node = start()
      {:ok, lease} = ask(node, {:checkout, :anonymous})
      heir = spawn_link(fn -> Process.sleep(:infinity) end)

      assert ask(node, {:end_session, :s}) == {:error, {:no_session, :s}}
      assert ask(lease, {:give_away, heir}) == :ok
      assert ask(node, :ping) == :pong
    end

    test "when it is told to: its hook runs, and the next call starts it anew" do
      node = start()
      assert count(node, :s) == {:ok, 1}
      assert ask(node, {:end_session, :s}) == :ok
      assert ask(node, {:end_session, :s}) == {:error, {:no_session, :s}}
      eventually(ended?(node, :s, 1))
      assert count(node, :s) == {:ok, 1}
      assert ask(node, {:end_session, "s"}) == {:error, {:no_session, "s"}}
      assert totals(node).no_session == 2
      assert balanced?(totals(node))
    end

    test "after the call that it is in; those that wait for it start it anew" do
      node = start(size: 1)
      held = hold(node, :s, 0.5)

      waiting =
        for _ <- 1..2 do
          :gen_server.send_request(node.pool, {:call, "krait_counting", "count", [], [session: :s]})
        end

      await_queued(node, 2)
      assert ask(node, {:end_session, :s}) == :ok
      assert answer(held) == {:ok, 1}
      assert Enum.map(waiting, &answer/1) == [{:ok, 1}, {:ok, 2}]
      eventually(ended?(node, :s, 1))
      assert count(node, :s) == {:ok, 3}
      await_rest(node)
    end

    test "after the lease that holds it" do
      node = start(size: 1)
      {:ok, lease} = ask(node, {:checkout, {:session, :s}})
      assert ask(lease, {:call, "krait_counting", "count", []}) == {:ok, 1}
      assert ask(node, {:end_session, :s}) == :ok
      assert ask(lease, {:call, "krait_counting", "count", []}) == {:ok, 2}
      assert ask(lease, :checkin) == :ok
      assert count(node, :s) == {:ok, 1}
      eventually(ended?(node, :s, 2))
      await_rest(node)
    end

    test "when nobody has used it for its time to live" do
      node = start(session_ttl: 150)
      assert count(node, :s) == {:ok, 1}
      # Use puts it off, and so does a call that takes longer.
      assert in_session(node, :s, "counted_after", [0.4]) == {:ok, 2}
      assert count(node, :s) == {:ok, 3}
      eventually(not known?(node, :s))
      eventually(ended?(node, :s, 3))
      assert count(node, :s) == {:ok, 1}
    end

    test "never, if its time to live is infinity" do
      node = start(session_ttl: :infinity)
      assert count(node, :s) == {:ok, 1}
      assert [%{idle_ms: _}] = sessions(node)
      assert count(node, :s) == {:ok, 2}
    end

    test "when there are too many: the one that was idle longest" do
      node = start(max_sessions: 3)
      for id <- [:a, :b, :c], do: assert(count(node, id) == {:ok, 1})
      assert count(node, :a) == {:ok, 2}
      assert count(node, :d) == {:ok, 1}
      assert Enum.sort(for s <- sessions(node), do: s.id) == [:a, :c, :d]
      eventually(ended?(node, :b, 1))
      assert count(node, :a) == {:ok, 3}
      assert totals(node).sessions_evicted == 1
      assert count(node, :b) == {:ok, 1}
    end

    test "only if it is idle: with all in use, one more finds no room" do
      node = start(max_sessions: 1)
      held = hold(node, :a, 0.4)
      assert {:error, {:overloaded, _}} = count(node, :b)
      assert answer(held) == {:ok, 1}
      assert count(node, :b) == {:ok, 1}
      assert [%{id: :b}] = sessions(node)
    end

    test "with its worker, at a stop: its hook has run" do
      node = start(size: 1)
      assert count(node, :s) == {:ok, 1}
      assert count(node, :t) == {:ok, 1}
      assert :krait.stop(node.instance) == :ok
      assert ended?(node, :s, 1)
      assert ended?(node, :t, 1)
    end
  end

  describe "an owner" do
    test "takes its session along" do
      node = start()
      owner = spawn(fn -> Process.sleep(:infinity) end)
      assert count(node, :s, owner: owner) == {:ok, 1}
      assert count(node, :s, owner: owner) == {:ok, 2}
      assert count(node, :s) == {:ok, 3}
      kill(owner)
      eventually(not known?(node, :s))
      eventually(ended?(node, :s, 3))
      assert count(node, :s) == {:ok, 1}
    end

    test "may be the caller, and may own what a checkout began" do
      node = start()
      parent = self()

      pid =
        spawn(fn ->
          send(parent, {:first, count(node, :s, owner: self())})
          {:ok, lease} = ask(node, {:checkout, {:session, :t}, owner: self()})
          :ok = ask(lease, :checkin)
          send(parent, :ready)
          Process.sleep(:infinity)
        end)

      assert_receive {:first, {:ok, 1}}, 5_000
      assert_receive :ready, 5_000
      assert known?(node, :s) and known?(node, :t)
      kill(pid)
      eventually(sessions(node) == [])
      await_rest(node)
    end

    test "that was given first stays" do
      node = start()
      [first, second] = for _ <- 1..2, do: spawn(fn -> Process.sleep(:infinity) end)
      assert count(node, :s, owner: first) == {:ok, 1}
      assert count(node, :s, owner: second) == {:ok, 2}
      kill(second)
      assert count(node, :s) == {:ok, 3}
      kill(first)
      eventually(not known?(node, :s))
    end

    test "may be given to a session that has none" do
      node = start()
      owner = spawn(fn -> Process.sleep(:infinity) end)
      assert count(node, :s) == {:ok, 1}
      assert count(node, :s, owner: owner) == {:ok, 2}
      kill(owner)
      eventually(not known?(node, :s))
    end

    test "that is dead already ends it after its call" do
      node = start()
      owner = spawn(fn -> :ok end)
      kill(owner)
      assert count(node, :s, owner: owner) == {:ok, 1}
      eventually(not known?(node, :s))
    end

    test "that dies before its session has begun ends it after its first call" do
      node = start(size: 1)
      held = hold(node, :other, 0.4)
      owner = spawn(fn -> Process.sleep(:infinity) end)
      call = {:call, "krait_counting", "count", [], [session: :s, owner: owner]}
      first = :gen_server.send_request(node.pool, call)
      await_queued(node, 1)
      kill(owner)
      # The node has heard of it: its word comes after the owner's end.
      assert ask(node, :ping) == :pong
      assert known?(node, :s)
      assert answer(held) == {:ok, 1}
      assert answer(first) == {:ok, 1}
      eventually(not known?(node, :s))
      assert count(node, :s) == {:ok, 1}
      assert count(node, :s) == {:ok, 2}
      await_rest(node)
    end

    test "stays the owner where a hint has moved its session" do
      node = start(size: 2, session_mode: :hint)
      owner = spawn(fn -> Process.sleep(:infinity) end)
      assert count(node, :s, owner: owner) == {:ok, 1}
      held = hold(node, :s, 0.5)
      assert count(node, :s) == {:ok, 1}
      assert answer(held) == {:ok, 2}
      eventually(ended?(node, :s, 2))
      await_rest(node)
      kill(owner)
      eventually(not known?(node, :s))
      assert %{monitors: monitors} = status(node)
      assert monitors < 5
    end

    test "may live on any connected node, and leaves with it" do
      node = start()
      {peer, _} = start_peer()
      owner = :peer.call(peer, :erlang, :spawn, [:timer, :sleep, [:infinity]])

      assert {:error, {:bad_option, :owner, expected}} = count(node, :s, owner: owner)
      assert expected =~ "connected"
      assert :peer.call(peer, :krait, :ping, [node.pool]) == :pong
      assert count(node, :s, owner: owner) == {:ok, 1}
      :peer.cast(peer, :erlang, :halt, [0])
      eventually(not known?(node, :s))
      await_rest(node)
    end

    test "needs a session, and is a pid" do
      node = start()
      assert {:error, {:bad_option, :owner, text}} = py(node, "1", owner: self())
      assert text =~ "session"

      for owner <- [:me, {:me, node()}, "pid", 1] do
        assert {:error, {:bad_option, :owner, _}} = count(node, :s, owner: owner)
      end

      assert sessions(node) == []
    end

    test "is watched no longer than its session lasts" do
      node = start()
      before = status(node).monitors
      for i <- 1..20, do: assert({:ok, 1} = count(node, i, owner: self()))
      assert status(node).monitors >= before + 20
      for i <- 1..20, do: assert(:ok = ask(node, {:end_session, i}))
      eventually(status(node).monitors <= before)
    end
  end

  describe "sessions" do
    test "says id, worker, calls and idle time of each, in the order in which they began" do
      node = start()
      assert ask(node, :sessions) == {:ok, []}
      assert count(node, :a) == {:ok, 1}
      assert count(node, "b") == {:ok, 1}
      assert count(node, :a) == {:ok, 2}
      assert [%{id: :a, calls: 2} = a, %{id: "b", calls: 1} = b] = sessions(node)
      ids = for w <- workers(node), do: w.id
      assert a.worker in ids and b.worker in ids
      assert Map.keys(a) |> Enum.sort() == [:calls, :id, :idle_ms, :worker]
      eventually(Enum.all?(sessions(node), &(&1.idle_ms > 50)))
      held = hold(node, :a, 0.3)
      assert [%{id: :a, idle_ms: 0, calls: 3}, %{id: "b"}] = sessions(node)
      assert {:ok, _} = answer(held)
      assert GenServer.call({:krait, node.name}, :sessions) |> elem(0) == :ok
    end

    test "spread over the workers" do
      node = start(size: 4)
      for i <- 1..200, do: assert(count(node, i) == {:ok, 1})
      assert for(w <- workers(node), do: w.sessions) == [50, 50, 50, 50]
      for i <- 1..200, do: assert(count(node, i) == {:ok, 2})
    end
  end

  describe "bad input" do
    test "names that are too long, or have no form in Python" do
      node = start(max_depth: 20)
      long = String.duplicate("x", 1_020)
      assert {:error, {:bad_option, :session, text}} = count(node, long)
      assert text =~ "1024 bytes"
      assert {:error, {:bad_option, :session, _}} = count(node, :binary.copy("x", 8_000_000))
      assert {:error, {:bad_request, text}} = ask(node, {:checkout, {:session, long}})
      assert text =~ "1024 bytes"
      assert {:error, {:bad_request, _}} = ask(node, {:end_session, long})

      improper = {:error, {:unencodable, "session", :improper_list}}
      assert count(node, [1 | 2]) == improper
      assert ask(node, {:checkout, {:session, [1 | 2]}}) == improper
      assert ask(node, {:end_session, [1 | 2]}) == improper
      assert {:error, {:unencodable, "session[1]" <> _, _}} = count(node, {1, %{1 => 1, 1.0 => 2}})
      deep = Enum.reduce(1..30, [], fn _, inner -> [inner] end)
      assert count(node, deep) == {:error, {:too_deep, 20}}
      assert ask(node, {:end_session, deep}) == {:error, {:too_deep, 20}}
      assert sessions(node) == []
      assert balanced?(totals(node))
    end

    test "options that do not fit" do
      node = start()
      call = &ask(node, {:call, "krait_counting", "count", [], &1})
      assert {:error, {:bad_option, :session_mode, _}} = call.(session: :s, session_mode: :loose)
      assert {:error, {:bad_option, :session, _}} = call.([{:session, :a}, {:session, :b}])

      assert {:error, {:bad_option, :session, _}} =
               ask(node, {:checkout, {:session, 1}, session: 2})

      {:ok, lease} = ask(node, {:checkout, {:session, :s}})
      assert {:error, {:bad_option, :session, text}} = count(lease, :s)
      assert text =~ "lease"
      assert {:error, {:bad_option, :session, _}} = count(lease, :t, owner: self())
      assert ask(lease, :checkin) == :ok

      assert {:error, {:no_session, 1}} = ask({:krait, node.name}, {:end_session, 1})
    end

    test "sessions where there are none" do
      node = start(max_sessions: 0)
      assert {:error, {:bad_option, :session, text}} = count(node, :s)
      assert text =~ "max_sessions"
      assert {:error, {:bad_option, :session, _}} = ask(node, {:checkout, {:session, :s}})
      assert ask(node, {:end_session, :s}) == {:error, {:no_session, :s}}
      assert py(node, "1") == {:ok, 1}
    end
  end

  describe "callers that are gone" do
    test "leave no session that never ran, and keep one that did" do
      node = start(size: 1)
      held = hold(node, :s, 0.4)
      caller = caller(:gone, node, {:call, "krait_counting", "count", [], [session: :t]})
      await_queued(node, 1)
      assert known?(node, :t)
      kill(caller)
      eventually(not known?(node, :t))
      assert answer(held) == {:ok, 1}
      caller = caller(:gone, node, {:call, "krait_counting", "count", [], [session: :s]})
      ref = Process.monitor(caller)
      assert_receive {:gone, {:ok, 2}}, 5_000
      assert_receive {:DOWN, ^ref, _, _, _}, 5_000
      assert known?(node, :s)
      refute_received {:gone, _}
    end

    test "leave the session to whoever waits behind them" do
      node = start(size: 1)
      held = hold(node, :s, 0.4)
      first = caller(:first, node, {:call, "krait_counting", "count", [], [session: :t]})
      await_queued(node, 1)

      second =
        :gen_server.send_request(node.pool, {:call, "krait_counting", "count", [], [session: :t]})

      await_queued(node, 2)
      kill(first)
      assert answer(held) == {:ok, 1}
      assert answer(second) == {:ok, 1}
      await_rest(node)
    end

    test "cost the session, when abandon is kill, and not when it is interrupt" do
      node = start(size: 1, abandon: :interrupt)
      assert count(node, :s) == {:ok, 1}
      caller = caller(:gone, node, {:call, "krait_counting", "counted_after", [60], [session: :s]})
      await_running(node, 1)
      # Its state comes before its wait.
      await_begun(node)
      kill(caller)
      await_rest(node)
      assert count(node, :s) == {:ok, 3}

      node = start(size: 1)
      assert count(node, :s) == {:ok, 1}
      caller = caller(:gone, node, {:call, "krait_counting", "counted_after", [60], [session: :s]})
      await_running(node, 1)
      kill(caller)
      await_rest(node)
      assert count(node, :s) == {:error, {:session_lost, :s}}
      assert count(node, :s) == {:ok, 1}
    end
  end

  defp status(node) do
    {:ok, status} = ask(node, :status)
    status
  end
end
