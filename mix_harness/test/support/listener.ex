defmodule Krait.Listener do
  @moduledoc "A process that subscribes to all that a node says, and counts it."

  use GenServer

  @spec start(node) :: pid
  def start(node) do
    {:ok, pid} = GenServer.start(__MODULE__, node)
    pid
  end

  @doc "Ends the subscription; everything that was said before has been heard then."
  @spec finish(pid) :: map
  def finish(pid), do: GenServer.call(pid, :finish, 30_000)

  @typedoc "The line that was printed last; or at least so many lost."
  @type question :: {:last, String.t()} | {:lost, pos_integer}

  @doc "What it has heard, as soon as that is so: `%{messages, logs, events, lost, last}`."
  @spec await(pid, question) :: map
  def await(pid, question) do
    :ok = GenServer.call(pid, {:await, self(), question})

    receive do
      {^pid, heard} -> heard
    after
      30_000 -> raise "#{inspect(question)}: never so, but #{inspect(GenServer.call(pid, :heard))}"
    end
  end

  defp so?({:last, line}, heard), do: heard.last == line
  defp so?({:lost, n}, heard), do: heard.lost >= n

  @impl true
  def init(node) do
    :ok = GenServer.call({:krait, node}, {:subscribe, :all})
    {:ok, {%{node: node, messages: 0, logs: 0, events: 0, lost: 0, last: nil}, []}}
  end

  @impl true
  def handle_call({:await, to, question}, _, {heard, waiting}),
    do: {:reply, :ok, tell({heard, [{to, question} | waiting]})}

  def handle_call(:finish, from, {heard, _} = state) do
    :ok = GenServer.call({:krait, heard.node}, :unsubscribe)
    send(self(), {:finished, from})
    {:noreply, state}
  end

  def handle_call(:heard, _, {heard, _} = state), do: {:reply, heard, state}

  @impl true
  def handle_info({:finished, from}, {heard, _} = state) do
    GenServer.reply(from, heard)
    {:noreply, state}
  end

  def handle_info(
        {:krait_event, _, [:krait, :subscriber, :lost], %{count: n}, _},
        {heard, waiting}
      ),
      do: {:noreply, tell({%{heard | lost: heard.lost + n}, waiting})}

  def handle_info({:krait_event, _, _, _, _}, {heard, waiting}) do
    heard = %{heard | messages: heard.messages + 1, events: heard.events + 1}
    {:noreply, tell({heard, waiting})}
  end

  def handle_info({:krait_log, _, %{line: line, stream: stream}}, {heard, waiting}) do
    heard = %{heard | messages: heard.messages + 1}

    heard = if stream == nil, do: heard, else: %{heard | logs: heard.logs + 1, last: line}

    {:noreply, tell({heard, waiting})}
  end

  defp tell({heard, waiting}) do
    {done, rest} = Enum.split_with(waiting, fn {_, question} -> so?(question, heard) end)
    for {to, _} <- done, do: send(to, {self(), heard})
    {heard, rest}
  end
end
