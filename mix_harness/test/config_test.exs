defmodule Krait.ConfigTest do
  # The configuration while the node runs: shown, options set, the file read again.
  use Krait.Case, async: true

  alias Krait.Gate

  @moduletag :tmp_dir

  defp krait(node), do: {:krait, node.name}

  defp pool(node, name), do: {name, node.name}

  # A node whose file says this; `more` is of start_link/1, and goes before the file.
  defp start_with(dir, text, more \\ []) do
    file = Path.join(dir, "krait.conf")
    File.write!(file, text)
    node = start_node(Keyword.merge([config: file], more))
    {node, file}
  end

  defp config(node) do
    {:ok, config} = ask(krait(node), :config)
    config
  end

  defp option(node, pool \\ :default, name), do: config(node).pools[pool][name]

  # Calls in a row until it is told to stop; every one of them must be answered.
  defp caller(pool) do
    Task.async(fn -> call_until_told(pool, 0) end)
  end

  defp call_until_told(pool, n) do
    receive do
      :enough -> n
    after
      0 ->
        assert {:ok, -1} = GenServer.call(pool, {:call, "operator", "neg", [1]}, 20_000)
        call_until_told(pool, n + 1)
    end
  end

  defp under_load(pool, fun) do
    callers = for _ <- 1..4, do: caller(pool)
    result = fun.()
    for task <- callers, do: send(task.pid, :enough)
    assert callers |> Task.await_many(30_000) |> Enum.all?(&(&1 > 0))
    result
  end

  describe "config" do
    test "shows every option of the node and of its pools" do
      node = start_node(allow: ["math"], queue_timeout: :infinity, rpc: true)
      %{node: of_node, pools: %{default: of_pool}} = config(node)
      {words, 0} = System.cmd(System.fetch_env!("KRAIT_BIN"), ["--help-words"])

      for line <- String.split(words, "\n", trim: true),
          ["--" <> flag, scope | _] = String.split(line, "\t"),
          flag not in ["config", "pool"] do
        name = flag |> String.replace("-", "_") |> String.to_atom()
        assert Map.has_key?(%{"node" => of_node, "pool" => of_pool}[scope], name), flag
      end

      assert %{name: name, sname: nil, port: 0, log_level: :debug, stop_on_eof: true} = of_node
      assert name == to_string(node.name)

      assert %{
               size: 2,
               allow: ["math"],
               queue_timeout: :infinity,
               rpc: true,
               abandon: :kill,
               cwd: nil,
               call_timeout: 60_000
             } = of_pool

      refute inspect(config(node)) =~ to_string(Node.get_cookie())
      assert {:ok, %{pools: pools}} = ask(node, :config)
      assert Map.keys(pools) == [:default]
    end
  end

  describe "set" do
    test "counts at once where it can" do
      node = start_node()
      assert {:ok, {60_000, 200}} = ask(node, {:set, :call_timeout, 200})
      assert {:error, {:timeout, :call}} = py(node, sleep(20))
      assert {:ok, {200, :infinity}} = ask(krait(node), {:set, :call_timeout, :infinity})
      assert {:ok, {:infinity, 30_000}} = ask(node, {:set, "call-timeout", "30s"})
      assert option(node, :call_timeout) == 30_000

      assert {:ok, {2, 3}} = ask(node, {:set, :size, 3})
      assert :ok = ask(node, :await_ready)
      assert length(os_pids(node)) == 3
      assert {:ok, {3, {1, 2}}} = ask(node, {:set, :size, {1, 2}})
      assert option(node, :size) == {1, 2}

      assert {:ok, {:debug, :info}} = ask(krait(node), {:set, :log_level, :info})
      assert {:ok, {10_000, 0}} = ask(node, {:set, :max_sessions, 0})
      assert {:error, {:bad_option, _, _}} = py(node, "1", session: 1)
    end

    test "keeps what resize has set" do
      node = start_node()
      assert :ok = ask(node, {:resize, 1})
      assert {:ok, _} = ask(node, {:set, :queue_limit, 5})
      assert option(node, :size) == 1
      assert pool_status(node).size == 1
    end

    test "replaces workers where it must, and no call fails" do
      node = start_node()
      before = os_pids(node)
      assert {:error, {:not_allowed, _, _}} = reload_allow(node, ["operator"])
      assert os_pids(node) != before
      assert {:ok, {["operator"], []}} = ask(node, {:set, :allow, []})
      eventually(ask(node, {:call, "math", "sqrt", [4.0]}) == {:ok, 2.0})
      # the fork server of the old options is gone with its workers
      eventually(os_pids(node) -- before == os_pids(node))
    end

    defp reload_allow(node, allow) do
      set = fn -> ask(node, {:set, :allow, allow}) end
      assert {:ok, {[], ^allow}} = under_load(node.pool, set)
      ask(node, {:call, "math", "sqrt", [4.0]})
    end

    test "of what cannot work changes nothing" do
      node = start_node()
      before = config(node)
      pids = os_pids(node)

      for {to, option, value, expected} <- [
            {node.pool, :size, 0, "N or N..M, integers from 1 to 1024"},
            {node.pool, :size, {2, 1}, "N or N..M, integers from 1 to 1024"},
            {node.pool, :size, [1], "N or N..M, integers from 1 to 1024"},
            {node.pool, :abandon, :forget, "kill|interrupt|finish"},
            {node.pool, :allow, [1.0], "a list of atoms or binaries"},
            {node.pool, :allow, ["a" | "b"], "a list of atoms or binaries"},
            {node.pool, :expose, ["x"], "NAME=MODULE:ATTR"},
            {node.pool, :rpc, 1, "true or false"},
            {node.pool, :call_timeout, -1, "an integer from 1 to 31536000000, or infinity"},
            {node.pool, :log_level, :info, "to be said to krait"},
            {node.pool, :no_such, 1, "an option (see krait --help)"},
            {krait(node), :stop_timeout, "1 h", "an integer from 0 to 86400000"}
          ] do
        assert {:error, {:bad_option, ^option, ^expected}} = ask(to, {:set, option, value})
      end

      assert {:ok, _} = ask(node, {:set, :abandon, :kill})
      expected = "interrupt|finish: a killed worker would take its other calls along"
      assert {:error, {:bad_option, :slots, ^expected}} = ask(node, {:set, :slots, 2})
      assert {:error, {:restart_needed, :listen}} = ask(krait(node), {:set, :listen, "::1"})

      assert {:error, {:bad_option, :python, text}} = ask(node, {:set, :python, "/no/such"})
      assert text =~ "/no/such"
      assert {:error, {:start_failed, text}} = ask(node, {:set, :preload, ["no_such_module"]})
      assert text =~ "no_such_module"
      assert config(node) == before
      assert os_pids(node) == pids
      assert {:ok, 1} = py(node, "1")
    end

    test "one at a time where workers are replaced" do
      node = start_node()
      gate = Gate.new()
      dir = temporary("config")
      File.mkdir_p!(dir)
      on_exit(fn -> File.rm_rf!(dir) end)
      File.write!(Path.join(dir, "slow_to_load.py"), Gate.behind(gate, "1"))
      assert {:ok, _} = ask(node, {:set, :pythonpath, [dir]})
      first = Task.async(fn -> ask(node, {:set, :preload, ["slow_to_load"]}) end)
      busy = {:error, {:bad_request, "one reload at a time"}}
      eventually(ask(node, {:set, :queue_limit, 100}) == busy)
      assert ask(krait(node), {:reload, :config}) == busy
      Gate.open(gate)
      assert {:ok, {[], ["slow_to_load"]}} = Task.await(first, 20_000)
      assert {:ok, _} = ask(node, {:set, :queue_limit, 100})
    end
  end

  describe "a file" do
    test "says what the command line does not", %{tmp_dir: dir} do
      {node, _} =
        start_with(dir, """
        node { max_peers = 77 log_level = error }
        pool default { size = 1 call_timeout = 5s  # for all of them
                       allow = { math, "operator" } }
        pool "ml" { rpc = on strings = bytes }
        """)

      assert %{node: %{max_peers: 77, log_level: :debug}, pools: pools} = config(node)
      # start_node says size, before any pool: that is for all pools
      assert %{size: 2, call_timeout: 5_000, allow: ["math", "operator"]} = pools.default
      assert %{size: 2, call_timeout: 60_000, rpc: true, strings: :bytes} = pools.ml
      assert {:error, {:not_allowed, _, _}} = py(node, "1")
      assert {:ok, 1} = py(pool(node, :ml), "1")
    end

    test "that is wrong is told with its line", %{tmp_dir: dir} do
      file = Path.join(dir, "krait.conf")
      File.write!(file, "pool default {\n  size = 0\n}\n")
      bin = System.fetch_env!("KRAIT_BIN")
      expected = "#{file}:2: size: found \"0\", expected N or N..M, integers from 1 to 1024\n"

      for args <- [["check", file], ["--name", "a@127.0.0.1", "--config", file]] do
        assert {output, 2} = System.cmd(bin, args, stderr_to_stdout: true)
        assert output == "krait: " <> expected
      end

      File.write!(file, "pool a {}\npool b {}\n")
      assert {output, 0} = System.cmd(bin, ["check", file])
      assert output == "#{file}: good, 2 pools\n"
    end
  end

  test "the example and the README are what the table says" do
    bin = System.fetch_env!("KRAIT_BIN")
    root = Path.expand("../..", __DIR__)
    assert {example, 0} = System.cmd(bin, ["--help-conf"])
    assert File.read!(Path.join(root, "share/krait.conf.example")) == example
    assert {options, 0} = System.cmd(bin, ["--help-markdown"])
    assert File.read!(Path.join(root, "README.md")) =~ "<!-- options -->\n" <> options
  end

  describe "reload" do
    test "tells the difference, and no call fails", %{tmp_dir: dir} do
      {node, file} = start_with(dir, "pool default {}\npool ml { rpc = on }\n", log_level: :info)
      pids = os_pids(node)
      same = %{node: %{}, pools: %{}, restart: []}
      assert {:ok, ^same} = ask(krait(node), {:reload, :config})

      File.write!(file, """
      node { max_peers = 7 listen = "127.0.0.2" }
      pool default { call_timeout = 1min allow = operator queue_limit = 50 }
      pool new { }
      """)

      assert {:ok, difference} =
               under_load(node.pool, fn -> ask(krait(node), {:reload, :config}) end)

      assert difference == %{
               node: %{max_peers: {4096, 7}, listen: {"127.0.0.1", "127.0.0.2"}},
               pools: %{
                 default: %{allow: {[], ["operator"]}, queue_limit: {10_000, 50}},
                 ml: :removed,
                 new: :added
               },
               restart: [:listen]
             }

      assert %{node: %{max_peers: 7, listen: "127.0.0.1"}, pools: pools} = config(node)
      assert Map.keys(pools) == [:default, :new]
      assert {:error, {:not_allowed, _, _}} = py(node, "1")
      assert {:ok, 1} = py(pool(node, :new), "1")
      eventually(os_pids(node) -- pids == os_pids(node))
      # what is in the file already does not differ any more, save what needs a restart
      assert {:ok, %{pools: pools, restart: [:listen]}} = ask(krait(node), {:reload, :config})
      assert pools == %{}
    end

    test "takes back what was set meanwhile", %{tmp_dir: dir} do
      {node, _} = start_with(dir, "pool default {}\n")
      assert {:ok, _} = ask(node, {:set, :queue_limit, 5})
      assert :ok = ask(node, {:resize, 1})
      assert {:ok, %{pools: %{default: changes}}} = ask(krait(node), {:reload, :config})
      assert changes == %{queue_limit: {5, 10_000}, size: {1, 2}}
      assert pool_status(node).size == 2
    end

    test "of a bad file changes nothing", %{tmp_dir: dir} do
      {node, file} = start_with(dir, "pool default {}\n")
      before = config(node)

      for {text, error} <- [
            {"pool default { size = 1025 }", ":1: size: found \"1025\""},
            {"pool default {\n size = 3\n", ":3: found the end of the file after"},
            {"pool default { cwd = \"x }\n", ":1: found a text without its closing quote"}
          ] do
        File.write!(file, text)
        assert {:error, {:bad_config, said}} = ask(krait(node), {:reload, :config})
        assert said =~ error
        assert {:error, {:bad_config, ^said}} = ask(krait(node), :reload)
      end

      File.rm!(file)
      assert {:error, {:bad_config, said}} = ask(krait(node), {:reload, :config})
      assert said =~ "found No such file or directory, expected a file that can be read"
      assert config(node) == before
      assert {:ok, 1} = py(node, "1")
    end

    test "that a pool cannot follow leaves it as it was", %{tmp_dir: dir} do
      {node, file} = start_with(dir, "pool default {}\npool b {}\n")
      File.write!(file, "pool default { preload = no_such_module }\npool b { allow = math }\n")
      assert {:error, {:start_failed, text}} = ask(krait(node), {:reload, :config})
      assert text =~ "no_such_module"
      assert option(node, :preload) == []
      assert option(node, :b, :allow) == ["math"]
      assert {:ok, 1} = py(node, "1")
    end

    test "by SIGHUP is logged", %{tmp_dir: dir} do
      {node, file} = start_with(dir, "pool default {}\n", lines: true)
      File.write!(file, "pool default { queue_limit = 3 }\npool b {}\n")
      signal(node.os_pid, "HUP")
      assert_receive {:krait_line, _, :info, _, "b: added"}, 10_000
      assert_receive {:krait_line, _, :info, _, "default: queue_limit from 10000 to 3"}, 10_000
      eventually(option(node, :queue_limit) == 3)
      assert :ok = ask(krait(node), :await_ready)
      File.write!(file, "pool default { queue_limit = many }\n")
      signal(node.os_pid, "HUP")
      assert_receive {:krait_line, _, :error, _, text}, 10_000
      assert text =~ ~r/krait.conf:1: queue_limit: found "many", expected .*; nothing has changed/
      assert option(node, :queue_limit) == 3
    end

    test "is logged without the values of env", %{tmp_dir: dir} do
      {node, file} = start_with(dir, "pool default {}\n", lines: true)
      File.write!(file, ~s(pool default { env = { "TOKEN=hush", "B=2" } }\n))
      signal(node.os_pid, "HUP")
      changed = "default: env from { } to { TOKEN=..., B=... }, workers are replaced"
      assert_receive {:krait_line, _, :info, _, ^changed}, 10_000
      eventually(match?({:ok, {_, []}}, ask(node, {:set, :env, []})))
      refute Enum.any?(lines(node), fn {_, _, text} -> text =~ "hush" end)
    end

    test "by SIGHUP while another one is under way comes after it", %{tmp_dir: dir} do
      {node, file} = start_with(dir, "pool default {}\n", pythonpath: [dir])
      gate = Gate.new()
      File.write!(Path.join(dir, "slow_to_load.py"), Gate.behind(gate, "1"))
      File.write!(file, "pool default { preload = slow_to_load }\n")
      first = Task.async(fn -> ask(krait(node), {:reload, :config}) end)
      busy = {:error, {:bad_request, "one reload at a time"}}
      eventually(ask(node, {:set, :queue_limit, 100}) == busy)
      File.write!(file, "pool default { queue_limit = 77 }\n")
      signal(node.os_pid, "HUP")
      Gate.open(gate)
      assert {:ok, _} = Task.await(first, 20_000)
      eventually(option(node, :queue_limit) == 77)
      assert option(node, :preload) == []
    end

    test "of everything replaces all workers", %{tmp_dir: dir} do
      {node, file} = start_with(dir, "pool default {}\npool b {}\n")
      b = pool(node, :b)
      pids = fn -> Enum.map(elem(ask(krait(node), :workers), 1), & &1.os_pid) end
      before = pids.()
      File.write!(file, "pool default { queue_limit = 9 }\npool b {}\n")
      assert :ok = under_load(b, fn -> ask(krait(node), :reload) end)
      eventually(before -- pids.() == before)
      assert option(node, :queue_limit) == 9
    end

    test "without a file is refused, but for fresh code" do
      node = start_node()
      assert {:ok, _} = ask(node, {:set, :queue_limit, 5})
      assert {:error, {:bad_config, text}} = ask(krait(node), {:reload, :config})
      assert text =~ "expected a node that was started with a file"
      assert :ok = ask(krait(node), :reload)
      assert option(node, :queue_limit) == 5
    end
  end

  describe "a pool that is removed" do
    test "ends what runs, and its name is free at once", %{tmp_dir: dir} do
      file_text = "pool default {}\npool old {}\n"
      {node, file} = start_with(dir, file_text, lines: true, size: 1)
      old = pool(node, :old)
      gate = Gate.new()
      running = Task.async(fn -> ask(old, eval(Gate.behind(gate, "7"))) end)
      eventually(pool_status(old).totals.running == 1)
      waiting = Task.async(fn -> ask(old, eval("8")) end)
      eventually(match?(%{running: 1, queued: 1}, pool_status(old).totals))
      monitor = Process.monitor(old)
      File.write!(file, "pool default {}\n")
      assert {:ok, %{pools: %{old: :removed}}} = ask(krait(node), {:reload, :config})
      assert_receive {:DOWN, ^monitor, :process, ^old, :noproc}, 5_000
      assert {:noproc, _} = catch_exit(ask(old, :ping))
      assert {:ok, [:default]} = ask(krait(node), :pools)

      File.write!(file, file_text)
      assert {:ok, %{pools: %{old: :added}}} = ask(krait(node), {:reload, :config})
      assert {:ok, 1} = py(old, "1")
      refute_received {:krait_line, _, _, "pool old", "gone"}
      Gate.open(gate)
      assert Task.await(running) == {:ok, 7}
      assert Task.await(waiting) == {:ok, 8}
      assert_receive {:krait_line, _, :info, "pool old", "gone"}, 10_000
      assert {:ok, 1} = py(old, "1")
    end

    test "does not keep the node from stopping", %{tmp_dir: dir} do
      {node, file} = start_with(dir, "pool default {}\npool old {}\n")
      {:ok, _lease} = ask(pool(node, :old), {:checkout, :anonymous})
      File.write!(file, "pool default {}\n")
      assert {:ok, %{pools: %{old: :removed}}} = ask(krait(node), {:reload, :config})
      assert Krait.stop(node.instance) == :ok
    end
  end

  describe "pools in one node" do
    test "know nothing of each other" do
      node =
        start_node(
          pools: [
            strict: [size: 1, allow: ["math"], max_sessions: 0],
            free: [size: 1, strings: :bytes, preload: ["json"]]
          ]
        )

      [strict, free] = [pool(node, :strict), pool(node, :free)]
      assert {:error, {:not_allowed, _, _}} = py(strict, "1")

      assert {:ok, "<class 'bytes'>"} =
               ask(free, {:call, "builtins", "eval", ["str(type('a'.encode()))"]})

      assert {:error, {:bad_option, _, _}} =
               ask(strict, {:call, "math", "sqrt", [4.0], [session: 1]})

      assert {:ok, 1} = py(free, "1", session: 1)
      assert {:ok, []} = ask(strict, :sessions)
      assert {:ok, [%{id: 1}]} = ask(free, :sessions)
      assert {:ok, _} = ask(strict, {:set, :queue_limit, 1})
      assert option(node, :free, :queue_limit) == 10_000

      monitor = Process.monitor(free)
      assert :ok = ask(strict, :drain)
      assert {:error, :draining} = ask(strict, {:call, "math", "sqrt", [4.0]})
      assert {:ok, 1} = py(free, "1")
      refute_received {:DOWN, ^monitor, _, _, _}

      assert {:ok, %{pools: %{strict: %{totals: one}, free: %{totals: other}}}} =
               ask(krait(node), :status)

      assert balanced?(one) and balanced?(other)
    end
  end
end
