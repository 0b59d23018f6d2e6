defmodule Krait.SupervisionTest do
  # The node as a supervised external program: how it starts, what it says when it cannot, how it ends.
  use Krait.Case, async: true

  alias Krait.Collector

  # For nodes that are not to become a child of the test's supervisor.
  defp options(extra) do
    collector = Collector.start(nil)
    on_exit(fn -> Collector.stop(collector) end)
    Keyword.merge(TestNode.defaults(collector), extra)
  end

  defp gone?(name), do: Proc.await_none(name) == []

  describe "a start that cannot be" do
    test "is refused with what was expected and what was got, before anything is started" do
      for {key, value, words} <- [
            {:size, 0, "an integer of at least 1"},
            {:size, "4", "an integer of at least 1"},
            {:abandon, :forget, "one of kill, interrupt, finish"},
            {:start_method, :thread, "one of fork, spawn"},
            {:call_timeout, -1, "or infinity"},
            {:preload, :numpy, "a list of names"},
            {:preload, [1], "a list of names"},
            {:expose, [counter: "no_colon"], "module:attribute"},
            {:port, 70_000, "an integer from 0 to 65535"},
            {:python, "", "non-empty"},
            {:name, "a@b@c", "krait@host"},
            {:log, :everywhere, "logger or a fun"},
            {:timeout, "soon", "milliseconds"},
            {:env, [:a], "{Name, Value}"},
            {:register, "name", "an atom"},
            {:frobnicate, 1, "one of "}
          ] do
        assert {:error, %Error{kind: :bad_option} = error} = Krait.start_link([{key, value}])
        assert {:bad_option, ^key, expected, ^value} = error.reason
        assert expected =~ words
        assert Exception.message(error) =~ ~r{^option #{key}: expected .*, got: }
        assert {:error, {:bad_option, ^key, _, _}} = :krait.start_link(%{key => value})
      end

      assert {:error, {:bad_option, :options, _, :nonsense}} = :krait.start_link(:nonsense)
    end

    test "because the BEAM is not distributed says so" do
      {:ok, peer, _} =
        :peer.start(%{
          connection: :standard_io,
          wait_boot: 30_000,
          args: Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
        })

      on_exit(fn -> :peer.stop(peer) end)

      assert {:error, %Error{kind: :not_distributed} = error} =
               :peer.call(peer, Krait, :start_link, [[]])

      assert Exception.message(error) =~ "--name or --sname"
      assert {:error, %Error{kind: :nodedown}} = :peer.call(peer, Krait, :ping, [:nobody@nowhere])
    end

    test "because the name is taken says whose, and hurts nobody" do
      node = start_node()
      assert {:error, %Error{} = error} = Krait.start_link(options(name: node.name))
      assert error.reason == {:name_taken, node.name}
      assert Exception.message(error) =~ "already taken"
      assert py(node, "1") == {:ok, 1}
      refute_received {:EXIT, _, _}
    end

    test "because the node refuses its configuration shows what it said" do
      options = options(max_depth: 1_000_000)
      assert {:error, %Error{kind: :usage} = error} = Krait.start_link(options)
      assert {:usage, lines} = error.reason
      assert Enum.any?(lines, &(&1 =~ "max-depth"))
      assert Exception.message(error) =~ "max-depth"
      assert gone?(options[:name])
    end

    test "because there is no executable names it" do
      # In a BEAM of its own: $KRAIT_BIN, which these suites may run with, goes before the option.
      {peer, _} = start_peer()
      :peer.call(peer, :os, :unsetenv, [~c"KRAIT_BIN"])
      options = [name: TestNode.unique_name(), bin: "/no/such/krait"]
      assert {:error, %Error{} = error} = :peer.call(peer, Krait, :start_link, [options])
      assert error.reason == {:no_executable, ~c"/no/such/krait"}
      assert Exception.message(error) =~ "make"
    end

    test "because there is no such interpreter is heard by await_ready" do
      options = options(python: "/no/such/python", await_ready: true)
      assert {:error, %Error{} = error} = Krait.start_link(options)
      assert error.kind in [:start_failed, :usage, :node_exit]
      assert inspect(error.reason) =~ "/no/such/python"
      assert gone?(options[:name])
    end

    test "because the preload fails is heard by await_ready, with its traceback" do
      options =
        options(
          preload: ["broken_import"],
          await_ready: true,
          backoff_base: 10,
          breaker_threshold: 2
        )

      assert {:error, %Error{kind: :start_failed} = error} = Krait.start_link(options)
      assert inspect(error.reason) =~ "broken_import is broken"
      assert gone?(options[:name])
    end

    test "in time is an error, and the node is gone" do
      options =
        options(preload: ["slow_import"], env: %{"KRAIT_TEST_IMPORT_SECONDS" => "60"}, timeout: 300)

      {ms, answer} = timed(fn -> Krait.start_link(options) end)
      assert {:error, %Error{kind: :start_timeout}} = answer
      assert ms < 20_000
      assert gone?(options[:name])
    end

    test "because the registered name is taken is already_started" do
      register = :"krait_#{System.unique_integer([:positive])}"
      node = start_node(register: register)
      instance = node.instance

      assert {:error, %Error{reason: {:already_started, ^instance}}} =
               Krait.start_link(options(register: register))
    end
  end

  describe "a node that runs" do
    test "has its cookie from the environment, not from the command line, and no worker has it" do
      node = start_node()
      cookie = Atom.to_string(Node.get_cookie())
      refute File.read!("/proc/#{node.os_pid}/cmdline") =~ cookie

      assert py(node, "[v for v in __import__('os').environ.values() if '#{cookie}' in v]") ==
               {:ok, []}

      for os_pid <- os_pids(node), do: refute(File.read!("/proc/#{os_pid}/environ") =~ cookie)
    end

    test "can take its cookie from a file" do
      path = temporary("cookie")
      File.write!(path, Atom.to_string(Node.get_cookie()))
      File.chmod!(path, 0o600)
      on_exit(fn -> File.rm(path) end)
      node = start_node(cookie_file: path)
      assert py(node, "1") == {:ok, 1}
      refute File.read!("/proc/#{node.os_pid}/environ") =~ Atom.to_string(Node.get_cookie())
    end

    test "has the options that it was given" do
      node =
        start_node(
          size: 3,
          pool: :numbers,
          queue_limit: 17,
          preload: ["json", "slow_import"],
          expose: [tally: "krait_faults:Counter"],
          start_method: :spawn,
          env: %{"KRAIT_TEST_IMPORT_SECONDS" => "0", "KRAIT_TEST_WORD" => "hello"}
        )

      assert {:ok, %{pools: %{numbers: %{size: 3, queue_limit: 17}}}} = Krait.status(node.instance)
      assert py(node, "__import__('os').environ['KRAIT_TEST_WORD']") == {:ok, "hello"}
      lease = lease!(node)
      assert ask(lease, {:call, :tally, :incr, []}) == {:ok, 1}
      assert ask(lease, {:call, "tally", "incr", [], %{kwargs: %{by: 2}}}) == {:ok, 3}
      assert ask(lease, :checkin) == :ok
    end

    test "exposes what it was told to, even where allow does not name it" do
      node = start_node(size: 1, expose: [tally: "krait_faults:Counter"], allow: ["math"])
      assert ask(node, {:call, :tally, :incr, []}) == {:ok, 1}
      assert ask(node, {:call, :tally, :incr, [5]}) == {:ok, 6}
      assert ask(node, {:call, :tally, :nothing, []}) == {:error, {:no_function, :tally, :nothing}}
      assert ask(node, {:call, :os, :getpid, []}) == {:error, {:not_allowed, :os, :getpid}}
    end

    test "logs through logger with its level and its name, unless a fun takes the lines" do
      parent = self()
      id = :"krait_log_#{System.unique_integer([:positive])}"
      options = options(log: :logger, size: 1)
      name = options[:name]
      handler = %{config: %{to: parent, node: name}, level: :all}
      :ok = :logger.add_handler(id, Krait.LogForwarder, handler)
      on_exit(fn -> :logger.remove_handler(id) end)
      {:ok, instance} = Krait.start_link(options)
      {:ok, _} = Krait.call(instance, "krait_faults", "print_", ["a line of output"])
      assert_receive {:log, _, %{krait: ^name}, "krait " <> line}, 5_000
      assert line =~ Atom.to_string(name)
      assert_line(name, "a line of output")
      assert Krait.stop(instance) == :ok
    end

    test "that prints more than anybody reads does not drown its owner" do
      parent = self()
      id = :"krait_log_#{System.unique_integer([:positive])}"
      options = options(log: :logger, size: 1)
      name = options[:name]

      :ok =
        :logger.add_handler(id, Krait.LogForwarder, %{
          config: %{to: parent, node: name},
          level: :all
        })

      on_exit(fn -> :logger.remove_handler(id) end)
      {:ok, instance} = Krait.start_link(options)
      assert {:ok, _} = Krait.call(instance, "krait_faults", "flood", [50_000])
      assert_line(name, "dropped")
      assert Krait.stop(instance) == :ok
      {:message_queue_len, lines} = Process.info(self(), :message_queue_len)
      assert lines < 20_000
    end
  end

  defp assert_line(name, words) do
    assert_receive {:log, _, %{krait: ^name}, line}, 10_000
    unless line =~ words, do: assert_line(name, words)
  end

  describe "a node ends" do
    test "with status 0 when it is stopped, and its process normally" do
      {:ok, instance} = Krait.start_link(options([]))
      name = Krait.node_name(instance)
      ref = Process.monitor(instance)
      assert Krait.stop(instance) == :ok
      assert_receive {:DOWN, ^ref, _, _, :normal}, 5_000
      assert gone?(name)
      assert {:error, %Error{kind: :noproc}} = Krait.call(instance, "math", "sqrt", [4.0])
    end

    test "is asked for its address once, and is known no longer than it lives" do
      node = start_node()
      assert Krait.call(node.instance, "math", "sqrt", [4.0]) == {:ok, 2.0}
      eventually(:krait_lanes.target(node.instance) == node.pool)
      :ok = :sys.suspend(node.instance)
      assert Krait.call(node.instance, "math", "sqrt", [9.0]) == {:ok, 3.0}
      :ok = :sys.resume(node.instance)
      :ok = Krait.stop(node.instance)
      assert {:error, %Error{kind: :noproc}} = Krait.call(node.instance, "math", "sqrt", [4.0])
      eventually(:krait_lanes.target(node.instance) == :none)
    end

    test "with its owner: killed, it has no time to say anything" do
      parent = self()
      options = options([])

      owner =
        spawn(fn ->
          {:ok, instance} = Krait.start_link(options)
          send(parent, {:instance, instance})
          receive do: (:never -> :ok)
        end)

      assert_receive {:instance, instance}, 20_000
      {:ok, _} = Krait.call(instance, "math", "sqrt", [4.0])
      ref = Process.monitor(instance)
      kill(owner)
      assert_receive {:DOWN, ^ref, _, _, :killed}, 15_000
      assert gone?(options[:name])
    end

    test "with the process that runs it: its standard input closes" do
      Process.flag(:trap_exit, true)
      options = options([])
      {:ok, instance} = Krait.start_link(options)
      kill(instance)
      assert Proc.await_none(options[:name]) == []
    end

    test "with its BEAM, killed" do
      {peer, _} = start_peer()
      name = TestNode.unique_name()
      options = [name: name, size: 2, await_ready: true, stop_timeout: 500, stop_grace: 300]
      beam = :peer.call(peer, :os, :getpid, []) |> List.to_integer()
      # The process of the peer that runs this call would end with it, and take the node along.
      assert :ok == :peer.call(peer, Krait.Owner, :start, [options], 30_000)
      assert length(Proc.of_node(name)) >= 3
      signal(beam, "KILL")
      assert Proc.await_none(name) == []
    end

    test "by SIGKILL is a stop with {node_exit, 137}, and its supervisor starts it again under its name" do
      options = options(register: :"krait_#{System.unique_integer([:positive])}")
      register = options[:register]
      {:ok, supervisor} = Supervisor.start_link([{Krait, options}], strategy: :one_for_one)
      first = Process.whereis(register)
      ref = Process.monitor(first)
      %{os_pid: os_pid} = :krait_node.info(register)
      signal(os_pid, "KILL")
      assert_receive {:DOWN, ^ref, _, _, {:node_exit, 137}}, 5_000

      # The supervisor tells nobody that a child is up again; a start takes no longer than any other.
      eventually(Process.whereis(register) not in [nil, first])
      assert Krait.node_name(register) == options[:name]
      assert Krait.call(register, "math", "sqrt", [4.0]) == {:ok, 2.0}
      assert Supervisor.stop(supervisor) == :ok
      assert gone?(options[:name])
    end

    test "by its own stop request is a shutdown" do
      node = start_node()
      ref = Process.monitor(node.instance)
      assert ask({:krait, node.name}, :stop) == :ok
      assert_receive {:DOWN, ^ref, _, _, {:shutdown, {:node_exit, 0}}}, 5_000
    end

    test "by SIGTERM drains: a running call is answered first" do
      node = start_node(stop_timeout: 20_000)
      gate = Krait.Gate.new()
      id = :gen_server.send_request(node.pool, eval(Krait.Gate.behind(gate, "'done'")))
      await_running(node, 1)
      ref = Process.monitor(node.instance)
      signal(node.os_pid, "TERM")
      eventually(pool_status(node).state == :draining)
      Krait.Gate.open(gate)
      assert :gen_server.wait_response(id, 10_000) == {:reply, {:ok, "done"}}
      assert_receive {:DOWN, ^ref, _, _, {:shutdown, {:node_exit, 0}}}, 5_000
    end

    test "without --stop-on-eof only when it is told: by hand it is a program like any other" do
      name = TestNode.unique_name()
      bin = System.get_env("KRAIT_BIN") || Path.join(:code.priv_dir(:krait), "krait")
      cookie = {~c"KRAIT_COOKIE", Atom.to_charlist(Node.get_cookie())}

      port =
        Port.open({:spawn_executable, bin}, [
          :binary,
          :exit_status,
          {:line, 4096},
          {:args, ["--name", Atom.to_string(name), "--size", "1", "--log-level", "error"]},
          {:env, [cookie]}
        ])

      assert_receive {^port, {:data, {:eol, "ready " <> rest}}}, 20_000
      assert [shown, tcp, os_pid] = String.split(rest)
      assert shown == Atom.to_string(name)
      assert String.to_integer(tcp) in 1..65_535
      assert {:os_pid, String.to_integer(os_pid)} == Port.info(port, :os_pid)
      assert ask({:default, name}, :await_ready) == :ok
      signal(String.to_integer(os_pid), "TERM")
      assert_receive {^port, {:exit_status, 0}}, 10_000
      assert gone?(name)
    end
  end

  test "child_spec gives a node a name that it keeps, and room to stop" do
    spec = Krait.child_spec(size: 2, stop_timeout: 60_000)

    assert %{id: :krait, type: :worker, restart: :permanent, start: {Krait, :start_link, [options]}} =
             spec

    assert Atom.to_string(options.name) =~ ~r/^krait_\d+_\d+@127\.0\.0\.1$/
    assert spec.shutdown > 60_000
    assert Krait.child_spec(register: :a).id == :a
    assert Krait.child_spec(id: :b, register: :a).id == :b
    assert Krait.child_spec(name: :c).start == {Krait, :start_link, [%{name: :c}]}
    assert :krait.child_spec(%{}).start |> elem(0) == :krait
  end
end
