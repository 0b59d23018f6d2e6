defmodule Krait.FailureMode07Test do
  use Krait.Case, async: true

  for {name, request} <- [
        hung_in_c: {:call, :krait_faults, :hang_in_c, []},
        stopped: {:call, :krait_faults, :stop_self, []},
        looping: {:call, :krait_faults, :hang, []},
        deaf_to_interrupts: {:call, :krait_faults, :hang_stubborn, []}
      ],
      abandon <- [:kill, :interrupt] do
    @request request
    @abandon abandon
    test "failure mode 7, stuck worker: #{name}, it is replaced at its deadline (#{abandon})" do
      node = start_node(size: 1, abandon: @abandon, interrupt_grace: 200)
      [stuck] = os_pids(node)
      {ms, answer} = timed(fn -> ask(node, Tuple.append(@request, timeout: 300)) end)
      assert answer == {:error, {:timeout, :call}}
      assert ms in 290..10_000
      {ms, answer} = timed(fn -> py(node, "1") end)
      assert answer == {:ok, 1}
      assert ms < 10_000
      await_rest(node)
      if @abandon == :kill, do: refute(stuck in os_pids(node))
    end
  end

  test "failure mode 7, stuck worker: one that ignores SIGTERM and hangs ends with the node" do
    node = start_node(size: 1, stop_timeout: 200, stop_grace: 200)
    assert {:ok, nil} = ask(node, {:call, :krait_faults, :ignore_sigterm, []})
    caller(:hanging, node, {:call, :krait_faults, :hang_in_c, []})
    await_running(node, 1)
    {ms, answer} = timed(fn -> Krait.stop(node.instance) end)
    assert answer == :ok
    assert ms < 10_000
  end

  test "failure mode 7, stuck worker: an idle one that was SIGSTOPped costs the call that met it, at most" do
    node = start_node(size: 1)
    [os_pid] = os_pids(node)
    signal(os_pid, "STOP")
    assert py(node, "1", timeout: 300) == {:error, {:timeout, :call}}
    assert py(node, "1") == {:ok, 1}
    refute os_pid in os_pids(node)
  end
end
