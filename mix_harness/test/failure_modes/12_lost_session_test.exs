defmodule Krait.FailureMode12Test do
  use Krait.Case, async: true

  @hunt_ms 4_000

  # Calls until it is told to stop; every answer is the one that its session's state must have, or says
  # that the state is gone, once. `n` is what the session counted last; :lost, that it is to be heard.
  defp play(node, id, n, played, stop_at) do
    if System.monotonic_time(:millisecond) > stop_at and played > 10 do
      played
    else
      request = {:call, "krait_counting", "count", [], [session: id]}

      case {ask(node, request), n} do
        {{:ok, got}, n} when is_integer(n) and got == n + 1 ->
          play(node, id, got, played + 1, stop_at)

        # The worker died in the call: whatever was kept is gone, and the next one hears it.
        {{:error, {:worker_exit, _}}, n} when is_integer(n) ->
          play(node, id, :lost, played, stop_at)

        # It died between two calls, or its death was told to the one before.
        {{:error, {:session_lost, ^id}}, _} ->
          play(node, id, 0, played, stop_at)

        {answer, n} ->
          exit({:wrong, id, n, answer})
      end
    end
  end

  defp hunt(node, stop_at, kills) do
    if System.monotonic_time(:millisecond) > stop_at do
      kills
    else
      receive do
      after
        Enum.random(10..60) -> :ok
      end

      case for(w <- workers(node), w.state in [:idle, :busy], do: w.os_pid) do
        [] ->
          hunt(node, stop_at, kills)

        pids ->
          # It may have ended by itself meanwhile: that is no kill.
          {_, status} =
            System.cmd("kill", ["-KILL", "#{Enum.random(pids)}"], stderr_to_stdout: true)

          hunt(node, stop_at, kills + if(status == 0, do: 1, else: 0))
      end
    end
  end

  # The fourth field of /proc/PID/stat, proc(5); the second is in parentheses.
  defp parent(os_pid) do
    [_, rest] = "/proc/#{os_pid}/stat" |> File.read!() |> String.split(") ", parts: 2)
    rest |> String.split() |> Enum.at(1) |> String.to_integer()
  end

  test "failure mode 12, lost session: the state is there or session_lost is heard, once; never a wrong answer" do
    node =
      start_node(
        size: 4,
        preload: ["krait_counting"],
        start_burst: 10_000,
        starts_per_second: 1_000,
        breaker_threshold: 1_000
      )

    stop_at = System.monotonic_time(:millisecond) + @hunt_ms

    players = for i <- 1..24, do: Task.async(fn -> play(node, {:player, i}, 0, 0, stop_at) end)

    kills = hunt(node, stop_at, 0)
    played = Task.await_many(players, 30_000)
    assert kills > 10
    # Everybody got on in spite of it.
    assert Enum.min(played) > 10
    await_rest(node)
    totals = totals(node)
    assert totals.session_lost > 0
    assert totals.session_lost <= totals.sessions_lost
    assert balanced?(totals)
  end

  test "failure mode 12, lost session: a worker that dies idle loses each of its sessions once" do
    node = start_node(size: 1, preload: ["krait_counting"])
    call = &ask(node, {:call, "krait_counting", "count", [], [session: &1]})
    for i <- 1..50, do: assert(call.(i) == {:ok, 1})
    [pid] = os_pids(node)
    signal(pid, "KILL")
    eventually(os_pids(node) not in [[], [pid]])

    for i <- 1..50 do
      assert call.(i) == {:error, {:session_lost, i}}
      assert call.(i) == {:ok, 1}
    end
  end

  test "failure mode 12, lost session: the fork server's death is the death of all" do
    node = start_node(size: 2, preload: ["krait_counting"])
    call = &ask(node, {:call, "krait_counting", "count", [], [session: &1]})
    for i <- 1..10, do: assert(call.(i) == {:ok, 1})
    pids = os_pids(node)
    [fork_server] = pids |> Enum.map(&parent/1) |> Enum.uniq()
    signal(fork_server, "KILL")
    eventually(Enum.all?(pids, &(&1 not in os_pids(node))))
    for i <- 1..10, do: assert(call.(i) == {:error, {:session_lost, i}})
    for i <- 1..10, do: assert(call.(i) == {:ok, 1})
  end
end
