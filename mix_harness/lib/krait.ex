defmodule Krait do
  @moduledoc """
  Python workers for the BEAM: run a Krait node under a supervisor, and call Python by name.

      children = [
        {Krait, register: MyApp.Python, size: 4, preload: ["my_app.models"]}
      ]

      {:ok, 2.0} = Krait.call(MyApp.Python, "math", "sqrt", [4.0])

  ## Pools

  Everywhere a *pool* is wanted it is one of

    * `{pool, node}`, as in `{:default, :"krait@127.0.0.1"}`: any pool of any node that this BEAM can
      reach, whoever started it
    * a node's name alone: its pool `:default`
    * an instance that this BEAM started: the pid that `start_link/1` returned, or the name given with
      `register:`
    * a lease, the pid that a checkout gave

  ## Names, arguments, options

  Modules and functions are strings or atoms, dots allowed (`"sklearn.cluster"`, `"KMeans.fit"`).
  Arguments are a list. Options are a keyword list or a map:

    * `:timeout` - milliseconds from arrival to answer, queueing included, or `:infinity`
    * `:queue_timeout` - milliseconds a request may wait for a worker, or `:infinity`
    * `:kwargs` - a map of keyword arguments
    * `:session` - any term: run in the session of that name, on the worker that holds it
    * `:session_mode` - `:strict` (wait for that worker), `:hint` (take another one when it is busy) or
      `:fail_fast`
    * `:owner` - a pid: the session ends with it
    * `:progress` - any term: the reports of `krait.progress(term)` in Python come to the caller as
      `{:krait_progress, progress, term}`
    * `:demand` - streams only: how many items may be under way
    * `:priority` - `:high`, `:normal` or `:low`
    * `:retry` - how often to run the call again on another worker when the worker dies in it; only for
      calls that may run twice
    * `:strings` - `:utf8` or `:bytes`: what a binary becomes in Python
    * `:traceparent` - a W3C trace context for the Python code

  ## Errors

  Functions return `{:error, %Krait.Error{}}`; `call!/5` raises it. Nothing exits because a node, a
  worker or another caller has gone. Match on `kind` or, for the contract's own words, on `reason`:

      case Krait.call(pool, "my_app", "predict", [input], timeout: 500) do
        {:ok, prediction} -> prediction
        {:error, %Krait.Error{kind: :timeout}} -> :later
        {:error, %Krait.Error{reason: {:python, %{type: "ValueError"}}}} -> :invalid
      end

  The module is a convenience over `GenServer.call/3`, which is all that a client needs.

  `Krait.Admin` has what operators ask, `Krait.Cluster` makes one of several nodes, `Krait.Doctor` says what
  stands between this BEAM and a node.

  The examples below run against an instance that was started with
  `Krait.start_link(register: Krait.Demo, size: 2, await_ready: true)`.
  """

  alias Krait.{Admin, Error}

  @typedoc "Where a request goes; see the module's documentation."
  @type pool :: {atom, node} | node | instance | lease

  @typedoc "What `start_link/1` started: its pid, or the atom given with `register:`."
  @type instance :: pid | atom

  @typedoc "A worker that a process holds: a pid of the node; monitor it, link to it, or exit it."
  @type lease :: pid

  @typedoc "An open stream: a pid of the node; monitor it, link to it, or exit it."
  @type stream :: pid

  @typedoc "A Python module or function."
  @type name :: atom | String.t()

  @type options :: keyword | map

  @type result(value) :: {:ok, value} | {:error, Error.t()}

  @type on_done :: :ok | {:error, Error.t()}

  @doc """
  A child specification, so that a node can stand in a supervisor's list.

  A node without a `:name` is given one here and keeps it when it is restarted.

      iex> Krait.child_spec(register: MyApp.Python, size: 2).id
      MyApp.Python
  """
  @spec child_spec(options) :: Supervisor.child_spec()
  def child_spec(options) do
    %{start: {_, _, arguments}} = spec = :krait.child_spec(options)
    %{spec | start: {__MODULE__, :start_link, arguments}}
  end

  @doc """
  Starts a node as an external program that stops with its owner.

  Returns once it is published; with `await_ready: true` once its workers are ready too. All options
  of the node's command line (with underscores), and those of `:krait.start_link/1`, are understood.
  Several pools in one node, which share what stands beside `pools`:

      {Krait, name: "krait", pools: [default: [size: 8], gpu: [size: 1..2, python: "/opt/gpu/bin/python3"]]}

  A wrong option is refused with what was expected and what was got:

      iex> {:error, error} = Krait.start_link(size: 0)
      iex> Exception.message(error)
      "option size: expected an integer of at least 1, or {Least, Most}, got: 0"
  """
  @spec start_link(options) :: {:ok, pid} | {:error, Error.t()}
  def start_link(options \\ []), do: wrap(:krait.start_link(options), [])

  @doc """
  The address of an instance's pool: for keeps, for other nodes, or to save a local message per call.

      iex> {:default, node} = Krait.pool(Krait.Demo)
      iex> Krait.ping(node)
      :pong
  """
  @spec pool(instance) :: {atom, node}
  defdelegate pool(instance), to: :krait

  @doc """
  The name of an instance's node.

      iex> Krait.node_name(Krait.Demo) == elem(Krait.pool(Krait.Demo), 1)
      true
  """
  @spec node_name(instance) :: node
  defdelegate node_name(instance), to: :krait

  @doc """
  Calls a Python function on any free worker, or on the worker of a lease.

      iex> Krait.call(Krait.Demo, "math", "sqrt", [2.0])
      {:ok, 1.4142135623730951}

      iex> Krait.call(Krait.Demo, "builtins", "sorted", [[3, 1, 2]], kwargs: %{reverse: true})
      {:ok, [3, 2, 1]}

      iex> {:error, error} = Krait.call(Krait.Demo, "math", "sqrt", [-1.0])
      iex> {error.kind, elem(error.reason, 1).type}
      {:python, "ValueError"}
  """
  @spec call(pool, name, name, list, options) :: result(term)
  def call(pool, module, function, args \\ [], options \\ []) do
    case :krait.call(pool, module, function, args, options) do
      {:error, reason} -> {:error, Error.new(reason, pool: pool, call: {module, function})}
      result -> result
    end
  end

  @doc """
  As `call/5`, but returns the bare result and raises `Krait.Error`.

      iex> Krait.call!(Krait.Demo, "operator", "add", [20, 22])
      42

      iex> Krait.call!(Krait.Demo, "nowhere", "nothing")
      ** (Krait.Error) nowhere.nothing: there is no such Python module or function. Is the module on the node's Python path (option pythonpath), and the function spelled as in Python?
  """
  @spec call!(pool, name, name, list, options) :: term
  def call!(pool, module, function, args \\ [], options \\ []) do
    case call(pool, module, function, args, options) do
      {:ok, result} -> result
      {:error, error} -> raise error
    end
  end

  @doc """
  Has a function called and does not wait: no answer, no error.

      iex> Krait.cast(Krait.Demo, "math", "sqrt", [2.0])
      :ok
  """
  @spec cast(pool, name, name, list, options) :: on_done
  def cast(pool, module, function, args \\ [], options \\ []) do
    wrap(:krait.cast(pool, module, function, args, options), pool: pool, call: {module, function})
  end

  @doc """
  Runs several calls on one worker, one after the other, in one round trip.

  One that fails does not stop those behind it: each has its own result.

      iex> Krait.batch(Krait.Demo, [{"math", "sqrt", [4.0]}, {"operator", "add", [20, 22]}])
      {:ok, [ok: 2.0, ok: 42]}

      iex> {:ok, [{:error, error}, {:ok, 3}]} =
      ...>   Krait.batch(Krait.Demo, [{"math", "sqrt", [-1.0]}, {"builtins", "len", ["abc"]}])
      iex> error.kind
      :python
  """
  @spec batch(pool, [{name, name, list}], options) :: result([result(term)])
  def batch(pool, calls, options \\ []) do
    with {:ok, outcomes} <- wrap(:krait.batch(pool, calls, options), pool: pool) do
      {:ok, Enum.zip_with(calls, outcomes, &outcome(&1, &2, pool))}
    end
  end

  defp outcome({module, function, _}, outcome, pool),
    do: wrap(outcome, pool: pool, call: {module, function})

  @doc """
  As `batch/3`, but returns the bare results and raises the first error.

      iex> Krait.batch!(Krait.Demo, [{"math", "sqrt", [4.0]}, {"math", "floor", [2.5]}])
      [2.0, 2]
  """
  @spec batch!(pool, [{name, name, list}], options) :: [term]
  def batch!(pool, calls, options \\ []) do
    case batch(pool, calls, options) do
      {:ok, results} -> Enum.map(results, &ok!/1)
      {:error, error} -> raise error
    end
  end

  defp ok!({:ok, result}), do: result
  defp ok!({:error, error}), do: raise(error)

  @doc """
  The items of a Python generator, or of anything that Python can iterate over, as a lazy enumerable.

  Nothing happens until it is enumerated. Items come as they are wanted: at most `:demand` (16) of them
  are under way, and Python's generator rests meanwhile. Whoever stops early closes the generator
  (`finally` blocks run) and leaves no message behind. Errors are raised as `Krait.Error`.

      iex> Krait.Demo |> Krait.stream("itertools", "count", [1]) |> Enum.take(3)
      [1, 2, 3]

      iex> Krait.Demo
      ...> |> Krait.stream("builtins", "range", [10])
      ...> |> Stream.chunk_every(4)
      ...> |> Enum.map(&Enum.sum/1)
      [6, 22, 17]

  `open_stream/5` gives the messages themselves, for a process that lives on messages.
  """
  @spec stream(pool, name, name, list, options) :: Enumerable.t()
  def stream(pool, module, function, args \\ [], options \\ []) do
    open = fn -> open_stream(pool, module, function, args, options) end
    Krait.Stream.new(open, {module, function}, options)
  end

  @doc """
  Opens a stream whose messages the calling process takes itself, a LiveView or a GenServer perhaps.

  `{:krait_stream, stream, {:item, item}}` comes for each item, at most `:demand` (16) of them before
  the first `ask/2`, and then exactly one `{:krait_stream, stream, :done}` or
  `{:krait_stream, stream, {:error, reason}}`. It ends with the process that opened it.

      iex> {:ok, stream} = Krait.open_stream(Krait.Demo, "builtins", "iter", ["ab"], demand: 1)
      iex> receive do: ({:krait_stream, ^stream, message} -> message)
      {:item, "a"}
      iex> Krait.ask(stream, 5)
      :ok
      iex> for _ <- 1..2, do: receive(do: ({:krait_stream, ^stream, message} -> message))
      [{:item, "b"}, :done]
  """
  @spec open_stream(pool, name, name, list, options) :: result(stream)
  def open_stream(pool, module, function, args \\ [], options \\ []) do
    wrap(:krait.stream(pool, module, function, args, options),
      pool: pool,
      call: {module, function}
    )
  end

  @doc """
  Asks an open stream for more items.
  """
  @spec ask(stream, pos_integer) :: :ok
  defdelegate ask(stream, count), to: :krait

  @doc """
  Closes an open stream: its generator is closed, then `:done` comes.
  """
  @spec cancel(stream) :: :ok
  defdelegate cancel(stream), to: :krait

  @doc """
  The sessions of a pool: `id`, `worker`, `calls`, `idle_ms` of each.

      iex> {:ok, _} = Krait.call(Krait.Demo, "os", "getpid", [], session: {:user, 7})
      iex> {:ok, sessions} = Krait.sessions(Krait.Demo)
      iex> Enum.any?(sessions, &(&1.id == {:user, 7}))
      true
      iex> Krait.end_session(Krait.Demo, {:user, 7})
      :ok
  """
  @spec sessions(pool) :: result([map])
  def sessions(pool), do: wrap(:krait.sessions(pool), pool: pool)

  @doc """
  Ends a session when what runs in it is done; its next call starts it anew.

      iex> {:error, error} = Krait.end_session(Krait.Demo, :never_begun)
      iex> error.reason
      {:no_session, :never_begun}
  """
  @spec end_session(pool, term) :: on_done
  def end_session(pool, id), do: wrap(:krait.end_session(pool, id), pool: pool)

  @doc """
  Runs `fun` with a worker of its own: calls on the lease keep to one Python process.

  The worker is given back whatever happens in `fun`; an exception goes on to the caller. The result
  is an error when there was no worker to be had in time, or when the lease ended before `fun` did
  (its worker died, or a call on it ran out of time).

      iex> Krait.checkout(Krait.Demo, fn lease ->
      ...>   one = Krait.call!(lease, "os", "getpid")
      ...>   one == Krait.call!(lease, "os", "getpid")
      ...> end)
      {:ok, true}
  """
  @spec checkout(pool, (lease -> result), options) :: result(result) when result: term
  def checkout(pool, fun, options \\ []) when is_function(fun, 1) do
    wrap(:krait.with_lease(pool, fun, options), pool: pool)
  end

  @doc """
  Takes a worker out of the pool until `checkin/1`, or until the calling process ends.

      iex> {:ok, lease} = Krait.checkout_lease(Krait.Demo)
      iex> Krait.call(lease, "math", "floor", [2.5])
      {:ok, 2}
      iex> Krait.checkin(lease)
      :ok
  """
  @spec checkout_lease(pool, options) :: result(lease)
  def checkout_lease(pool, options \\ []) do
    wrap(:krait.checkout(pool, :anonymous, options), pool: pool)
  end

  @doc """
  Gives the worker of a lease back.

      iex> {:ok, lease} = Krait.checkout_lease(Krait.Demo)
      iex> :ok = Krait.checkin(lease)
      iex> {:error, error} = Krait.checkin(lease)
      iex> error.kind
      :lease_closed
  """
  @spec checkin(lease) :: on_done
  def checkin(lease), do: wrap(:krait.checkin(lease), pool: lease)

  @doc """
  Makes another process the owner of a lease.

      iex> {:ok, lease} = Krait.checkout_lease(Krait.Demo)
      iex> Krait.give_away(lease, spawn(fn -> receive do: (:stop -> :ok) end))
      :ok
      iex> {:error, error} = Krait.call(lease, "math", "sqrt", [4])
      iex> error.reason
      :not_owner
      iex> Process.exit(lease, :kill)
      true
  """
  @spec give_away(lease, pid) :: on_done
  def give_away(lease, pid), do: wrap(:krait.give_away(lease, pid), pool: lease)

  @doc """
  Asks the node, without a worker.

      iex> Krait.ping(Krait.Demo)
      :pong
  """
  @spec ping(pool) :: :pong | {:error, Error.t()}
  def ping(pool), do: wrap(:krait.ping(pool), pool: pool)

  @doc """
  Asks a worker: the microseconds there and back.

      iex> {:ok, microseconds} = Krait.ping_worker(Krait.Demo)
      iex> is_integer(microseconds)
      true
  """
  @spec ping_worker(pool) :: result(non_neg_integer)
  def ping_worker(pool), do: wrap(:krait.ping_worker(pool), pool: pool)

  @doc """
  Waits until all workers, or `n:` of them, are ready, at most `timeout:` milliseconds.

      iex> Krait.await_ready(Krait.Demo)
      :ok
      iex> Krait.await_ready(Krait.Demo, n: 1, timeout: 5_000)
      :ok
  """
  @spec await_ready(pool, [{:n, :all | pos_integer} | {:timeout, timeout}]) :: on_done
  def await_ready(pool, options \\ []) do
    n = Keyword.get(options, :n, :all)
    wrap(:krait.await_ready(pool, n, Keyword.get(options, :timeout, :infinity)), pool: pool)
  end

  @doc """
  The node's own account: version, peers, pools, totals, latencies.

      iex> {:ok, status} = Krait.status(Krait.Demo)
      iex> status.pools.default.size
      2
  """
  @spec status(pool) :: result(map)
  def status(pool), do: wrap(:krait.status(pool), pool: pool)

  @doc """
  One map for each worker.

      iex> {:ok, workers} = Krait.workers(Krait.Demo)
      iex> Enum.count(workers, &(&1.state != :stopping))
      2
  """
  @spec workers(pool) :: result([map])
  def workers(pool), do: wrap(:krait.workers(pool), pool: pool)

  @doc "See `Krait.Admin.resize/2`."
  @spec resize(pool, pos_integer | Range.t()) :: on_done
  defdelegate resize(pool, size), to: Admin

  @doc "See `Krait.Admin.pause/1`."
  @spec pause(pool) :: on_done
  defdelegate pause(pool), to: Admin

  @doc "See `Krait.Admin.resume/1`."
  @spec resume(pool) :: on_done
  defdelegate resume(pool), to: Admin

  @doc "See `Krait.Admin.drain/2`."
  @spec drain(pool, [{:timeout, timeout}]) :: on_done
  defdelegate drain(pool, options \\ []), to: Admin

  @doc "See `Krait.Admin.reload/1`."
  @spec reload(pool) :: on_done
  defdelegate reload(pool), to: Admin

  @doc "See `Krait.Admin.recycle/2`."
  @spec recycle(pool, non_neg_integer) :: on_done
  defdelegate recycle(pool, worker), to: Admin

  @doc "See `Krait.Admin.kill/2`."
  @spec kill(pool, non_neg_integer) :: on_done
  defdelegate kill(pool, worker), to: Admin

  @doc "Checks what stands between this BEAM and a node; see `Krait.Doctor`."
  @spec doctor(pool) :: :ok | :error
  defdelegate doctor(pool), to: Krait.Doctor, as: :run

  @doc """
  Stops a node: an instance of this BEAM and its process, or any other by its name.
  """
  @spec stop(pool) :: on_done
  def stop(pool), do: wrap(:krait.stop(pool), pool: pool)

  defp wrap({:error, reason}, context), do: {:error, Error.new(reason, context)}
  defp wrap(result, _), do: result
end
