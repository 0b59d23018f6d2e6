defmodule Krait.FailureMode14Test do
  use Krait.Case, async: true

  @grace [stop_timeout: 300, stop_grace: 200]
  # Running calls get stop_timeout, workers EOF and SIGTERM with a grace each; the rest is the machine's.
  @bound_ms 300 + 3 * 200 + 2_000
  @slow [
    preload: ["slow_import"],
    env: %{"KRAIT_TEST_IMPORT_SECONDS" => "3600"},
    await_ready: false
  ]

  moments = [
    published: [],
    preloading: [],
    spawning: [],
    idle: [],
    busy: [],
    stuck: [],
    leased: [],
    queued: [],
    dying: []
  ]

  for {moment, _} <- moments do
    @moment moment
    test "failure mode 14, slow stop: a stop while #{moment} ends within the grace time" do
      node = at(@moment)
      {ms, answer} = timed(fn -> Krait.stop(node.instance) end)
      assert answer == :ok
      assert ms < @bound_ms
    end
  end

  defp at(:published), do: start_node(@grace ++ [await_ready: false])
  defp at(:preloading), do: start_node(@grace ++ @slow)
  defp at(:spawning), do: start_node(@grace ++ @slow ++ [start_method: :spawn])
  defp at(:idle), do: start_node(@grace)

  defp at(:busy) do
    node = start_node(@grace)
    for i <- 1..2, do: caller(i, node, eval(sleep(60)))
    await_running(node, 2)
    node
  end

  defp at(:stuck) do
    node = start_node(@grace)
    assert {:ok, _} = ask(node, {:call, :krait_faults, :ignore_sigterm, []})
    for i <- 1..2, do: caller(i, node, {:call, :krait_faults, :hang_in_c, []})
    await_running(node, 2)
    node
  end

  defp at(:leased) do
    node = start_node(@grace)
    for _ <- 1..2, do: lease!(node)
    node
  end

  defp at(:queued) do
    node = start_node([size: 1] ++ @grace)
    _ = lease!(node)
    for i <- 1..100, do: caller(i, node, eval("1"))
    await_queued(node, 100)
    node
  end

  defp at(:dying) do
    node = start_node(@grace)
    for i <- 1..2, do: caller(i, node, eval("__import__('os')._exit(1)"))
    for i <- 1..2, do: assert_receive({^i, {:error, {:worker_exit, _}}}, 5_000)
    node
  end

  test "failure mode 14, slow stop: two SIGTERMs end it now" do
    node = start_node(stop_timeout: 60_000, stop_grace: 200, lines: true)
    name = node.name
    for i <- 1..2, do: caller(i, node, eval(sleep(60)))
    await_running(node, 2)
    signal(node.os_pid, "TERM")
    # A question that comes before the signal must not wait for the busy workers.
    eventually(ask(node, {:call, :math, :sqrt, [4.0], [queue_timeout: 0]}) == {:error, :draining})
    signal(node.os_pid, "TERM")
    assert_receive {:krait_exit, ^name, 0}, 10_000
  end
end
