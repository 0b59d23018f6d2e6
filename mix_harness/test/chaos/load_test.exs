defmodule Krait.ChaosLoadTest do
  # Too much of everything: callers, output, bytes.
  use Krait.Case, async: true

  import Krait.Chaos

  alias Krait.{Gate, LightPeer}

  # Time limits stand only where the issue names them, and on the fastest quarter: the machine may be busy
  # elsewhere, and a node that is late because of the storm is late for nearly all.
  @shed_ms 10
  @status_ms 50

  @callers 50_000
  @senders 25
  @turns 100
  @limit 1_000

  # 50,000 requests within a second, by 25 processes in turns of 10 ms: as many processes would cost this
  # BEAM more than the node, which sees no difference (each request has its own monitor and alias).
  # Whoever is admitted is answered; returns the tally.
  defp send_storm(node, started) do
    ids =
      for turn <- 0..(@turns - 1), n <- 1..div(@callers, @senders * @turns) do
        if n == 1, do: wait_until(started + turn * div(1_000, @turns))
        :gen_server.send_request(node.pool, eval("'served'"))
      end

    Enum.frequencies_by(ids, fn id ->
      case :gen_server.wait_response(id, 40_000) do
        {:reply, {:ok, "served"}} -> :served
        {:reply, {:error, {:overloaded, %{limit: @limit}}}} -> :overloaded
        other -> other
      end
    end)
  end

  # Not for something to happen: the storm is to take a second.
  defp wait_until(ms) do
    receive do
    after
      max(0, ms - System.monotonic_time(:millisecond)) -> :ok
    end
  end

  # On a connection of its own, so that it is the node's time that is measured, not the storm's socket.
  # The times of all requests until told to stop.
  defp probe(node, request) do
    Task.async(fn ->
      {:ok, peer} = LightPeer.connect(node.name)
      samples = probe_on(peer, request, [])
      LightPeer.close(peer)
      samples
    end)
  end

  defp probe_on(peer, request, samples) do
    receive do
      :enough -> samples
    after
      2 ->
        {us, {:ok, answer}} = :timer.tc(fn -> LightPeer.ask(peer, :default, request) end)
        probe_on(peer, request, [{us / 1000, answer} | samples])
    end
  end

  defp stop_probe(task) do
    send(task.pid, :enough)
    Task.await(task, 20_000)
  end

  test "50,000 callers in a second, 4 workers: shed ones hear it at once, status answers, memory is bounded" do
    node = start_node(size: 4, queue_limit: @limit)
    before = before(node)
    # What the workers do takes all of the storm and longer; no worker comes free for it.
    gate = Gate.new()
    held = eval(Gate.behind(gate, "'held'"))
    blocking = for _ <- 1..4, do: :gen_server.send_request(node.pool, held)
    await_running(node, 4)
    # Behind these nobody waits.
    waiting = for _ <- 1..@limit, do: :gen_server.send_request(node.pool, eval("'patient'"))
    await_queued(node, @limit)

    memory = rss(node.os_pid)
    status = probe(node, :status)
    shed = probe(node, eval("'shed'"))
    started = System.monotonic_time(:millisecond) + 20
    senders = for _ <- 1..@senders, do: Task.async(fn -> send_storm(node, started) end)
    tallies = Task.await_many(senders, 50_000)
    status_times = stop_probe(status)
    shed_times = stop_probe(shed)
    Gate.open(gate)
    # 1,000 small requests that wait, and what 50,000 answers need on their way out.
    assert_memory_bounded(node, memory)

    answers = Enum.reduce(tallies, %{}, &Map.merge(&1, &2, fn _, a, b -> a + b end))
    assert Enum.sum(Map.values(answers)) == @callers
    assert Map.keys(answers) -- [:served, :overloaded] == []
    assert answers.overloaded > div(@callers, 2)

    refused = for {ms, {:error, {:overloaded, _}}} <- shed_times, do: ms
    assert length(refused) > 20
    assert quarter(refused) <= @shed_ms
    assert Enum.all?(status_times, &match?({_, {:ok, _}}, &1))
    assert quarter(for {ms, _} <- status_times, do: ms) <= @status_ms

    for id <- blocking,
        do: assert(:gen_server.wait_response(id, 10_000) == {:reply, {:ok, "held"}})

    for id <- waiting,
        do: assert(:gen_server.wait_response(id, 10_000) == {:reply, {:ok, "patient"}})

    assert_unharmed(node, before)
  end

  test "a storm of requests with 100 kB each is bounded by bytes" do
    node = start_node(size: 1, queue_bytes: 10_000_000)
    before = before(node)
    lease = lease!(node)
    memory = rss(node.os_pid)
    payload = String.duplicate("x", 100_000)
    request = {:call, :builtins, :len, [payload]}
    ids = for _ <- 1..1_000, do: :gen_server.send_request(node.pool, request)
    eventually(totals(node).overloaded >= 900)
    assert_memory_bounded(node, memory)
    assert ask(lease, :checkin) == :ok

    tally =
      Enum.frequencies_by(ids, fn id ->
        case :gen_server.wait_response(id, 20_000) do
          {:reply, {:ok, 100_000}} -> :served
          {:reply, {:error, {:overloaded, _}}} -> :overloaded
        end
      end)

    assert tally.served in 50..100
    assert_unharmed(node, before)
  end

  # `worker` calls run until the request is answered; the answers to others that came meanwhile.
  defp answers_until(node, id, answers) do
    case :gen_server.wait_response(id, 0) do
      :timeout -> answers_until(node, id, [py(node, "'meanwhile'") | answers])
      {:reply, reply} -> {reply, answers}
    end
  end

  for stream <- ["stdout", "stderr"] do
    @stream stream
    test "a worker that floods #{@stream} delays nobody else's calls, and its own answer is intact" do
      node = start_node(size: 2, log_level: :info)
      before = before(node)
      memory = rss(node.os_pid)
      flood = {:call, :krait_faults, :flood, [200_000, @stream]}
      id = :gen_server.send_request(node.pool, flood)
      {reply, answers} = answers_until(node, id, [])
      assert reply == {:ok, 200_000}
      assert length(answers) > 10
      assert Enum.all?(answers, &(&1 == {:ok, "meanwhile"}))
      assert_memory_bounded(node, memory)
      assert_unharmed(node, before)
    end
  end

  test "a worker that writes one endless line without an end is as harmless" do
    node = start_node(size: 2, log_level: :warning)
    before = before(node)
    memory = rss(node.os_pid)
    endless = "[__import__('os').write(1, b'x' * 65536) for _ in range(2000)] and 'done'"
    id = :gen_server.send_request(node.pool, eval(endless))
    {reply, answers} = answers_until(node, id, [])
    assert reply == {:ok, "done"}
    assert Enum.all?(answers, &(&1 == {:ok, "meanwhile"}))
    assert_memory_bounded(node, memory)
    assert_unharmed(node, before)
  end

  test "workers that answer 16 MB each fill their pipes, and small answers pass them" do
    node = start_node(size: 3)
    before = before(node)
    size = 16_000_000

    huge =
      for _ <- 1..4, do: :gen_server.send_request(node.pool, {:call, :krait_faults, :huge, [size]})

    # The third worker, or whichever is free by then.
    for i <- 1..50, do: assert(py(node, "#{i}") == {:ok, i})

    for id <- huge do
      assert {:reply, {:ok, bytes}} = :gen_server.wait_response(id, 30_000)
      assert byte_size(bytes) == size
    end

    assert_unharmed(node, before)
  end

  test "a worker that fills its pipe with garbage is killed, and its caller hears worker_exit" do
    node = start_node(size: 2)
    before = before(node)

    for byte <- [0, 1, 0x7F, 0xC1, 0xFF] do
      endless = """
      import os, krait_faults
      channel = krait_faults.channel_fd()
      os.set_blocking(channel, True)
      while True:
          os.write(channel, bytes([#{byte}]) * 65536)
      """

      id = :gen_server.send_request(node.pool, {:call, :builtins, :exec, [endless, %{}]})
      {reply, answers} = answers_until(node, id, [])
      assert {:error, {:worker_exit, _}} = reply
      assert Enum.all?(answers, &(&1 == {:ok, "meanwhile"}))
    end

    assert_unharmed(node, before)
  end

  test "a worker that never reads costs the calls that were sent to it, and blocks nobody" do
    node = start_node(size: 2)
    before = before(node)
    lease = lease!(node)
    {:ok, os_pid} = ask(lease, {:call, :os, :getpid, []})
    signal(os_pid, "STOP")
    payload = String.duplicate("x", 20_000_000)
    request = {:call, :builtins, :len, [payload], timeout: 1_500}
    # More than any socket's buffer; the worker will not read a byte of it.
    id = :gen_server.send_request(lease, request)
    {reply, answers} = answers_until(node, id, [])
    assert reply == {:error, {:timeout, :call}}
    assert length(answers) > 10
    assert Enum.all?(answers, &(&1 == {:ok, "meanwhile"}))
    eventually(not Proc.alive?(os_pid))
    assert_unharmed(node, before)
  end
end
