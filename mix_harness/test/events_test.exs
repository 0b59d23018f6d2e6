defmodule Krait.EventsTest do
  # What subscribers hear of a node: its events. Log lines are in logs_test.exs.
  use Krait.Case, async: true

  test "smoke" do
    node = start_node(size: 1)
    assert ask({:krait, node.name}, {:subscribe, :all}) == :ok
    assert py(node, "print('hello') or 1") == {:ok, 1}
    py(node, "1/0")
    l = lease!(node)
    ask(l, :checkin)
    ask(node, {:call, :math, :sqrt, [2.0], session: 5})
    [w] = workers(node)
    ask(node, {:kill, w.id})
    ask(node, :pause)
    ask(node, :resume)
    ask(node, {:resize, 2})
    ask(node, :await_ready)
    Process.sleep(300)
    loop()
  end

  defp loop do
    receive do
      m ->
        IO.inspect(m, limit: :infinity)
        loop()
    after
      100 -> :ok
    end
  end
end
