defmodule Krait.Cluster.Rolling do
  @moduledoc false
  # One node takes another one's place while both are in use.
  #
  # The new one is ready before anybody is sent there; the old one gets no new calls before it is drained; it
  # is drained before it is stopped; and it is stopped when nobody asks it any more, in this BEAM or another.
  # Each step may be taken again: who was interrupted starts over.

  alias Krait.Cluster.Table
  alias Krait.Error

  @ready_ms 60_000
  @quiet_tries 20

  @spec replace(Table.name(), {atom, node}, {atom, node}, keyword) :: :ok | {:error, Error.t()}
  def replace(name, old, new, options) do
    ready_ms = Keyword.get(options, :ready_timeout, @ready_ms)

    with :ok <- Krait.await_ready(new, timeout: ready_ms),
         :ok <- Krait.Cluster.join(name, new),
         :ok <- Krait.Cluster.await(name, new, ready_ms),
         :ok <- drain(name, old, options),
         :ok <- quiet(name, old),
         :ok <- stop(old, Keyword.get(options, :stop, true)) do
      Krait.Cluster.leave(name, old)
    end
  end

  @spec drain(Table.name(), {atom, node}, keyword) :: :ok | {:error, Error.t()}
  def drain(name, address, options) do
    :ok = Krait.Cluster.retire(name, address)

    with :ok <- sessions_end(name, address, Keyword.get(options, :session_grace, 0)) do
      Krait.drain(address, timeout: Keyword.get(options, :timeout, :infinity))
    end
  end

  # Those that are there may go on until they end by themselves; new ones begin elsewhere.
  defp sessions_end(name, address, grace_ms) do
    deadline = if grace_ms == :infinity, do: :infinity, else: Table.now_ms() + grace_ms
    {:ok, config} = Table.config(name)
    sessions_end(config, address, deadline, Table.now_ms())
  end

  defp sessions_end(_, _, deadline, now) when now >= deadline, do: :ok

  # In this order: a session that is about to begin is listed when it has begun.
  defp sessions_end(config, address, deadline, _) do
    beginning? = Table.beginning?(config, address)

    case Krait.sessions(address) do
      {:ok, []} when not beginning? ->
        :ok

      {:ok, _} ->
        pause(min(div(config.interval, 2), remaining(deadline)))
        sessions_end(config, address, deadline, Table.now_ms())

      {:error, _} = error ->
        error
    end
  end

  # Others that know the node learn that it is draining by its next report; until then they ask it, and move
  # on. When nothing has come for as long as two reports take, nobody is between its pick and its call.
  defp quiet(name, address) do
    {:ok, config} = Table.config(name)
    quiet(config, address, nil, @quiet_tries)
  end

  defp quiet(_, _, _, 0), do: :ok

  defp quiet(config, {pool, _} = address, before, tries) do
    case Krait.status(address) do
      {:ok, %{pools: %{^pool => %{totals: %{received: ^before}}}}} ->
        :ok

      {:ok, %{pools: %{^pool => %{totals: %{received: received}}}}} ->
        pause(2 * config.interval)
        quiet(config, address, received, tries - 1)

      {:error, _} = error ->
        error
    end
  end

  defp stop(_, false), do: :ok

  defp stop({_, node} = address, true) do
    monitor = Process.monitor(address)

    with :ok <- Krait.stop({:krait, node}) do
      receive do
        {:DOWN, ^monitor, _, _, _} -> :ok
      end
    else
      error ->
        Process.demonitor(monitor, [:flush])
        error
    end
  end

  defp remaining(:infinity), do: :infinity
  defp remaining(deadline), do: max(deadline - Table.now_ms(), 0)

  defp pause(ms) do
    receive do
    after
      ms -> :ok
    end
  end
end
