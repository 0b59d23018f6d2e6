defmodule Krait.CommandLineTest do
  # The program alone, as a shell or systemd starts it: what it prints, and what it ends with.
  use Krait.Case, async: true

  @usage 2

  defp bin, do: System.get_env("KRAIT_BIN") || Path.join(:code.priv_dir(:krait), "krait")

  # To its end, its standard input a pipe that is at its end already.
  defp krait(args, env \\ []) do
    env = Enum.to_list(Map.merge(%{"KRAIT_COOKIE" => "a cookie"}, Map.new(env)))
    script = ~s(: | exec timeout 30 "$0" "$@")
    System.cmd("sh", ["-c", script, bin() | args], env: env, stderr_to_stdout: true)
  end

  # The words of its `ready`; then it is stopped.
  defp ready(args) do
    options = [:binary, :exit_status, line: 4096, args: args ++ ["--log-level", "error"]]
    options = [{:env, [{~c"KRAIT_COOKIE", ~c"a cookie"}]} | options]
    port = Port.open({:spawn_executable, bin()}, options)
    assert_receive {^port, {:data, {:eol, "ready " <> words}}}, 20_000
    [name, tcp, os_pid] = String.split(words)
    signal(String.to_integer(os_pid), "TERM")
    assert_receive {^port, {:exit_status, 0}}, 20_000
    {name, tcp}
  end

  defp named(args),
    do: ["--name", to_string(unique_name()), "--stop-on-eof", "--python", TestNode.python() | args]

  defp home do
    home = temporary("home")
    File.mkdir_p!(home)
    on_exit(fn -> File.rm_rf!(home) end)
    home
  end

  for {args, status, says} <- [
        {["--help"], 0, ~r/--queue-limit N/},
        {["--help-markdown"], 0, ~r/\| `--queue-limit` \|/},
        {["--version"], 0, ~r/^krait \d/},
        {[], @usage, ~r/--name/},
        {["--no-such-option"], @usage, ~r/--no-such-option/},
        {["--name", String.duplicate("n", 300) <> "@127.0.0.1"], @usage, ~r/longer than/},
        {["--name", "a@127.0.0.1", "--python", "python"], @usage, ~r/the path of an interpreter/},
        {["--name", "a@127.0.0.1", "--python", "/no/such"], @usage, ~r/an executable file/},
        {["--name", "a@127.0.0.1", "--python", "/bin/true"], @usage, ~r/with msgpack/},
        {["--name", "a@127.0.0.1", "--cookie-file", "/no/such"], @usage, ~r/cookie: .*No such/}
      ] do
    test "`krait #{String.slice(Enum.join(args, " "), 0, 60)}` ends with #{status}" do
      {output, status} = krait(unquote(args))
      assert {status, output =~ unquote(Macro.escape(says))} == {unquote(status), true}, output
    end
  end

  test "an address that nobody has, or that is none, is said" do
    for {address, says} <- [{"here", ~r/expected an IP address/}, {"192.0.2.1", ~r/cannot listen/}] do
      {output, status} = krait(named(["--listen", address]))
      assert {status, output =~ says} == {1, true}, output
    end
  end

  test "a name that is taken is said, and has a status of its own" do
    node = start_node(await_ready: false)
    assert {output, 3} = krait(["--name", to_string(node.name), "--python", TestNode.python()])
    assert output =~ "the name #{node.name} is taken"
  end

  test "a node whose standard input is at its end before it is published ends at once" do
    assert {output, 0} = krait(named(["--size", "1"]))
    assert output =~ "standard input was closed"
    refute output =~ "stop_timeout"
  end

  test "a node finds an interpreter by itself" do
    name = to_string(unique_name())
    assert {^name, _} = ready(["--name", name, "--size", "1"])
  end

  test "a short name gets the host's" do
    name = hd(String.split(to_string(unique_name()), "@"))
    {full, _} = ready(["--sname", name, "--size", "1", "--python", TestNode.python()])
    assert [^name, host] = String.split(full, "@")
    refute host =~ "."
  end

  describe "the cookie" do
    test "is made for a user who has none, readable by its owner only, and stays" do
      home = home()
      file = Path.join(home, ".erlang.cookie")

      env = %{"KRAIT_COOKIE" => nil, "HOME" => home}
      assert {_, 0} = krait(named(["--size", "1"]), env)
      assert %File.Stat{mode: mode} = File.stat!(file)
      assert Bitwise.band(mode, 0o777) == 0o400
      cookie = File.read!(file)
      assert cookie =~ ~r/^[A-Z]{20}$/
      assert {_, 0} = krait(named(["--size", "1"]), env)
      assert File.read!(file) == cookie
    end

    test "is refused when others may read it, or when it is none" do
      file = Path.join(home(), "cookie")

      for {text, mode, says} <- [
            {"secret", 0o644, ~r/found mode 0644/},
            {"", 0o600, ~r/1 to \d+ characters/},
            {"two\nlines", 0o600, ~r/on one line/},
            {String.duplicate("x", 1000), 0o600, ~r/1 to \d+ characters/}
          ] do
        File.write!(file, text)
        File.chmod!(file, mode)
        {output, status} = krait(named(["--cookie-file", file]))
        assert {status, output =~ says} == {@usage, true}, output
      end
    end

    test "is refused where it cannot be made" do
      env = %{"KRAIT_COOKIE" => nil, "HOME" => "/no/such"}
      {output, status} = krait(named([]), env)
      assert {status, output =~ "cannot make it"} == {@usage, true}, output
    end
  end
end
