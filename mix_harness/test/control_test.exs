defmodule Krait.ControlTest do
  # What operators ask of a pool while it serves: sizes, pauses, drains, workers replaced or killed, and
  # new code. Whoever calls meanwhile notices nothing, or hears what the contract says.
  use Krait.Case, async: true

  alias Krait.Gate

  # Callers that never rest until finish/1, which tells what each has heard.
  defp load(node, n \\ 6) do
    for i <- 1..n, do: Task.async(fn -> call_on(node, i, 0) end)
  end

  defp call_on(node, i, count) do
    receive do
      :finish -> {count, :well}
    after
      0 ->
        case ask(node, {:call, "operator", "add", [i * 1_000_000, count]}) do
          {:ok, sum} when sum == i * 1_000_000 + count -> call_on(node, i, count + 1)
          other -> {count, other}
        end
    end
  end

  defp finish(callers) do
    for task <- callers, do: send(task.pid, :finish)

    for {count, how} <- Task.await_many(callers, 30_000) do
      assert how == :well
      assert count > 0
    end
  end

  defp ids(node), do: for(worker <- workers(node), worker.state != :stopping, do: worker.id)

  defp new_module(dir, version) do
    name = "code_#{System.unique_integer([:positive])}"
    write(dir, name, version)
    name
  end

  # With another length each time: Python's cache goes by size and second.
  defp write(dir, name, version) do
    File.write!(Path.join(dir, name <> ".py"), """
    def version():
        return #{version}
    #{String.duplicate("#", version)}
    """)
  end

  defp with_code(dir, name, options \\ []) do
    TestNode.start_node([preload: [name], pythonpath: [dir, TestNode.faults()]] ++ options)
  end

  # The processes that workers are forked from.
  defp fork_servers(node) do
    for %{cmdline: cmdline, pid: pid} <- Proc.of_node(node.name),
        cmdline =~ "_start.py" and parent(pid) == node.os_pid,
        do: pid
  end

  defp parent(pid) do
    case File.read("/proc/#{pid}/stat") do
      {:ok, stat} ->
        stat
        |> String.split(") ")
        |> List.last()
        |> String.split()
        |> Enum.at(1)
        |> String.to_integer()

      {:error, _} ->
        nil
    end
  end

  describe "pause and resume" do
    test "while paused calls wait although workers idle, and none is lost" do
      node = start_node()
      assert ask(node, :pause) == :ok
      assert pool_status(node).state == :paused
      for i <- 1..5, do: caller(i, node, eval("#{i}"))
      caller(:lease, node, {:checkout, :anonymous})
      await_queued(node, 6)
      assert pool_status(node).idle == 2
      assert ask(node, :resume) == :ok
      for i <- 1..5, do: assert_receive({^i, {:ok, ^i}}, 5_000)
      assert_receive {:lease, {:ok, _}}, 5_000
      assert pool_status(node).state == :running
    end

    test "callers under load wait for a while" do
      node = start_node()
      callers = load(node)

      for _ <- 1..10 do
        assert ask(node, :pause) == :ok
        eventually(pool_status(node).idle == 2)
        assert ask(node, :resume) == :ok
      end

      finish(callers)
      await_rest(node)
    end

    test "leases go on, and what cannot wait hears so" do
      node = start_node()
      lease = lease!(node)
      assert ask(node, :pause) == :ok
      assert py(lease, "1 + 1") == {:ok, 2}
      assert py(node, "1", queue_timeout: 0) == {:error, {:timeout, :queue}}
      assert py(node, "1", timeout: 50) == {:error, {:timeout, :queue}}
      assert ask(lease, :checkin) == :ok
      assert ask(node, :ping) == :pong
      assert ask(node, :resume) == :ok
    end

    test "twice is as good as once, and a cast as good as a call" do
      node = start_node()
      assert ask(node, :pause) == :ok
      assert ask(node, :pause) == :ok
      GenServer.cast(node.pool, :resume)
      assert py(node, "3") == {:ok, 3}
      GenServer.cast({:krait, node.name}, :pause)
      eventually(pool_status(node).state == :paused)
    end

    test "a node that is stopped while paused ends" do
      node = start_node(stop_timeout: 10_000)
      assert ask(node, :pause) == :ok
      caller(:waits, node, eval("7"))
      await_queued(node, 1)
      assert :krait.stop(node.instance) == :ok
      assert_receive {:waits, {:ok, 7}}, 5_000
    end
  end

  describe "drain" do
    test "is answered when the last call has finished, and new requests hear draining" do
      node = start_node()
      gate = Gate.new()
      test = self()

      spawn(fn ->
        lease = lease!(node)
        send(test, {:lease, lease})
        receive do: (:back -> send(test, {:checkin, ask(lease, :checkin)}))
      end)

      assert_receive {:lease, lease}, 5_000
      caller(:call, node, eval(Gate.behind(gate, "9")))
      await_running(node, 1)
      for i <- 1..2, do: caller({:drain, i}, node, :drain)
      eventually(pool_status(node).state == :draining)
      assert py(node, "1") == {:error, :draining}
      assert ask(node, :pause) == {:error, :draining}
      Gate.open(gate)
      assert_receive {:call, {:ok, 9}}, 5_000
      refute_received {{:drain, _}, _}
      assert pool_status(node).leases == 1
      Process.exit(lease, :kill)
      for i <- 1..2, do: assert_receive({{:drain, ^i}, :ok}, 5_000)
      assert ask(node, :drain) == :ok
      assert ask({:krait, node.name}, :resume) == :ok
      assert py(node, "2") == {:ok, 2}
    end

    test "what is overtaken by a resume tells so" do
      node = start_node()
      gate = Gate.new()
      caller(:call, node, eval(Gate.behind(gate, "9")))
      await_running(node, 1)
      caller(:drain, node, :drain)
      eventually(pool_status(node).state == :draining)
      assert ask(node, :resume) == :ok
      assert_receive {:drain, {:error, :resumed}}, 5_000
      assert py(node, "1") == {:ok, 1}
      Gate.open(gate)
      assert_receive {:call, {:ok, 9}}, 5_000
    end

    test "what waits in a paused pool is finished first" do
      node = start_node()
      assert ask(node, :pause) == :ok
      caller(:call, node, eval("8"))
      await_queued(node, 1)
      assert ask(node, :drain) == :ok
      # It has been answered; its caller may still have to tell us.
      assert totals(node).ok == 1
      assert_receive {:call, {:ok, 8}}, 5_000
    end

    test "whoever gives up or dies while it lasts leaves nothing behind" do
      node = start_node()
      gate = Gate.new()
      caller(:call, node, eval(Gate.behind(gate, "9")))
      await_running(node, 1)
      {:ok, %{monitors: before}} = ask(node, :status)
      assert :krait.drain(node.pool, 20) == {:error, {:timeout, :call}}
      dead = caller(:dead, node, :drain)
      eventually(elem(ask(node, :status), 1).monitors > before)
      kill(dead)
      eventually(elem(ask(node, :status), 1).monitors == before)
      Gate.open(gate)
      assert_receive {:call, {:ok, 9}}, 5_000
      assert :krait.resume(node.pool) == :ok
    end

    test "a node that is told to stop is not resumed" do
      node = start_node(stop_timeout: 10_000, lines: true)
      gate = Gate.new()
      caller(:call, node, eval(Gate.behind(gate, "9")))
      await_running(node, 1)
      caller(:drain, node, :drain)
      eventually(pool_status(node).state == :draining)
      signal(node.os_pid, "TERM")
      assert_receive {:krait_line, _, :info, "node", "stopping: SIGTERM"}, 5_000
      assert ask(node, :resume) == {:error, :draining}
      assert ask(node, :reload) == {:error, :draining}
      Gate.open(gate)
      assert_receive {:call, {:ok, 9}}, 5_000
      assert_receive {:drain, :ok}, 5_000
      expect_exit(node, [0])
    end
  end

  describe "stop" do
    # A reset would overtake the answer.
    test "is answered, however much its caller's BEAM still says" do
      for _ <- 1..4 do
        node = start_node(size: 1)
        expect_exit(node, [0])
        talkers = for _ <- 1..4, do: spawn(fn -> talk(node.pool) end)
        assert Krait.drain(node.pool) == :ok
        assert Krait.stop({:krait, node.name}) == :ok
        Enum.each(talkers, &kill/1)
      end
    end

    defp talk(pool) do
      GenServer.cast(pool, :nothing)

      receive do
      after
        0 -> talk(pool)
      end
    end
  end

  describe "resize" do
    test "under load a pool grows and shrinks, and no call is lost" do
      node = start_node(size: 3)
      callers = load(node)

      for size <- [1, 6, 2, 5, 1, 4] do
        assert ask(node, {:resize, size}) == :ok
        assert ask(node, :await_ready) == :ok
        eventually(match?(%{ready: ^size, size: ^size}, pool_status(node)))
      end

      finish(callers)
      await_rest(node)
    end

    test "shrinking cuts no call" do
      node = start_node(size: 3)
      gate = Gate.new()
      for i <- 1..3, do: caller(i, node, eval(Gate.behind(gate, i)))
      await_running(node, 3)
      assert ask(node, {:resize, 1}) == :ok
      Gate.open(gate)
      for i <- 1..3, do: assert_receive({^i, {:ok, ^i}}, 5_000)
      await_rest(node)
    end

    test "its bounds are those of the option" do
      node = start_node()

      for n <- [0, -1, 1025, :many, "4", 1.0, nil, 2 ** 70] do
        expected = "{resize, N} or {resize, {Min, Max}}, from 1 to 1024"
        assert ask(node, {:resize, n}) == {:error, {:bad_request, expected}}
      end

      assert {:error, {:bad_request, _}} = ask(node, :resize)
      assert pool_status(node).size == 2
      assert {:error, %Error{kind: :bad_request}} = Krait.resize(node.instance, 0)
    end

    test "whoever waits for all workers waits for those that there are to be by then" do
      node = start_node(size: 4, preload: ["slow_import"], await_ready: false)

      for {name, request} <- [all: :await_ready, three: {:await_ready, 3}] do
        caller(name, node, request)
      end

      eventually(elem(ask(node, :status), 1).monitors >= 2)
      assert ask({:krait, node.name}, {:resize, 1}) == :ok
      assert_receive {:all, :ok}, 10_000
      assert_receive {:three, :ok}, 10_000
      await_rest(node)
    end
  end

  describe "recycle" do
    test "under load all workers are replaced, and no call is lost" do
      node = start_node(size: 3)
      before = os_pids(node)
      callers = load(node)
      for id <- ids(node), do: assert(ask(node, {:recycle, id}) == :ok)
      eventually(Enum.all?(os_pids(node), &(&1 not in before)) and length(os_pids(node)) == 3)
      finish(callers)
      await_rest(node)
      assert pool_status(node).recycling == 0
    end

    test "a busy worker ends its call, and takes no other" do
      node = start_node(size: 1)
      [id] = ids(node)
      gate = Gate.new()
      caller(:long, node, eval(Gate.behind(gate, "'old'")))
      await_running(node, 1)
      assert ask(node, {:recycle, id}) == :ok
      {:ok, new} = py(node, "__import__('os').getpid()")
      assert [%{retiring: true, os_pid: old}] = Enum.filter(workers(node), &(&1.id == id))
      assert new != old
      assert %{recycling: 1} = pool_status(node)
      Gate.open(gate)
      assert_receive {:long, {:ok, "old"}}, 5_000
      eventually(os_pids(node) == [new])
    end

    test "the sessions that live in it are lost, after their hooks ran" do
      node = start_node(size: 1, preload: ["krait_sessions"], lines: true)
      assert ask(node, {:call, "krait_sessions", "incr", [], [session: "s"]}) == {:ok, 1}
      assert ask(node, {:recycle, hd(ids(node))}) == :ok
      assert_receive {:krait_line, _, :info, _, "stdout: end s 1"}, 5_000

      eventually(
        ask(node, {:call, "krait_sessions", "incr", [], [session: "s"]}) ==
          {:error, {:session_lost, "s"}}
      )

      assert ask(node, {:call, "krait_sessions", "incr", [], [session: "s"]}) == {:ok, 1}
    end

    test "a worker that does not exist is named" do
      node = start_node()

      for verb <- [:recycle, :kill] do
        assert ask(node, {verb, 4711}) == {:error, {:no_worker, 4711}}
        assert ask(node, {verb, 0}) == {:error, {:no_worker, 0}}

        for id <- [-1, :one, "1", nil, 2 ** 64] do
          assert {:error, {:bad_request, text}} = ask(node, {verb, id})
          assert text =~ "{#{verb}, Worker}"
        end
      end

      assert {:error, %Error{reason: {:no_worker, 4711}}} = Krait.kill(node.instance, 4711)
    end
  end

  describe "kill" do
    test "costs the worker's call, and nobody else's" do
      node = start_node(lines: true)
      caller(:victim, node, eval("print('begun', flush=True) or " <> sleep(10)))
      # one that its worker had not even read would run on another
      assert_receive {:krait_line, _, :info, _, "call " <> _}, 5_000
      [%{id: id}] = Enum.filter(workers(node), &(&1.state == :busy))
      gate = Gate.new()
      caller(:other, node, eval(Gate.behind(gate, "1")))
      await_running(node, 2)
      assert ask({:krait, node.name}, {:kill, id}) == :ok
      assert_receive {:victim, {:error, {:worker_exit, map}}}, 5_000
      assert %{worker: ^id, exit: {:killed, :by_request}} = map
      Gate.open(gate)
      assert_receive {:other, {:ok, 1}}, 5_000
      await_rest(node)
      assert %{start_failures: 0} = totals(node)
    end

    test "a call that may run twice runs again" do
      node = start_node(size: 1, lines: true)
      gate = Gate.new()
      pid = Gate.behind(gate, "__import__('os').getpid()")
      caller(:again, node, eval("print('begun', flush=True) or " <> pid, retry: 1))
      assert_receive {:krait_line, _, :info, _, "call " <> _}, 5_000
      [%{id: id, os_pid: old}] = workers(node)
      assert ask(node, {:kill, id}) == :ok
      Gate.open(gate)
      assert_receive {:again, {:ok, new}}, 5_000
      assert new != old
    end

    test "under load, callers who retry notice nothing" do
      node = start_node(size: 3)

      callers =
        for i <- 1..4 do
          Task.async(fn ->
            for n <- 1..100,
                do: {:ok, ^n} = ask(node, {:call, "operator", "add", [n, 0], [retry: 50]})

            i
          end)
        end

      for _ <- 1..10, id <- Enum.take(ids(node), 1), do: ask(node, {:kill, id})
      assert Task.await_many(callers, 30_000) == [1, 2, 3, 4]
      await_rest(node)
    end
  end

  describe "reload" do
    setup do
      dir =
        Path.join(
          System.tmp_dir!(),
          "krait_code_#{System.pid()}_#{System.unique_integer([:positive])}"
        )

      File.mkdir_p!(dir)
      on_exit(fn -> File.rm_rf!(dir) end)
      {:ok, dir: dir}
    end

    test "under load the new code takes over, in new workers, and no call is lost", %{dir: dir} do
      name = new_module(dir, 1)
      node = with_code(dir, name, size: 3)
      before = os_pids(node)
      [old_server] = fork_servers(node)
      assert ask(node, {:call, name, "version", []}) == {:ok, 1}
      callers = load(node)

      for version <- 2..4 do
        write(dir, name, version)
        assert ask(node, :reload) == :ok
        eventually(pool_status(node).recycling == 0)
        assert ask(node, {:call, name, "version", []}) == {:ok, version}
      end

      finish(callers)
      await_rest(node)
      assert length(os_pids(node)) == 3
      assert Enum.all?(os_pids(node), &(&1 not in before))
      eventually(length(fork_servers(node)) == 1)
      assert old_server not in fork_servers(node)
    end

    test "a call that runs meanwhile ends on the old code, whose server stays for it", %{
      dir: dir
    } do
      name = new_module(dir, 1)
      node = with_code(dir, name, size: 1)
      lease = lease!(node)
      [old] = fork_servers(node)
      write(dir, name, 2)
      assert ask(node, :reload) == :ok
      assert ask(node, {:call, name, "version", []}) == {:ok, 2}
      assert ask(lease, {:call, name, "version", []}) == {:ok, 1}
      assert old in fork_servers(node) and length(fork_servers(node)) == 2
      assert ask(lease, :checkin) == :ok
      eventually(fork_servers(node) != [] and old not in fork_servers(node))
      assert ask(node, {:call, name, "version", []}) == {:ok, 2}
    end

    test "code that does not load is refused, and the old one goes on", %{dir: dir} do
      name = new_module(dir, 1)
      node = with_code(dir, name)
      before = os_pids(node)
      callers = load(node)
      File.write!(Path.join(dir, name <> ".py"), "raise ValueError('not today')\n")
      assert {:error, {:start_failed, detail}} = ask(node, :reload)
      assert detail =~ "not today"
      assert pool_status(node).last_error =~ "not today"
      assert {:error, %Error{kind: :start_failed}} = Krait.reload(node.instance)
      finish(callers)
      assert os_pids(node) == before
      assert pool_status(node).breaker == :closed
      assert ask(node, {:call, name, "version", []}) == {:ok, 1}
      kill_and_await(node)
      assert ask(node, {:call, name, "version", []}) == {:ok, 1}
      eventually(length(fork_servers(node)) == 1)
    end

    test "a preload that hangs is given up after start_timeout", %{dir: dir} do
      name = new_module(dir, 1)
      node = with_code(dir, name)
      before = os_pids(node)
      assert {:ok, {was, 1_500}} = ask(node, {:set, :start_timeout, 1_500})
      File.write!(Path.join(dir, name <> ".py"), "import time\ntime.sleep(60)\n")
      first = :gen_server.send_request(node.pool, :reload)
      assert ask(node, :reload) == {:error, {:bad_request, "one reload at a time"}}
      {:reply, {:error, {:start_failed, detail}}} = :gen_server.wait_response(first, 10_000)
      assert detail =~ "start_timeout"
      assert os_pids(node) == before
      assert {:ok, {1_500, ^was}} = ask(node, {:set, :start_timeout, was})
      write(dir, name, 2)
      assert ask(node, :reload) == :ok
      eventually(ask(node, {:call, name, "version", []}) == {:ok, 2})
    end

    test "whoever asked for it may die meanwhile", %{dir: dir} do
      name = new_module(dir, 1)
      node = with_code(dir, name)

      loaded = Gate.new()

      File.write!(Path.join(dir, name <> ".py"), """
      #{Gate.behind(loaded, "1")}
      def version():
          return 2
      """)

      dead = caller(:dead, node, :reload)
      eventually(length(fork_servers(node)) == 2)
      kill(dead)
      Gate.open(loaded)
      eventually(ask(node, {:call, name, "version", []}) == {:ok, 2})
      write(dir, name, 3)
      GenServer.cast(node.pool, :reload)
      eventually(ask(node, {:call, name, "version", []}) == {:ok, 3})
    end

    test "mends a pool that could not start, at once", %{dir: dir} do
      name = new_module(dir, 1)
      path = Path.join(dir, name <> ".py")
      File.write!(path, "raise ValueError('not yet')\n")
      node = with_code(dir, name, await_ready: false, backoff_base: 60_000, backoff_max: 600_000)
      eventually(pool_status(node).last_error not in [nil, ""])
      write(dir, name, 2)
      assert ask(node, :reload) == :ok
      assert ask(node, {:call, name, "version", []}, 15_000) == {:ok, 2}
    end

    test "the fork server that dies during a reload is replaced by the new one", %{dir: dir} do
      name = new_module(dir, 1)
      node = with_code(dir, name)
      [old] = fork_servers(node)

      loaded = Gate.new()

      File.write!(Path.join(dir, name <> ".py"), """
      #{Gate.behind(loaded, "1")}
      def version():
          return 2
      """)

      caller(:reload, node, :reload)
      eventually(length(fork_servers(node)) == 2)
      signal(old, "KILL")
      Gate.open(loaded)
      assert_receive {:reload, :ok}, 10_000
      assert ask(node, {:call, name, "version", []}) == {:ok, 2}
      eventually(length(fork_servers(node)) == 1)
      await_rest(node)
    end

    test "a preload that is done when the node is about to stop comes too late", %{dir: dir} do
      name = new_module(dir, 1)
      node = with_code(dir, name, stop_timeout: 10_000, lines: true)
      [gate, loaded] = [Gate.new(), Gate.new()]
      caller(:call, node, eval(Gate.behind(gate, "9")))
      await_running(node, 1)

      File.write!(Path.join(dir, name <> ".py"), """
      #{Gate.behind(loaded, "1")}
      """)

      caller(:reload, node, :reload)
      eventually(length(fork_servers(node)) == 2)
      signal(node.os_pid, "TERM")
      assert_receive {:krait_line, _, :info, "node", "stopping: SIGTERM"}, 5_000
      Gate.open(loaded)
      assert_receive {:reload, {:error, :draining}}, 5_000
      Gate.open(gate)
      assert_receive {:call, {:ok, 9}}, 5_000
    end

    test "a node may be stopped in the midst of it", %{dir: dir} do
      name = new_module(dir, 1)
      node = with_code(dir, name)
      File.write!(Path.join(dir, name <> ".py"), "import time\ntime.sleep(60)\n")
      caller(:reload, node, :reload)
      eventually(length(fork_servers(node)) == 2)
      assert :krait.stop(node.instance) == :ok
      assert_receive {:reload, {:error, :draining}}, 10_000
    end
  end

  defp kill_and_await(node) do
    for id <- ids(node), do: assert(ask(node, {:kill, id}) == :ok)
    await_rest(node)
  end
end
