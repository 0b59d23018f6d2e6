defmodule Krait.Cluster.Server do
  @moduledoc false
  # Which nodes belong to the cluster: the only one who starts and ends their member processes.
  #
  # A node belongs to it that this BEAM was told of (`nodes`, join/2), that the function `find` returns, or
  # that another BEAM has brought to the :pg group; and that was not told to leave. No caller waits for this
  # process, but those who ask for a change or for a change to come.
  #
  # A node that comes up takes no sessions that have no node yet, before all others have told which ones they
  # hold: its coming changes where names lead, and a session that exists must stay.

  use GenServer

  require Logger

  alias Krait.Cluster.{Group, Member, Options, Row, Table}

  # A member that crashed is started again after that.
  @rest 1_000
  @sweep 60_000

  # `members`: address => pid; `learning`: ref => {risen, addresses that have not told yet};
  # `waiting`: {from, question, deadline}
  defstruct [
    :config,
    :group_ref,
    :finder,
    told: MapSet.new(),
    found: MapSet.new(),
    left: MapSet.new(),
    leaving: MapSet.new(),
    members: %{},
    learning: %{},
    waiting: []
  ]

  @spec start_link(Table.name()) :: GenServer.on_start()
  def start_link(name), do: GenServer.start_link(__MODULE__, name, name: server(name))

  @doc "The process that looks after a cluster, by the cluster's name."
  @spec server(Table.name()) :: atom
  def server(name), do: Module.concat(name, Server)

  @doc "The supervisor of its members."
  @spec members(Table.name()) :: atom
  def members(name), do: Module.concat(name, Members)

  @doc "A member's row is in another state, or takes sessions from now on."
  @spec changed(map, {atom, node}) :: :ok
  def changed(config, address), do: cast(config, {:changed, address})

  @doc "A member has brought its sessions into the table."
  @spec learned(map, reference, {atom, node}) :: :ok
  def learned(config, ref, address), do: cast(config, {:learned, ref, address})

  defp cast(config, message), do: GenServer.cast(server(config.name), message)

  @impl true
  def init(name) do
    {:ok, config} = Table.config(name)
    :ok = Group.start(config)
    :timer.send_interval(@sweep, :sweep)
    state = %__MODULE__{config: config, group_ref: Group.monitor(config)}
    {:ok, state |> recall() |> sync() |> find()}
  end

  @impl true
  def handle_call({:join, address}, _from, state) do
    told = MapSet.put(state.told, address)
    left = MapSet.delete(state.left, address)
    leaving = MapSet.delete(state.leaving, address)
    {:reply, :ok, sync(remember(%{state | told: told, left: left, leaving: leaving}))}
  end

  def handle_call({:leave, address}, _from, state) do
    told = MapSet.delete(state.told, address)
    left = MapSet.put(state.left, address)
    {:reply, :ok, sync(remember(%{state | told: told, left: left}))}
  end

  def handle_call({:leaving, address}, _from, state) do
    {:reply, :ok, sync(remember(%{state | leaving: MapSet.put(state.leaving, address)}))}
  end

  # `:settled`, {address, :up}, {address, :leaving}
  def handle_call({:await, question, ms}, from, state) do
    deadline = if ms == :infinity, do: :infinity, else: Table.now_ms() + ms
    {:noreply, serve(%{state | waiting: [{from, question, deadline} | state.waiting]})}
  end

  @impl true
  def handle_cast({:changed, address}, state) do
    case Table.row(state.config, address) do
      nil -> {:noreply, state}
      row -> {:noreply, state |> noticed(row, Row.reachable?(row)) |> serve()}
    end
  end

  def handle_cast({:learned, ref, address}, state), do: {:noreply, told(state, ref, address)}

  @impl true
  def handle_info({:found, pid, nodes}, %{finder: {pid, _}} = state) do
    if is_list(nodes) and Enum.all?(nodes, &Options.member?/1) do
      found = MapSet.new(nodes, &Options.address(&1, state.config.pool))
      {:noreply, sync(%{state | found: found})}
    else
      warn(state, "find returned #{inspect(nodes)}, not a list of nodes")
      {:noreply, state}
    end
  end

  def handle_info({:DOWN, monitor, _, _, reason}, %{finder: {_, monitor}} = state) do
    if reason != :normal, do: warn(state, "find failed: #{inspect(reason)}")
    Process.send_after(self(), :find, state.config.find_interval)
    {:noreply, %{state | finder: nil}}
  end

  # A member crashed: those that we end are not in the map any longer.
  def handle_info({:DOWN, _, :process, pid, _}, state) do
    case Enum.find(state.members, &match?({_, ^pid}, &1)) do
      {address, _} ->
        Process.send_after(self(), :sync, @rest)
        {:noreply, gone(%{state | members: Map.delete(state.members, address)}, address)}

      nil ->
        {:noreply, state}
    end
  end

  def handle_info(:find, state), do: {:noreply, find(state)}
  def handle_info(:sync, state), do: {:noreply, sync(state)}

  def handle_info(:sweep, state) do
    Table.sweep(state.config, Map.keys(state.members))
    {:noreply, state}
  end

  def handle_info(message, state) do
    if Group.change?(message, state.group_ref),
      do: {:noreply, sync(state)},
      else: {:noreply, state}
  end

  # --- who belongs to it

  defp sync(%{config: config, left: left} = state) do
    own = state.told |> MapSet.union(state.found) |> MapSet.difference(left)
    grouped = config |> Group.addresses(:member) |> MapSet.new()
    wanted = grouped |> MapSet.difference(left) |> MapSet.union(own)
    leaving = config |> Group.addresses(:leaving) |> MapSet.new() |> MapSet.union(state.leaving)

    kept = Map.take(state.members, MapSet.to_list(wanted))
    state = Enum.reduce(state.members, state, &unless_kept(&1, kept, &2))
    members = Map.new(wanted, &{&1, kept[&1] || start(config, &1)})

    for {address, pid} <- members do
      Member.advertise(pid, address in own)
      Member.set_leaving(pid, address in leaving)
    end

    for address <- leaving, do: Group.advertise(config, :leaving, address, address in state.leaving)
    serve(%{state | members: members})
  end

  defp start(%{name: name}, address) do
    {:ok, pid} = DynamicSupervisor.start_child(members(name), {Member, {name, address}})
    Process.monitor(pid)
    pid
  end

  defp unless_kept({address, _}, kept, state) when is_map_key(kept, address), do: state

  defp unless_kept({address, pid}, _, %{config: config} = state) do
    _ = DynamicSupervisor.terminate_child(members(config.name), pid)
    Table.delete(config, address)
    gone(state, address)
  end

  # What this process was told outlives it.
  defp remember(state) do
    Table.remember(state.config, Map.take(state, [:told, :left, :leaving]))
    state
  end

  defp recall(%{config: config} = state) do
    Map.merge(state, Table.recall(config) || %{told: MapSet.new(config.nodes)})
  end

  # --- sessions, when a node comes up

  defp noticed(state, %{address: address}, false), do: gone(state, address)
  defp noticed(state, %{sessions: true}, true), do: state

  defp noticed(%{learning: learning} = state, %{address: address}, true) do
    if Enum.any?(learning, &match?({_, {^address, _}}, &1)), do: state, else: learn(state, address)
  end

  defp learn(%{config: config, members: members} = state, address) do
    others =
      for %{address: other} = row <- Table.rows(config),
          other != address and Row.reachable?(row) and is_map_key(members, other),
          do: other

    ref = make_ref()
    for other <- others, do: Member.learn_sessions(members[other], ref)
    learned(state, ref, address, MapSet.new(others))
  end

  defp told(%{learning: learning} = state, ref, address) do
    case learning do
      %{^ref => {risen, others}} -> learned(state, ref, risen, MapSet.delete(others, address))
      _ -> state
    end
  end

  defp learned(%{learning: learning} = state, ref, risen, others) do
    if MapSet.size(others) == 0 do
      if pid = state.members[risen], do: Member.take_sessions(pid)
      %{state | learning: Map.delete(learning, ref)}
    else
      %{state | learning: Map.put(learning, ref, {risen, others})}
    end
  end

  # It will tell nothing more, and if it had risen it has fallen.
  defp gone(state, address) do
    learning = Map.reject(state.learning, &match?({_, {^address, _}}, &1))

    Enum.reduce(learning, %{state | learning: learning}, fn {ref, _}, state ->
      told(state, ref, address)
    end)
  end

  # --- those who wait

  defp serve(state) do
    now = Table.now_ms()
    {answered, waiting} = Enum.split_with(state.waiting, fn {_, q, _} -> true?(q, state) end)
    for {from, _, _} <- answered, do: GenServer.reply(from, :ok)
    %{state | waiting: Enum.filter(waiting, fn {_, _, deadline} -> deadline > now end)}
  end

  defp true?(:settled, state), do: Enum.all?(Table.rows(state.config), &settled?/1)

  defp true?({address, :up}, state) do
    case Table.row(state.config, address) do
      nil -> false
      row -> row.state == :up and row.sessions
    end
  end

  # Also one that is no member.
  defp true?({address, :leaving}, state) do
    case Table.row(state.config, address) do
      nil -> true
      row -> row.leaving
    end
  end

  defp settled?(%{state: :connecting}), do: false
  defp settled?(row), do: row.sessions or not Row.reachable?(row)

  # --- find

  defp find(%{config: %{find: nil}} = state), do: state

  # Whatever it does, and however long it takes, it does to a process of its own.
  defp find(%{config: %{find: find}} = state) do
    server = self()
    %{state | finder: spawn_monitor(fn -> send(server, {:found, self(), find.()}) end)}
  end

  defp warn(state, text), do: Logger.warning("cluster #{inspect(state.config.name)}: #{text}")
end
