defmodule Krait.Cluster.Call do
  @moduledoc false
  # One request to a cluster, in the process of its caller: pick, ask, judge, and pick again.
  #
  # The happy path: rows are read, one is picked, the request is sent there, the answer is returned.
  #
  # What can go wrong, and goes on: there is no connection to the node, or nobody of that name; it refuses
  # (draining, overloaded, circuit_open). The request surely did not run, so the next node gets it, each at
  # most once, with what is left of the time. The connection breaks under way: it may have run, so it moves
  # on only `retry` times. All else is the answer.
  #
  # A session that began on a node stays there. When that node is gone or is about to go, its state is lost,
  # and who asks next hears so, once: {:session_lost, id}. With session_mode `:hint` it moves in silence.

  alias Krait.Cluster.{Pick, Row, Table, Wire}

  defstruct [:config, :verb, :options, :began_ms, :session, :retries, :last, tried: []]

  @doc """
  `verb` makes the request of the options. The result tells the address that it came from, too.
  """
  @spec run(Table.name(), (map -> term), Krait.options()) ::
          {term, Pick.address() | Table.name()}
  def run(name, verb, options) do
    with {:ok, config} <- Table.config(name),
         {:ok, options} <- map(options) do
      next(%__MODULE__{
        config: config,
        verb: verb,
        options: Map.put_new(options, :timeout, config.timeout),
        session: Map.fetch(options, :session),
        retries: retries(options),
        began_ms: Table.now_ms()
      })
    else
      :none -> {{:error, :noproc}, name}
      {:error, _} = error -> {error, name}
    end
  end

  # What is wrong in an option is the node's to say; but it must be options.
  defp map(options) when is_map(options), do: {:ok, options}

  defp map(options) do
    if Keyword.keyword?(options),
      do: {:ok, Map.new(Enum.reverse(options))},
      else: {:error, {:bad_option, :options, "a keyword list or a map", options}}
  end

  defp retries(%{retry: n}) when is_integer(n) and n > 0, do: n
  defp retries(_), do: 0

  defp next(call) do
    case choose(call) do
      {:ok, row, pin} -> ask(call, row, pin)
      {:lost, session, address} -> {{:error, {:session_lost, session}}, address}
      :none -> call.last || {{:error, {:no_node, states(call.config)}}, call.config.name}
    end
  end

  defp states(config), do: for(row <- Table.rows(config), do: {row.address, row.state})

  # --- whom

  defp choose(%{session: :error, config: config} = call) do
    with {:ok, row} <- Pick.any(Table.rows(config), call.tried, config.spill), do: {:ok, row, nil}
  end

  defp choose(%{session: {:ok, session}, config: config} = call) do
    case Table.pin(config, session) do
      nil -> begin_session(call, session)
      {_, address, _, _, _} = pin -> go_on(call, pin, Table.row(config, address))
    end
  end

  defp begin_session(%{config: config} = call, session) do
    with {:ok, row} <- Pick.home(Table.rows(config), call.tried, session) do
      case Table.pin_new(config, session, row, false) do
        {_, address, _, _, _} = pin when address == row.address -> still_good(call, row, pin)
        {_, address, _, _, _} = pin -> go_on(call, pin, Table.row(config, address))
      end
    end
  end

  # Who takes a node away marks its row and then looks for pins like this one: one of us sees the other.
  defp still_good(%{config: config} = call, row, {session, _, _, _, _} = pin) do
    now = Table.row(config, row.address)

    if row.leaving or (now != nil and not now.leaving) do
      {:ok, row, pin}
    else
      Table.unpin(config, pin)
      begin_session(call, session)
    end
  end

  defp go_on(call, {session, address, generation, begun?, _} = pin, row) do
    cond do
      row != nil and row.generation == generation and Row.reachable?(row) and
          address not in call.tried ->
        {:ok, row, pin}

      not begun? or call.options[:session_mode] == :hint ->
        Table.unpin(call.config, pin)
        begin_session(call, session)

      true ->
        Table.unpin(call.config, pin)
        {:lost, session, address}
    end
  end

  # --- the request

  defp ask(call, row, pin) do
    options = remaining(call)
    Row.begin(row)
    outcome = Wire.ask(row.address, call.verb.(options), timeout(options))
    ended(call.config, row)
    judge(outcome, call, row, pin)
  end

  # Counted with the row that is there by now: a report that came meanwhile has counted it as running.
  defp ended(config, row) do
    case Table.row(config, row.address) do
      %Row{counters: counters} = row when counters != nil -> Row.finish(row)
      _ -> :ok
    end
  end

  defp remaining(%{tried: []} = call), do: call.options

  defp remaining(call) do
    gone = Table.now_ms() - call.began_ms

    call.options
    |> left(:timeout, gone)
    |> left(:queue_timeout, gone)
    |> retry(call)
  end

  defp left(options, key, gone) do
    case options do
      %{^key => ms} when is_integer(ms) -> %{options | key => max(ms - gone, 0)}
      _ -> options
    end
  end

  defp retry(%{retry: n} = options, call) when is_integer(n), do: %{options | retry: call.retries}
  defp retry(options, _), do: options

  defp timeout(%{timeout: ms}) when is_integer(ms) and ms >= 0, do: ms
  defp timeout(_), do: :infinity

  # --- the outcome

  defp judge({:answer, {:error, reason} = error}, call, row, pin) do
    if refused?(reason, pin) do
      Row.refuse(row)
      move(call, row, error)
    else
      begun(call.config, pin)
      {error, row.address}
    end
  end

  defp judge({:answer, answer}, call, row, pin) do
    begun(call.config, pin)
    {answer, row.address}
  end

  defp judge({:not_run, reason}, call, row, _) do
    Row.refuse(row)
    move(call, row, {:error, reason})
  end

  defp judge({:broken, reason}, call, row, pin) do
    Row.refuse(row)

    if call.retries > 0 and (pin == nil or call.options[:session_mode] == :hint),
      do: move(%{call | retries: call.retries - 1}, row, {:error, reason}),
      else: {{:error, reason}, row.address}
  end

  # A node that is full, or whose workers do not start, still has the session.
  defp refused?(:draining, _), do: true
  defp refused?({:overloaded, _}, pin), do: not begun?(pin)
  defp refused?({:circuit_open, _}, pin), do: not begun?(pin)
  defp refused?(_, _), do: false

  defp begun?({_, _, _, begun?, _}), do: begun?
  defp begun?(nil), do: false

  defp begun(_, nil), do: :ok
  defp begun(config, pin), do: Table.begun(config, pin)

  defp move(call, row, error) do
    call = %{call | tried: [row.address | call.tried], last: {error, row.address}}
    if late?(call), do: {{:error, {:timeout, :call}}, row.address}, else: next(call)
  end

  defp late?(%{options: %{timeout: ms}} = call) when is_integer(ms),
    do: Table.now_ms() - call.began_ms >= ms

  defp late?(_), do: false
end
