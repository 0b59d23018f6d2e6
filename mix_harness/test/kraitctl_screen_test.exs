defmodule Krait.KraitctlScreenTest do
  # kraitctl on a terminal: the live screen, colours; and what it follows.
  use Krait.Case, async: true

  import Krait.Ctl

  @usage 2
  @no_node 3

  defp worker_ids(node), do: Enum.sort(for worker <- workers(node), do: worker.id)

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
      type(port, "ns")
      expect(port, ~r/by time in its state/)
      assert totals(node).kills == 0
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

  describe "log and events" do
    # A command that goes on, when it has subscribed: the node monitors it, and the monitor that it had set
    # for the answer is gone again.
    defp subscribed(node, args) do
      before = monitors(node)
      port = follow(node, args)
      {:os_pid, os_pid} = Port.info(port, :os_pid)
      eventually(monitors(node) > before)
      eventually(monitors_of(node, "kraitctl_#{os_pid}_") == [0])
      port
    end

    defp monitors(node), do: ask(node, :status) |> elem(1) |> Map.fetch!(:monitors)

    defp monitors_of(node, prefix) do
      {:ok, peers} = ask({:krait, node.name}, :peers)
      for peer <- peers, String.starts_with?(to_string(peer.name), prefix), do: peer.monitors
    end

    # The first line that matches, of what comes when the node does this.
    defp told(node, port, expression, pattern) do
      {:ok, _} = py(node, expression)
      line(port, pattern)
    end

    defp line(port, pattern) do
      assert_receive {^port, {:data, {:eol, line}}}
      if line =~ pattern, do: line, else: line(port, pattern)
    end

    test "log -f shows what workers print, harmless" do
      node = start_node()
      hostile = ~S|print('\x1b[2J' + chr(0x9b) + '31m' + chr(0x202e) + 'gone', flush=True)|
      line = told(node, subscribed(node, ["log", "-f"]), hostile, ~r/gone/)
      assert line =~ ~r/^\d\d:\d\d:\d\d info \[default\/\d+ stdout\] /
      assert String.ends_with?(line, ~S(\x1b[2J\x9b31m\u202egone))

      line = told(node, subscribed(node, ["--json", "log"]), hostile, ~r/gone/)
      refute line =~ ~r/[\x{1b}\x{9b}\x{202e}]/u
      name = Atom.to_string(node.name)

      assert %{"node" => ^name, "log" => %{"stream" => "stdout", "line" => text}} =
               Krait.Json.parse!(line)

      assert text == <<"\e[2J", 0x9B::utf8, "31m", 0x202E::utf8, "gone">>
    end

    test "events -f, of the node and of one pool" do
      node = start_node()
      port = subscribed(node, ["events", "-f", "--pool", "default"])
      assert told(node, port, "7", ~r/ krait\.call\.stop .* outcome=ok/)
      port = subscribed(node, ["--json", "events"])
      line = told(node, port, "7", ~r/"event":\["krait","call","stop"\]/)
      assert %{"metadata" => %{"outcome" => "ok", "error" => nil}} = Krait.Json.parse!(line)
    end

    test "they end with the node, with status 3" do
      node = start_node()
      expect_exit(node, [nil, 137])
      port = subscribed(node, ["log", "-f"])
      assert told(node, port, "print(1, flush=True)", ~r/ 1$/)
      signal(node.os_pid, "KILL")
      assert_receive {^port, {:exit_status, @no_node}}, 10_000
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
end
