defmodule Bench.Starts do
  @moduledoc "How long starts and replacements take, and what an idle node does."

  alias Bench.{Proc, Rounds}

  @doc "Milliseconds from starting the program to all its workers being ready, nothing preloaded."
  def starts(run, workers) do
    for n <- 1..run.starts do
      Rounds.progress("start #{n} of #{run.starts} with #{workers} workers")
      begin = System.monotonic_time()
      node = Bench.Node.start_ready(run.krait, run.node_args ++ ["--size", "#{workers}"])
      elapsed = ms_since(begin)
      Bench.Node.stop(node)
      elapsed
    end
  end

  @doc """
  Milliseconds without a worker when the only one is killed.

  In a pool of one a call has its worker kill itself; the clock runs from sending that call to the first
  answer of the next worker, which has been waited for since. So this is the call, the death, its being
  noticed, the fork, the start of the worker and one round trip to it.
  """
  def replacements(run) do
    Rounds.progress("#{run.replacements} replacements")
    node = Bench.Node.start_ready(run.krait, run.node_args ++ ["--size", "1"])

    samples =
      for _ <- 1..run.replacements do
        begin = System.monotonic_time()
        {:error, {:worker_exit, _}} = Bench.Node.call(node, {:call, "bench_echo", "die", []})
        {:ok, _} = Bench.Node.call(node, {:ping, :worker})
        ms_since(begin)
      end

    Bench.Node.stop(node)
    samples
  end

  @doc "What an idle node, to which this BEAM is connected, and the Python below it do in some seconds."
  def idle(run) do
    Rounds.progress("#{run.idle_ms / 1000} s of idling")
    node = Bench.Node.start_ready(run.krait, run.node_args)
    # What the start left to do is done when a few calls have gone through.
    for _ <- 1..100, do: {:ok, 1} = Bench.Node.call(node, {:call, "bench_echo", "echo", [1]})
    Process.sleep(500)

    %{between: own, python: python} = Bench.Node.processes(node)
    before = for pids <- [own, python], do: account(pids)
    Process.sleep(run.idle_ms)
    later = for pids <- [own, python], do: account(pids)
    Bench.Node.stop(node)

    [node, python] =
      for {{cpu, sleeps}, {cpu_was, sleeps_was}} <- Enum.zip(later, before),
          do: %{cpu_ms: (cpu - cpu_was) / 1.0e6, wake_ups: sleeps - sleeps_was}

    %{seconds: run.idle_ms / 1000, node: node, python: python}
  end

  defp account(pids), do: {Proc.cpu_of(pids), pids |> Enum.map(&Proc.sleeps/1) |> Enum.sum()}

  defp ms_since(begin) do
    System.convert_time_unit(System.monotonic_time() - begin, :native, :microsecond) / 1000
  end
end
