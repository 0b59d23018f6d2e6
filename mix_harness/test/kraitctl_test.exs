defmodule Krait.KraitctlTest do
  # The operator's tool, verb by verb: what people see, what programs read, and what it ends with.
  use Krait.Case, async: true

  import Krait.Ctl

  alias Krait.PrivateEpmd

  @error 1
  @usage 2
  @no_node 3
  @cookie 4

  defp file(text, mode) do
    path = Path.join(System.tmp_dir!(), "cookie_#{System.unique_integer([:positive])}")
    File.write!(path, text)
    File.chmod!(path, mode)
    on_exit(fn -> File.rm!(path) end)
    path
  end

  defp worker_ids(node), do: Enum.sort(for worker <- workers(node), do: worker.id)

  describe "what there is" do
    test "status and pools" do
      node = start_node()
      {:ok, 3} = py(node, "3")
      name = Atom.to_string(node.name)

      assert [head, "", "POOL " <> _, "default  running    2/2" <> _] =
               node |> ctl!(["status"]) |> String.split("\n") |> Enum.take(4)

      assert String.starts_with?(head, name <> "  krait ")

      assert %{"node" => ^name, "pools" => %{"default" => %{"size" => 2, "totals" => %{"ok" => 1}}}} =
               json(node, ["status"])

      assert ctl!(node, ["pools"]) =~ ~r/^POOL .*\ndefault  running    2\/2/
      assert %{"default" => %{"ready" => 2}} = json(node, ["pools"])
      assert ask({:krait, node.name}, :pools) == {:ok, [:default]}
    end

    test "workers, and what each does" do
      node = start_node()
      assert py(node, "1 / 0") |> elem(0) == :error
      caller(:busy, node, eval(sleep(60)))
      await_running(node, 1)
      out = ctl!(node, ["workers"])
      assert out =~ ~r/^WORKER  POOL/
      assert out =~ "builtins.eval"
      assert out =~ ~r/ZeroDivisionError/

      assert [%{"id" => _, "os_pid" => _}, %{}] =
               workers = json(node, ["workers", "--pool", "default"])

      assert Enum.map(workers, & &1["state"]) |> Enum.sort() == ["busy", "idle"]
      assert Enum.any?(workers, &(&1["call"] == ["builtins", "eval"]))
    end

    test "requests, the oldest first" do
      node = start_node(size: 1)
      caller(:runs, node, eval(sleep(60)))
      await_running(node, 1)
      for i <- 1..3, do: caller(i, node, eval("#{i}", priority: :low))
      await_queued(node, 3)

      assert [running | queued] = requests = json(node, ["requests"])

      assert %{"state" => "running", "verb" => "call", "worker" => 1, "function" => "eval"} =
               running

      assert running["caller"] =~ ~r/^<runner_\d+@127.0.0.1\.\d+\.\d+>$/

      assert Enum.map(queued, &{&1["state"], &1["priority"], &1["worker"]}) ==
               List.duplicate({"queued", "low", nil}, 3)

      assert requests == Enum.sort_by(requests, & &1["id"])
      assert Enum.all?(requests, &(&1["age_ms"] >= 0 and &1["left_ms"] in 1..60_000))

      ids = Enum.map(requests, & &1["id"])
      assert json(node, ["requests", "2"]) |> Enum.map(& &1["id"]) == Enum.take(ids, 2)
      assert {:ok, by_beam} = ask({:krait, node.name}, :requests)
      assert Enum.map(by_beam, & &1.id) == ids
      assert {:ok, [%{state: :running, caller: caller}]} = ask(node, {:requests, 1})
      assert is_pid(caller)
      assert ctl!(node, ["requests"]) =~ ~r/queued.*call  builtins\.eval/
    end

    test "requests of no caller, of casts and of verbs that wait" do
      node = start_node(size: 1)
      {peer, _} = start_peer()
      :peer.cast(peer, GenServer, :cast, [node.pool, eval(sleep(60))])
      await_running(node, 1)
      :peer.stop(peer)
      caller(:drain, node, :drain)
      eventually(length(json(node, ["requests"])) == 2)

      assert [%{"verb" => "call", "caller" => nil}, %{"verb" => "drain", "state" => "waiting"}] =
               json(node, ["requests"])
    end

    test "peers, with what they have here" do
      node = start_node()
      _lease = lease!(node)
      me = Atom.to_string(Node.self())
      assert peers = json(node, ["peers"])

      assert %{"holdings" => 1, "role" => "admin", "user" => nil} =
               Enum.find(peers, &(&1["name"] == me))

      assert Enum.any?(peers, &(&1["name"] =~ ~r/^kraitctl_\d+_\d+@127.0.0.1$/))
      assert ctl!(node, ["peers"]) =~ ~r/#{me} +admin/
      assert {:ok, peers} = ask({:krait, node.name}, :peers)
      assert %{dialled: false, unsent_bytes: 0} = Enum.find(peers, &(&1.name == Node.self()))
    end

    test "sessions, and their end" do
      node = start_node()
      {:ok, _} = py(node, "1", session: {:user, 7})
      assert ctl!(node, ["sessions"]) =~ ~s(["user",7])
      assert [%{"id" => ["user", 7], "calls" => 1}] = json(node, ["sessions"])
      id = ~s({"$tuple":[{"$atom":"user"},7]})
      assert ctl!(node, ["end_session", id]) == "ended\n"
      eventually(json(node, ["sessions"]) == [])

      assert {@error, "", "kraitctl: there is no session [\"user\",7]\n"} =
               ctl(node, ["end_session", id])
    end

    test "a ping, of the node and of a worker" do
      node = start_node()
      assert ctl!(node, ["ping"]) == "pong\n"
      assert json(node, ["ping"]) == "pong"
      assert ctl!(node, ["ping", "worker"]) =~ ~r/^pong by a worker in [\d.]+ (us|ms)$/
      assert is_integer(json(node, ["ping", "worker"]))
    end
  end

  describe "call" do
    test "with arguments as JSON, by place and by name" do
      node = start_node()
      assert ctl!(node, ["call", "math", "sqrt", "2"]) == "1.4142135623730951\n"
      assert ctl!(node, ["call", "builtins", "str", "-1"]) == "-1\n"

      assert json(node, ["call", "builtins", "dict", "a=1", ~s(b=[true, null, "x=y"])]) == %{
               "a" => 1,
               "b" => [true, nil, "x=y"]
             }

      assert json(node, ["call", "builtins", "pow", "3", "100"]) == Integer.pow(3, 100)

      assert json(node, ["call", "builtins", "repr", ~s([{"$tuple":[1]},{"$bytes":"/w=="}])]) ==
               ~S{[(1,), b'\xff']}

      assert json(node, ["call", "builtins", "bytes", "[255]"]) == %{"$bytes" => "/w=="}
    end

    test "that raises: in words with its traceback, or as its Reason" do
      node = start_node()
      assert {@error, "", err} = ctl(node, ["call", "builtins", "eval", ~s("1/0")])
      assert err =~ ~r/^kraitctl: Traceback .*ZeroDivisionError: division by zero\n$/s

      assert %{"error" => ["python", %{"type" => "ZeroDivisionError"}]} =
               json(node, ["call", "builtins", "eval", ~s("1/0")])

      assert {@error, "", "kraitctl: there is no function math.nope\n"} =
               ctl(node, ["call", "math", "nope"])
    end

    test "whose result would move the cursor" do
      node = start_node()
      out = ctl!(node, ["call", "builtins", "chr", "27"])
      assert out == "\\x1b\n"
      assert json(node, ["call", "builtins", "chr", "27"]) == "\e"
      assert {_, raw, _} = ctl(node, ["--json", "call", "builtins", "chr", "27"])
      refute raw =~ "\e"
    end

    test "within a time" do
      node = start_node()

      assert {@error, "", "kraitctl: it ran out of time\n"} =
               ctl(node, ["--timeout", "0.2", "call", "time", "sleep", "60"])
    end

    test "on the only pool, whatever its name" do
      node = start_node(pool: :numbers)
      assert ctl!(node, ["call", "math", "sqrt", "4"]) == "2.0\n"
      assert ctl!(node, ["--pool", "numbers", "call", "math", "sqrt", "4"]) == "2.0\n"
      assert {@error, "", err} = ctl(node, ["--pool", "default", "call", "math", "sqrt", "4"])
      assert err =~ "has no pool of the name default"
    end
  end

  describe "control" do
    test "pause and resume" do
      node = start_node()
      assert ctl!(node, ["pause"]) == "paused\n"
      assert pool_status(node).state == :paused
      assert ctl!(node, ["status"]) =~ "paused"
      assert json(node, ["resume"]) == "ok"
      assert pool_status(node).state == :running
    end

    test "drain returns with the last call" do
      node = start_node()
      caller(:runs, node, eval(sleep(0.3) <> " or 5"))
      await_running(node, 1)
      assert ctl!(node, ["drain"]) == "drained\n"
      assert_received {:runs, {:ok, 5}}

      assert {@error, "", "kraitctl: the node drains: it takes no new requests\n"} =
               ctl(node, ["call", "math", "sqrt", "4"])

      assert ctl!(node, ["resume"]) == "resumed\n"
    end

    test "recycle and kill" do
      node = start_node()
      [first, second] = worker_ids(node)
      assert ctl!(node, ["recycle", "#{first}"]) == "will be replaced\n"
      eventually(first not in worker_ids(node))
      caller(:killed, node, eval(sleep(60)))
      await_running(node, 1)
      [%{id: busy}] = Enum.filter(workers(node), &(&1.state == :busy))
      assert ctl!(node, ["--pool", "default", "kill", "#{busy}"]) == "killed\n"
      assert_receive {:killed, {:error, {:worker_exit, %{exit: {:killed, :by_request}}}}}, 5_000
      assert ctl!(node, ["await_ready"]) == "ready\n"

      assert {@error, "", "kraitctl: there is no worker #{first}\n"} ==
               ctl(node, ["kill", "#{first}"])

      assert second > first
    end

    test "resize, to a number and to a range" do
      node = start_node()
      assert ctl!(node, ["resize", "3"]) == "resized\n"
      eventually(pool_status(node).ready == 3)
      assert ctl!(node, ["resize", "1..4"]) == "resized\n"
      eventually(pool_status(node).size == 1 or pool_status(node).ready <= 4)
      assert {@error, "", err} = ctl(node, ["resize", "4..1"])
      assert err =~ "{resize, {Min, Max}}"
    end

    test "reload" do
      node = start_node()
      before = worker_ids(node)
      assert ctl!(node, ["reload"]) == "reloaded\n"
      eventually(Enum.all?(worker_ids(node), &(&1 not in before)))
      assert ctl!(node, ["await_ready", "2"]) == "ready\n"
    end

    test "stop" do
      node = start_node(lines: true)
      expect_exit(node, [0])
      name = node.name
      assert ctl!(node, ["stop"]) == "stopping\n"
      assert_receive {:krait_exit, ^name, 0}, 10_000
      assert {@no_node, "", _} = ctl(node, ["ping"])
    end
  end

  describe "cancel" do
    test "ends what waits, at once" do
      node = start_node(size: 1)
      caller(:runs, node, eval(sleep(0.5) <> " or 1"))
      await_running(node, 1)
      caller(:waits, node, eval("2"))
      await_queued(node, 1)
      [_, %{"id" => id}] = json(node, ["requests"])
      assert ctl!(node, ["cancel", "#{id}"]) == "cancelled\n"
      assert_receive {:waits, {:error, :cancelled}}, 1_000
      assert_receive {:runs, {:ok, 1}}, 5_000
      assert {@error, "", "kraitctl: there is no request #{id}\n"} == ctl(node, ["cancel", "#{id}"])
      await_rest(node)
      assert totals(node).cancelled == 1
    end

    test "ends what runs, as the pool's abandon says" do
      for abandon <- [:kill, :finish] do
        node = start_node(size: 1, abandon: abandon)
        [pid] = os_pids(node)
        caller(abandon, node, eval(sleep(1)))
        await_running(node, 1)
        {:ok, [%{id: id}]} = ask(node, :requests)
        assert ask({:krait, node.name}, {:cancel, id}) == :ok
        assert_receive {^abandon, {:error, :cancelled}}, 800
        await_rest(node)
        assert pid in os_pids(node) == (abandon == :finish)
      end
    end

    test "a stream, a checkout, a verb that waits" do
      node = start_node(size: 1)
      {:ok, stream} = ask(node, {:stream, "builtins", "range", [1_000_000]})
      caller(:checkout, node, {:checkout, :anonymous})
      await_queued(node, 1)
      caller(:drain, node, :drain)
      eventually(length(elem(ask(node, :requests), 1)) == 3)
      {:ok, requests} = ask(node, :requests)

      for %{id: id, verb: verb} <- Enum.reverse(requests),
          do: assert({verb, ask(node, {:cancel, id})} == {verb, :ok})

      assert_receive {:krait_stream, ^stream, {:error, :cancelled}}, 5_000
      assert_receive {:checkout, {:error, :cancelled}}, 5_000
      assert_receive {:drain, {:error, :cancelled}}, 5_000
      assert ask(node, :resume) == :ok
      await_rest(node)
    end

    test "rpc hears it as an error" do
      node = start_node(size: 1, rpc: true)
      parent = self()
      spawn(fn -> send(parent, {:rpc, :rpc.call(node.name, :time, :sleep, [60])}) end)
      await_running(node, 1)
      {:ok, [%{id: id, module: :time, function: :sleep}]} = ask(node, :requests)
      assert ask(node, {:cancel, id}) == :ok
      assert_receive {:rpc, {:badrpc, {:EXIT, {:cancelled, _}}}}, 5_000
    end
  end

  describe "what goes wrong" do
    for {args, says} <- [
          {[], "expected a verb"},
          {["nonsense"], "unknown verb nonsense"},
          {["kill"], "expected: kraitctl kill WORKER"},
          {["call", "math", "sqrt", "two"], "expected JSON"},
          {["--node", "nobody", "status"], "expected name@host"}
        ] do
      test "`kraitctl #{Enum.join(args, " ")}` ends with 2" do
        assert {@usage, "", "kraitctl: " <> err} = ctl(nil, unquote(args))
        assert err =~ unquote(says)
      end
    end

    test "a node that is not there" do
      name = unique_name()
      assert {@no_node, "", err} = ctl(%TestNode{name: name}, ["status"])
      assert err == "kraitctl: #{name} is not there: no node of that name is registered there\n"
      assert %{"error" => ["no_node", _]} = json(%TestNode{name: name}, ["status"])
      assert {@no_node, "", err} = ctl(nil, ["--node", "krait@no.such.host.invalid", "status"])
      assert err =~ "its host has no address"
    end

    test "a host without epmd" do
      {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
      {:ok, port} = :inet.port(socket)
      :gen_tcp.close(socket)
      node = %TestNode{name: unique_name()}
      env = [{"ERL_EPMD_PORT", to_string(port)}]
      assert {@no_node, "", err} = ctl(node, ["status"], env: env)
      assert err == "kraitctl: #{node.name} is not there: no epmd runs there\n"
    end

    test "an epmd that is silent, and one that is none" do
      {:ok, socket} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false])
      {:ok, port} = :inet.port(socket)
      node = %TestNode{name: unique_name()}
      env = [{"ERL_EPMD_PORT", to_string(port)}]
      assert {@no_node, "", err} = ctl(node, ["--timeout", "0.2", "ping"], env: env)
      assert err =~ "its epmd does not answer"

      task =
        Task.async(fn ->
          {:ok, _silent} = :gen_tcp.accept(socket)
          {:ok, other} = :gen_tcp.accept(socket)
          :gen_tcp.send(other, "SSH-2.0-nonsense\r\n")
          :gen_tcp.recv(other, 0)
        end)

      assert {@no_node, "", err} = ctl(node, ["ping"], env: env)
      assert err =~ "what answers at epmd's port is not epmd"
      Task.await(task)
    end

    test "a name that nobody stands behind" do
      port = PrivateEpmd.start()
      node = %TestNode{name: unique_name()}
      {:ok, _} = PrivateEpmd.take_name(port, node)
      assert {@no_node, "", err} = ctl(node, ["status"], env: [{"ERL_EPMD_PORT", to_string(port)}])
      assert err =~ "connection refused"
    end

    test "a node that does not answer in time" do
      node = start_node()
      signal(node.os_pid, "STOP")
      result = ctl(node, ["--timeout", "0.3", "status"])
      signal(node.os_pid, "CONT")
      assert {@no_node, "", err} = result
      assert err =~ "the handshake took too long"

      assert {@no_node, "", err} =
               ctl(node, ["--timeout", "0.3", "await_ready", "--pool", "default", "3"])
               |> as_no_node()

      assert err =~ "expected"
    end

    # A number that the pool does not have is answered as a mistake, at once.
    defp as_no_node({@error, out, err}), do: {@no_node, out, err}

    test "a node that ends while it is asked" do
      node = start_node(lines: true)
      expect_exit(node, [nil, 137])
      port = follow(node, ["call", "time", "sleep", "60"])
      await_running(node, 1)
      signal(node.os_pid, "KILL")
      assert_receive {^port, {:exit_status, @no_node}}, 10_000
    end

    test "a wrong cookie, one that all can read, and none" do
      node = start_node()
      env = [{"KRAIT_COOKIE", "another cookie"}]
      assert {@cookie, "", err} = ctl(node, ["status"], env: env)

      assert err ==
               "kraitctl: #{node.name} has another cookie than the one found here; see --cookie-file\n"

      assert {@cookie, out, _} = ctl(node, ["--json", "status"], env: env)
      assert %{"error" => ["wrong_cookie", _]} = Krait.Json.parse!(out)

      right = Atom.to_string(Node.get_cookie())
      assert {0, "pong\n", ""} = ctl(node, ["--cookie-file", file(right, 0o400), "ping"], env: env)
      assert {@cookie, "", err} = ctl(node, ["--cookie-file", file(right, 0o644), "ping"])
      assert err =~ "expected one that lets only its owner in"
      assert {@cookie, "", err} = ctl(node, ["--cookie-file", "/no/such", "ping"])
      assert err =~ "No such file"
    end

    test "a pool that is not there" do
      node = start_node()
      assert {@error, "", err} = ctl(node, ["--pool", "nobody", "status"])
      assert err == "kraitctl: #{node.name} has no pool of the name nobody\n"
    end
  end

  describe "roles" do
    test "admin: by the names of peers" do
      node = start_node(admin: ["ops@*", "kraitctl_*@127.0.0.1"])
      assert ask(node, :pause) == {:error, {:forbidden, :pause, :admin}}
      assert ask({:krait, node.name}, :stop) == {:error, {:forbidden, :stop, :admin}}
      GenServer.cast({:krait, node.name}, :stop)
      assert {:ok, _} = ask(node, :status)
      assert py(node, "1") == {:ok, 1}
      assert ctl!(node, ["pause"]) == "paused\n"
      assert ctl!(node, ["resume"]) == "resumed\n"

      eventually(
        Enum.any?(lines(node), &(elem(&1, 2) =~ "may not stop: that needs the role admin"))
      )

      roles =
        for %{"name" => name, "role" => role} <- json(node, ["peers"]),
            do: {hd(String.split(name, "_")), role}

      assert Enum.sort(roles) == [{"kraitctl", "admin"}, {"runner", "watch"}]
    end

    test "watch: and who may not look may not administer" do
      node = start_node(watch: ["ops@*"])

      for verb <- [:status, :workers, :requests, :peers, :pools, :sessions, :config],
          do: assert(ask({:krait, node.name}, verb) == {:error, {:forbidden, verb, :watch}})

      assert ask(node, {:subscribe, :all}) == {:error, {:forbidden, :subscribe, :watch}}
      assert ask(node, :pause) == {:error, {:forbidden, :pause, :admin}}
      assert ask(node, :ping) == :pong
      assert ask(node, :await_ready) == :ok
      lease = lease!(node)
      assert py(lease, "2") == {:ok, 2}
      assert ask(lease, :checkin) == :ok
      assert {@error, "", err} = ctl(node, ["status"])
      assert err == "kraitctl: this connection may not `status`: that needs the role watch\n"
    end

    test "an administrator may look" do
      node = start_node(watch: ["nobody@*"], admin: ["runner_*"])
      assert {:ok, _} = ask(node, :status)
      assert ask(node, :pause) == :ok
      assert ask(node, :resume) == :ok
      assert {@error, _, _} = ctl(node, ["status"])
    end

    test "admin_users: by who has opened the connection on this machine" do
      {user, 0} = System.cmd("id", ["-un"])
      {uid, 0} = System.cmd("id", ["-u"])

      for one <- [String.trim(user), String.trim(uid)] do
        node = start_node(admin_users: [one, "nobody"])
        assert ctl!(node, ["pause"]) == "paused\n"
        assert ask(node, :resume) == :ok
        assert Enum.all?(json(node, ["peers"]), &(&1["user"] == String.trim(user)))
      end

      node = start_node(admin_users: ["nobody"])
      assert {@error, "", err} = ctl(node, ["pause"])
      assert err =~ "needs the role admin"
      assert ctl!(node, ["status"]) =~ "running"
      assert ask(node, :pause) == {:error, {:forbidden, :pause, :admin}}
    end
  end

  describe "log and events" do
    # The first line that matches, of what comes when the node does this again and again: a command that
    # has connected has not yet subscribed.
    defp told(node, port, expression, pattern, tries \\ 200) do
      {:ok, _} = py(node, expression)
      line = line(port, pattern)
      if line || tries == 0, do: line, else: told(node, port, expression, pattern, tries - 1)
    end

    defp line(port, pattern) do
      receive do
        {^port, {:data, {:eol, line}}} -> if line =~ pattern, do: line, else: line(port, pattern)
      after
        50 -> nil
      end
    end

    test "log -f shows what workers print, harmless" do
      node = start_node()
      hostile = ~S|print('\x1b[2J' + chr(0x9b) + '31m' + chr(0x202e) + 'gone', flush=True)|
      line = told(node, follow(node, ["log", "-f"]), hostile, ~r/gone/)
      assert line =~ ~r/^\d\d:\d\d:\d\d info \[default\/\d+ stdout\] /
      assert String.ends_with?(line, ~S(\x1b[2J\x9b31m\u202egone))

      line = told(node, follow(node, ["--json", "log"]), hostile, ~r/gone/)
      refute line =~ ~r/[\x{1b}\x{9b}\x{202e}]/u
      name = Atom.to_string(node.name)

      assert %{"node" => ^name, "log" => %{"stream" => "stdout", "line" => text}} =
               Krait.Json.parse!(line)

      assert text == <<"\e[2J", 0x9B::utf8, "31m", 0x202E::utf8, "gone">>
    end

    test "events -f, of the node and of one pool" do
      node = start_node()
      port = follow(node, ["events", "-f", "--pool", "default"])
      assert told(node, port, "7", ~r/ krait\.call\.stop .* outcome=ok/)
      port = follow(node, ["--json", "events"])
      line = told(node, port, "7", ~r/"event":\["krait","call","stop"\]/)
      assert %{"metadata" => %{"outcome" => "ok", "error" => nil}} = Krait.Json.parse!(line)
    end

    test "they end with the node, with status 3" do
      node = start_node()
      expect_exit(node, [nil, 137])
      port = follow(node, ["log", "-f"])
      assert told(node, port, "print(1, flush=True)", ~r/ 1$/)
      signal(node.os_pid, "KILL")
      assert_receive {^port, {:exit_status, @no_node}}, 10_000
    end
  end

  describe "top" do
    @over ~r/\[pty: \d+ \w+\]/

    test "shows, heeds keys, and gives the terminal back" do
      node = start_node()
      port = terminal(node, 24, 120, ["--interval", "30", "top"])
      screen = expect(port, ~r/q quit/)
      assert screen =~ "\e[?1049h"
      assert screen =~ Atom.to_string(node.name)
      assert screen =~ ~r/WORKER/
      type(port, "K")
      expect(port, ~r/choose a worker first/)
      [first, second] = worker_ids(node)
      type(port, "j")
      expect(port, ~r/> +#{first} .*q quit/s)
      type(port, "\e[B")
      expect(port, ~r/> +#{second} .*q quit/s)
      type(port, "\eOA")
      expect(port, ~r/> +#{first} .*q quit/s)
      type(port, "s")
      expect(port, ~r/by state/)
      type(port, "p")
      expect(port, ~r/paused: requests wait/)
      assert pool_status(node).state == :paused
      type(port, "p")
      expect(port, ~r/resumed/)
      assert pool_status(node).state == :running
      type(port, "K")
      expect(port, ~r/kill worker #{first}, whatever it does\?/)
      type(port, "n")
      expect(port, ~r/q quit/)
      assert first in worker_ids(node)
      type(port, "Ky")
      expect(port, ~r/killed/)
      eventually(first not in worker_ids(node))
      type(port, "q")
      assert expect(port, @over) =~ ~r/\e\[\?1049l.*\[pty: 0 same\]/s
    end

    test "recycles the chosen worker" do
      node = start_node(size: 1)
      [id] = worker_ids(node)
      port = terminal(node, 24, 120, ["top"])
      expect(port, ~r/q quit/)
      type(port, "jr")
      expect(port, ~r/will be replaced/)
      eventually(worker_ids(node) not in [[id], []])
      type(port, <<3>>)
      assert expect(port, @over) =~ "[pty: 0 same]"
    end

    test "follows the terminal's size" do
      node = start_node()
      port = terminal(node, 10, 60, ["--interval", "30", "top"])
      assert expect(port, ~r/q quit/) |> lines_of_screen() == 10
      resize(port, 30, 150)
      assert expect(port, ~r/choose|q quit.*sort \(by worker\)/s) |> lines_of_screen() == 30
      type(port, "q")
      assert expect(port, @over) =~ "[pty: 0 same]"
    end

    test "gives the terminal back when it is told to end, and when the node is gone" do
      for signal <- ["TERM", "INT", "HUP"] do
        node = start_node()
        port = terminal(node, 24, 80, ["top"])
        expect(port, ~r/q quit/)
        told(port, signal)
        assert expect(port, @over) =~ ~r/\e\[\?1049l.*\[pty: 1\d\d same\]/s
      end

      node = start_node()
      expect_exit(node, [nil, 137])
      port = terminal(node, 24, 80, ["top"])
      expect(port, ~r/q quit/)
      TestNode.signal(node.os_pid, "KILL")
      assert expect(port, @over) =~ ~r/\e\[\?1049l.*is gone.*\[pty: 3 same\]/s
    end

    test "has no colours where they are not wanted, and needs a terminal" do
      node = start_node()
      port = terminal(node, 24, 120, ["top"], [{"NO_COLOR", "1"}])
      refute expect(port, ~r/q quit/) =~ ~r/\e\[\d*m/
      type(port, "q")
      assert expect(port, @over) =~ "[pty: 0 same]"
      assert {@usage, "", "kraitctl: top needs a terminal\n"} = ctl(node, ["top"])
      assert {@usage, "", _} = ctl(node, ["--json", "top"])
    end

    defp lines_of_screen(screen) do
      [frame | _] = screen |> String.split("\e[H") |> Enum.reverse()
      length(String.split(frame, "\r\n"))
    end
  end

  test "tables have colours on a terminal only" do
    node = start_node()
    port = terminal(node, 24, 120, ["status"])
    assert expect(port, @over) =~ "\e[1m"
    port = terminal(node, 24, 120, ["status"], [{"NO_COLOR", "1"}])
    refute expect(port, @over) =~ "\e["
    refute ctl!(node, ["status"]) =~ "\e"
  end

  test "help and completion" do
    assert {0, out, ""} = ctl(nil, ["--help"])
    assert out =~ ~r/^usage: kraitctl/
    assert {0, out, ""} = ctl(nil, ["help", "kill"])
    assert out =~ "needs the role admin"
    assert {0, words, ""} = ctl(nil, ["--completion-words"])
    assert words =~ "verb\tresize\tadmin\tN|MIN..MAX\t"
    assert {0, "kraitctl " <> _, ""} = ctl(nil, ["--version"])
  end

  test "the manual has the tables that the program prints" do
    {0, tables, ""} = ctl(nil, ["--help-markdown"])
    manual = File.read!(Path.expand("../../docs/kraitctl.md", __DIR__))
    for line <- String.split(tables, "\n", trim: true), do: assert(manual =~ line)
  end
end
