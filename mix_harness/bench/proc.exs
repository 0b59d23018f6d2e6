defmodule Bench.Proc do
  @moduledoc "What the kernel says of processes: processor time, memory, how often they slept."

  @doc """
  Nanoseconds on a processor, all threads together, by the scheduler's account: /proc/PID/stat counts in
  hundredths of a second, too coarse for something that should be nothing. 0 for a process that is gone.
  """
  def cpu_ns(os_pid) do
    for file <- Path.wildcard("/proc/#{os_pid}/task/*/schedstat"),
        {:ok, text} <- [File.read(file)],
        reduce: 0 do
      sum -> sum + (text |> String.split() |> hd() |> String.to_integer())
    end
  end

  @doc "The same of several processes."
  def cpu_of(os_pids), do: os_pids |> Enum.map(&cpu_ns/1) |> Enum.sum()

  @doc "How often the threads of a process have gone to sleep of their own will: its wake-ups."
  def sleeps(os_pid) do
    for file <- Path.wildcard("/proc/#{os_pid}/task/*/status"),
        {:ok, text} <- [File.read(file)],
        reduce: 0 do
      sum -> sum + number(text, ~r/^voluntary_ctxt_switches:\s+(\d+)/m)
    end
  end

  @doc "Sends a signal, by its name."
  def signal(os_pid, name), do: {_, 0} = System.cmd("kill", ["-#{name}", "#{os_pid}"])

  @doc "Resident memory in bytes."
  def rss(os_pid) do
    number(File.read!("/proc/#{os_pid}/status"), ~r/^VmRSS:\s+(\d+) kB/m) * 1024
  end

  defp number(text, pattern) do
    [_, digits] = Regex.run(pattern, text)
    String.to_integer(digits)
  end

  @doc "A process and all its descendants, it first."
  def family(os_pid) do
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

  @doc "The process at the other end of a port."
  def of_port(port) do
    {:os_pid, os_pid} = Port.info(port, :os_pid)
    os_pid
  end

  @doc "This BEAM."
  def own, do: String.to_integer(System.pid())
end
