defmodule Krait.Cluster do
  @moduledoc """
  Several Krait nodes as one: calls go to a node that can take them.

      children = [
        {Krait.Cluster, name: MyApp.Python, nodes: [:"krait@10.0.0.7", :"krait@10.0.0.8"]}
      ]

      {:ok, 2.0} = Krait.Cluster.call(MyApp.Python, "math", "sqrt", [4.0])

  ## Who belongs to it

  Any mix of these:

    * `:nodes` - a list of node names, or of `{pool, node}`; `join/2` and `leave/2` change it
    * `:find` - a function that returns such a list, asked every `:find_interval` ms (5000), in a process of
      its own
    * `:group` - any term: BEAMs that name the same group share what each of them was told. They must be
      connected with each other, and this needs OTP 25.1: for each krait node a process of this BEAM joins a
      `:pg` group on its behalf (in the scope `:scope`, by default `Krait.Cluster`)

  ## Where a call goes

    * Nodes that would run it come first; those that are paused, draining, starting, full, out of order or
      silent are asked only when there is no other.
    * Of those, nodes on this host (`:local`, a function of a node, says otherwise) as long as one of them has
      room: as many calls as can run at once, times `:spill` (1.0).
    * Of those, the less loaded one of two that are drawn. Each node is asked how it is every `:interval` ms
      (1000); between reports the calls of this BEAM are counted.

  A pick reads a table and asks no process: thousands of callers do not wait for each other.

  ## Sessions

  A session stays on its node. A new one begins where its name leads, so that all BEAMs that see the same
  nodes choose the same one, and one that exists stays when a node comes. When its node is gone or drained
  the state is lost: who calls next hears `{:session_lost, id}`, once in each BEAM that knew of it, and then
  it starts anew on another node. With `session_mode: :hint` it moves in silence.

  ## What happens when a node goes

  A request that surely did not run goes to the next node: no connection, no such pool, `:draining`,
  `:overloaded`, `:circuit_open`. One whose connection breaks under way may have run; it is sent to another
  node only `:retry` times (0), as the option says for workers. `:timeout` and `:queue_timeout` hold over all
  tries together; without `:timeout` the cluster's own holds (60000).

  Errors are those of `Krait.call/5`, and `:no_node` when there is no node that could be asked; its message
  says why for each. The address in `error.pool` is that of the node that was asked last.

  Other options: `:name`, which must be given; `:pool` (`:default`), the pool of nodes that are named
  without one; `:session_ttl`, the nodes' own (30 minutes); `:settle`, how long the start waits for nodes
  to answer or fail for the first time (5000 ms).

  The examples run against two nodes, in a cluster called `Krait.Demo.Cluster`.
  """

  alias Krait.Cluster.{Call, Options, Rolling, Row, Server, Table}
  alias Krait.Error

  @type name :: atom
  @type member :: node | {atom, node} | Krait.instance()

  @doc """
  A child specification; its id is the cluster's name.

      iex> Krait.Cluster.child_spec(name: MyApp.Python, nodes: []).id
      MyApp.Python
  """
  @spec child_spec(keyword) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: options[:name] || __MODULE__,
      start: {__MODULE__, :start_link, [options]},
      type: :supervisor
    }
  end

  @doc """
  Starts a cluster. Returns when each node has answered or failed once, at most after `:settle` ms; that
  some or all are not there is no error.

      iex> {:error, error} = Krait.Cluster.start_link(name: MyApp.Python, nodes: [:krait])
      iex> Exception.message(error)
      "option nodes: expected a list of nodes, or of {pool, node}, got: [krait]"
  """
  @spec start_link(keyword | map) :: {:ok, pid} | {:error, Error.t() | term}
  def start_link(options) do
    with {:ok, config} <- Options.parse(options),
         {:ok, pid} <- Supervisor.start_link(__MODULE__.Tree, config, name: tree(config.name)) do
      _ = await_server(config.name, :settled, config.settle)
      {:ok, pid}
    else
      {:error, {:bad_option, _, _, _} = reason} -> {:error, Error.new(reason)}
      error -> error
    end
  end

  defp tree(name), do: Module.concat(name, Tree)

  # --- requests

  @doc """
  As `Krait.call/5`, on one of the nodes.

      iex> Krait.Cluster.call(Krait.Demo.Cluster, "math", "sqrt", [2.0])
      {:ok, 1.4142135623730951}
      iex> {:ok, pid} = Krait.Cluster.call(Krait.Demo.Cluster, "os", "getpid", [], session: {:user, 1})
      iex> {:ok, ^pid} = Krait.Cluster.call(Krait.Demo.Cluster, "os", "getpid", [], session: {:user, 1})
      iex> Krait.Cluster.end_session(Krait.Demo.Cluster, {:user, 1})
      :ok
  """
  @spec call(name, Krait.name(), Krait.name(), list, Krait.options()) :: Krait.result(term)
  def call(cluster, module, function, args \\ [], options \\ []) do
    cluster
    |> Call.run(&{:call, module, function, args, &1}, options)
    |> wrap({module, function})
  end

  @doc """
  As `call/5`, but returns the bare result and raises `Krait.Error`.

      iex> Krait.Cluster.call!(Krait.Demo.Cluster, "operator", "add", [20, 22])
      42
  """
  @spec call!(name, Krait.name(), Krait.name(), list, Krait.options()) :: term
  def call!(cluster, module, function, args \\ [], options \\ []) do
    case call(cluster, module, function, args, options) do
      {:ok, result} -> result
      {:error, error} -> raise error
    end
  end

  @doc """
  As `Krait.batch/3`: all calls of a batch on one worker of one node.

      iex> Krait.Cluster.batch(Krait.Demo.Cluster, [{"math", "sqrt", [4.0]}, {"operator", "neg", [1]}])
      {:ok, [ok: 2.0, ok: -1]}
  """
  @spec batch(name, [{Krait.name(), Krait.name(), list}], Krait.options()) ::
          Krait.result([Krait.result(term)])
  def batch(cluster, calls, options \\ []) do
    {outcome, address} = Call.run(cluster, &{:batch, calls, &1}, options)

    with {:ok, outcomes} <- wrap({outcome, address}, nil) do
      {:ok, Enum.zip_with(calls, outcomes, fn {m, f, _}, one -> wrap({one, address}, {m, f}) end)}
    end
  end

  @doc """
  As `Krait.stream/5`. The node is picked when the enumeration begins, and moved on from until the stream is
  open; then the stream ends with its node.

      iex> Krait.Demo.Cluster |> Krait.Cluster.stream("itertools", "count", [1]) |> Enum.take(3)
      [1, 2, 3]
  """
  @spec stream(name, Krait.name(), Krait.name(), list, Krait.options()) :: Enumerable.t()
  def stream(cluster, module, function, args \\ [], options \\ []) do
    Krait.Stream.new(
      fn -> open_stream(cluster, module, function, args, options) end,
      {module, function},
      options
    )
  end

  @doc """
  As `Krait.open_stream/5`.
  """
  @spec open_stream(name, Krait.name(), Krait.name(), list, Krait.options()) ::
          Krait.result(Krait.stream())
  def open_stream(cluster, module, function, args \\ [], options \\ []) do
    cluster
    |> Call.run(&{:stream, module, function, args, &1}, options)
    |> wrap({module, function})
  end

  @doc """
  As `Krait.checkout/3`: a worker of one node, for as long as `fun` runs.

      iex> Krait.Cluster.checkout(Krait.Demo.Cluster, fn lease ->
      ...>   one = Krait.call!(lease, "os", "getpid")
      ...>   one == Krait.call!(lease, "os", "getpid")
      ...> end)
      {:ok, true}
  """
  @spec checkout(name, (Krait.lease() -> result), Krait.options()) :: Krait.result(result)
        when result: term
  def checkout(cluster, fun, options \\ []) when is_function(fun, 1) do
    with {:ok, lease} <- checkout_lease(cluster, options) do
      case :krait.use_lease(lease, fun) do
        {:error, reason} -> {:error, Error.new(reason, pool: lease)}
        result -> result
      end
    end
  end

  @doc """
  As `Krait.checkout_lease/2`; with the option `session` it is the worker of that session.

      iex> {:ok, lease} = Krait.Cluster.checkout_lease(Krait.Demo.Cluster)
      iex> Krait.checkin(lease)
      :ok
  """
  @spec checkout_lease(name, Krait.options()) :: Krait.result(Krait.lease())
  def checkout_lease(cluster, options \\ []) do
    cluster |> Call.run(&checkout_request/1, options) |> wrap(nil)
  end

  defp checkout_request(%{session: session} = options),
    do: {:checkout, {:session, session}, Map.delete(options, :session)}

  defp checkout_request(options), do: {:checkout, :anonymous, options}

  @doc """
  Ends a session, on the node that holds it.
  """
  @spec end_session(name, term) :: Krait.on_done()
  def end_session(cluster, id) do
    {outcome, _} = result = Call.run(cluster, fn _ -> {:end_session, id} end, session: id)
    if ended?(outcome), do: Table.forget(config!(cluster), id)
    wrap(result, nil)
  end

  defp ended?(:ok), do: true
  defp ended?({:error, {:no_session, _}}), do: true
  defp ended?(_), do: false

  # --- members

  @doc """
  The members, as this BEAM sees them: `node`, `pool`, `state`, `local`, `leaving`, `load` (calls that run or
  wait, for each that can run at once), and of the last report `ready`, `queued`, `sessions`, `version`.

  `state` is `:up`; `:paused`, `:starting`, `:draining`, `:stopping`, `:circuit_open`, `:silent`; or
  `:connecting`, `:down`, `:no_pool`.

      iex> Enum.map(Krait.Cluster.nodes(Krait.Demo.Cluster), & &1.state)
      [:up, :up]
  """
  @spec nodes(name) :: [map]
  def nodes(cluster) do
    config = config!(cluster)

    for %Row{address: {pool, node}} = row <- Enum.sort_by(Table.rows(config), & &1.address) do
      config
      |> Table.report(row.address)
      |> Map.take([:ready, :queued, :sessions, :version])
      |> Map.merge(Map.take(row, [:state, :local, :leaving]))
      |> Map.merge(%{node: node, pool: pool, load: Row.load(row)})
    end
  end

  @doc """
  Adds a node, a `{pool, node}`, or an instance that this BEAM started. It takes calls when it has been
  connected: `await/3`.
  """
  @spec join(name, member) :: :ok
  def join(cluster, member), do: ask_server(cluster, {:join, address(cluster, member)})

  @doc """
  Takes a node out: no new calls, and its sessions are lost to this BEAM. Calls and streams that run go on.
  """
  @spec leave(name, member) :: :ok
  def leave(cluster, member), do: ask_server(cluster, {:leave, address(cluster, member)})

  @doc """
  Waits until a node is up.

      iex> [%{node: node} | _] = Krait.Cluster.nodes(Krait.Demo.Cluster)
      iex> Krait.Cluster.await(Krait.Demo.Cluster, node)
      :ok
  """
  @spec await(name, member, non_neg_integer) :: Krait.on_done()
  def await(cluster, member, ms \\ 5_000) do
    address = address(cluster, member)

    with {:error, reason} <- await_server(cluster, {address, :up}, ms),
         do: {:error, Error.new(reason, pool: address)}
  end

  @doc """
  Gives a node no new calls and sessions from now on, if there is another; those that it has go on.
  `join/2` takes it back.
  """
  @spec retire(name, member) :: :ok
  def retire(cluster, member) do
    address = address(cluster, member)
    :ok = ask_server(cluster, {:leaving, address})
    await_server(cluster, {address, :leaving}, :infinity)
  end

  @doc """
  As `retire/2`, then drains it; `:ok` when its last call has ended.

  Options: `:session_grace`, the milliseconds that its sessions are given to end by themselves (0), or
  `:infinity`; `:timeout`, how long the drain may take (`:infinity`). `join/2` takes it back, after
  `Krait.resume/1`.
  """
  @spec drain(name, member, [{:session_grace | :timeout, timeout}]) :: Krait.on_done()
  def drain(cluster, member, options \\ []),
    do: Rolling.drain(cluster, address(cluster, member), options)

  @doc """
  Lets the node `new` take the place of `old`, without a failed call: waits until its workers are ready
  (`:ready_timeout`, 60000 ms), adds it, drains `old` (options of `drain/3`), stops it, and takes it out.

  A session on `old` that has not ended within `:session_grace` is lost, and says so as above. Where other
  BEAMs use the same nodes, give them a `:group` in common, so that all of them see it; else add `new` to
  their clusters before. When a step fails, its error is the result, and the same call goes on from there.
  A supervisor must not start `old` again: `restart: :transient`. A node with several pools stops as a whole:
  with `stop: false` it is left running, drained.
  """
  @spec replace(name, member, member, [
          {:ready_timeout | :session_grace | :timeout, timeout} | {:stop, boolean}
        ]) :: Krait.on_done()
  def replace(cluster, old, new, options \\ []),
    do: Rolling.replace(cluster, address(cluster, old), address(cluster, new), options)

  # --- inside

  defmodule Tree do
    @moduledoc false
    # The tables belong to the supervisor; if a part of it crashes, all of it begins again, on them.
    use Supervisor

    @impl true
    def init(%{name: name} = config) do
      :ok = Table.new(name, config)

      children = [
        {DynamicSupervisor, name: Server.members(name), strategy: :one_for_one},
        %{id: Server, start: {Server, :start_link, [name]}}
      ]

      Supervisor.init(children, strategy: :one_for_all)
    end
  end

  defp address(cluster, member), do: Options.address(member, config!(cluster).pool)

  defp config!(cluster) do
    case Table.config(cluster) do
      {:ok, config} -> config
      :none -> raise Error.new(:noproc, pool: cluster)
    end
  end

  defp ask_server(cluster, request), do: GenServer.call(Server.server(cluster), request)

  defp await_server(cluster, question, ms) do
    GenServer.call(Server.server(cluster), {:await, question, ms}, ms)
  catch
    :exit, {:timeout, _} -> {:error, {:timeout, :call}}
    :exit, {:noproc, _} -> {:error, :noproc}
  end

  defp wrap({{:error, reason}, pool}, call), do: {:error, Error.new(reason, pool: pool, call: call)}
  defp wrap({result, _}, _), do: result
end
