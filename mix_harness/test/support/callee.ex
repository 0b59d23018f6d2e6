defmodule Krait.Callee do
  @moduledoc "A gen_server for Python to call: it does what the request says, and tells its test."
  use GenServer

  @spec start(keyword) :: pid
  def start(options \\ []) do
    {:ok, pid} = GenServer.start(__MODULE__, Keyword.get(options, :tell, self()), options)
    ExUnit.Callbacks.on_exit(fn -> Process.exit(pid, :kill) end)
    pid
  end

  @doc "The same on another BEAM, under a name."
  @spec start_on(pid, atom) :: pid
  def start_on(peer, name) do
    {:ok, pid} = :peer.call(peer, GenServer, :start, [__MODULE__, self(), [name: name]])
    pid
  end

  @doc "For rpcs: a function whose process is killed."
  def kill_me, do: Process.exit(self(), :kill)

  @impl true
  def init(tell), do: {:ok, tell}

  @impl true
  def handle_call({:echo, term}, _from, tell), do: {:reply, term, tell}
  def handle_call(:from, {pid, _}, tell), do: {:reply, pid, tell}

  # The test answers, or nobody does.
  def handle_call({:hold, tag}, {pid, _} = from, tell) do
    :erlang.monitor(:process, pid, tag: {:caller_down, tag})
    tell(tell, {:held, tag, from})
    {:noreply, tell}
  end

  # Terms without a form in Python.
  def handle_call(:improper, _from, tell), do: {:reply, [1 | 2], tell}
  def handle_call(:stop_improper, _from, tell), do: {:stop, [1 | 2], tell}

  def handle_call({:stop, reason}, _from, tell), do: {:stop, reason, tell}

  # Somebody else answers: from another process, and a moment later.
  def handle_call({:delegate, term}, from, tell) do
    spawn(fn -> GenServer.reply(from, term) end)
    {:noreply, tell}
  end

  def handle_call({:ask, address, request}, _from, tell) do
    {:reply, GenServer.call(address, request, 20_000), tell}
  end

  # As a process of its own, so that the next one may ask, too.
  def handle_call({:ask_aside, address, request}, from, tell) do
    spawn(fn -> GenServer.reply(from, GenServer.call(address, request, 20_000)) end)
    {:noreply, tell}
  end

  def handle_call({:ask_later, address, request}, _from, tell) do
    :gen_server.send_request(address, request)
    {:reply, :asked, tell}
  end

  # What an input stream is: a process that is asked for its items.
  def handle_call({:krait_input, :next, n}, _from, {:items, items}) do
    case Enum.split(items, n) do
      {[], []} -> {:reply, :done, {:items, []}}
      {[{:stop, reason} | _], _} -> {:stop, reason, nil}
      {[{:fail, reason} | _], _} -> {:reply, {:error, reason}, nil}
      {some, rest} -> {:reply, {:items, some}, {:items, rest}}
    end
  end

  @impl true
  def handle_info({{:caller_down, tag}, _, :process, _, reason}, tell) do
    tell(tell, {:caller_down, tag, reason})
    {:noreply, tell}
  end

  def handle_info(message, tell) do
    tell(tell, {:got, message})
    {:noreply, tell}
  end

  defp tell(pid, message) when is_pid(pid), do: send(pid, message)
  defp tell(_, _), do: :ok
end
