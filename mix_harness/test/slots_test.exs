defmodule Krait.SlotsTest do
  # A worker of several slots holds several calls at once: threads, and coroutines on its loop.
  use Krait.Case, async: true

  @slots "krait_together"

  # Sends a call of krait_together; its answer comes with answer/1.
  defp send_call(to, function, args, options \\ []) do
    address = if is_struct(to), do: to.pool, else: to
    :gen_server.send_request(address, {:call, @slots, function, args, options})
  end

  defp answer(request_id) do
    {:reply, answer} = :gen_server.wait_response(request_id, 20_000)
    answer
  end

  defp call(to, function, args \\ [], options \\ []) do
    ask(to, {:call, @slots, function, args, options})
  end

  defp await_line(node, text), do: eventually(Enum.any?(lines(node), &(elem(&1, 2) =~ text)))

  describe "a worker of four slots" do
    test "holds four calls at once, each on a thread of its own" do
      node = start_node(size: 1, slots: 4)
      ids = for _ <- 1..4, do: send_call(node, "meet", ["a", 4])
      answers = for id <- ids, {:ok, answer} = answer(id), do: answer
      assert [[pid], threads] = answers |> Enum.unzip() |> Tuple.to_list() |> Enum.map(&Enum.uniq/1)
      assert length(threads) == 4
      assert [pid] == os_pids(node)
      await_rest(node)
    end

    test "holds four coroutines at once, all on its loop" do
      node = start_node(size: 1, slots: 4)
      ids = for _ <- 1..4, do: send_call(node, "meet_async", ["a", 4])
      answers = for id <- ids, {:ok, answer} = answer(id), do: answer
      assert [_] = Enum.uniq(answers)
      await_rest(node)
    end

    test "takes a fifth when one comes free, and not before" do
      node = start_node(size: 1, slots: 4)
      ids = for i <- 1..4, do: send_call(node, "spin", ["s#{i}"], timeout: 2_000 + i)
      await_running(node, 4)
      fifth = send_call(node, "meet", ["b", 1])
      await_queued(node, 1)
      assert %{busy: 4, queued: 1, size: 1, ready: 1, slots: 4} = pool_status(node)
      assert {:ok, _} = answer(fifth)
      for id <- ids, do: assert(answer(id) == {:error, {:timeout, :call}})
      await_rest(node)
    end

    test "is one worker to those who wait for it and ask for it" do
      node = start_node(size: 2, slots: 3)
      assert ask(node, {:await_ready, 2}) == :ok
      assert {:error, {:bad_request, _}} = ask(node, {:await_ready, 3})
      assert %{size: 2, ready: 2, slots: 3, starting: 0, busy: 0} = pool_status(node)
      assert length(workers(node)) == 2

      ids = for i <- 1..5, do: send_call(node, "spin", ["s#{i}"], timeout: 3_000)
      await_running(node, 5)
      assert %{busy: 5, ready: 2} = pool_status(node)

      for worker <- workers(node) do
        assert worker.state == :busy
        assert length(worker.calls_running) in 2..3
        assert worker.call == {@slots, "spin"}
        assert worker.caller == self()

        for call <- worker.calls_running do
          assert %{call: {@slots, "spin"}, caller: caller, since_ms: ms} = call
          assert caller == self() and ms in 0..5_000
        end
      end

      for id <- ids, do: assert(answer(id) == {:error, {:timeout, :call}})
      await_rest(node)
      assert Enum.all?(workers(node), &(&1.calls_running == [] and &1.state == :idle))
      assert Enum.all?(workers(node), &(&1.gil == true))
    end
  end

  test "free-threaded Python is seen and said, once" do
    node = start_node(size: 2, preload: ["krait_no_gil"])
    assert for(w <- workers(node), do: w.gil) == [false, false]
    assert [_] = for({:info, _, text} <- lines(node), text =~ "free-threaded", do: text)
    node = start_node(size: 1)
    assert [%{gil: true}] = workers(node)
    assert [] = for({_, _, text} <- lines(node), text =~ "free-threaded", do: text)
  end

  describe "one call of several" do
    test "that runs out of time is ended alone: the others never know" do
      node = start_node(size: 1, slots: 4)
      [pid] = os_pids(node)
      others = [send_call(node, "meet", ["m", 3]), send_call(node, "meet", ["m", 3])]
      await_running(node, 2)
      # Time enough to begin.
      assert call(node, "spin", ["thread"], timeout: 1_500) == {:error, {:timeout, :call}}
      assert call(node, "wait", ["task"], timeout: 1_500) == {:error, {:timeout, :call}}
      eventually(call(node, "how_ended") == {:ok, ["task CancelledError", "thread Interrupted"]})
      assert {:ok, {^pid, _}} = call(node, "meet", ["m", 3])
      for id <- others, do: assert({:ok, {^pid, _}} = answer(id))
      await_rest(node)
      assert os_pids(node) == [pid]
    end

    test "whose caller is gone is ended alone" do
      node = start_node(size: 1, slots: 3)
      [pid] = os_pids(node)
      spin = caller(:spin, node, {:call, @slots, "spin", ["thread"], []})
      wait = caller(:wait, node, {:call, @slots, "wait", ["task"], []})
      other = send_call(node, "meet", ["m", 2])
      await_running(node, 3)
      # One that has not begun would never have been.
      await_line(node, "begun thread")
      await_line(node, "begun task")
      kill(spin)
      kill(wait)
      await_running(node, 1)
      eventually(call(node, "how_ended") == {:ok, ["task CancelledError", "thread Interrupted"]})
      assert {:ok, _} = call(node, "meet", ["m", 2])
      assert {:ok, _} = answer(other)
      await_rest(node)
      assert os_pids(node) == [pid]
    end

    test "that cannot be ended costs the worker, and all hear it" do
      node = start_node(size: 1, slots: 3, interrupt_grace: 300)
      [pid] = os_pids(node)
      other = send_call(node, "spin", ["other"])
      task = send_call(node, "wait", ["task"])
      await_running(node, 2)
      await_line(node, "begun other")
      await_line(node, "begun task")
      # Time enough to come to where no exception reaches it.
      assert call(node, "stuck", [60], timeout: 1_500) == {:error, {:timeout, :call}}
      for id <- [other, task], do: assert({:error, {:worker_exit, %{}}} = answer(id))
      await_rest(node)
      refute pid in os_pids(node)
    end

    test "is left to end by itself, if the pool says finish" do
      node = start_node(size: 1, slots: 2, abandon: :finish)
      assert call(node, "stuck", [2], timeout: 100) == {:error, {:timeout, :call}}
      # Its slot is still taken.
      assert %{busy: 1} = pool_status(node)
      assert {:ok, _} = call(node, "meet", ["m", 1])
      await_rest(node)
    end

    test "that kills the worker takes all along: each hears worker_exit" do
      node = start_node(size: 2, slots: 8)
      ids = for i <- 1..14, do: send_call(node, "wait", ["w#{i}"])
      await_running(node, 14)
      assert {:error, {:worker_exit, %{worker: worker, exit: {:exit, 9}}}} = call(node, "crash")
      eventually(totals(node).worker_exit == 8)
      # Its word comes after those.
      assert ask(node, :ping) == :pong
      answers = for id <- ids, do: {id, :gen_server.wait_response(id, 0)}
      {dead, living} = Enum.split_with(answers, &match?({_, {:reply, _}}, &1))

      for {_, {:reply, answer}} <- dead,
          do: assert({:error, {:worker_exit, %{worker: ^worker, exit: {:exit, 9}}}} = answer)

      assert length(dead) == 7 and length(living) == 7
      assert %{worker_exit: 8} = totals(node)
    end

    test "is not run again when its worker has died with a word unread that was for another" do
      node = start_node(size: 1, slots: 2, interrupt_grace: 60_000)
      [pid] = os_pids(node)
      other = send_call(node, "wait", ["other"], timeout: 3_000)
      last = send_call(node, "wait", ["last"])
      await_line(node, "begun other")
      await_line(node, "begun last")
      signal(pid, "STOP")
      # It is told to stop that one, and does not read it.
      assert answer(other) == {:error, {:timeout, :call}}
      signal(pid, "KILL")
      assert {:error, {:worker_exit, %{exit: {:signal, :sigkill}}}} = answer(last)
      await_rest(node)
    end

    test "fails alone, and the next takes its slot" do
      node = start_node(size: 1, slots: 2)
      other = send_call(node, "meet", ["m", 2])
      await_running(node, 1)
      for _ <- 1..20, do: assert({:error, {:python, _}} = py(node, "1 / 0"))
      assert {:ok, _} = call(node, "meet", ["m", 2])
      assert {:ok, _} = answer(other)
      await_rest(node)
    end
  end

  describe "abandon" do
    test "kill is refused at the start, with the reason" do
      {:error, error} =
        Krait.start_link(name: unique_name(), slots: 2, abandon: :kill, python: python())

      text = Exception.message(error)
      assert text =~ "--abandon" and text =~ "other calls"
    end
  end

  describe "lines" do
    test "belong to a call when it is the only one, and to the worker else" do
      node = start_node(size: 1, slots: 2)
      assert call(node, "say", ["alone"]) == {:ok, nil}
      await_line(node, ~r/^call \d+ stdout: alone/)
      other = send_call(node, "meet", ["m", 2])
      await_running(node, 1)
      assert call(node, "say", ["together"]) == {:ok, nil}
      await_line(node, ~r/^stdout: together/)
      assert {:ok, _} = call(node, "meet", ["m", 2])
      assert {:ok, _} = answer(other)
    end
  end

  describe "leases and sessions" do
    test "a lease is one slot: others are served beside it" do
      node = start_node(size: 1, slots: 2)
      lease = lease!(node)
      assert %{leased: 1, busy: 0} = pool_status(node)
      mine = send_call(lease, "meet", ["m", 2])
      assert {:ok, _} = call(node, "meet", ["m", 2])
      assert {:ok, _} = answer(mine)
      second = lease!(node)
      assert py(node, "1", queue_timeout: 20) == {:error, {:timeout, :queue}}
      assert ask(second, :checkin) == :ok
      assert py(node, "1") == {:ok, 1}
      assert ask(lease, :checkin) == :ok
      await_rest(node)
    end

    test "two leases on one worker both end with it" do
      node = start_node(size: 1, slots: 2)
      leases = [lease!(node), lease!(node)]
      refs = for lease <- leases, do: Process.monitor(lease)
      assert ask(node, :ping) == :pong
      assert {:error, {:worker_exit, _}} = call(hd(leases), "crash")

      for ref <- refs,
          do: assert_receive({:DOWN, ^ref, _, _, {:worker_exit, %{exit: {:exit, 9}}}}, 5_000)

      await_rest(node)
    end

    test "calls of one session run beside each other in its worker, and nowhere else" do
      node = start_node(size: 2, slots: 2)
      ids = for _ <- 1..2, do: send_call(node, "meet", ["m", 2], session: :s)
      assert [{:ok, {pid, _}}, {:ok, {pid, _}}] = Enum.map(ids, &answer/1)
      for _ <- 1..10, do: assert({:ok, _} = call(node, "add", [1], session: :s))
      assert call(node, "add", [1], session: :s) == {:ok, 11}
      held = for i <- 1..2, do: send_call(node, "spin", ["s#{i}"], session: :s, timeout: 2_000)
      await_running(node, 2)

      assert call(node, "add", [1], session: :s, session_mode: :fail_fast) ==
               {:error, {:session_busy, :s}}

      assert call(node, "add", [1], session: :s) == {:ok, 12}
      for id <- held, do: assert(answer(id) == {:error, {:timeout, :call}})
      await_rest(node)
    end

    test "a session is ended while other calls of its worker go on" do
      node = start_node(size: 1, slots: 2)
      other = send_call(node, "meet", ["m", 2])
      await_running(node, 1)
      assert call(node, "add", [5], session: :s) == {:ok, 5}
      assert ask(node, {:end_session, :s}) == :ok
      assert call(node, "add", [1], session: :s) == {:ok, 1}
      assert {:ok, _} = call(node, "meet", ["m", 2])
      assert {:ok, _} = answer(other)
      await_rest(node)
    end
  end

  test "thousands of calls through few slots: each has its own answer, and its own id" do
    node = start_node(size: 2, slots: 16)
    ids = for i <- 1..2_000, do: {i, :gen_server.send_request(node.pool, eval("#{i}"))}
    for {i, id} <- ids, do: assert(answer(id) == {:ok, i})
    ids = for _ <- 1..500, do: send_call(node, "call_id", [])
    answers = for id <- ids, {:ok, call_id} = answer(id), do: call_id
    assert Enum.all?(answers, &is_integer/1)
    assert length(Enum.uniq(answers)) == 500
    await_rest(node)
  end
end
