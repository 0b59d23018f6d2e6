defmodule Bench.PortPool do
  @moduledoc """
  A pool of ports that hands the port itself to its caller: the design of NimblePool.

  A caller asks the pool for a port, becomes its owner (`Port.connect/2`), talks to it directly and
  gives it back. The pool sees two messages a call and never the data. It monitors whoever holds a
  port; one whose holder died is in an unknown state, so it is closed and a fresh one takes its place.
  """

  use GenServer

  @doc "Starts `size` ports running `command`, `{executable, args}`, with 4-byte packets."
  def start_link(size, command), do: GenServer.start_link(__MODULE__, {size, command})

  @doc "Runs `fun` with a port that belongs to the calling process meanwhile."
  def checkout!(pool, fun, timeout \\ 5_000) do
    {ref, port} = GenServer.call(pool, :checkout, timeout)

    try do
      fun.(port)
    after
      # The owner is the pool again before it hears so. Port.connect/2 leaves the old link in place.
      Port.connect(port, pool)
      Process.unlink(port)
      send(pool, {:checkin, ref, port})
    end
  end

  @doc "One request and its answer, by whoever owns the port."
  def ask(port, request) do
    Port.command(port, request)

    receive do
      {^port, {:data, answer}} -> answer
    end
  end

  @doc "The ports that are free now."
  def ports(pool), do: GenServer.call(pool, :ports)

  @impl true
  def init({size, command}) do
    Process.flag(:trap_exit, true)
    free = :queue.from_list(for _ <- 1..size, do: open(command))
    {:ok, %{command: command, free: free, waiting: :queue.new(), held: %{}}}
  end

  @impl true
  def handle_call(:checkout, {pid, _} = from, state) do
    ref = Process.monitor(pid)
    {:noreply, hand_out(%{state | waiting: :queue.in({ref, from}, state.waiting)})}
  end

  def handle_call(:ports, _, state), do: {:reply, :queue.to_list(state.free), state}

  @impl true
  def handle_info({:checkin, ref, port}, state) do
    Process.demonitor(ref, [:flush])
    state = %{state | held: Map.delete(state.held, ref), free: :queue.in(port, state.free)}
    {:noreply, hand_out(state)}
  end

  def handle_info({:DOWN, ref, :process, _, _}, state) do
    case Map.pop(state.held, ref) do
      {nil, _} ->
        waiting = :queue.filter(fn {waiting, _} -> waiting != ref end, state.waiting)
        {:noreply, %{state | waiting: waiting}}

      {port, held} ->
        if Port.info(port), do: Port.close(port)

        {:noreply,
         hand_out(%{state | held: held, free: :queue.in(open(state.command), state.free)})}
    end
  end

  def handle_info({:EXIT, port, _}, state) when is_port(port), do: {:noreply, state}

  defp hand_out(state) do
    with {{:value, {ref, {pid, _} = from}}, waiting} <- :queue.out(state.waiting),
         {{:value, port}, free} <- :queue.out(state.free) do
      Port.connect(port, pid)
      GenServer.reply(from, {ref, port})
      hand_out(%{state | waiting: waiting, free: free, held: Map.put(state.held, ref, port)})
    else
      {:empty, _} -> state
    end
  end

  @doc "Opens one such port; the calling process owns it."
  def open({executable, args}) do
    Port.open({:spawn_executable, executable}, [:binary, {:packet, 4}, args: args])
  end
end
