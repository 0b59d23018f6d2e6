defmodule Krait.NotifyTest do
  # What a service manager hears of the node; the test is systemd, with its socket.
  use Krait.Case, async: true

  alias Krait.ShellNode

  # A socket of ours, by its path or in the abstract namespace, and the address as systemd would say it.
  defp manager(:path) do
    path = temporary("notify")
    on_exit(fn -> File.rm(path) end)
    {open(path), path}
  end

  defp manager(:abstract) do
    name = "krait_notify_#{System.pid()}_#{System.unique_integer([:positive])}"
    {open(<<0, name::binary>>), "@" <> name}
  end

  defp open(path) do
    {:ok, socket} = :socket.open(:local, :dgram)
    :ok = :socket.bind(socket, %{family: :local, path: path})
    socket
  end

  defp hear(socket) do
    {:ok, text} = :socket.recv(socket, 0, 20_000)
    text
  end

  # The next that begins so; what comes before it must be one of the words that may come at any time.
  defp await(socket, prefix) do
    text = hear(socket)

    if String.starts_with?(text, prefix) do
      String.replace_prefix(text, prefix, "")
    else
      assert text =~ ~r/^(STATUS|WATCHDOG|EXTEND_TIMEOUT_USEC)=/, "before #{prefix}: #{text}"
      await(socket, prefix)
    end
  end

  defp await_all(_socket, []), do: :ok

  defp await_all(socket, prefixes) do
    text = hear(socket)
    await_all(socket, Enum.reject(prefixes, &String.starts_with?(text, &1)))
  end

  # By hand, as systemd would: a node with --stop-on-eof is part of somebody else's service.
  defp start(address, watchdog_us, args \\ []) do
    env = %{"NOTIFY_SOCKET" => address, "WATCHDOG_USEC" => to_string(watchdog_us)}
    ShellNode.start(["--size", "1", "--stop-timeout", "500", "--stop-grace", "300" | args], env)
  end

  for kind <- [:path, :abstract] do
    test "at a socket with #{kind} it is told the start, signs of life, and the stop" do
      {socket, address} = manager(unquote(kind))
      node = start(address, 200_000)
      # when the worker is ready, before or after the name is published, is its own affair
      await_all(socket, ["READY=1", "STATUS=#{node.name} serving; default: 1 of 1 workers ready"])
      for _ <- 1..3, do: assert(await(socket, "WATCHDOG=1") == "")
      signal(node.os_pid, "TERM")
      assert await(socket, "STOPPING=1") == ""
      # stop_timeout 500, three times stop_grace 300, and a second
      assert await(socket, "EXTEND_TIMEOUT_USEC=") == "2400000"
    end
  end

  test "it is told of a reload, good or bad" do
    {socket, address} = manager(:path)
    conf = temporary("notify") <> ".conf"
    on_exit(fn -> File.rm(conf) end)
    File.write!(conf, "pool default {\n}\n")
    node = start(address, 60_000_000, ["--config", conf])
    assert await(socket, "READY=1") == ""

    for text <- ["pool default {\n  queue_limit = 7\n}\n", "nonsense\n"] do
      File.write!(conf, text)
      before = System.os_time(:second)
      signal(node.os_pid, "HUP")
      assert ["", us] = String.split(await(socket, "RELOADING=1"), "\nMONOTONIC_USEC=")
      # since the machine started, as /proc/uptime
      {uptime, _} = Float.parse(File.read!("/proc/uptime"))

      assert_in_delta String.to_integer(us) / 1_000_000,
                      uptime,
                      System.os_time(:second) - before + 5

      assert await(socket, "READY=1") == ""
    end
  end

  test "a node that belongs to a supervisor's service does not speak for it" do
    {socket, address} = manager(:path)
    node = start(address, 200_000, ["--stop-on-eof"])
    assert ask({:krait, node.name}, :ping) == :pong
    assert {:error, :timeout} = :socket.recv(socket, 0, 500)
  end

  test "a node whose loop stands still gives no sign of life" do
    {socket, address} = manager(:path)
    node = start(address, 200_000)
    assert await(socket, "READY=1") == ""
    signal(node.os_pid, "STOP")
    assert {:error, :timeout} = silence(socket)
    signal(node.os_pid, "CONT")
    assert await(socket, "WATCHDOG=1") == ""
  end

  # What was sent before it stood still is still to be read; then comes nothing for five of its intervals.
  defp silence(socket) do
    case :socket.recv(socket, 0, 500) do
      {:ok, _} -> silence(socket)
      other -> other
    end
  end

  test "its children are not told where the manager listens" do
    {_socket, address} = manager(:path)
    node = start(address, 60_000_000)

    assert {:ok, []} =
             py(node.pool, "[k for k in __import__('os').environ if k[:6] in ('NOTIFY', 'WATCHD')]")
  end

  test "an address that is none, or where nobody is, costs nothing" do
    for address <- ["nonsense", "/no/such/socket", "@", String.duplicate("/x", 200)] do
      node = start(address, 100_000)
      assert {:ok, 2} = py(node.pool, "1 + 1")
    end
  end
end
