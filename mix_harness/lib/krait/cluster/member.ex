defmodule Krait.Cluster.Member do
  @moduledoc false
  # One node of a cluster, as this BEAM sees it: connects, watches, asks how it is, writes its row.
  #
  # The happy path: connected; the pool is monitored; `status` is asked, and the sessions that the node holds
  # already; the row says `:up`; from then on `status` again, `interval` ms after each answer.
  #
  # What can go wrong: there is no connection, or no such pool (again after a while, longer each time, at once
  # when somebody else has connected); the connection breaks, the pool ends (the row says so, then as before);
  # the node does not answer (`:silent`: at most one question is under way, and nobody goes there who has a
  # choice, until it does).
  #
  # For a node that this BEAM was told of it joins the cluster's :pg group, which a krait node, having no :pg
  # of its own, cannot do; that is how other BEAMs learn of it.

  use GenServer, restart: :temporary, shutdown: :brutal_kill

  alias Krait.Cluster.{Group, Locality, Report, Row, Server, Table}

  @first_wait 100
  @longest_wait 5_000
  # Sessions are asked for again, so that pins of ended ones go.
  @sweep 60_000
  @least_patience 2_000

  # `asked` and `listing` are requests under way; `relist`: what is under way may be older than what made us
  # ask; `rising`: the state to come when the sessions are known; `refs`: who waits for those.
  defstruct [
    :config,
    :row,
    :monitor,
    :timer,
    :wait,
    :asked,
    :listing,
    :listed_ms,
    :rising,
    relist: false,
    refs: []
  ]

  @spec start_link({Table.name(), {atom, node}}) :: GenServer.on_start()
  def start_link({name, address}) do
    GenServer.start_link(__MODULE__, {name, address})
  end

  @doc "Brings its nodes' sessions into the table, then tells the server, with `ref`."
  @spec learn_sessions(pid, reference) :: :ok
  def learn_sessions(member, ref), do: GenServer.cast(member, {:learn_sessions, ref})

  @doc "Sessions without a node may begin there."
  @spec take_sessions(pid) :: :ok
  def take_sessions(member), do: GenServer.cast(member, :take_sessions)

  @spec set_leaving(pid, boolean) :: :ok
  def set_leaving(member, leaving?), do: GenServer.cast(member, {:leaving, leaving?})

  @spec advertise(pid, boolean) :: :ok
  def advertise(member, advertised?), do: GenServer.cast(member, {:advertise, advertised?})

  @impl true
  def init({name, address}) do
    {:ok, config} = Table.config(name)
    _ = :net_kernel.monitor_nodes(true, node_type: :all)

    # A row of before a crash: its generation goes on.
    old = Table.row(config, address) || %Row{address: address, state: :connecting}
    local = Locality.local?(elem(address, 1), config.local)
    row = Row.fresh(%{old | state: :connecting, sessions: false, local: local})
    state = %__MODULE__{config: config, row: row, wait: @first_wait}
    Table.put(config, row)
    {:ok, state, {:continue, :connect}}
  end

  @impl true
  def handle_continue(:connect, state), do: connect(state)

  @impl true
  def handle_cast({:learn_sessions, ref}, state) do
    state = %{state | refs: [ref | state.refs]}
    {:noreply, if(Row.reachable?(state.row), do: ask_sessions(state), else: learned(state))}
  end

  def handle_cast(:take_sessions, state),
    do: {:noreply, change(state, sessions: Row.reachable?(state.row))}

  def handle_cast({:leaving, leaving?}, state), do: {:noreply, change(state, leaving: leaving?)}

  def handle_cast({:advertise, advertised?}, state) do
    Group.advertise(state.config, state.row.address, advertised?)
    {:noreply, state}
  end

  @impl true
  def handle_info({:nodeup, node, _}, %{row: %{address: {_, node}}, monitor: nil} = state),
    do: connect(state)

  def handle_info({node_event, _, _}, state) when node_event in [:nodeup, :nodedown],
    do: {:noreply, state}

  def handle_info({:timeout, timer, what}, %{timer: timer} = state), do: timeout(what, state)
  def handle_info({:timeout, _, _}, state), do: {:noreply, state}

  def handle_info({:DOWN, monitor, _, _, reason}, %{monitor: monitor} = state),
    do: {:noreply, down(%{state | monitor: nil}, reason)}

  def handle_info(message, state), do: {:noreply, answer(message, state)}

  # --- the connection

  defp connect(%{row: %{address: {_, node} = address}} = state) do
    if Node.connect(node) == true,
      do: {:noreply, ask_status(%{state | monitor: Process.monitor(address)})},
      else: {:noreply, down(state, :noconnection)}
  end

  defp down(state, reason) do
    if state.monitor, do: Process.demonitor(state.monitor, [:flush])
    Table.put_report(state.config, state.row.address, %{})
    state = %{state | monitor: nil, asked: nil, listing: nil, rising: nil}
    word = if reason == :noproc, do: :no_pool, else: :down

    %{state | wait: min(state.wait * 2, @longest_wait)}
    |> start_timer(state.wait + :rand.uniform(state.wait), :connect)
    |> change(state: word, sessions: false)
    |> learned()
  end

  defp timeout(:connect, state), do: connect(state)
  defp timeout(:poll, state), do: {:noreply, ask_status(state)}

  defp timeout(:silent, %{row: row} = state) do
    # One that has not answered yet is as good as down, but for what it may still say.
    word = if Row.reachable?(row), do: :silent, else: :down
    {:noreply, change(%{state | timer: nil}, state: word)}
  end

  defp start_timer(state, ms, what) do
    if state.timer, do: :erlang.cancel_timer(state.timer)
    %{state | timer: :erlang.start_timer(ms, self(), what)}
  end

  # --- questions

  defp ask_status(state) do
    asked = :gen_server.send_request(state.row.address, :status)
    patience = max(2 * state.config.interval, @least_patience)
    start_timer(%{state | asked: asked}, patience, :silent)
  end

  defp ask_sessions(%{listing: nil} = state) do
    listing = :gen_server.send_request(state.row.address, :sessions)
    %{state | listing: listing, listed_ms: Table.now_ms(), relist: false}
  end

  defp ask_sessions(state), do: %{state | relist: true}

  defp answer(message, state) do
    with :other <- check(message, state.asked),
         {:listing, reply} <- {:listing, check(message, state.listing)} do
      case reply do
        {:reply, reply} -> listed(reply, %{state | listing: nil})
        {:error, {reason, _}} -> down(state, reason)
        :other -> state
      end
    else
      {:reply, reply} -> reported(reply, %{state | asked: nil})
      {:error, {reason, _}} -> down(state, reason)
    end
  end

  defp check(_, nil), do: :other

  defp check(message, asked) do
    with :no_reply <- :gen_server.check_response(message, asked), do: :other
  end

  # --- answers

  defp reported({:ok, %{pools: pools} = status}, %{row: %{address: {pool, _}}} = state) do
    case pools do
      %{^pool => report} -> heard(Report.read(status, report), state)
      _ -> down(state, :noproc)
    end
  end

  # No status, from one that we may not ask for it: it answers, so it is there.
  defp reported(_, state), do: heard(Report.none(), state)

  defp heard(report, %{row: row} = state) do
    Table.put_report(state.config, row.address, report)
    fresh = Row.fresh(%{row | running: report.running, capacity: report.capacity})
    state = start_timer(%{state | row: fresh, wait: @first_wait}, poll_ms(state.config), :poll)

    cond do
      state.rising -> %{state | rising: report.state}
      Row.reachable?(row) -> state |> change(state: report.state) |> sweep()
      true -> rise(report.state, state)
    end
  end

  # Not all of them in step.
  defp poll_ms(%{interval: ms}), do: ms - div(ms, 8) + :rand.uniform(div(ms, 4) + 1)

  # The row says so when it is known which sessions there are: those of before are of this life, then.
  defp rise(word, %{row: row} = state) do
    row = %{row | generation: row.generation + 1}
    ask_sessions(%{state | row: row, rising: word})
  end

  defp listed(reply, %{row: row, config: config} = state) do
    with {:ok, sessions} <- reply do
      ids = for %{id: id} <- sessions, do: id
      Table.reconcile(config, row, ids, state.listed_ms, config.session_ttl)
    end

    if state.relist, do: ask_sessions(state), else: state |> risen() |> learned()
  end

  defp risen(%{rising: nil} = state), do: state
  defp risen(%{rising: word} = state), do: change(%{state | rising: nil}, state: word)

  defp sweep(%{config: config, row: row} = state) do
    if Table.now_ms() - state.listed_ms > @sweep and Table.pinned?(config, row.address),
      do: ask_sessions(state),
      else: state
  end

  defp learned(%{refs: refs} = state) do
    for ref <- refs, do: Server.learned(state.config, ref, state.row.address)
    %{state | refs: []}
  end

  defp change(%{config: config, row: row} = state, changes) do
    row = struct!(row, changes)
    Table.put(config, row)
    if told(row) != told(state.row), do: Server.changed(config, row.address)
    %{state | row: row}
  end

  defp told(row), do: {row.state, row.sessions, row.leaving}
end
