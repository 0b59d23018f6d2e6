defmodule Krait.AheadTest do
  # Requests that are sent to busy workers before they are free. Whether one is, depends on how brisk calls are
  # on this machine just now; what callers see must not. test/check_pool_ahead.c proves the pool, event by event.
  use Krait.Case, async: true

  alias Krait.Gate

  # Calls are brisk from here on, on a machine that has time.
  defp warm(node) do
    for _ <- 1..100, do: {:ok, 3} = ask(node, {:call, "operator", "add", [1, 2]})
    node
  end

  defp all(range, fun), do: range |> Enum.map(&Task.async(fn -> fun.(&1) end)) |> Task.await_many(60_000)

  # A line of a file for each call that really runs.
  defp note(file, n), do: eval("open('#{file}', 'a').write('#{n}\\n')")

  defp noted(file),
    do: file |> File.read!() |> String.split() |> Enum.map(&String.to_integer/1) |> Enum.sort()

  for ahead <- [0, 1, 8, 16] do
    test "every caller hears the answer to what he has asked, once: ahead #{ahead}" do
      node = warm(start_node(size: 2, ahead: unquote(ahead)))

      all(1..40, fn caller ->
        for i <- 1..100,
            do: assert(ask(node, {:call, "operator", "add", [caller * 1000, i]}) == {:ok, caller * 1000 + i})
      end)

      await_rest(node)
      totals = totals(node)
      assert balanced?(totals)
      assert totals.ok == 100 + 40 * 100
      assert totals.late == 0
    end
  end

  test "a long call holds up nobody" do
    node = warm(start_node(size: 2, ahead: 16))
    gate = Gate.new()
    caller(:long, node, eval(Gate.behind(gate, "'done'")))
    await_running(node, 1)

    all(1..32, fn _ ->
      for i <- 1..50, do: assert(ask(node, {:call, "operator", "neg", [i]}) == {:ok, -i})
    end)

    Gate.open(gate)
    assert_receive {:long, {:ok, "done"}}
  end

  test "who dies, gives up or is cancelled while he waits is not run, and the others are, once" do
    node = warm(start_node(size: 1, ahead: 16))
    gate = Gate.new()
    file = temporary("noted")
    caller(:long, node, eval(Gate.behind(gate, "1")))
    await_running(node, 1)
    callers = for n <- 1..60, do: {n, caller(n, node, note(file, n), 60_000)}
    eventually(totals(node).queued + totals(node).running == 61)
    {:ok, requests} = ask(node, :requests)
    waiting = for %{state: :queued, caller: caller, id: id} <- requests, into: %{}, do: {caller, id}

    gone =
      for {n, pid} <- callers, rem(n, 3) > 0, id = waiting[pid] do
        if rem(n, 3) == 1, do: kill(pid), else: assert(ask({:krait, node.name}, {:cancel, id}) == :ok)
        n
      end

    assert length(gone) == 40
    Gate.open(gate)
    await_rest(node)
    assert noted(file) == Enum.filter(1..60, &(rem(&1, 3) == 0))
    assert balanced?(totals(node))
  end

  test "a worker that dies takes nobody with it whose call it had not begun" do
    node = warm(start_node(size: 1, ahead: 16))
    gate = Gate.new()
    file = temporary("noted")
    caller(:long, node, eval(Gate.behind(gate, "1")))
    await_running(node, 1)
    for n <- 1..40, do: caller(n, node, note(file, n), 60_000)
    await_queued(node, 40)
    [pid] = os_pids(node)
    signal(pid, "KILL")
    assert_receive {:long, {:error, {:worker_exit, _}}}
    for n <- 1..40, do: assert_receive({^n, {:ok, _}})
    assert noted(file) == Enum.to_list(1..40)
  end

  test "a pool that pauses has them back" do
    node = warm(start_node(size: 2, ahead: 16))
    stop = make_ref()
    parent = self()

    tasks =
      for n <- 1..20 do
        Task.async(fn ->
          Enum.each(Stream.repeatedly(fn -> ask(node, {:call, "operator", "neg", [n]}) end), fn answer ->
            assert answer == {:ok, -n}
            receive(do: (^stop -> exit(:normal)), after: (0 -> send(parent, {:went, n})))
          end)
        end)
      end

    for _ <- 1..20 do
      assert_receive {:went, _}
      :ok = ask(node, :pause)
      eventually(totals(node).running == 0)
      :ok = ask(node, :resume)
    end

    for task <- tasks do
      Process.unlink(task.pid)
      send(task.pid, stop)
    end

    await_rest(node)
  end
end
