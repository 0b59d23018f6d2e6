defmodule Krait.ChaosRacesTest do
  # Two things that happen at the same moment, thousands of times: whoever wins, nothing is left over.
  use Krait.Case, async: true

  import Krait.Chaos

  # Spreads `count` rounds over `processes` and adds up the outcomes that `round` returns. The processes
  # must end with empty mailboxes: what comes late must never come.
  defp race(processes, count, round) do
    1..processes
    |> Enum.map(fn p ->
      Task.async(fn ->
        outcomes = for i <- 1..div(count, processes), do: round.({p, i})
        {Enum.frequencies(outcomes), Process.info(self(), :messages)}
      end)
    end)
    |> Task.await_many(50_000)
    |> Enum.reduce(%{}, fn {outcomes, messages}, sum ->
      assert messages == {:messages, []}
      Map.merge(sum, outcomes, fn _, a, b -> a + b end)
    end)
  end

  defp ask_for(to, request, ms) do
    ask(to, request, ms)
  catch
    :exit, {:timeout, _} -> :gave_up
  end

  test "a caller's time-out races the grant of a checkout, 10,000 times: no lease is held afterwards" do
    node = start_node(size: 2)
    before = before(node)
    workers = os_pids(node)

    # Some time out at once, some just before and after the grant; contention decides.
    outcomes =
      race(16, 10_000, fn {_, i} ->
        case ask_for(node, {:checkout, :anonymous}, rem(i, 5)) do
          {:ok, lease} ->
            assert ask(lease, :checkin) == :ok
            :granted

          :gave_up ->
            :gave_up
        end
      end)

    assert_unharmed(node, before)
    assert outcomes.granted > 0
    assert outcomes.gave_up > 100
    # No call was under way in any of them: nobody had to die.
    assert os_pids(node) == workers
  end

  test "the node's time-out races the grant, 5,000 times" do
    node = start_node(size: 2)
    before = before(node)
    workers = os_pids(node)

    outcomes =
      race(50, 5_000, fn {_, i} ->
        option = elem({:timeout, :queue_timeout}, rem(i, 2))
        # So many want one of two workers that about as long passes until one is granted.
        ms = if rem(i, 16) == 15, do: 20_000, else: 1 + rem(i, 4)

        case ask(node, {:checkout, :anonymous, [{option, ms}]}) do
          {:ok, lease} ->
            assert ask(lease, :checkin) == :ok
            :granted

          {:error, {:timeout, :queue}} ->
            :timeout
        end
      end)

    assert_unharmed(node, before)
    assert outcomes.granted > 100
    assert outcomes.timeout > 100
    assert os_pids(node) == workers
  end

  test "callers are killed while they are granted a lease, 2,000 times" do
    node = start_node(size: 2)
    before = before(node)
    workers = os_pids(node)

    race(8, 2_000, fn {p, i} ->
      pid = spawn(fn -> ask(node, {:checkout, :anonymous}) end)
      ref = Process.monitor(pid)
      # From not at all to longer than a grant takes; busy, for a timer would be too coarse.
      for _ <- 1..(rem(i * 37 + p, 200) * 10), do: :erlang.phash2(i)
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^ref, :process, ^pid, _}, 5_000
      :killed
    end)

    assert_unharmed(node, before)
    assert os_pids(node) == workers
  end

  for {abandon, count} <- [finish: 4_000, interrupt: 400, kill: 400] do
    @abandon abandon
    @count count
    test "time-outs race answers (#{abandon}): a late one reaches nobody" do
      node = start_node(size: 2, abandon: @abandon, interrupt_grace: 5_000)
      before = before(node)

      outcomes =
        race(4, @count, fn {p, i} ->
          case ask_for(node, eval("[#{sleep(0.001)}, #{p}, #{i}]"), 1 + rem(i, 6)) do
            {:ok, answer} ->
              assert answer == [nil, p, i]
              :answered

            :gave_up ->
              :gave_up
          end
        end)

      assert_unharmed(node, before)
      assert outcomes.gave_up > 10
      assert Map.get(outcomes, :answered, 0) + outcomes.gave_up == @count
    end
  end

  test "the node's time-outs race answers: each caller hears one of them, once" do
    node = start_node(size: 2, abandon: :finish)
    before = before(node)

    outcomes =
      race(4, 2_000, fn {p, i} ->
        ms = if rem(i, 16) == 15, do: 20_000, else: 1 + rem(i, 8)

        case py(node, "[#{sleep(0.001)}, #{p}, #{i}]", timeout: ms) do
          {:ok, answer} ->
            assert answer == [nil, p, i]
            :answered

          {:error, {:timeout, _}} ->
            :timeout
        end
      end)

    assert_unharmed(node, before)
    assert outcomes.answered > 10
    assert outcomes.timeout > 10
  end

  test "the giving away of a lease races the death of its new owner, 2,000 times" do
    node = start_node(size: 4)
    before = before(node)
    workers = os_pids(node)

    outcomes =
      race(4, 2_000, fn {p, i} ->
        lease = lease!(node)
        ref = Process.monitor(lease)
        heir = spawn(fn -> receive do: (:never -> :ok) end)
        killer = doom(heir, rem(i * 37 + p, 200) * 10)

        outcome =
          case ask(lease, {:give_away, heir}) do
            :ok ->
              # The new owner is dead, or will be at once.
              :given

            {:error, :noproc} ->
              # It stayed where it was.
              assert ask(lease, {:call, :operator, :add, [i, 1]}) == {:ok, i + 1}
              assert ask(lease, :checkin) == :ok
              :kept
          end

        assert_receive {:DOWN, ^ref, :process, ^lease, _}, 10_000
        assert_receive {:DOWN, ^killer, :process, _, _}, 5_000
        outcome
      end)

    assert_unharmed(node, before)
    assert outcomes.given + Map.get(outcomes, :kept, 0) == 2_000
    assert os_pids(node) == workers
  end

  # Kills a process from beside, after so many busy steps.
  defp doom(pid, steps) do
    {_, ref} =
      spawn_monitor(fn ->
        for i <- 1..steps//1, do: :erlang.phash2(i)
        Process.exit(pid, :kill)
      end)

    ref
  end

  test "a lease that is given to the dead stays where it was" do
    node = start_node(size: 1)
    before = before(node)

    for i <- 1..200 do
      lease = lease!(node)
      heir = spawn(fn -> :ok end)
      ref = Process.monitor(heir)
      assert_receive {:DOWN, ^ref, :process, ^heir, _}, 5_000
      assert ask(lease, {:give_away, heir}) == {:error, :noproc}
      assert ask(lease, {:call, :operator, :add, [i, 1]}) == {:ok, i + 1}
      assert ask(lease, :checkin) == :ok
    end

    assert_unharmed(node, before)
    assert Process.info(self(), :messages) == {:messages, []}
  end

  test "a checkin races the owner's death, and the other's: twice is lease_closed, never a second worker" do
    node = start_node(size: 2)
    before = before(node)
    workers = os_pids(node)

    race(8, 2_000, fn {_, i} ->
      parent = self()

      {owner, ref} =
        spawn_monitor(fn ->
          lease = lease!(node)
          send(parent, {:lease, self(), lease})
          ask(lease, :checkin)
        end)

      assert_receive {:lease, ^owner, lease}, 10_000
      if rem(i, 2) == 0, do: Process.exit(owner, :kill)
      Process.exit(lease, :kill)
      assert_receive {:DOWN, ^ref, :process, ^owner, _}, 10_000
      :over
    end)

    assert_unharmed(node, before)
    assert os_pids(node) == workers
  end
end
