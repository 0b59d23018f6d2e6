defmodule Krait.Cluster.Report do
  @moduledoc false
  # A node's `status` as a cluster needs it: would a call run there, and how much runs already?

  @type t :: %{
          required(:state) => Krait.Cluster.Row.state(),
          required(:running) => non_neg_integer,
          required(:capacity) => pos_integer,
          optional(atom) => term
        }

  @spec read(map, map) :: t
  def read(status, pool) do
    %{
      state: state(pool),
      running: number(pool, :busy) + number(pool, :leased) + number(pool, :queued),
      capacity: max(number(pool, :ready) * max(number(pool, :slots), 1), 1),
      ready: number(pool, :ready),
      queued: number(pool, :queued),
      sessions: number(pool, :sessions),
      version: Map.get(status, :version)
    }
  end

  @doc "Of a node that tells us nothing."
  @spec none() :: t
  def none, do: %{state: :up, running: 0, capacity: 1}

  defp state(%{state: :running, breaker: :open}), do: :circuit_open
  defp state(%{state: :running} = pool), do: if(number(pool, :ready) > 0, do: :up, else: :starting)

  defp state(%{state: state}) when state in [:paused, :draining, :stopping, :starting],
    do: if(state == :starting, do: :starting, else: state)

  defp state(_), do: :up

  defp number(map, key) do
    case map do
      %{^key => n} when is_integer(n) and n >= 0 -> n
      _ -> 0
    end
  end
end
