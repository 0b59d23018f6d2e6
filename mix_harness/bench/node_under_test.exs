defmodule Bench.Node do
  @moduledoc "A Krait node as an external program of the benchmark: no library, only its command line."

  defstruct [:name, :port, :os_pid]

  @doc "Starts the node and returns once it listens and is published."
  def start(krait, args) do
    name = :"krait_bench_#{System.unique_integer([:positive])}_#{System.pid()}@127.0.0.1"
    args = ["--name", "#{name}", "--stop-on-eof", "--log-level", "error"] ++ args
    env = [{'KRAIT_COOKIE', Atom.to_charlist(Node.get_cookie())}]

    port =
      Port.open({:spawn_executable, krait}, [
        :binary,
        :exit_status,
        {:line, 1000},
        args: args,
        env: env
      ])

    receive do
      {^port, {:data, {:eol, "ready " <> line}}} ->
        [_, _, os_pid] = String.split(line)
        %__MODULE__{name: name, port: port, os_pid: String.to_integer(os_pid)}

      {^port, {:exit_status, status}} ->
        raise "#{krait} #{Enum.join(args, " ")} ended with status #{status} instead of getting ready"
    after
      10_000 -> raise "#{krait} is not ready after 10 s"
    end
  end

  @doc "Stops it and waits until it is gone."
  def stop(%__MODULE__{port: port, os_pid: os_pid}) do
    Port.close(port)
    wait_gone(os_pid, System.monotonic_time(:millisecond) + 10_000)
  end

  # The port is closed, so nothing tells us of the exit; /proc does.
  defp wait_gone(os_pid, deadline) do
    cond do
      not File.exists?("/proc/#{os_pid}") ->
        :ok

      System.monotonic_time(:millisecond) > deadline ->
        raise "the node, process #{os_pid}, is still there 10 s after the end of its input"

      true ->
        Process.sleep(5)
        wait_gone(os_pid, deadline)
    end
  end

  def call(node, request, timeout \\ 5_000),
    do: GenServer.call({:default, node.name}, request, timeout)

  @doc "Sets how the BEAM writes to this node: each signal at once, or gathered."
  def delay_send(node, on?) do
    {_, port} = List.keyfind(:erlang.system_info(:dist_ctrl), node.name, 0)
    :ok = :inet.setopts(port, delay_send: on?)
  end
end
