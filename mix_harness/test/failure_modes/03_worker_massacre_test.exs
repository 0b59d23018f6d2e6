defmodule Krait.FailureMode03Test do
  use Krait.Case, async: true

  test "failure mode 3, worker massacre: of 100 queued callers 99 die; no worker starts, the survivor is next" do
    node = start_node(size: 2)
    workers = for w <- workers(node), do: {w.id, w.os_pid}
    leases = for _ <- 1..2, do: lease!(node)
    callers = for i <- 1..100, do: caller(i, node, eval("#{i}"))
    await_queued(node, 100)
    {survivor, doomed} = List.pop_at(callers, 70)
    Enum.each(doomed, &kill/1)
    eventually(match?(%{queued: 1, abandoned: 99}, totals(node)))
    assert Process.alive?(survivor)
    assert ask(hd(leases), :checkin) == :ok
    assert_receive {71, {:ok, 71}}, 5_000
    assert ask(List.last(leases), :checkin) == :ok
    await_rest(node)
    assert for(w <- workers(node), do: {w.id, w.os_pid}) |> Enum.sort() == Enum.sort(workers)
    refute_received {_, {:ok, _}}
  end

  test "failure mode 3, worker massacre: 1000 junk requests start no worker" do
    node = start_node(size: 2)
    workers = for w <- workers(node), do: {w.id, w.os_pid}

    junk = [
      :junk,
      {:call, 1, 2, 3},
      {:call, :no_such_module, :f, []},
      {:call, :math, :nothing, []},
      {:call, :os, :_exit, [1]},
      {:call, :math, :sqrt, [[1 | 2]]},
      {:call, :math, :sqrt, ["two"]},
      {:call, :math, :sqrt, [4.0], timeout: -1},
      {:checkout, :junk},
      {:give_away, :junk}
    ]

    for _ <- 1..100, request <- junk, do: assert({:error, _} = ask(node, request))
    assert for(w <- workers(node), do: {w.id, w.os_pid}) |> Enum.sort() == Enum.sort(workers)
    assert py(node, "1") == {:ok, 1}
    await_rest(node)
  end
end
