defmodule Krait.LogsTest do
  # Log lines: what is in them, in which format, how many; and those who subscribed to them.
  use Krait.Case, async: true

  import Bitwise

  defp subscribe(address, topics \\ :log), do: ask(address, {:subscribe, topics})

  # The next line that was printed.
  defp printed(node, timeout \\ 10_000) do
    name = node.name
    assert_receive {:krait_log, ^name, %{stream: stream} = line} when stream != nil, timeout
    line
  end

  describe "a subscriber" do
    test "gets each line that a worker prints, with its worker, stream and level" do
      node = start_node(size: 1, log_level: :error)
      [%{id: worker, os_pid: os_pid}] = workers(node)
      assert subscribe(node.pool) == :ok
      assert py(node, "print('one\\n\\ntwo')") == {:ok, nil}
      for line <- ["one", "", "two"], do: assert(%{line: ^line, stream: :stdout} = printed(node))
      assert py(node, "print('three', file=__import__('sys').stderr)") == {:ok, nil}

      assert printed(node) == %{
               pool: :default,
               worker: worker,
               os_pid: os_pid,
               stream: :stderr,
               level: :info,
               line: "three",
               object: "worker default/#{worker} pid #{os_pid}"
             }
    end

    test "gets the levels of Python's log records, and none of their marks" do
      node = start_node(size: 1)
      assert subscribe(node.pool) == :ok

      for level <- [:warning, :error] do
        assert {:ok, nil} = ask(node, {:call, :krait_faults, :log, [level, "so it is"]})
        assert %{level: ^level, line: "krait_faults: so it is", stream: :stderr} = printed(node)
      end

      handler = "__import__('krait').LogHandler()"
      basic = "__import__('logging').basicConfig(level=10, handlers=[#{handler}])"
      assert {:ok, nil} = py(node, basic)

      for level <- [:debug, :info, :error] do
        assert {:ok, nil} = ask(node, {:call, :krait_faults, :log, [level, "two\nlines"]})
        assert %{level: ^level, line: "krait_faults: two"} = printed(node)
        assert %{level: ^level, line: "lines"} = printed(node)
      end

      # a mark means nothing on stdout, and nothing elsewhere in a line
      assert py(node, "print('<3>html')") == {:ok, nil}
      assert %{level: :info, line: "<3>html"} = printed(node)
      assert py(node, "print('a <3>', file=__import__('sys').stderr)") == {:ok, nil}
      assert %{level: :info, line: "a <3>"} = printed(node)
    end

    test "of the node hears its own lines too, a pool's does not" do
      node = start_node(size: 1, log_level: :info)
      name = node.name
      parent = self()

      spawn(fn ->
        :ok = subscribe(node.pool)
        send(parent, :subscribed)
        assert_receive {:krait_log, ^name, line}, 20_000
        send(parent, {:of_pool, line})
      end)

      assert_receive :subscribed, 5_000
      assert subscribe({:krait, name}) == :ok
      assert ask(node, :pause) == :ok
      assert ask(node, :resume) == :ok
      assert_receive {:krait_log, ^name, %{stream: nil, line: "paused, told by" <> _} = line}, 5_000

      assert %{pool: :default, worker: nil, os_pid: nil, level: :info, object: "pool default"} =
               line

      [%{id: worker, os_pid: os_pid}] = workers(node)
      {:error, _} = ask(node, {:call, :krait_faults, :exit, [3]})
      assert_receive {:krait_log, ^name, %{line: "exited: status 3", level: :warning} = line}, 5_000
      assert %{pool: :default, worker: ^worker, os_pid: ^os_pid, stream: nil} = line
      ask(node, :await_ready)
      assert py(node, "print('printed')") == {:ok, nil}
      assert_receive {:of_pool, %{line: "printed"}}, 5_000
    end

    test "hears what a preload prints, which is of no worker" do
      # `import this` prints a poem
      node = start_node(size: 1, preload: ["this"])
      assert subscribe(node.pool) == :ok
      assert ask(node, :reload) == :ok
      assert %{line: "The Zen of Python, by Tim Peters", pool: :default} = line = printed(node)
      assert %{worker: nil, os_pid: nil, stream: :stdout, object: "forkserver default"} = line
    end
  end

  # Bytes that are no text, control characters, lines without an end.
  @hostile "__import__('os').write(1, bytes(range(256)) * 20 + b'\\n')"
  @endless "__import__('os').write(2, b'\\x1b' * 1000000)"

  describe "hostile output" do
    test "reaches subscribers as lines of UTF-8 of a bounded length" do
      node = start_node(size: 1, log_rate: 1_000_000)
      assert subscribe(node.pool) == :ok
      assert {:ok, _} = py(node, @hostile)
      assert {:ok, _} = py(node, @endless)
      assert {:ok, _} = py(node, "print('\\N{SNAKE}' * 5000)")
      assert {:ok, _} = py(node, "print('end')")
      lines = until_end(node)
      assert Enum.all?(lines, &String.valid?/1)
      assert Enum.all?(lines, &(byte_size(&1) <= 3 * 1024))
      snakes = for "🐍" <> _ = line <- lines, do: line
      assert Enum.join(snakes) == String.duplicate("🐍", 5000)
    end

    for format <- [:text, :json, :journald] do
      @format format
      test "is one line each in the log, as #{format}" do
        node = start_node(size: 1, log_format: @format, log_rate: 1_000_000)

        for {what, n} <- Enum.with_index([@hostile, @endless, ~S|print('"quoted" \\ <b>')|]) do
          assert {:ok, _} = py(node, what)
          settle(node, "settled #{n}")
        end

        assert Krait.stop(node.instance) == :ok
        texts = for {_, _, text} <- lines(node), do: text
        assert length(texts) > 50

        for text <- texts do
          assert String.valid?(text)
          assert byte_size(text) < 4096
          refute text =~ ~r/[\x00-\x1f\x7f\x{80}-\x{9f}]/u
        end

        if @format == :json, do: valid_json(texts)
      end
    end
  end

  # A reader that is slow costs lines: what was printed before has been read, or is lost.
  defp settle(node, mark) do
    eventually(
      py(node, "print('#{mark}')") == {:ok, nil} and
        Enum.any?(lines(node), fn {_, _, text} -> text =~ mark end)
    )
  end

  defp until_end(node) do
    case printed(node) do
      %{line: "end"} -> []
      %{line: line} -> [line | until_end(node)]
    end
  end

  # By somebody else's parser.
  defp valid_json(texts) do
    path = temporary("json")
    File.write!(path, Enum.intersperse(texts, "\n"))

    program = """
    import json, sys
    quoted = 0
    for line in open(sys.argv[1], encoding="utf-8", newline="\\n"):
        map = json.loads(line)
        assert {"ts", "level", "object", "message"} <= set(map), line
        assert set(map) <= {"ts", "level", "object", "message", "pool", "worker", "os_pid", "stream",
                            "call", "truncated"}, line
        if map.get("stream"):
            assert map["pool"] == "default" and map["worker"] > 0 and map["os_pid"] > 0, line
        quoted += map["message"] == '"quoted" \\\\ <b>'
    assert quoted == 1
    """

    result = System.cmd(TestNode.python(), ["-c", program, path], stderr_to_stdout: true)
    File.rm(path)
    assert result == {"", 0}
  end

  describe "how many lines" do
    test "a worker may print more than log_rate, and what is dropped is counted" do
      node = start_node(size: 2, log_rate: 50)
      name = node.name
      assert subscribe(node.pool) == :ok
      began = System.monotonic_time(:millisecond)
      # over seconds: what is missing is told when a second is over and more comes, and at the end
      line = "(print('line of 1000'), __import__('time').sleep(0.002))"
      assert {:ok, nil} = py(node, "[#{line} for _ in range(1000)] and None")
      dropped = dropped(name, 0, 0)
      seconds = div(System.monotonic_time(:millisecond) - began, 1000) + 1
      assert dropped.lines <= 50 * (seconds + 1)
      assert dropped.lines + dropped.dropped == 1000

      # another worker is not held up: it has a rate of its own
      for _ <- 1..2, do: assert(py(node, "print('other')") == {:ok, nil})
      assert %{line: "other"} = printed(node)
      logged = fn -> Enum.count(lines(node), fn {_, _, text} -> text =~ "of 1000" end) end
      # They come by another way.
      eventually(logged.() == dropped.lines)
    end
  end

  defp dropped(name, lines, count) when lines + count < 1000 do
    assert_receive {:krait_log, ^name, %{line: line, stream: stream}}, 10_000

    case Integer.parse(line) do
      {n, " lines of output dropped" <> _} when stream == nil -> dropped(name, lines, count + n)
      _ -> dropped(name, lines + 1, count)
    end
  end

  defp dropped(_, lines, count), do: %{lines: lines, dropped: count}

  describe "the journal" do
    # The node's standard error is a file that $JOURNAL_STREAM names, as it is the journal's socket
    # where systemd starts it.
    defp journal(test, args, socket \\ "/nowhere") do
      name = TestNode.unique_name()
      path = temporary("journal")
      on_exit(fn -> File.rm(path) end)
      File.touch!(path)
      bin = System.get_env("KRAIT_BIN") || Path.join(:code.priv_dir(:krait), "krait")
      stream = if test, do: "JOURNAL_STREAM=$(stat -c %d:%i #{path}) ", else: ""
      words = ["--name", name, "--python", TestNode.python(), "--size", 1, "--stop-on-eof" | args]
      command = "#{stream}exec #{bin} #{Enum.join(words, " ")} 2>>#{path}"
      cookie = {~c"KRAIT_COOKIE", Atom.to_charlist(Node.get_cookie())}
      there = {~c"KRAIT_JOURNAL_SOCKET", to_charlist(socket)}
      options = [:binary, :exit_status, line: 4096, args: ["-c", command], env: [cookie, there]]
      port = Port.open({:spawn_executable, "/bin/sh"}, options)
      assert_receive {^port, {:data, {:eol, "ready " <> _}}}, 20_000
      assert ask({:default, name}, :await_ready) == :ok
      {:ok, nil} = ask({:default, name}, eval("print('printed')"))
      {:ok, nil} = ask({:default, name}, {:call, :logging, :warning, ["warned"]})
      assert ask({:krait, name}, :stop) == :ok
      assert_receive {^port, {:exit_status, 0}}, 20_000
      assert Proc.await_none(name) == []
      File.read!(path) |> String.split("\n", trim: true)
    end

    test "hears fields from a node whose standard error it is" do
      path = temporary("socket")
      {:ok, socket} = :gen_udp.open(0, [:binary, :local, ifaddr: {:local, path}, recbuf: 1 <<< 20])
      on_exit(fn -> File.rm(path) end)
      assert journal(true, [], path) == []
      entries = entries(socket)
      :gen_udp.close(socket)

      entry = Enum.find(entries, &(&1["MESSAGE"] =~ "root:warned"))

      assert %{"PRIORITY" => "4", "KRAIT_POOL" => "default", "KRAIT_STREAM" => "stderr"} = entry
      assert %{"KRAIT_WORKER" => _, "KRAIT_OS_PID" => _, "KRAIT_CALL" => _} = entry
      assert %{"PRIORITY" => "6"} = Enum.find(entries, &(&1["MESSAGE"] == "[node] stopped"))
      for entry <- entries, do: assert(%{"SYSLOG_IDENTIFIER" => "krait"} = entry)
    end

    # To the last one that a node writes.
    defp entries(socket) do
      assert_receive {:udp, ^socket, _, _, entry}, 10_000

      fields =
        for line <- String.split(entry, "\n", trim: true), do: String.split(line, "=", parts: 2)

      entry = Map.new(fields, &List.to_tuple/1)
      if entry["MESSAGE"] == "[node] stopped", do: [entry], else: [entry | entries(socket)]
    end

    test "gets priorities in front, and no time, where it takes no fields" do
      lines = journal(true, [])
      assert lines != [] and Enum.all?(lines, &(&1 =~ ~r/^<[3467]>\[[^\]]+\] /))
      assert Enum.any?(lines, &(&1 =~ ~r/^<6>\[worker default.*stdout: printed$/))
      assert Enum.any?(lines, &(&1 =~ ~r/^<4>\[worker default.*stderr: WARNING:root:warned$/))
    end

    test "is not taken for a file, and JSON stays JSON" do
      assert Enum.all?(journal(false, []), &(&1 =~ ~r/^\d{4}-\d\d-\d\dT[\d:.]+Z \w+ \[/))
      assert Enum.all?(journal(true, ["--log-format json"]), &(&1 =~ ~r/^{"ts":".*}$/))
    end
  end

  describe "under a supervisor" do
    defp logger(options) do
      parent = self()
      id = :"krait_logs_#{System.unique_integer([:positive])}"
      name = TestNode.unique_name()
      handler = %{config: %{to: parent, node: name}, level: :all}
      :ok = :logger.add_handler(id, Krait.LogForwarder, handler)
      on_exit(fn -> :logger.remove_handler(id) end)
      defaults = [name: name, size: 1, await_ready: true, python: TestNode.python()]
      defaults = defaults ++ [pythonpath: [TestNode.faults()], stop_timeout: 500]
      {:ok, instance} = Krait.start_link(Keyword.merge(defaults, options))
      {instance, name}
    end

    test "a line reaches Logger with its level, node, pool, worker, process, stream and call" do
      {instance, name} = logger([])
      [%{id: worker, os_pid: os_pid}] = ask({:default, name}, :workers) |> elem(1)
      {:ok, nil} = Krait.call(instance, "krait_faults", "log", ["warning", "so it is"])
      meta = logged("so it is")
      assert %{krait: ^name, domain: [:krait], krait_pool: "default", krait_stream: :stderr} = meta
      assert %{krait_worker: ^worker, krait_os_pid: ^os_pid, krait_call: call} = meta
      assert meta.krait_object == "worker default/#{worker} pid #{os_pid}"
      assert is_integer(call)
      assert :ok = ask({:default, name}, :pause)
      assert %{krait_pool: "default"} = meta = logged("paused, told by")
      refute Map.has_key?(meta, :krait_stream) or Map.has_key?(meta, :krait_worker)
      assert Krait.stop(instance) == :ok
    end

    test "levels are those of the lines, in every format" do
      for format <- [:text, :json, :journald] do
        {instance, _} = logger(log_format: format)

        for level <- [:warning, :error] do
          {:ok, nil} = Krait.call(instance, "krait_faults", "log", [level, "a #{format} #{level}"])
          assert_receive {:log, ^level, _, line}, 10_000
          assert line =~ "a #{format} #{level}"
        end

        assert Krait.stop(instance) == :ok
      end
    end

    defp logged(words) do
      assert_receive {:log, _, meta, line}, 10_000
      if line =~ words, do: meta, else: logged(words)
    end
  end
end
