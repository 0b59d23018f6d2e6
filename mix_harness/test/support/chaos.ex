defmodule Krait.Chaos do
  @moduledoc "What the chaos suites ask about a node after they have done their worst."

  import ExUnit.Assertions
  import Krait.Case

  alias Krait.{Proc, TestNode}

  @doc "How things stood before: to be given to `assert_unharmed/2`."
  @spec before(TestNode.t()) :: map
  def before(node) do
    {:ok, %{monitors: monitors, peers: peers}} = ask(node, :status)
    %{monitors: monitors, peers: peers, descriptors: Proc.descriptors(node.os_pid)}
  end

  @doc """
  All workers idle and as many processes as workers, no lease, nothing queued, the monitors, peers and
  descriptors of before; the books balance, and the next call works.

  The node's process is as before; that no process outlives it is the inquest's part.
  """
  @spec assert_unharmed(TestNode.t(), map) :: :ok
  def assert_unharmed(node, before) do
    await_rest(node)
    eventually(pool_status(node).leases == 0)
    eventually(match?({:ok, %{peers: peers}} when peers == before.peers, ask(node, :status)))
    eventually(monitors(node) <= before.monitors)
    # The fork server sweeps up; a pipe of a worker that is being reaped may still be open.
    eventually(Proc.descriptors(node.os_pid) <= before.descriptors + 2)
    assert %{leases: 0, totals: totals} = pool_status(node)
    assert totals.received == totals.answered + totals.abandoned
    eventually(Enum.all?(os_pids(node), &Proc.alive?/1))
    assert py(node, "'still here'") == {:ok, "still here"}
    assert Proc.alive?(node.os_pid)
    :ok
  end

  defp monitors(node) do
    {:ok, %{monitors: monitors}} = ask(node, :status)
    monitors
  end

  @doc "The fork server: the parent of the workers; `nil` while none of them is known and alive."
  @spec fork_server(TestNode.t()) :: pos_integer | nil
  def fork_server(node), do: node |> os_pids() |> Enum.find_value(&parent/1)

  defp parent(os_pid) do
    case File.read("/proc/#{os_pid}/stat") do
      {:ok, stat} -> stat |> String.split(") ") |> List.last() |> String.split(" ") |> parent_of()
      {:error, _} -> nil
    end
  end

  # A zombie is nobody's worker any more.
  defp parent_of([state, parent | _]), do: if(state != "Z", do: String.to_integer(parent))

  @doc "A signal for a process that may be gone already."
  @spec try_signal(pos_integer, String.t()) :: :ok
  def try_signal(os_pid, signal) when os_pid > 0 do
    _ = System.cmd("kill", ["-" <> signal, to_string(os_pid)], stderr_to_stdout: true)
    :ok
  end

  def try_signal(0, _), do: :ok

  @doc "What a process does that holds a lease until something ends it; for other BEAMs."
  @spec hold_lease({atom, node}) :: no_return
  def hold_lease(pool) do
    {:ok, _lease} = GenServer.call(pool, {:checkout, :anonymous}, :infinity)
    receive do: (:never -> :ok)
  end

  @doc """
  What a process does that opens a stream, tells somebody when its first item is there, and never asks for
  more; for other BEAMs.
  """
  @spec hold_stream({atom, node}, term, pid) :: no_return
  def hold_stream(pool, request, to) do
    {:ok, stream} = GenServer.call(pool, request, :infinity)
    receive do: ({:krait_stream, ^stream, {:item, _}} -> send(to, {:stream, stream}))
    receive do: (:never -> :ok)
  end

  @doc "Opens a stream, tells somebody, and at its end how many items came; for other BEAMs."
  @spec count_stream({atom, node}, term, pid) :: term
  def count_stream(pool, request, to) do
    {:ok, stream} = GenServer.call(pool, request, :infinity)
    send(to, {:stream, stream})
    count_items(stream, to, 0)
  end

  defp count_items(stream, to, count) do
    receive do
      {:krait_stream, ^stream, {:item, _}} -> count_items(stream, to, count + 1)
      {:krait_stream, ^stream, ending} -> send(to, {:counted, count, ending})
    end
  end

  @doc "What a process does that links to something of a node, and tells somebody; for other BEAMs."
  @spec hold_link(pid, {atom, node}, pid) :: no_return
  def hold_link(pid, pool, to) do
    Process.link(pid)
    :pong = GenServer.call(pool, :ping)
    send(to, :linked)
    receive do: (:never -> :ok)
  end

  @doc "What a process does whose call never ends; for other BEAMs."
  @spec call_forever({atom, node}) :: no_return
  def call_forever(pool), do: GenServer.call(pool, eval(sleep(3600)), :infinity)

  @doc "Resident memory, in bytes."
  @spec rss(pos_integer) :: pos_integer
  def rss(os_pid), do: memory(os_pid, "VmRSS")

  defp memory(os_pid, field) do
    [_, kb] = Regex.run(~r/#{field}:\s+(\d+) kB/, File.read!("/proc/#{os_pid}/status"))
    String.to_integer(kb) * 1024
  end

  @doc """
  At its peak (VmHWM) the node had not grown by more than 64 MB over `memory` (of `rss/1`).

  A node under AddressSanitizer keeps what it freed for a while: 256 MB of it, as configured by default.
  """
  @spec assert_memory_bounded(TestNode.t(), pos_integer) :: :ok
  def assert_memory_bounded(node, memory) do
    limit = if sanitized?(node), do: 400_000_000, else: 64_000_000
    assert memory(node.os_pid, "VmHWM") - memory < limit
    :ok
  end

  @doc "Whether the node was built with AddressSanitizer."
  @spec sanitized?(TestNode.t()) :: boolean
  def sanitized?(node), do: File.read!("/proc/#{node.os_pid}/maps") =~ ~r/libasan|libclang_rt/

  @doc "What the fastest quarter of them took at most."
  @spec quarter([number]) :: number
  def quarter(samples), do: samples |> Enum.sort() |> Enum.at(div(length(samples), 4))
end
