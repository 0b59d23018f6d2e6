defmodule Krait.KraitctlTest do
  # The operator's tool, verb by verb: what people see, what programs read, and what it ends with.
  use Krait.Case, async: true

  import Krait.Ctl

  @error 1
  @no_node 3

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
               ctl(node, ["--timeout", "2", "call", "time", "sleep", "60"])
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
      gate = Krait.Gate.new()
      caller(:runs, node, eval(Krait.Gate.behind(gate, "5")))
      await_running(node, 1)
      drain = Task.async(fn -> ctl!(node, ["drain"]) end)
      eventually(pool_status(node).state == :draining)
      Krait.Gate.open(gate)
      assert Task.await(drain, 30_000) == "drained\n"
      assert_receive {:runs, {:ok, 5}}, 5_000

      assert {@error, "", "kraitctl: the node drains: it takes no new requests\n"} =
               ctl(node, ["call", "math", "sqrt", "4"])

      assert ctl!(node, ["resume"]) == "resumed\n"
    end

    test "recycle and kill" do
      node = start_node()
      [first, second] = worker_ids(node)
      assert ctl!(node, ["recycle", "#{first}"]) == "will be replaced\n"
      eventually(first not in worker_ids(node))
      caller(:killed, node, eval("print('begun', flush=True) or " <> sleep(60)))
      # One that its worker had not even read would run on another.
      eventually(Enum.any?(lines(node), fn {_, _, text} -> text =~ "begun" end))
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

  test "several pools: all of them, one by its name, and the one that is meant" do
    node = start_node(size: 1, pools: [one: [], two: [allow: ["math", "builtins"]]])
    assert ctl!(node, ["pools"]) =~ ~r/^one .*\n^two /m
    assert ctl!(node, ["pools", "--pool", "two"]) =~ ~r/^POOL .*\ntwo .*\n$/
    assert length(json(node, ["workers"])) == 2
    assert [%{"pool" => "two"}] = json(node, ["workers", "--pool", "two"])
    assert ctl!(node, ["call", "operator", "neg", "1"]) == "-1\n"
    assert {@error, _, err} = ctl(node, ["--pool", "two", "call", "operator", "neg", "1"])
    assert err =~ "operator.neg may not be called here"
    assert ctl!(node, ["pause", "--pool", "two"]) == "paused\n"

    assert %{"one" => %{"state" => "running"}, "two" => %{"state" => "paused"}} =
             json(node, ["pools"])

    caller(:waits, {:two, node.name}, eval("1"))
    eventually(json(node, ["requests", "--pool", "two"]) != [])
    assert json(node, ["requests", "--pool", "one"]) == []
    assert [%{"pool" => "two", "id" => id}] = json(node, ["requests"])
    assert {@error, _, _} = ctl(node, ["cancel", "--pool", "one", "#{id}"])
    assert ctl!(node, ["cancel", "#{id}"]) == "cancelled\n"
    assert_receive {:waits, {:error, :cancelled}}, 5_000
    assert ctl!(node, ["resume"]) == "resumed\n"
    assert {:ok, 2} = py({:two, node.name}, "2", session: "s")
    assert ctl!(node, ["end_session", ~s("s")]) == "ended\n"
    assert ctl!(node, ["drain"]) == "drained\n"
  end

  describe "the configuration" do
    test "is shown, and an option of it set" do
      node = start_node(size: 2)
      assert ctl!(node, ["config"]) =~ ~r/^pool default  size +2$/m
      assert %{"pools" => %{"default" => %{"order" => "lifo"}}} = json(node, ["config"])
      assert ctl!(node, ["set", "order", "fifo"]) == "lifo -> fifo\n"
      assert json(node, ["set", "size", "1..3"]) == [2, [1, 3]]
      assert ctl!(node, ["set", "call-timeout", "1000"]) == "60000 -> 1000\n"

      assert {@error, _, "kraitctl: it ran out of time\n"} =
               ctl(node, ["call", "time", "sleep", "5"])

      assert ctl!(node, ["config", "--pool", "default"]) =~ ~r/^pool default  size +1\.\.3$/m
      assert {@error, "", err} = ctl(node, ["set", "order", "random"])
      assert err =~ ~r/^kraitctl: order: expected .*lifo.*fifo/
      assert {@error, "", err} = ctl(node, ["set", "port", "4711"])
      assert err =~ "the node must be restarted"
    end

    test "is read again, and what is wrong there is said" do
      path = temporary("ctl") <> ".conf"
      on_exit(fn -> File.rm(path) end)
      File.write!(path, "pool default {\n  size = 2\n  queue-limit = 5\n}\n")
      node = start_node(config: path)
      assert ctl!(node, ["reload", "config"]) == "nothing has changed\n"
      File.write!(path, "pool default {\n  size = 2\n  queue-limit = 6\n}\n")
      assert ctl!(node, ["reload", "config"]) == "pool default: queue_limit: 5 -> 6\n"
      File.write!(path, "pool default {\n  queue-limit = many\n}\n")
      assert {@error, "", err} = ctl(node, ["reload", "config"])
      assert err =~ ~r/^kraitctl: .*#{Path.basename(path)}:2.*queue_limit/
    end

    test "is read again only where there is a file" do
      node = start_node()
      assert {@error, "", err} = ctl(node, ["reload", "config"])
      assert err =~ "--config"
    end
  end
end
