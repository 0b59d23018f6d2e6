defmodule Krait.FailureMode04Test do
  use Krait.Case, async: true

  # From the moment that the node is published to that when its pool is ready; `status` all the while.
  defp start_ms(options) do
    slow = [
      preload: ["slow_import"],
      env: %{"KRAIT_TEST_IMPORT_SECONDS" => "2"},
      await_ready: false
    ]

    node = start_node(Keyword.merge(slow, options))
    ready = :gen_server.send_request(node.pool, :await_ready)
    {ms, slowest} = timed(fn -> ask_until(node, ready, 0) end)
    assert pool_status(node).ready == options[:size]
    {ms, slowest}
  end

  defp ask_until(node, ready, slowest) do
    {ms, {:ok, _}} = timed(fn -> ask(node, :status) end)

    case :gen_server.wait_response(ready, 20) do
      {:reply, :ok} -> max(ms, slowest)
      :timeout -> ask_until(node, ready, max(ms, slowest))
    end
  end

  test "failure mode 4, slow start: 8 workers that import for 2 s are ready in less than twice one start" do
    {one, _} = start_ms(size: 1, start_method: :spawn)
    {eight, slowest} = start_ms(size: 8, start_method: :spawn)
    assert one >= 1_900
    assert eight < 2 * one
    assert slowest <= 50
  end

  test "failure mode 4, slow start: with the fork server in little more than one start" do
    {one, _} = start_ms(size: 1, start_method: :fork)
    {eight, slowest} = start_ms(size: 8, start_method: :fork)
    assert one >= 1_900
    assert eight < one + 800
    assert slowest <= 50
  end
end
