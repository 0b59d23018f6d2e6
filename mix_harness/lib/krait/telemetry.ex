defmodule Krait.Telemetry do
  @moduledoc """
  Events of Krait nodes, for `:telemetry` or for functions of your own.

  A process that subscribes to nodes, subscribes again whenever one of them comes back, and says all that
  it hears by `:telemetry.execute/3`. `docs/events.md` has the catalogue; the node is in the metadata, as
  `node`.

      children = [
        {Krait, name: :krait, size: 4},
        {Krait.Telemetry, nodes: [:"krait@10.0.0.1"]}
      ]

      :telemetry.attach("calls", [:krait, :call, :stop], &MyApp.Metrics.handle/4, nil)

  Without the library `telemetry` in the system the functions that were given to `attach/4` are called
  instead, by the same rules: in this process, in the order in which they were attached; one that raises,
  throws or exits is detached, and that is logged.

      Krait.Telemetry.attach("calls", [:krait, :call, :stop], &MyApp.Metrics.handle/4)

  Log lines (topic `:log`) are said as the event `[:krait, :log]`, with the measurement `count` and the
  line, its level, worker, and so on as metadata.

  What happens on this side has events as well: `[:krait, :telemetry, :up]` when a node has been
  subscribed to and `[:krait, :telemetry, :down]` with a `reason` when it is there no more. What happens
  between the two is not told to anybody: a node that was away has counted on (`Krait.status/1`).

  Options of `start_link/1`:

    * `:nodes` - nodes, or addresses of single pools (`{:default, node}`); required
    * `:topics` - `:events` (default), `:log`, `:all`, or a list
    * `:retry` - milliseconds between tries to reach a node that is away (1000). One that connects to us
      is subscribed to at once
    * `:name` - registers the process; `:id` - in a supervisor
  """

  use GenServer

  require Logger

  @type handler :: ([atom], map, map, term -> term)
  @type address :: node | {pool :: atom, node}

  @handlers {__MODULE__, :handlers}

  @doc false
  def child_spec(options) do
    %{
      id: Keyword.get(options, :id, Keyword.get(options, :name, __MODULE__)),
      start: {__MODULE__, :start_link, [Keyword.delete(options, :id)]}
    }
  end

  @doc """
  Starts the process. It is up before its nodes need be.

      iex> {:ok, pid} = Krait.Telemetry.start_link(nodes: [:"nobody@127.0.0.1"])
      iex> GenServer.stop(pid)
      :ok
  """
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(options) do
    {name, options} = Keyword.split(options, [:name])
    GenServer.start_link(__MODULE__, checked!(options), name)
  end

  @doc """
  Calls `function.(name, measurements, metadata, config)` for each of these events: a name such as
  `[:krait, :call, :stop]`, a list of names, or `:all`.

      iex> Krait.Telemetry.attach("mine", [:krait, :call, :stop], fn _, _, _, _ -> :ok end)
      :ok
      iex> Krait.Telemetry.attach("mine", :all, fn _, _, _, _ -> :ok end)
      {:error, :already_exists}
      iex> Krait.Telemetry.detach("mine")
      :ok
  """
  @spec attach(term, [atom] | [[atom]] | :all, handler, term) :: :ok | {:error, :already_exists}
  def attach(id, events, function, config \\ nil) when is_function(function, 4) do
    handler = %{id: id, events: names!(events), function: function, config: config}

    update(fn handlers ->
      if Enum.any?(handlers, &(&1.id == id)),
        do: {{:error, :already_exists}, handlers},
        else: {:ok, handlers ++ [handler]}
    end)
  end

  @doc """
  Ends that.

      iex> Krait.Telemetry.detach("nobody")
      {:error, :not_found}
  """
  @spec detach(term) :: :ok | {:error, :not_found}
  def detach(id) do
    update(fn handlers ->
      case Enum.split_with(handlers, &(&1.id == id)) do
        {[], _} -> {{:error, :not_found}, handlers}
        {_, rest} -> {:ok, rest}
      end
    end)
  end

  # Kept where they outlive the process, and where they may come before it. They change seldom.
  defp update(fun) do
    :global.trans({@handlers, self()}, fn -> put(fun.(handlers())) end, [node()])
  end

  defp put({result, handlers}) do
    :persistent_term.put(@handlers, handlers)
    result
  end

  defp handlers, do: :persistent_term.get(@handlers, [])

  defp names!(:all), do: :all
  defp names!([[_ | _] | _] = names), do: Enum.flat_map(names, &names!/1)

  defp names!([_ | _] = name) do
    if Enum.all?(name, &is_atom/1), do: [name], else: bad(:events, "a list of atoms", name)
  end

  defp names!(other), do: bad(:events, "the name of an event, a list of names, or :all", other)

  ## The process

  @impl true
  def init(%{nodes: addresses} = options) do
    :ok = :net_kernel.monitor_nodes(true, node_type: :all)

    state = %{
      topics: options.topics,
      retry: options.retry,
      # By address: {:asked, request id} | {:up, monitor} | {:away, timer}
      peers: Map.new(addresses, &{&1, nil}),
      # By address: why the last try failed, which is logged once.
      refused: %{},
      execute: executor()
    }

    {:ok, Enum.reduce(addresses, state, &subscribe(&2, &1))}
  end

  # Looked for at run time: the library is not one of ours.
  defp executor do
    if Code.ensure_loaded?(:telemetry) and function_exported?(:telemetry, :execute, 3),
      do: &apply(:telemetry, :execute, [&1, &2, &3]),
      else: &execute/3
  end

  @impl true
  def handle_info({:krait_event, node, name, measurements, metadata}, state) do
    state.execute.(name, measurements, Map.put(metadata, :node, node))
    {:noreply, state}
  end

  def handle_info({:krait_log, node, line}, state) do
    state.execute.([:krait, :log], %{count: 1}, Map.put(line, :node, node))
    {:noreply, state}
  end

  def handle_info({:nodeup, node, _}, state) do
    away = for {address, {:away, _}} <- state.peers, node_of(address) == node, do: address
    {:noreply, Enum.reduce(away, state, &subscribe(&2, &1))}
  end

  def handle_info({:nodedown, _, _}, state), do: {:noreply, state}

  def handle_info({:retry, address}, state) do
    case state.peers do
      %{^address => {:away, _}} -> {:noreply, subscribe(state, address)}
      %{} -> {:noreply, state}
    end
  end

  def handle_info({:DOWN, monitor, :process, _, reason} = message, state) do
    case Enum.find(state.peers, fn {_, peer} -> peer == {:up, monitor} end) do
      {address, _} -> {:noreply, lost(state, address, reason)}
      nil -> {:noreply, answered(message, state)}
    end
  end

  def handle_info(message, state), do: {:noreply, answered(message, state)}

  # An answer to one of our subscriptions?
  defp answered(message, state) do
    asked = for {address, {:asked, id, monitor}} <- state.peers, do: {address, id, monitor}

    Enum.find_value(asked, state, fn {address, id, monitor} ->
      case :gen_server.check_response(message, id) do
        :no_reply -> nil
        {:reply, :ok} -> up(state, address, monitor)
        {:reply, {:error, reason}} -> away(state, address, monitor, reason)
        {:error, {reason, _}} -> away(state, address, monitor, reason)
      end
    end)
  end

  # Nothing here waits: a node that is far away holds up the events of no other. The monitor tells when
  # the node goes; that of the request ends with its answer.
  defp subscribe(state, address) do
    with %{^address => {:away, timer}} <- state.peers, do: Process.cancel_timer(timer)
    to = to(address)
    id = :gen_server.send_request(to, {:subscribe, state.topics})
    put_in(state.peers[address], {:asked, id, Process.monitor(to)})
  end

  defp up(state, address, monitor) do
    state = put_in(state.peers[address], {:up, monitor})
    state = %{state | refused: Map.delete(state.refused, address)}
    said(state, address, :up, %{})
  end

  defp lost(state, address, reason) do
    state |> said(address, :down, %{reason: reason}) |> later(address)
  end

  # It has not been there, or does not want us.
  defp away(state, address, monitor, reason) do
    Process.demonitor(monitor, [:flush])
    quiet? = reason == :noconnection or state.refused[address] == reason
    unless quiet?, do: Logger.warning(refused(address, reason))
    later(put_in(state.refused[address], reason), address)
  end

  defp refused(address, reason) do
    "#{inspect(__MODULE__)}: cannot subscribe to #{inspect(address)}: #{inspect(reason)}"
  end

  defp later(state, address) do
    timer = Process.send_after(self(), {:retry, address}, state.retry)
    put_in(state.peers[address], {:away, timer})
  end

  defp said(state, address, what, metadata) do
    metadata = Map.merge(metadata, %{node: node_of(address), address: to(address)})
    state.execute.([:krait, :telemetry, what], %{count: 1}, metadata)
    state
  end

  defp to(address) when is_atom(address), do: {:krait, address}
  defp to({_, _} = address), do: address

  defp node_of(address), do: elem(to(address), 1)

  ## Attached functions

  defp execute(name, measurements, metadata) do
    for %{events: events} = handler <- handlers(), events == :all or name in events do
      try do
        handler.function.(name, measurements, metadata, handler.config)
      catch
        kind, reason -> failed(handler, name, Exception.format(kind, reason, __STACKTRACE__))
      end
    end

    :ok
  end

  defp failed(handler, name, text) do
    _ = detach(handler.id)

    Logger.error(
      "#{inspect(__MODULE__)}: the handler #{inspect(handler.id)} failed at #{inspect(name)} " <>
        "and is detached: #{text}"
    )
  end

  ## Options

  defp checked!(options) do
    options = Keyword.validate!(options, [:nodes, topics: :events, retry: 1_000])
    nodes = options[:nodes]

    unless is_list(nodes) and nodes != [] and Enum.all?(nodes, &address?/1),
      do: bad(:nodes, "a list of nodes, or of {pool, node}", nodes)

    topics = options[:topics]

    unless Enum.all?(List.wrap(topics), &(&1 in [:events, :log, :all])) and topics not in [nil, []],
      do: bad(:topics, ":events, :log, :all, or a list of these", topics)

    unless is_integer(options[:retry]) and options[:retry] > 0,
      do: bad(:retry, "milliseconds, a positive integer", options[:retry])

    Map.new(options)
  end

  defp address?({pool, node}), do: is_atom(pool) and is_atom(node)
  defp address?(node), do: is_atom(node) and node != nil

  @spec bad(atom, String.t(), term) :: no_return
  defp bad(key, expected, got) do
    raise ArgumentError, "option #{key}: expected #{expected}, got: #{inspect(got)}"
  end
end
