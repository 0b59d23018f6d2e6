defmodule Krait.BusyPollTest do
  # A node that looks again for a while before it sleeps.
  use Krait.Case, async: true

  # Nanoseconds of a processor that the node has had: proc(5).
  defp cpu_ns(node) do
    [ns | _] = File.read!("/proc/#{node.os_pid}/schedstat") |> String.split()
    String.to_integer(ns)
  end

  test "it answers as ever: one after the other, many at once, and what takes longer than it looks" do
    node = start_node(size: 2, busy_poll: 1000)
    for n <- 1..200, do: assert({:ok, ^n} = py(node, "#{n}"))
    for n <- 1..50, do: caller(n, node, eval("#{n}"))
    for n <- 1..50, do: assert_receive({^n, {:ok, ^n}}, 20_000)
    assert {:ok, nil} = py(node, sleep(0.02))
    await_rest(node)
    assert balanced?(totals(node))
  end

  test "it sleeps while nothing happens" do
    node = start_node(size: 1, busy_poll: 1000)
    assert {:ok, 1} = py(node, "1")
    before = cpu_ns(node)
    # what is measured is what it does in this time
    Process.sleep(300)
    assert cpu_ns(node) - before < 20_000_000
  end
end
