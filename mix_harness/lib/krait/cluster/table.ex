defmodule Krait.Cluster.Table do
  @moduledoc false
  # What callers read, without asking any process: the members' rows, and where sessions live.
  #
  # Three tables (of type `set`: names are compared with =:=, as the node does it), owned by the cluster's supervisor so that they outlive its processes. The one with the
  # cluster's name leads to the others. A row is written by its member's process alone. A pin says on which
  # node a session is; callers write it with the first call of a session, members when they learn which
  # sessions their node holds already.
  #
  #   pin: {session, address, generation, begun?, seen_ms}
  #
  # `generation` counts the lives of the connection to that node: a pin of an earlier one stands for a
  # session that is lost, unless the node says that it has it still. `begun?` is false until a call in the
  # session has been answered: what never began cannot be lost. `seen_ms`: when it was known to live, last; of
  # one that has not begun, when it was picked.

  alias Krait.Cluster.{Pick, Row}

  # A first call that takes longer is listed by its node meanwhile.
  @first_call 60_000

  @type name :: atom
  @type pin ::
          {session :: term, Pick.address(), generation :: non_neg_integer, begun? :: boolean,
           seen_ms :: integer}

  @spec new(name, map) :: :ok
  def new(name, config) do
    ^name = :ets.new(name, [:named_table, :public, read_concurrency: true])
    members = :ets.new(:krait_members, [:public, read_concurrency: true])
    options = [:public, read_concurrency: true, write_concurrency: true]
    pins = :ets.new(:krait_pins, options)
    true = :ets.insert(name, {:config, Map.merge(config, %{members: members, pins: pins})})
    :ok
  end

  @doc "The cluster's options and tables, if there is such a cluster."
  @spec config(name) :: {:ok, map} | :none
  def config(name) do
    [{:config, config}] = :ets.lookup(name, :config)
    {:ok, config}
  rescue
    ArgumentError -> :none
  end

  # --- members

  @spec rows(map) :: [Row.t()]
  def rows(%{members: members}), do: for({_, row} <- :ets.tab2list(members), do: row)

  @spec row(map, Pick.address()) :: Row.t() | nil
  def row(%{members: members}, address) do
    case :ets.lookup(members, address) do
      [{_, row}] -> row
      [] -> nil
    end
  end

  @spec put(map, Row.t()) :: true
  def put(%{members: members}, row), do: :ets.insert(members, {row.address, row})

  @spec delete(map, Pick.address()) :: true
  def delete(%{members: members} = config, address) do
    put_report(config, address, %{})
    :ets.delete(members, address)
  end

  @doc "What `nodes/1` tells besides the row; not read by those who pick."
  @spec put_report(map, Pick.address(), map) :: true
  def put_report(%{name: name}, address, report) when report == %{},
    do: :ets.delete(name, {:report, address})

  def put_report(%{name: name}, address, report),
    do: :ets.insert(name, {{:report, address}, report})

  @spec report(map, Pick.address()) :: map
  def report(%{name: name}, address) do
    case :ets.lookup(name, {:report, address}) do
      [{_, report}] -> report
      [] -> %{}
    end
  end

  @doc "What the server was told, for the one that takes its place after a crash."
  @spec remember(map, map) :: true
  def remember(%{name: name}, told), do: :ets.insert(name, {:told, told})

  @spec recall(map) :: map | nil
  def recall(%{name: name}) do
    case :ets.lookup(name, :told) do
      [{:told, told}] -> told
      [] -> nil
    end
  end

  # --- sessions

  @spec pin(map, term) :: pin | nil
  def pin(%{pins: pins}, session) do
    case :ets.lookup(pins, session) do
      [pin] -> pin
      [] -> nil
    end
  end

  @doc "Says where a session is going to begin; another caller may have been faster."
  @spec pin_new(map, term, Row.t(), boolean) :: pin
  def pin_new(%{pins: pins} = config, session, row, begun?) do
    pin = {session, row.address, row.generation, begun?, now_ms()}
    if :ets.insert_new(pins, pin), do: pin, else: pin(config, session) || pin
  end

  @spec begun(map, pin) :: boolean
  def begun(_, {_, _, _, true, _}), do: true

  def begun(%{pins: pins}, {session, _, _, _, _}),
    do: :ets.update_element(pins, session, [{4, true}, {5, now_ms()}])

  @doc "Forgets a pin, and no other that has taken its place meanwhile."
  @spec unpin(map, pin) :: true
  def unpin(%{pins: pins} = config, {session, address, generation, _, _} = pin) do
    case pin(config, session) do
      {_, ^address, ^generation, _, _} = present ->
        :ets.delete_object(pins, present)
        # It was touched meanwhile, or it is gone.
        unpin(config, pin)

      _ ->
        true
    end
  end

  @spec pinned?(map, Pick.address()) :: boolean
  def pinned?(%{pins: pins}, address) do
    :ets.match(pins, {:"$1", address, :_, :_, :_}, 1) != :"$end_of_table"
  end

  @doc "Whether the first call of a session is on its way there; or was, and its caller died long ago."
  @spec beginning?(map, Pick.address()) :: boolean
  def beginning?(%{pins: pins}, address) do
    since = now_ms() - @first_call
    pattern = {:_, address, :_, false, :"$1"}
    :ets.select(pins, [{pattern, [{:>, :"$1", since}], [true]}], 1) != :"$end_of_table"
  end

  @doc "The session has ended."
  @spec forget(map, term) :: true
  def forget(%{pins: pins}, session), do: :ets.delete(pins, session)

  @doc """
  A node has told which sessions it holds, asked at `asked_ms`.

  Those are pinned there, unless this BEAM uses them elsewhere already. A session that was known to live there
  before, and was not listed, has ended: its pin may go when the session's name leads here anyway. One that had
  not begun when the node was asked may have begun since. When nobody has seen it for `ttl` ms, each may go.
  """
  @spec reconcile(map, Row.t(), [term], integer, non_neg_integer) :: :ok
  def reconcile(%{pins: pins} = config, row, sessions, asked_ms, ttl) do
    for session <- sessions do
      {_, address, _, _, _} = pin_new(config, session, row, true)

      if address == row.address do
        new = [{3, row.generation}, {4, true}, {5, asked_ms}]
        :ets.update_element(pins, session, new)
      end
    end

    rows = rows(config)

    for {session, _, generation, begun?, seen_ms} = pin <-
          :ets.match_object(pins, {:_, row.address, :_, :_, :_}),
        seen_ms < asked_ms,
        asked_ms - seen_ms > ttl or
          (begun? and generation == row.generation and home?(rows, row, session)),
        do: unpin(config, pin)

    :ok
  end

  defp home?(rows, row, session) do
    rows
    |> Enum.map(& &1.address)
    |> Enum.max_by(&Pick.score(&1, session), fn -> nil end)
    |> Kernel.==(row.address)
  end

  @doc "Forgets where sessions were whose node left long ago: nobody has asked for them since."
  @spec sweep(map, [Pick.address()]) :: :ok
  def sweep(%{pins: pins, session_ttl: ttl} = config, addresses) do
    before = now_ms() - ttl
    old = :ets.select(pins, [{{:_, :_, :_, :_, :"$1"}, [{:<, :"$1", before}], [:"$_"]}])
    for {_, address, _, _, _} = pin <- old, address not in addresses, do: unpin(config, pin)
    :ok
  end

  @spec now_ms() :: integer
  def now_ms, do: System.monotonic_time(:millisecond)
end
