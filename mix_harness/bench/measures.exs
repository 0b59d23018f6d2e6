defmodule Bench.Measures do
  @moduledoc "What is measured beside speed: starts, replacements, idleness, memory. See `make bench`."

  alias Bench.{Load, Node}

  @doc "Milliseconds from starting the program to four workers being ready: median and all."
  def start(krait, args, times \\ 7) do
    samples =
      for _ <- 1..times do
        begin = System.monotonic_time()
        node = Node.start(krait, args)
        :ok = Node.call(node, :await_ready)
        elapsed = ms_since(begin)
        Node.stop(node)
        elapsed
      end

    %{median: Load.median(samples), worst: Enum.max(samples), samples: times}
  end

  @doc """
  Milliseconds without a worker when the only one is killed.

  In a pool of one a call has its worker kill itself; the clock runs from sending that call to the
  first answer of the next worker, which has been waited for since. So this is the death, its being
  noticed, the fork, the start of the worker and one round trip to it.
  """
  def replacement(krait, args, times \\ 50) do
    node = Node.start(krait, args ++ ["--size", "1"])
    :ok = Node.call(node, :await_ready)

    samples =
      for _ <- 1..times do
        begin = System.monotonic_time()
        {:error, {:worker_exit, _}} = Node.call(node, {:call, "bench_echo", "die", []})
        {:ok, _} = Node.call(node, {:ping, :worker})
        ms_since(begin)
      end

    Node.stop(node)
    %{median: Load.median(samples), worst: Enum.max(samples), samples: times}
  end

  @doc "Milliseconds of processor time that the idle node, and the processes below it, use in `seconds`."
  def idle(krait, args, seconds \\ 10) do
    node = Node.start(krait, args)
    :ok = Node.call(node, :await_ready)
    # What the start left to do is done when a few calls have gone through.
    for _ <- 1..100, do: {:ok, 1} = Node.call(node, {:call, "bench_echo", "echo", [1]})
    Process.sleep(500)

    pids = family(node.os_pid)
    before = Enum.map(pids, &cpu_ns/1)
    Process.sleep(seconds * 1000)
    later = Enum.map(pids, &cpu_ns/1)
    [of_node | of_others] = Enum.zip_with(later, before, &((&1 - &2) / 1.0e6))
    Node.stop(node)
    %{seconds: seconds, node_ms: of_node, others_ms: Enum.sum(of_others), processes: length(pids)}
  end

  @doc """
  Bytes of the node's resident memory that each of `count` waiting requests costs beyond its payload.

  The payload is the request's external term, as the BEAM sends it. All workers are busy meanwhile; the
  callers are killed afterwards, and the queue must be empty then.
  """
  def memory(krait, args, count \\ 10_000) do
    node = Node.start(krait, args ++ ["--queue-limit", "#{count + 100}"])
    :ok = Node.call(node, :await_ready)
    workers = pool(node).size
    request = {:call, "bench_echo", "echo", [Load.value()], %{timeout: :infinity}}
    sleep = {:call, "bench_echo", "sleep", [600], %{timeout: :infinity}}

    sleepers = callers(node, workers, sleep)
    wait_for(fn -> pool(node).busy == workers end)

    # A few beforehand, so that what the first ones cost is not counted.
    few = callers(node, div(count, 100), request)
    wait_for(fn -> pool(node).queued == length(few) end)
    before = rss(node.os_pid)
    many = callers(node, count, request)
    wait_for(fn -> pool(node).queued == length(few) + count end)
    rest = rss(node.os_pid) - before
    for pid <- sleepers ++ few ++ many, do: Process.exit(pid, :kill)
    wait_for(fn -> pool(node).queued == 0 end)
    Node.stop(node)

    payload = :erlang.external_size({:"$gen_call", {self(), [:alias | make_ref()]}, request})
    %{waiting: count, bytes_each: rest / count, payload: payload, beyond: rest / count - payload}
  end

  defp callers(node, count, request) do
    for _ <- 1..count, do: spawn(fn -> Node.call(node, request, :infinity) end)
  end

  defp wait_for(fun, tries \\ 500)
  defp wait_for(_, 0), do: raise("waited 10 s in vain")

  defp wait_for(fun, tries) do
    if not fun.() do
      Process.sleep(20)
      wait_for(fun, tries - 1)
    end
  end

  defp pool(node) do
    {:ok, status} = Node.call(node, :status)
    status.pools.default
  end

  # A process and all its descendants, it first.
  defp family(os_pid) do
    parents =
      for dir <- Path.wildcard("/proc/[0-9]*"), {:ok, stat} <- [File.read(dir <> "/stat")] do
        # pid (name, which may hold anything) state ppid ...
        [_, after_name] = Regex.run(~r/^\d+ .*\) (.*)$/s, stat)
        [_, parent | _] = String.split(after_name)
        {String.to_integer(Path.basename(dir)), String.to_integer(parent)}
      end

    [os_pid | descendants(os_pid, parents)]
  end

  defp descendants(os_pid, parents) do
    for {child, ^os_pid} <- parents, pid <- [child | descendants(child, parents)], do: pid
  end

  # Nanoseconds on a processor, by the scheduler's account: /proc/PID/stat counts in hundredths of a
  # second, too coarse for something that should be nothing.
  defp cpu_ns(os_pid) do
    for file <- Path.wildcard("/proc/#{os_pid}/task/*/schedstat"), reduce: 0 do
      sum -> sum + (file |> File.read!() |> String.split() |> hd() |> String.to_integer())
    end
  end

  defp rss(os_pid) do
    [_, kib] = Regex.run(~r/VmRSS:\s+(\d+) kB/, File.read!("/proc/#{os_pid}/status"))
    String.to_integer(kib) * 1024
  end

  defp ms_since(begin) do
    System.convert_time_unit(System.monotonic_time() - begin, :native, :microsecond) / 1000
  end
end
