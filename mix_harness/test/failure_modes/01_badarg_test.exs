defmodule Krait.FailureMode01Test do
  use Krait.Case, async: true

  @getpid {:call, :os, :getpid, []}

  test "failure mode 1, badarg: 1000 one-shot callers, in sequence and in parallel, use `size` processes" do
    node = start_node(size: 4)
    workers = os_pids(node)
    one_shot = fn -> Task.async(fn -> ask(node, @getpid) end) end

    in_sequence = for _ <- 1..1000, do: Task.await(one_shot.())
    in_parallel = for(_ <- 1..1000, do: one_shot.()) |> Task.await_many(30_000)

    used = for {:ok, os_pid} <- in_sequence ++ in_parallel, uniq: true, do: os_pid
    assert length(in_sequence ++ in_parallel) == 2000
    assert used -- workers == []
    assert os_pids(node) == workers
    await_rest(node)
    assert %{received: received, answered: answered, abandoned: 0} = totals(node)
    assert answered == received
  end

  test "failure mode 1, badarg: callers killed after, during and before their call cost nobody anything" do
    node = start_node(size: 4)
    before = workers(node)
    parent = self()

    innocent =
      for i <- 1..200 do
        Task.async(fn -> ask(node, {:call, :operator, :add, [i, 1]}) end)
      end

    # Right after: they have their answer, and die with it.
    for i <- 1..100 do
      pid =
        spawn(fn ->
          send(parent, {:answered, i, ask(node, @getpid)})
          receive do: (:never -> :ok)
        end)

      assert_receive {:answered, ^i, {:ok, _}}, 5_000
      kill(pid)
    end

    # Before: most of them have not even sent.
    for _ <- 1..100, do: spawn(fn -> ask(node, @getpid) end) |> kill()

    assert Task.await_many(innocent, 20_000) == for(i <- 1..200, do: {:ok, i + 1})
    await_rest(node)
    # One that was killed while its answer was computed costs its worker, at most; nobody else's.
    assert length(workers(node)) == 4
    killed_in_call = length(before) - length(for w <- before, w.os_pid in os_pids(node), do: w)
    assert killed_in_call <= totals(node).abandoned

    # During: with `finish` not even that.
    gentle = start_node(size: 4, abandon: :finish)
    os_pids = os_pids(gentle)
    gate = Krait.Gate.new()
    doomed = for i <- 1..4, do: caller(i, gentle, eval(Krait.Gate.behind(gate, "7")))
    await_running(gentle, 4)

    waiting =
      for i <- 1..20, do: Task.async(fn -> ask(gentle, {:call, :operator, :add, [i, 1]}) end)

    Enum.each(doomed, &kill/1)
    eventually(totals(gentle).abandoned == 4)
    Krait.Gate.open(gate)
    assert Task.await_many(waiting, 10_000) == for(i <- 1..20, do: {:ok, i + 1})
    await_rest(gentle)
    assert os_pids(gentle) == os_pids
    assert %{abandoned: 4} = totals(gentle)
  end
end
