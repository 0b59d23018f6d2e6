defmodule Krait.DoctorNodeTest do
  # `krait doctor`: what it says of a set-up that is well, and of one that is broken, of each kind.
  use Krait.Case, async: true

  alias Krait.{Ports, PrivateEpmd, Proc, ShellNode}

  @cookie "a cookie of the doctor's"

  # Its status, and its findings: {check, verdict, found, do}.
  defp doctor(args, env \\ %{}, prefix \\ []) do
    env = Map.merge(%{"KRAIT_COOKIE" => @cookie, "HOME" => home()}, env)
    Process.put(:home, env["HOME"])
    [program | rest] = prefix ++ [ShellNode.bin(), "doctor", "--json" | args]

    {output, status} =
      System.cmd("sh", ["-c", ~s(exec timeout 60 "$0" "$@" 2>&1), program | rest], env: env)

    {status, findings(output)}
  end

  # As a program would read them: JSON, by somebody else's reader.
  defp findings(output) do
    file = Path.join(home(), "answer.json")
    File.write!(file, output)

    code = """
    import json, sys
    for c in json.load(open(sys.argv[1]))["checks"]:
        print("\\x1e".join([c["check"], c["verdict"], c["found"], c["means"], c["do"] or ""]), end="\\x1d")
    """

    {text, status} = System.cmd(TestNode.python(), ["-c", code, file], stderr_to_stdout: true)
    assert status == 0, output

    for line <- String.split(text, <<0x1D>>, trim: true) do
      [check, verdict, found, means, advice] = String.split(line, <<0x1E>>)
      assert means != ""
      {check, String.to_existing_atom(verdict), found, advice}
    end
  end

  # Atoms that JSON's words become.
  _ = [:ok, :warn, :fail]

  defp home do
    home = temporary("doctor")
    File.mkdir_p!(home)
    on_exit(fn -> File.rm_rf!(home) end)
    home
  end

  defp file(name, text, mode \\ 0o400) do
    path = Path.join(home(), name)
    File.write!(path, text)
    File.chmod!(path, mode)
    path
  end

  # Without a first call; with an interpreter that is known, which saves the search.
  defp quick(args), do: ["--no-call", "--python", TestNode.python() | args]

  defp of(findings, check), do: for({^check, v, found, advice} <- findings, do: {v, found, advice})

  # The only finding of a check: its verdict, what was found, what to do.
  defp assert_finding({status, findings}, check, verdict, found, advice) do
    assert [{v, text, todo}] = Enum.take(of(findings, check), -1), inspect(findings)
    assert {v, text =~ found, todo =~ advice} == {verdict, true, true}, inspect({v, text, todo})
    assert status == if(Enum.any?(findings, &(elem(&1, 1) == :fail)), do: 1, else: 0)
    findings
  end

  defp listener(reply) do
    {:ok, socket} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false])
    {:ok, port} = :inet.port(socket)

    spawn_link(fn -> serve(socket, reply) end)
    port
  end

  defp serve(socket, reply) do
    {:ok, client} = :gen_tcp.accept(socket)
    if reply, do: :gen_tcp.send(client, reply) && :gen_tcp.close(client)
    serve(socket, reply)
  end

  describe "of a set-up that is well" do
    test "every line is ok, the first call included, and nothing is left behind" do
      name = to_string(unique_name())
      cookie = file("cookie", "one of our own")
      args = ["--name", name, "--cookie-file", cookie, "--python", TestNode.python()]
      {status, findings} = doctor(args)
      assert {status, Enum.reject(findings, &(elem(&1, 1) == :ok))} == {0, []}

      assert ~w(versions options name host epmd cookie registered port package python descriptors
                processes memory start call) == Enum.map(findings, &elem(&1, 0))

      assert [{:ok, "pool default: a worker was ready after " <> _, ""}] = of(findings, "call")
      eventually(left_behind() == [])
      # nor its name: doctors of other runs come and go
      eventually(not Enum.any?(names(), &(&1 =~ ~r/^krait_doctor_\d+$/)), 60_000)
    end

    test "people read it as lines, and no line is red" do
      args = ["doctor" | quick(["--name", to_string(unique_name())])]
      {text, 0} = System.cmd(ShellNode.bin(), args, env: [{"KRAIT_COOKIE", @cookie}])
      assert text =~ ~r/^ok    epmd        answers on port \d+/m
      assert text =~ "Nothing keeps the node from serving.\n"
      refute text =~ "\e"
    end

    test "without an epmd it has the node start one, which ends with it" do
      port = Ports.free()
      answer = doctor(["--python", TestNode.python()], %{"ERL_EPMD_PORT" => to_string(port)})
      findings = assert_finding(answer, "epmd", :ok, ~r/the node will start \/.*epmd/, ~r/^$/)
      assert [{:ok, _, _}] = of(findings, "call")
      eventually(PrivateEpmd.os_pids(port) == [])
      # nor is one left on the port that only the two of them knew
      eventually(left_behind() == [])
    end

    test "a node of that name that runs is asked, and its port is its own" do
      port = Ports.free()
      node = ShellNode.start(["--size", "1", "--port", to_string(port)])
      args = quick(["--name", to_string(node.name), "--port", to_string(port)])
      answer = doctor(args, %{"KRAIT_COOKIE" => to_string(Node.get_cookie())})
      findings = assert_finding(answer, "registered", :ok, ~r/runs, on port #{port}/, ~r/^$/)
      assert [{:ok, _, _}] = of(findings, "port")
    end
  end

  # Processes that were started by the doctor that was asked last, itself included: they have its home.
  defp left_behind do
    for entry <- File.ls!("/proc"),
        {pid, ""} <- [Integer.parse(entry)],
        {:ok, environment} <- [File.read("/proc/#{pid}/environ")],
        "HOME=#{Process.get(:home)}" in String.split(environment, <<0>>),
        Proc.alive?(pid),
        do: pid
  end

  defp names do
    {:ok, names} = :erl_epmd.names(~c"127.0.0.1")
    for {name, _} <- names, do: to_string(name)
  end

  describe "of options" do
    test "says what is wrong with them, and looks no further" do
      answer = doctor(["--size", "0"])
      findings = assert_finding(answer, "options", :fail, ~r/--size: found "0"/, ~r/--help/)
      assert Enum.map(findings, &elem(&1, 0)) == ["versions", "options"]
    end

    test "says where a file is wrong" do
      conf = file("krait.conf", "node {\n  name = \"a@127.0.0.1\"\n  size = 4\n}\n", 0o644)
      answer = doctor(["--config", conf])
      assert_finding(answer, "options", :fail, ~r/#{conf}:3/, ~r/krait check/)
    end

    test "looks at each pool of a file" do
      conf =
        file("krait.conf", """
        node { name = "#{unique_name()}" }
        pool a { python = "#{TestNode.python()}" }
        pool b { python = "/bin/true" }
        """)

      {1, findings} = doctor(["--config", conf])
      assert [{:ok, "pool a: " <> _, _}, {:fail, "pool b: " <> _, _}] = of(findings, "python")
      assert [{:warn, "not tried", _}] = of(findings, "call")
    end
  end

  describe "of the name and its host" do
    test "a host without an address" do
      answer = doctor(quick(["--name", "a@no-such-host.invalid"]))
      assert_finding(answer, "host", :fail, ~r/has no address/, ~r{/etc/hosts})
    end

    test "a host that is another machine" do
      answer = doctor(quick(["--name", "a@192.0.2.1"]))
      assert_finding(answer, "host", :fail, ~r/no address of this machine/, ~r/--name/)
    end

    test "a host that is not where the node listens" do
      answer = doctor(quick(["--name", "a@127.0.0.2"]))
      assert_finding(answer, "host", :warn, ~r/127.0.0.2, and the node .* 127.0.0.1/, ~r/--listen/)
    end

    test "a long name that BEAMs will not take" do
      answer = doctor(quick(["--name", "a@localhost"]))
      assert_finding(answer, "name", :warn, ~r/no dot/, ~r/--sname/)
    end

    test "a name that is none" do
      answer = doctor(quick(["--name", "a b@127.0.0.1"]))
      assert_finding(answer, "name", :fail, ~r/a b@/, ~r/NAME@HOST/)
    end

    test "a name that another node has" do
      cookie = to_string(Node.get_cookie())
      answer = doctor(quick(["--name", to_string(node())]), %{"KRAIT_COOKIE" => cookie})
      assert_finding(answer, "registered", :fail, ~r/is no Krait: nobody there/, ~r/another --name/)
    end

    test "a name that a node with another cookie has" do
      answer = doctor(quick(["--name", to_string(node())]))
      assert_finding(answer, "registered", :fail, ~r/another cookie/, ~r/cookie of the node/)
    end

    test "a name that is registered, and nobody listens there" do
      epmd = PrivateEpmd.start()
      alive = "stale"

      body = [
        120,
        <<Ports.free()::16>>,
        77,
        0,
        <<6::16, 5::16, byte_size(alive)::16>>,
        alive,
        <<0::16>>
      ]

      {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, epmd, [:binary, packet: 2, active: false])
      :ok = :gen_tcp.send(socket, body)
      :ok = :inet.setopts(socket, packet: :raw)
      assert {:ok, <<_, 0, _::binary>>} = :gen_tcp.recv(socket, 0, 5_000)
      env = %{"ERL_EPMD_PORT" => to_string(epmd)}
      answer = doctor(quick(["--name", "stale@127.0.0.1"]), env)
      assert_finding(answer, "registered", :fail, ~r/and nobody does/, ~r/another --name/)
    end
  end

  describe "of epmd" do
    test "something else has its port" do
      port = listener("HTTP/1.0 400 Bad Request\r\n\r\n")
      answer = doctor(quick([]), %{"ERL_EPMD_PORT" => to_string(port)})
      assert_finding(answer, "epmd", :fail, ~r/port #{port} is no epmd/, ~r/ERL_EPMD_PORT/)
    end

    test "it does not answer" do
      port = listener(nil)
      answer = doctor(quick([]), %{"ERL_EPMD_PORT" => to_string(port)})
      assert_finding(answer, "epmd", :fail, ~r/does not answer/, ~r/start it anew/)
    end

    test "it is not installed" do
      # Hidden from the doctor alone, by a mount of its own; where that is not to be had there is nothing to see.
      {program, 0} = System.cmd("readlink", ["-f", System.find_executable("epmd")])
      hide = ~s(mount --bind /dev/null "$0" && exec "$@")
      hidden = ["unshare", "--mount", "sh", "-c", hide, String.trim(program)]

      if match?({_, 0}, System.cmd("unshare", tl(hidden) ++ ["true"], stderr_to_stdout: true)) do
        env = %{"ERL_EPMD_PORT" => to_string(Ports.free())}
        answer = doctor(["--python", TestNode.python()], env, hidden)
        findings = assert_finding(answer, "epmd", :fail, ~r/no program epmd/, ~r/erlang-base/)
        assert [{:warn, "not tried", _}] = of(findings, "call")
      end
    end
  end

  describe "of the cookie" do
    test "a file that others may read" do
      cookie = file("cookie", "secret", 0o644)
      answer = doctor(quick(["--cookie-file", cookie]))
      assert_finding(answer, "cookie", :fail, ~r/found mode 0644/, ~r/^chmod 400 #{cookie}$/)
    end

    test "a file that is not there, is empty, or has more than one line" do
      answer = doctor(quick(["--cookie-file", "/no/such"]))
      assert_finding(answer, "cookie", :fail, ~r/No such file/, ~r/can read/)

      for text <- ["", "a\nb\n"] do
        answer = doctor(quick(["--cookie-file", file("cookie", text)]))
        assert_finding(answer, "cookie", :fail, ~r/1 to 255 characters/, ~r/one line/)
      end
    end

    test "two of them" do
      home = home()
      File.write!(Path.join(home, ".erlang.cookie"), "another")
      File.chmod!(Path.join(home, ".erlang.cookie"), 0o400)
      answer = doctor(quick([]), %{"HOME" => home})
      assert_finding(answer, "cookie", :warn, ~r/has another/, ~r/unset \$KRAIT_COOKIE/)
    end

    test "none yet, and it is not made by looking" do
      home = home()
      answer = doctor(quick([]), %{"HOME" => home, "KRAIT_COOKIE" => nil})
      assert_finding(answer, "cookie", :warn, ~r/there is no #{home}/, ~r/mode 0400/)
      assert File.ls!(home) == []
    end

    test "none, and no home to make it in" do
      answer = doctor(quick([]), %{"HOME" => "/no/such", "KRAIT_COOKIE" => nil})
      assert_finding(answer, "cookie", :fail, ~r/cannot be made/, ~r/--cookie-file/)
    end
  end

  describe "of ports" do
    test "one that is taken" do
      port = listener(nil)
      answer = doctor(quick(["--port", to_string(port)]))
      assert_finding(answer, "port", :fail, ~r/port #{port} is taken/, ~r/ss -ltnp/)
    end

    test "one that is taken, for metrics" do
      port = listener(nil)
      answer = doctor(quick(["--metrics", "127.0.0.1:#{port}"]))
      assert_finding(answer, "port", :fail, ~r/--metrics: .* port #{port} is taken/, ~r/ss -ltnp/)
    end

    test "an address of nobody here, and one that is none" do
      answer = doctor(quick(["--listen", "192.0.2.1"]))
      assert_finding(answer, "port", :fail, ~r/Cannot assign/, ~r/0\.0\.0\.0/)
      answer = doctor(quick(["--listen", "localhost"]))
      assert_finding(answer, "port", :fail, ~r/no IP address/, ~r/an IP address/)
    end
  end

  describe "of Python" do
    test "an interpreter without msgpack" do
      python = file("python", "#!/bin/sh\necho is Python 3.11.2 without msgpack\n", 0o755)
      answer = doctor(["--no-call", "--python", python])
      assert_finding(answer, "python", :fail, ~r/without msgpack/, ~r/python3-msgpack/)
    end

    test "an interpreter that is too old, or not there" do
      python = file("python", "#!/bin/sh\necho is Python 3.8.1, older than 3.9\n", 0o755)
      answer = doctor(["--no-call", "--python", python])
      assert_finding(answer, "python", :fail, ~r/older than 3.9/, ~r/3\.9 or later/)
      answer = doctor(["--no-call", "--python", "/no/such"])
      assert_finding(answer, "python", :fail, ~r/an executable file/, ~r/--python/)
    end

    test "msgpack without its C extension" do
      answer = doctor(quick([]), %{"MSGPACK_PUREPYTHON" => "1"})
      assert_finding(answer, "python", :warn, ~r/without its C extension/, ~r/MSGPACK_PUREPYTHON/)
    end

    test "directories that are not there" do
      answer = doctor(quick(["--pythonpath", "/no/such"]))
      assert_finding(answer, "pythonpath", :fail, ~r{/no/such}, ~r/can read/)
      answer = doctor(quick(["--cwd", "/no/such"]))
      assert_finding(answer, "cwd", :fail, ~r{/no/such}, ~r/can enter/)
    end

    test "the package is not where the program is" do
      alone = file("krait", File.read!(ShellNode.bin()), 0o755)

      {output, 1} =
        System.cmd(alone, ["doctor", "--python", TestNode.python()],
          env: [{"KRAIT_COOKIE", @cookie}],
          stderr_to_stdout: true
        )

      assert output =~ ~r/^FAIL  package     cannot find the Python package/m
      assert output =~ ~r/^warn  call        not tried/m
    end
  end

  describe "of limits" do
    test "too few descriptors" do
      limited = ["sh", "-c", ~s(ulimit -n 512; exec "$0" "$@")]
      answer = doctor(quick([]), %{}, limited)
      assert_finding(answer, "descriptors", :warn, ~r/up to 512/, ~r/LimitNOFILE/)
      answer = doctor(quick(["--max-peers", "100"]), %{}, limited)
      assert_finding(answer, "descriptors", :ok, ~r/up to 512/, ~r/^$/)
    end

    test "cgroups that are wanted, and may not be written" do
      # As in most containers; where a mount of our own is not to be had there is nothing to see.
      hide = ~s(mount -t tmpfs tmpfs /sys/fs/cgroup && exec "$0" "$@")
      hidden = ["unshare", "--mount", "sh", "-c", hide]

      if match?({_, 0}, System.cmd("unshare", tl(hidden) ++ ["true"], stderr_to_stdout: true)) do
        answer = doctor(quick(["--memory-max", "1073741824"]), %{}, hidden)
        assert_finding(answer, "cgroup", :warn, ~r/./, ~r/Delegate=yes/)
        {0, findings} = doctor(quick([]), %{}, hidden)
        assert of(findings, "cgroup") == []
      end
    end

    test "less memory than workers" do
      pools = for name <- ~w(a b c d e f g h), do: ["--pool", name, "--size", "1..1024"]
      {0, findings} = doctor(quick(List.flatten(pools)))
      # 256 GiB for 8192 workers, which no machine of a test has free
      assert [{:warn, text, advice}] = of(findings, "memory")
      assert {text =~ "for 8192 workers", advice =~ "--max-rss"} == {true, true}
    end
  end

  describe "of the first call" do
    test "says what Python says when a worker does not start" do
      args = ["--python", TestNode.python(), "--preload", "no_such_module"]
      answer = doctor(args)
      assert_finding(answer, "call", :fail, ~r/No module named 'no_such_module'/, ~r/--preload/)
    end

    test "says why a node does not start" do
      port = listener(nil)
      # The doctor's node takes a free port; an address that nobody has it cannot do without.
      answer = doctor(["--python", TestNode.python(), "--listen", "192.0.2.1"])
      assert_finding(answer, "start", :fail, ~r/cannot listen on 192.0.2.1/, ~r/cause/)
      answer = doctor(["--python", TestNode.python(), "--port", to_string(port)])
      assert_finding(answer, "call", :ok, ~r/a worker was ready/, ~r/^$/)
    end

    test "goes through each pool, whatever allow says" do
      args = ~w(--pool a --allow math --pool b --slots 2 --python) ++ [TestNode.python()]
      {0, findings} = doctor(["--python", TestNode.python() | args])
      assert [{:ok, "pool a: " <> _, _}, {:ok, "pool b: " <> _, _}] = of(findings, "call")
    end
  end
end
