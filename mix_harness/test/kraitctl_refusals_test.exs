defmodule Krait.KraitctlRefusalsTest do
  # What kraitctl says when it cannot do what it was told, and what it ends with.
  use Krait.Case, async: true

  import Krait.Ctl

  alias Krait.PrivateEpmd

  @error 1
  @usage 2
  @no_node 3
  @cookie 4

  defp file(text, mode) do
    path = temporary("cookie")
    File.write!(path, text)
    File.chmod!(path, mode)
    on_exit(fn -> File.rm!(path) end)
    path
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
      port = Krait.Ports.free()
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
      result = ctl(node, ["--timeout", "1.5", "status"])
      signal(node.os_pid, "CONT")
      assert {@no_node, "", err} = result
      assert err =~ "the handshake took too long"
    end

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
