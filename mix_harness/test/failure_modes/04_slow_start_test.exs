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
    {ms, answers} = timed(fn -> ask_until(node, ready, []) end)
    assert pool_status(node).ready == options[:size]
    # The median: one answer may be late because this machine was busy elsewhere, but a node that
    # waits for its workers is late with every one.
    {ms, answers |> Enum.sort() |> Enum.at(div(length(answers), 2))}
  end

  defp ask_until(node, ready, answers) do
    {ms, {:ok, _}} = timed(fn -> ask(node, :status) end)

    case :gen_server.wait_response(ready, 20) do
      {:reply, :ok} -> [ms | answers]
      :timeout -> ask_until(node, ready, [ms | answers])
    end
  end

  test "failure mode 4, slow start: 8 workers that import for 2 s are ready in less than twice one start" do
    {one, _} = start_ms(size: 1, start_method: :spawn)
    {eight, status} = start_ms(size: 8, start_method: :spawn)
    assert one >= 1_900
    assert eight < 2 * one
    assert status <= 50
  end

  test "failure mode 4, slow start: with the fork server in little more than one start" do
    {one, _} = start_ms(size: 1, start_method: :fork)
    {eight, status} = start_ms(size: 8, start_method: :fork)
    assert one >= 1_900
    assert eight < one + 800
    assert status <= 50
  end
end
