defmodule Krait.HealthTest do
  # Workers are looked after: idle ones are asked whether they are well, and those that are old, used up or
  # too large are replaced. Nobody's call is lost for it.
  use Krait.Case, async: true

  alias Krait.Gate

  @os_pid "__import__('os').getpid()"

  describe "probes" do
    test "an idle worker that does not answer is replaced before anybody meets it" do
      node = start_node(size: 2, health_interval: 100, health_timeout: 1_500, lines: true)
      [sick, well] = os_pids(node)
      signal(sick, "STOP")
      assert_receive {:krait_line, _, :warning, _, "does not answer: killed and replaced"}, 10_000
      assert_receive {:krait_line, _, _, _, "stderr: Fatal Python error: Aborted"}, 10_000
      eventually(pool_status(node).ready == 2)
      assert well in os_pids(node)
      refute sick in os_pids(node)
      assert %{left: %{unresponsive: 1}, probes: probes} = totals(node)
      assert probes > 0
      for _ <- 1..4, do: assert({:ok, _} = py(node, @os_pid))
    end

    test "idle workers that are well are asked again and again, and live" do
      node = start_node(size: 2, health_interval: 20, health_timeout: 5_000)
      before = os_pids(node)
      eventually(totals(node).probes >= 10)
      assert os_pids(node) == before
      assert totals(node).exits == 0
    end

    test "a call that arrives while the only worker is asked is served" do
      node = start_node(size: 1, health_interval: 10, health_timeout: 5_000)
      for i <- 1..300, do: assert(py(node, "#{i}") == {:ok, i})
      eventually(totals(node).probes >= 3)
      assert totals(node).exits == 0
    end

    test "whoever is busy for long is not asked" do
      node = start_node(size: 2, health_interval: 20, health_timeout: 5_000)
      gate = Gate.new()
      caller(:busy, node, eval(Gate.behind(gate, @os_pid)))
      await_running(node, 1)
      [%{os_pid: busy}] = Enum.filter(workers(node), &(&1.state == :busy))
      # Time for many probes of the other one, each of which might take no longer than this.
      assert {:ok, {5_000, 100}} = ask(node, {:set, :health_timeout, 100})
      before = totals(node).probes
      eventually(totals(node).probes >= before + 20)
      assert busy in os_pids(node)
      assert {:ok, {100, 5_000}} = ask(node, {:set, :health_timeout, 5_000})
      Gate.open(gate)
      assert_receive {:busy, {:ok, ^busy}}, 10_000
    end

    test "without an interval nobody is asked" do
      node = start_node(size: 1, health_interval: :infinity)
      [os_pid] = os_pids(node)
      signal(os_pid, "STOP")
      assert py(node, "1", timeout: 500) == {:error, {:timeout, :call}}
      assert totals(node).probes == 0
    end
  end

  describe "a worker that hangs" do
    test "says where before it is killed" do
      node = start_node(size: 1, lines: true, preload: ["krait_faults"])

      # Time enough to get there.
      assert ask(node, {:call, :krait_faults, :hang, [], timeout: 1_500}) ==
               {:error, {:timeout, :call}}

      await_rest(node)
      timed_out = {:warning, "worker default/1", "its call ran out of time: killed and replaced"}
      eventually(Enum.any?(lines(node), fn {_, _, text} -> text =~ "exited: signal sigabrt" end))

      assert Enum.any?(lines(node), fn {l, o, t} ->
               {l, hd(String.split(o, " pid")), t} == timed_out
             end)

      said = for {_, "worker default/1" <> _, text} <- lines(node), do: text
      assert Enum.any?(said, &(&1 =~ "Fatal Python error: Aborted"))
      assert Enum.any?(said, &(&1 =~ ~r/File ".*krait_faults.py", line \d+ in hang/))
      assert totals(node).left.timeout == 1
    end

    test "says where when it was stopped, too" do
      node = start_node(size: 1, lines: true, preload: ["krait_faults"])
      [os_pid] = os_pids(node)

      assert ask(node, {:call, :krait_faults, :stop_self, [], timeout: 1_500}) ==
               {:error, {:timeout, :call}}

      eventually(not Proc.alive?(os_pid))
      eventually(Enum.any?(lines(node), fn {_, _, text} -> text =~ ~r/File .* in stop_self/ end))
      assert py(node, "1") == {:ok, 1}
    end

    test "is killed when it cannot say that" do
      node = start_node(size: 1)
      [os_pid] = os_pids(node)

      deaf =
        "[__import__('faulthandler').disable(), __import__('signal').signal(6, 1), #{sleep(60)}]"

      assert py(node, deaf, timeout: 300) == {:error, {:timeout, :call}}
      eventually(not Proc.alive?(os_pid))
      assert py(node, "1") == {:ok, 1}
    end

    test "costs the calls beside it no more than they hear of" do
      options = [abandon: :interrupt, interrupt_grace: 100, preload: ["krait_faults"]]
      node = start_node([size: 1, slots: 2] ++ options)
      caller(:beside, node, {:call, :krait_faults, :slow, [60]})
      await_running(node, 1)
      hang = {:call, :krait_faults, :hang_in_c, [3600], timeout: 1_500}
      assert ask(node, hang) == {:error, {:timeout, :call}}

      assert_receive {:beside, {:error, {:worker_exit, %{exit: {:killed, :unresponsive}}}}},
                     10_000
    end
  end

  describe "recycling" do
    test "by calls: a worker is replaced, its replacement first, and no call is lost" do
      node = start_node(size: 2, max_calls: 20, recycle_jitter: 0, stop_grace: 10_000)

      pids =
        1..6
        |> Enum.map(fn _ ->
          Task.async(fn -> for _ <- 1..50, do: py(node, @os_pid) end)
        end)
        |> Task.await_many(30_000)
        |> List.flatten()
        |> Enum.map(fn {:ok, os_pid} -> os_pid end)

      counts = pids |> Enum.frequencies() |> Map.values()
      assert length(counts) >= 3
      eventually(totals(node).left.max_calls >= 2)
      await_rest(node)
      assert %{kills: 0, answered: answered} = totals(node)
      assert answered >= 300
    end

    test "by calls: a worker serves so many at least" do
      node = start_node(size: 1, max_calls: 5, recycle_jitter: 0)
      [first] = os_pids(node)

      served =
        fn -> py(node, @os_pid) end
        |> Stream.repeatedly()
        |> Enum.take_while(&(&1 == {:ok, first}))

      assert length(served) >= 5
      assert {:ok, second} = py(node, @os_pid)
      assert second != first
    end

    test "by age: all are replaced, whoever is leased when it is given back" do
      node = start_node(size: 2, max_age: 300, stop_grace: 10_000)
      before = os_pids(node)
      lease = lease!(node)
      {:ok, leased} = ask(lease, eval(@os_pid))
      eventually(Enum.all?(before, &(&1 == leased or &1 not in os_pids(node))))
      eventually(Enum.any?(workers(node), &(&1.os_pid == leased and &1.why == :max_age)))
      assert ask(lease, eval(@os_pid)) == {:ok, leased}
      assert ask(lease, :checkin) == :ok
      eventually(leased not in os_pids(node))
      assert totals(node).left.max_age >= 2
      assert totals(node).kills == 0
    end

    test "by memory: who has grown too large is replaced, and the others are not" do
      probe = start_node(size: 1)
      [%{rss_bytes: usual}] = workers(probe)
      limit = usual + 100_000_000
      node = start_node(size: 2, max_rss: limit, lines: true, stop_grace: 10_000)
      before = os_pids(node)
      # All its pages are written to.
      kept = "(setattr(__import__('sys'), 'kept', b'x' * 200_000_000), #{@os_pid})[1]"
      {:ok, leaky} = py(node, kept)
      assert leaky in before
      eventually(leaky not in os_pids(node))
      [other] = before -- [leaky]
      assert other in os_pids(node)
      assert %{left: %{max_rss: 1}, kills: 0} = totals(node)
      assert_receive {:krait_line, _, :info, _, "has " <> _}, 5_000
      await_rest(node)
    end
  end

  describe "set while the pool serves" do
    test "probes begin, and end" do
      node = start_node(size: 1, health_interval: :infinity)
      assert {:ok, {:infinity, 20}} = ask(node, {:set, :health_interval, 20})
      eventually(totals(node).probes >= 3)
      assert {:ok, {20, :infinity}} = ask(node, {:set, :health_interval, :infinity})
      assert totals(node).exits == 0
    end

    test "workers that serve already have the new limits" do
      node = start_node(size: 2, recycle_jitter: 0, stop_grace: 10_000)
      before = os_pids(node)
      assert {:ok, {:infinity, 100}} = ask(node, {:set, :max_age, 100})
      eventually(Enum.all?(before, &(&1 not in os_pids(node))))
      assert {:ok, {100, :infinity}} = ask(node, {:set, :max_age, :infinity})
      assert {:ok, {0, 1_000_000}} = ask(node, {:set, :max_rss, 1_000_000})
      eventually(totals(node).left.max_rss >= 2)
      assert {:ok, {1_000_000, 0}} = ask(node, {:set, :max_rss, 0})
      await_rest(node)
      assert totals(node).kills == 0
    end

    test "a size becomes a range, and the order another" do
      node = start_node(size: 1, idle_ttl: 600_000)
      assert {:ok, _} = ask(node, {:set, :size, {2, 3}})
      assert ask(node, :await_ready) == :ok
      assert %{size: 2, size_min: 2, size_max: 3} = pool_status(node)
      assert {:ok, {:lifo, :fifo}} = ask(node, {:set, :order, :fifo})
      used = for _ <- 1..4, do: elem(py(node, @os_pid), 1)
      assert used |> Enum.uniq() |> length() == 2
    end
  end
end
