defmodule Krait.FailureMode06Test do
  use Krait.Case, async: true

  @never [
    preload: ["slow_import"],
    env: %{"KRAIT_TEST_IMPORT_SECONDS" => "3600"},
    await_ready: false
  ]

  test "failure mode 6, busy start: what arrives while workers start is handled at once" do
    node = start_node([size: 2] ++ @never)
    started = System.monotonic_time(:millisecond)

    {ms, _} =
      timed(fn ->
        assert ask(node, :ping) == :pong
        assert py(node, "1", timeout: 50) == {:error, {:timeout, :queue}}
        assert py(node, "1", queue_timeout: 0) == {:error, {:timeout, :queue}}
        assert {:error, {:bad_request, _}} = ask(node, {:call, 1, 2, 3})
        assert {:error, {:unencodable, _, _}} = ask(node, {:call, :math, :sqrt, [[1 | 2]]})
        assert {:error, {:invalid_checkout_type, :x}} = ask(node, {:checkout, :x})

        doomed = for i <- 1..10, do: caller(i, node, eval("1"))
        await_queued(node, 10)
        Enum.each(doomed, &kill/1)
        eventually(totals(node).queued == 0)

        assert exit_reason(fn -> ask(node, {:checkout, :anonymous}, 50) end) == :timeout
        eventually(totals(node).queued == 0)
      end)

    assert ms < 10_000
    assert %{starting: starting, ready: 0} = pool_status(node)
    assert starting > 0
    assert System.monotonic_time(:millisecond) - started < 20_000
    assert balanced?(totals(node))
  end

  test "failure mode 6, busy start: a checkin while another worker is replaced serves the next at once" do
    node =
      start_node(
        size: 2,
        start_method: :spawn,
        preload: ["slow_import"],
        env: %{"KRAIT_TEST_IMPORT_SECONDS" => "1"}
      )

    lease = lease!(node)
    assert {:error, {:worker_exit, _}} = py(node, "__import__('os')._exit(1)")
    id = :gen_server.send_request(node.pool, eval("'served'"))
    await_queued(node, 1)

    {ms, _} =
      timed(fn ->
        assert ask(lease, :checkin) == :ok
        assert :gen_server.wait_response(id, 5_000) == {:reply, {:ok, "served"}}
      end)

    assert ms < 500
  end

  for method <- [:fork, :spawn] do
    @method method
    test "failure mode 6, busy start: a #{method}ed worker that never says hello is given up at its deadline, the node idles" do
      node =
        start_node(
          [size: 2, start_method: @method, start_timeout: 2_000, breaker_threshold: 1] ++ @never
        )

      for i <- 1..10, do: caller(i, node, eval("1"))
      await_queued(node, 10)
      cpu = Proc.cpu_ms(node.os_pid)
      {ms, answer} = timed(fn -> ask(node, :await_ready) end)
      used = Proc.cpu_ms(node.os_pid) - cpu
      assert {:error, {:start_failed, _}} = answer
      assert ms in 500..15_000
      # 5 % of the time; /proc counts in steps of 10 ms.
      assert used <= ms * 0.05 + 10
      for i <- 1..10, do: assert_receive({^i, {:error, {:circuit_open, _}}}, 5_000)
      assert balanced?(totals(node))
    end
  end
end
