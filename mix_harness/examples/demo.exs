# demo.exs - a real job with accidents on purpose (`make demo`).
#
# A thousand processes have four Python workers read every source file of Python's standard library.
# Every fifth process is killed at a random moment, many of them while Python works for them. What they
# had been asked to do is done by others. At the end the books must balance, or the exit status is 1.
#
# Nothing here is special to the demo: a node, `Krait.call/5` from ordinary processes, a Python file.

Code.require_file("demo_screen.exs", __DIR__)

defmodule Demo do
  alias Demo.{Job, Screen}

  @processes 1000
  @victims 200
  @workers 4

  def main do
    start_distribution()
    {us, krait} = :timer.tc(fn -> start_krait() end)
    pool = Krait.pool(krait)
    {:ok, python} = Krait.call(pool, "platform", "python_version", [])
    {:ok, files} = Krait.call(pool, "demo_analysis", "sources", [])
    Screen.opening(elem(pool, 1), @workers, python, us, files, @processes, @victims)

    # Two questions about each file, each a call of its own.
    tasks = for file <- files, question <- ["shape", "imports"], do: {question, file}
    job = Job.run(pool, Enum.shuffle(tasks), @processes, @victims)

    :ok = Krait.await_ready(pool)
    status = settled(pool, 250)
    {:ok, workers} = Krait.workers(pool)
    left = stop(krait, workers)

    Screen.modules(job.answers)
    Screen.speed(job, status.latency_us)
    if not Screen.books(books(job, status, length(tasks), left)), do: exit({:shutdown, 1})
  end

  defp start_distribution do
    epmd =
      System.find_executable("epmd") || hd(Path.wildcard("#{:code.root_dir()}/erts-*/bin/epmd"))

    {_, 0} = System.cmd(epmd, ["-daemon"])
    # Nobody but this machine is meant to connect.
    Application.put_env(:kernel, :inet_dist_use_interface, {127, 0, 0, 1})
    {:ok, _} = Node.start(:"demo_#{System.pid()}@127.0.0.1")
  end

  defp start_krait do
    options = [
      size: @workers,
      pythonpath: [__DIR__],
      preload: ["demo_analysis"],
      await_ready: true,
      # The node tells of every worker that it replaces. The books will tell it, too.
      log: fn _ -> :ok end
    ]

    case Krait.start_link(options) do
      {:ok, krait} -> krait
      {:error, error} -> raise error
    end
  end

  # The last replacement may still be on its way, and the last deaths still be news to the node.
  defp settled(pool, tries) do
    {:ok, %{pools: %{default: status}}} = Krait.status(pool)

    if tries == 0 or
         (status.idle == @workers and status.totals.exits == status.totals.starts - @workers) do
      status
    else
      Process.sleep(20)
      settled(pool, tries - 1)
    end
  end

  # Stops the node; returns how many of its processes are left.
  defp stop(krait, workers) do
    :ok = Krait.stop(krait)
    Enum.count(workers, &File.exists?("/proc/#{&1.os_pid}"))
  end

  # {what, number, what it must be or nil, remark}
  defp books(job, status, tasks, left) do
    totals = status.totals
    replaced = totals.starts - @workers
    settled = totals.answered + totals.abandoned + totals.queued + totals.running

    [
      {"analyses to do", tasks, nil, "two for each file"},
      {"analyses done", length(job.answers), tasks, ""},
      {"processes killed", job.killed, @victims, "of #{@processes}; others did their work"},
      {"workers replaced", replaced, totals.exits, "that worked for one of the killed"},
      {"calls lost", job.lost, 0, "of the living, never answered"},
      {"wrong answers", job.wrong, 0, "an error, or another's answer"},
      {"innocents harmed", job.harmed, 0, "that nobody meant to kill"},
      {"workers idle at the end", status.idle, @workers, ""},
      {"requests to the node", totals.received, settled,
       "#{totals.answered} answered, #{totals.abandoned} given up"},
      {"Python processes left", left, 0, "once the node was stopped"}
    ]
  end
end

defmodule Demo.Job do
  @moduledoc """
  The desk that hands out the work, and the processes that have it done.

  A process gets a task, calls Python, reports the answer, gets the next one. The desk monitors all of
  them: the task of one that died goes back to the heap. It is also the one who kills, so it knows whose
  death was meant.
  """

  alias Demo.Screen

  defstruct [
    :pool,
    :tasks,
    :victims,
    :total,
    :begin,
    idle: [],
    busy: %{},
    doomed: MapSet.new(),
    next: 0,
    done: 0,
    answers: [],
    latencies: [],
    killed: 0,
    wrong: 0,
    harmed: 0,
    lost: 0,
    ms: 0
  ]

  @give_up_ms 120_000

  def run(pool, tasks, processes, victims) do
    desk = self()

    idle =
      for _ <- 1..processes do
        {pid, _} = spawn_monitor(fn -> work(desk, pool) end)
        pid
      end

    begin = now()
    Process.send_after(self(), :give_up, @give_up_ms)
    send(self(), :strike)

    %__MODULE__{
      pool: pool,
      tasks: tasks,
      victims: victims,
      total: length(tasks),
      idle: idle,
      begin: begin
    }
    |> hand_out()
    |> loop()
  end

  # One of the thousand. This is all there is to calling Python.
  defp work(desk, pool) do
    receive do
      {:task, {question, file} = task} ->
        begin = now()
        answer = Krait.call(pool, "demo_analysis", question, [file], timeout: :infinity)
        send(desk, {:answer, self(), task, answer, now() - begin})
        work(desk, pool)
    end
  end

  defp loop(%{done: done, total: done} = job), do: finish(job)

  defp loop(job) do
    Screen.progress(job.done, job.total, job.killed, now() - job.begin)

    receive do
      {:answer, pid, task, answer, us} ->
        job |> take(task, answer, us) |> free(pid) |> hand_out() |> loop()

      {:DOWN, _, :process, pid, _} ->
        job |> bury(pid) |> hand_out() |> loop()

      :strike ->
        Process.send_after(self(), :strike, :rand.uniform(10))
        job |> strike() |> loop()

      :give_up ->
        # Whoever lives and has no answer by now has lost his call.
        finish(%{job | lost: map_size(job.busy) - MapSet.size(job.doomed)})
    end
  end

  defp take(job, {_, file} = task, {:ok, %{"path" => file} = answer}, us) do
    latencies = [us | job.latencies]
    %{job | done: job.done + 1, answers: [{task, answer} | job.answers], latencies: latencies}
  end

  defp take(job, task, answer, _us) do
    Screen.wrong(task, answer)
    %{job | done: job.done + 1, wrong: job.wrong + 1}
  end

  # One that was killed just after it had reported gets no more work.
  defp free(job, pid) do
    job = %{job | busy: Map.delete(job.busy, pid)}
    if pid in job.doomed, do: job, else: %{job | idle: [pid | job.idle]}
  end

  defp bury(job, pid) do
    {held, busy} = Map.pop(job.busy, pid)
    tasks = if held, do: job.tasks ++ [elem(held, 1)], else: job.tasks
    harmed = if pid in job.doomed, do: job.harmed, else: job.harmed + 1
    doomed = MapSet.delete(job.doomed, pid)
    %{job | busy: busy, tasks: tasks, harmed: harmed, doomed: doomed, idle: job.idle -- [pid]}
  end

  defp hand_out(%{idle: [pid | idle], tasks: [task | tasks]} = job) do
    send(pid, {:task, task})
    busy = Map.put(job.busy, pid, {job.next, task})
    hand_out(%{job | idle: idle, tasks: tasks, busy: busy, next: job.next + 1})
  end

  defp hand_out(job), do: job

  # Kills keep step with the work, so that they happen all through it, at moments that are random. One
  # in three is among those that have waited longest: Python is most likely working for them.
  defp strike(job) do
    share = min(1.0, job.done / (0.9 * job.total))
    due = round(job.victims * share) - job.killed
    living = Enum.reject(job.busy, fn {pid, _} -> pid in job.doomed end)

    if due > 0 and living != [] do
      from = if :rand.uniform(3) == 1, do: living |> Enum.sort_by(&elem(&1, 1)) |> Enum.take(4)
      {pid, _} = Enum.random(from || living)
      job |> kill(pid) |> strike()
    else
      job
    end
  end

  defp kill(job, pid) do
    Process.exit(pid, :kill)
    %{job | doomed: MapSet.put(job.doomed, pid), killed: job.killed + 1}
  end

  # A fast machine may be through before the last of the victims had their turn.
  defp finish(%{killed: killed, victims: victims, idle: [pid | idle]} = job)
       when killed < victims do
    finish(kill(%{job | idle: idle}, pid))
  end

  defp finish(job) do
    Screen.progress(job.done, job.total, job.killed, now() - job.begin)
    %{job | ms: div(now() - job.begin, 1000)}
  end

  defp now, do: System.monotonic_time(:microsecond)
end

Demo.main()
