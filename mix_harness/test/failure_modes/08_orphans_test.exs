defmodule Krait.FailureMode08Test do
  use Krait.Case, async: true

  # Every kind of process that a worker can leave behind: in a call in C, forked, in a session of its
  # own, another program.
  defp populate(node) do
    grandchildren =
      for request <- [
            {:call, :krait_faults, :fork_grandchild, []},
            {:call, :krait_faults, :fork_grandchild, [true]},
            {:call, :krait_faults, :subprocess_grandchild, []}
          ] do
        assert {:ok, os_pid} = ask(node, request)
        assert Proc.alive?(os_pid)
        os_pid
      end

    caller(:hanging, node, {:call, :krait_faults, :hang_in_c, []}, :infinity)
    await_running(node, 1)
    grandchildren ++ os_pids(node)
  end

  test "failure mode 8, orphans: SIGKILL of the node mid-call leaves nothing" do
    node = start_node(size: 3)
    expect_exit(node, [137])
    os_pids = populate(node)
    signal(node.os_pid, "KILL")
    assert Proc.await_none(node.name) == []
    for os_pid <- os_pids, do: refute(Proc.alive?(os_pid))
  end

  test "failure mode 8, orphans: SIGKILL of the BEAM mid-call leaves nothing" do
    {peer, _} = start_peer()
    beam = :peer.call(peer, :os, :getpid, []) |> List.to_integer()
    name = TestNode.unique_name()

    options = [
      name: name,
      size: 3,
      await_ready: true,
      pythonpath: [TestNode.faults()],
      stop_timeout: 200,
      stop_grace: 100
    ]

    assert :peer.call(peer, Krait.Owner, :start, [options], 30_000) == :ok
    os_pids = populate({:default, name})
    signal(beam, "KILL")
    # The node drains (stop_timeout) and ends its workers politely (stop_grace).
    assert Proc.await_none(name) == []
    for os_pid <- os_pids, do: refute(Proc.alive?(os_pid))
  end

  test "failure mode 8, orphans: SIGKILL of the fork server takes its workers along; the pool heals" do
    node = start_node(size: 3)
    {:ok, fork_server} = ask(node, {:call, :os, :getppid, []})
    workers = os_pids(node)
    caller(:hanging, node, {:call, :krait_faults, :hang_in_c, []})
    # One that its worker had not even read would run on another.
    eventually(Enum.any?(lines(node), fn {_, _, text} -> text =~ "begun" end))
    signal(fork_server, "KILL")
    assert_receive {:hanging, {:error, {:worker_exit, _}}}, 10_000
    # Not ours to wait for: they are the fork server's children.
    eventually(not Enum.any?(workers, &Proc.alive?/1))
    await_rest(node)
    assert py(node, "1") == {:ok, 1}
    assert os_pids(node) -- workers == os_pids(node)
  end

  test "failure mode 8, orphans: a worker that is killed in its call takes its grandchildren along" do
    node = start_node(size: 1)
    {:ok, forked} = ask(node, {:call, :krait_faults, :fork_grandchild, []})
    {:ok, program} = ask(node, {:call, :krait_faults, :subprocess_grandchild, []})
    assert py(node, sleep(60), timeout: 50) == {:error, {:timeout, :call}}
    await_rest(node)
    eventually(not Proc.alive?(forked) and not Proc.alive?(program))
  end

  test "failure mode 8, orphans: an ordinary stop leaves no grandchildren either" do
    node = start_node(size: 3)
    os_pids = populate(node)
    assert Krait.stop(node.instance) == :ok
    assert Proc.await_none(node.name) == []
    for os_pid <- os_pids, do: refute(Proc.alive?(os_pid))
  end
end
