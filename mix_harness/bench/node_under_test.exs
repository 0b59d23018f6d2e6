defmodule Bench.Node do
  @moduledoc "A Krait node as an external program of the benchmark: no library, only its command line."

  alias Bench.Proc

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

  @doc "The same, and returns once its workers are ready."
  def start_ready(krait, args) do
    node = start(krait, args)
    :ok = call(node, :await_ready, 60_000)
    node
  end

  @doc "Stops it and waits until it is gone."
  def stop(%__MODULE__{port: port, os_pid: os_pid}) do
    Port.close(port)
    wait_gone(os_pid, System.monotonic_time(:millisecond) + 20_000)
  end

  # The port is closed, so nothing tells us of the exit; /proc does.
  defp wait_gone(os_pid, deadline) do
    cond do
      not File.exists?("/proc/#{os_pid}") ->
        :ok

      System.monotonic_time(:millisecond) > deadline ->
        raise "the node, process #{os_pid}, is still there 20 s after the end of its input"

      true ->
        Process.sleep(5)
        wait_gone(os_pid, deadline)
    end
  end

  @doc "The address of its pool."
  def pool(%__MODULE__{name: name}), do: {:default, name}

  @doc "A request by the bare contract."
  def call(node, request, timeout \\ 5_000), do: GenServer.call(pool(node), request, timeout)

  @doc "The pool's part of `status`."
  def status(node) do
    {:ok, status} = call(node, :status)
    status.pools.default
  end

  @doc "Sets how the BEAM writes to this node: each signal at once, or gathered."
  def delay_send(node, on?), do: :ok = :inet.setopts(connection(node), delay_send: on?)

  @doc "How it writes to this node now."
  def delay_send(node) do
    {:ok, [delay_send: on?]} = :inet.getopts(connection(node), [:delay_send])
    on?
  end

  defp connection(node) do
    {_, port} = List.keyfind(:erlang.system_info(:dist_ctrl), node.name, 0)
    port
  end

  @doc "The node, and the Python below it."
  def processes(node) do
    [os_pid | below] = Proc.family(node.os_pid)
    %{between: [os_pid], python: below}
  end

  @doc "Asks until the answer is true; what the node tells nobody cannot be waited for otherwise."
  def wait_for(fun, every_ms \\ 20, tries \\ 1500)
  def wait_for(_, _, 0), do: raise("waited in vain")

  def wait_for(fun, every_ms, tries) do
    if not fun.() do
      Process.sleep(every_ms)
      wait_for(fun, every_ms, tries - 1)
    end
  end
end
