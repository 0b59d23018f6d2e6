defmodule Krait.Admin do
  @moduledoc """
  What operators ask of a node while it serves.

  A pool is named as in `Krait`; where a request may concern all pools of a node, `{:krait, node}` is the
  node itself. Whoever knows the cookie may ask, unless the node's options `admin` and `watch` say who may:
  then others hear `{:forbidden, verb, role}`.

  The same from a shell: `kraitctl`.

  The examples run against the instance of those in `Krait`.
  """

  alias Krait.Error

  # --- how much, whether, and with which code

  @doc """
  Sets how many workers there are, 1 to 1024, or between which numbers (`2..8`) the pool grows and shrinks.

  A pool that shrinks cuts no call: whoever is too many leaves when it is free.

      iex> Krait.Admin.resize(Krait.Demo, 3)
      :ok
      iex> Krait.await_ready(Krait.Demo)
      :ok
      iex> Krait.Admin.resize(Krait.Demo, 2)
      :ok
  """
  @spec resize(Krait.pool(), pos_integer | Range.t()) :: Krait.on_done()
  def resize(pool, %Range{first: least, last: most}), do: resize(pool, {least, most})
  def resize(pool, size), do: wrap(:krait.resize(pool, size), pool: pool)

  @doc """
  Lets calls wait from now on, until `resume/1`. What runs, and leases, go on.

      iex> Krait.Admin.pause(Krait.Demo)
      :ok
      iex> call = Task.async(fn -> Krait.call(Krait.Demo, "math", "sqrt", [4.0]) end)
      iex> Krait.Admin.resume(Krait.Demo)
      :ok
      iex> Task.await(call)
      {:ok, 2.0}
  """
  @spec pause(Krait.pool()) :: Krait.on_done()
  def pause(pool), do: wrap(:krait.pause(pool), pool: pool)

  @doc """
  Ends a pause, or a drain: those who still wait for that hear `{:error, error}`, its kind `:resumed`.
  """
  @spec resume(Krait.pool()) :: Krait.on_done()
  def resume(pool), do: wrap(:krait.resume(pool), pool: pool)

  @doc """
  Refuses new requests (`:draining`) and waits until the last one has finished.

  After `timeout:` milliseconds it does not wait any longer, and the drain goes on. `resume/1` ends it.

      iex> Krait.Admin.drain(Krait.Demo, timeout: 5_000)
      :ok
      iex> {:error, error} = Krait.call(Krait.Demo, "math", "sqrt", [4.0])
      iex> error.kind
      :draining
      iex> Krait.Admin.resume(Krait.Demo)
      :ok
  """
  @spec drain(Krait.pool(), [{:timeout, timeout}]) :: Krait.on_done()
  def drain(pool, options \\ []) do
    wrap(:krait.drain(pool, Keyword.get(options, :timeout, :infinity)), pool: pool)
  end

  @doc """
  Loads the Python code anew, without losing a call.

  A fresh interpreter does the preload beside the old one. When that is done (`:ok`), all workers are
  replaced by new ones, one by one, each when it is free. When it fails the error says why
  (`{:start_failed, detail}`), and nothing has changed.

      :ok = Krait.Admin.reload(MyApp.Python)
  """
  @spec reload(Krait.pool()) :: Krait.on_done()
  def reload(pool), do: wrap(:krait.reload(pool), pool: pool)

  @doc """
  Replaces one worker, by its `id` in `workers/1`: another one starts first, then it leaves when it is
  free. Sessions that live in it end.

      {:ok, [worker | _]} = Krait.workers(MyApp.Python)
      :ok = Krait.Admin.recycle(MyApp.Python, worker.id)

      iex> {:error, error} = Krait.Admin.recycle(Krait.Demo, 0)
      iex> error.reason
      {:no_worker, 0}
  """
  @spec recycle(Krait.pool(), non_neg_integer) :: Krait.on_done()
  def recycle(pool, worker), do: wrap(:krait.recycle(pool, worker), pool: pool)

  @doc """
  Kills one worker at once, by its `id` in `workers/1`; another one takes its place.

  Its call hears `:worker_exit`, unless it may run again (`:retry`).

      iex> {:ok, workers} = Krait.workers(Krait.Demo)
      iex> Krait.Admin.kill(Krait.Demo, List.last(workers).id)
      :ok
      iex> Krait.await_ready(Krait.Demo)
      :ok
  """
  @spec kill(Krait.pool(), non_neg_integer) :: Krait.on_done()
  def kill(pool, worker), do: wrap(:krait.kill(pool, worker), pool: pool)

  @doc """
  Reads the node's configuration file again, and changes what differs.

  The result tells the difference; workers are replaced only where they must be. With a wrong file nothing
  changes, and the error (`:bad_config`) says where, what was found and what was expected.

      {:ok, difference} = Krait.Admin.reload_config(MyApp.Python)
  """
  @spec reload_config(Krait.pool()) :: Krait.result(map)
  def reload_config(pool), do: wrap(:krait_admin.reload_config(pool), pool: pool)

  # --- requests

  @doc """
  The requests that wait or run, the oldest first, at most `max`: `id`, `pool`, `verb`, `module`,
  `function`, `state`, `age_ms`, `caller`, `worker`, `priority`.

      iex> caller = Task.async(fn -> Krait.call(Krait.Demo, "time", "sleep", [60]) end)
      iex> request =
      ...>   Stream.repeatedly(fn -> Krait.Admin.requests(Krait.Demo) end)
      ...>   |> Enum.find_value(fn {:ok, all} -> Enum.find(all, &(&1.caller == caller.pid)) end)
      iex> {request.verb, request.function}
      {:call, "sleep"}
      iex> Krait.Admin.cancel(Krait.Demo, request.id)
      :ok
      iex> {:error, error} = Task.await(caller)
      iex> error.kind
      :cancelled
  """
  @spec requests(Krait.pool(), 1..1000) :: Krait.result([map])
  def requests(pool, max \\ 1000), do: wrap(:krait_admin.requests(pool, max), pool: pool)

  @doc """
  Ends a request, by its `id` in `requests/2`; its caller hears `:cancelled`.

  One that waits leaves the queue; what runs is handled as the pool's option `abandon` says.

      iex> {:error, error} = Krait.Admin.cancel(Krait.Demo, 0)
      iex> error.reason
      {:no_request, 0}
  """
  @spec cancel(Krait.pool(), non_neg_integer) :: Krait.on_done()
  def cancel(pool, id), do: wrap(:krait_admin.cancel(pool, id), pool: pool)

  # --- the node

  @doc """
  The nodes that are connected, one map for each.

      iex> {:ok, peers} = Krait.Admin.peers(Krait.Demo)
      iex> Enum.any?(peers, &(to_string(&1.name) == to_string(node())))
      true
  """
  @spec peers(Krait.pool()) :: Krait.result([map])
  def peers(pool), do: wrap(:krait_admin.peers(pool), pool: pool)

  @doc """
  The names of the node's pools.

      iex> Krait.Admin.pools(Krait.Demo)
      {:ok, [:default]}
  """
  @spec pools(Krait.pool()) :: Krait.result([atom])
  def pools(pool), do: wrap(:krait_admin.pools(pool), pool: pool)

  @doc """
  The configuration that is in force: `%{node: options, pools: %{name => options}}`.

      iex> {:ok, config} = Krait.Admin.config(Krait.Demo)
      iex> config.pools.default.strings
      :utf8
  """
  @spec config(Krait.pool()) :: Krait.result(map)
  def config(pool), do: wrap(:krait_admin.config(pool), pool: pool)

  @doc """
  Changes an option of a pool, or with `{:krait, node}` of the node, while it runs: old and new value.

  `:restart_needed` for what cannot change. The next `reload_config/1` takes it back.

      iex> {:ok, {60_000, 30_000}} = Krait.Admin.set(Krait.Demo, :call_timeout, 30_000)
      iex> Krait.Admin.set(Krait.Demo, :call_timeout, 60_000)
      {:ok, {30_000, 60_000}}
  """
  @spec set(Krait.pool(), atom, term) :: Krait.result({old :: term, new :: term})
  def set(pool, option, value), do: wrap(:krait_admin.set(pool, option, value), pool: pool)

  # --- events and log lines

  @doc """
  From now on the calling process gets `{:krait_event, node, name, measurements, metadata}` for each event
  and `{:krait_log, node, map}` for each line that a worker prints or logs, as `topics` say: `:events`,
  `:log`, `:all`, or a list.

  It ends with the process. One that does not keep up loses messages, and is told how many.

      iex> Krait.Admin.subscribe(Krait.Demo, :log)
      :ok
      iex> Krait.call(Krait.Demo, "builtins", "print", ["hello"])
      {:ok, nil}
      iex> receive do: ({:krait_log, _node, %{line: "hello"} = line} -> line.stream)
      :stdout
      iex> Krait.Admin.unsubscribe(Krait.Demo)
      :ok
  """
  @spec subscribe(Krait.pool(), topic | [topic]) :: Krait.on_done()
        when topic: :events | :log | :all
  def subscribe(pool, topics), do: wrap(:krait_admin.subscribe(pool, topics), pool: pool)

  @doc """
  No more of them.
  """
  @spec unsubscribe(Krait.pool()) :: Krait.on_done()
  def unsubscribe(pool), do: wrap(:krait_admin.unsubscribe(pool), pool: pool)

  defp wrap({:error, reason}, context), do: {:error, Error.new(reason, context)}
  defp wrap(result, _), do: result
end
