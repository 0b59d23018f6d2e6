defmodule Krait.Proc do
  @moduledoc "Processes of the operating system, as /proc shows them."

  @doc "Processes that belong to a node: its mark is in their environment, or its name in their arguments."
  @spec of_node(node) :: [%{pid: pos_integer, cmdline: String.t()}]
  def of_node(name) do
    name = to_string(name)

    for pid <- pids(), belongs?(pid, name) do
      %{pid: pid, cmdline: read(pid, "cmdline") |> String.replace(<<0>>, " ")}
    end
  end

  @doc """
  Waits until no process of a node is left, ten seconds at most, and returns those that are.

  It asks again and again: they are other programs' children, and nothing tells us of their end.
  """
  @spec await_none(node, non_neg_integer) :: [map]
  def await_none(name, ms \\ 10_000) do
    deadline = System.monotonic_time(:millisecond) + ms
    await_none_until(name, deadline)
  end

  defp await_none_until(name, deadline) do
    case of_node(name) do
      [] ->
        []

      left ->
        if System.monotonic_time(:millisecond) > deadline do
          left
        else
          receive do
          after
            10 -> await_none_until(name, deadline)
          end
        end
    end
  end

  @doc """
  Whether a process exists and has not ended.

  A zombie has, and so has one that is about to be one: it runs no code of its own any more, its memory and
  with it its environment may be gone already, and only the kernel decides how long that takes.
  """
  @spec alive?(pos_integer) :: boolean
  def alive?(pid) do
    case File.read("/proc/#{pid}/stat") do
      {:ok, stat} -> not ended?(String.split(after_name(stat), " "))
      {:error, _} -> false
    end
  end

  # State and flags: fields 3 and 9 of the whole line; PF_EXITING is 4.
  defp ended?([state, _, _, _, _, _, flags | _]) do
    state in ["Z", "X"] or Bitwise.band(String.to_integer(flags), 4) != 0
  end

  @doc "CPU time that a process has used, in milliseconds."
  @spec cpu_ms(pos_integer) :: non_neg_integer
  def cpu_ms(pid) do
    fields = read(pid, "stat") |> after_name() |> String.split(" ")
    # utime and stime, in ticks of 1/100 s: fields 14 and 15 of the whole line.
    ticks = String.to_integer(Enum.at(fields, 11)) + String.to_integer(Enum.at(fields, 12))
    ticks * 10
  end

  @doc "Resident memory of a process, in bytes."
  @spec rss(pos_integer) :: non_neg_integer
  def rss(pid) do
    [_, kib] = Regex.run(~r/^VmRSS:\s+(\d+) kB/m, read(pid, "status"))
    String.to_integer(kib) * 1024
  end

  @doc "Open descriptors of a process."
  @spec descriptors(pos_integer) :: non_neg_integer
  def descriptors(pid), do: length(File.ls!("/proc/#{pid}/fd"))

  @doc "How often the process went to sleep since its start: a process that idles does not."
  @spec voluntary_switches(pos_integer) :: non_neg_integer
  def voluntary_switches(pid) do
    status = File.read!("/proc/#{pid}/status")
    [_, count] = Regex.run(~r/^voluntary_ctxt_switches:\s+(\d+)/m, status)
    String.to_integer(count)
  end

  # What follows the program's name, which stands in parentheses and may hold some itself.
  defp after_name(stat), do: stat |> String.split(") ") |> List.last()

  defp pids do
    for entry <- File.ls!("/proc"),
        match?({_, ""}, Integer.parse(entry)),
        do: String.to_integer(entry)
  end

  defp belongs?(pid, name) do
    marked?(read(pid, "environ"), name) or
      (read(pid, "cmdline") |> String.contains?(name) and alive?(pid))
  end

  defp marked?(environ, name) do
    environ
    |> String.split(<<0>>)
    |> Enum.any?(&(String.starts_with?(&1, "KRAIT_MARK=") and String.contains?(&1, name)))
  end

  defp read(pid, file) do
    case File.read("/proc/#{pid}/#{file}") do
      {:ok, text} -> text
      {:error, _} -> ""
    end
  end
end
