defmodule Krait.Cluster.Row do
  @moduledoc false
  # What a caller knows of a member when it picks: one row of the table, written by the member's process
  # with each report and read by every caller.
  #
  # A report is as old as it is, so each row has a pair of counters of its own, made anew with each report:
  # the calls that this BEAM has begun less those that it has ended since, and whether somebody was refused
  # since. A caller that is killed leaves its count behind, until the next report.

  @enforce_keys [:address, :state]
  defstruct [
    :address,
    :state,
    local: false,
    leaving: false,
    sessions: false,
    generation: 0,
    running: 0,
    capacity: 1,
    counters: nil
  ]

  @typedoc """
  `:up`, or why a node is not the first choice: `:paused`, `:starting`, `:draining`, `:stopping`,
  `:circuit_open`, `:silent`; or why it is none: `:connecting`, `:down`, `:no_pool`.
  """
  @type state ::
          :up
          | :paused
          | :starting
          | :draining
          | :stopping
          | :circuit_open
          | :silent
          | :connecting
          | :down
          | :no_pool

  @type t :: %__MODULE__{
          address: {atom, node},
          state: state,
          local: boolean,
          leaving: boolean,
          sessions: boolean,
          generation: non_neg_integer,
          running: non_neg_integer,
          capacity: pos_integer,
          counters: :counters.counters_ref() | nil
        }

  @begun 1
  @refused 2

  @spec fresh(t) :: t
  def fresh(row), do: %{row | counters: :counters.new(2, [:write_concurrency])}

  @spec begin(t) :: :ok
  def begin(%{counters: counters}), do: :counters.add(counters, @begun, 1)

  @spec finish(t) :: :ok
  def finish(%{counters: counters}), do: :counters.sub(counters, @begun, 1)

  @doc "Nobody else is sent there before the next report, if there is another choice."
  @spec refuse(t) :: :ok
  def refuse(%{counters: counters}), do: :counters.put(counters, @refused, 1)

  @spec refused?(t) :: boolean
  def refused?(%{counters: counters}), do: :counters.get(counters, @refused) != 0

  @doc "Calls that run or wait, for each that can run at once."
  @spec load(t) :: float
  def load(%{counters: nil}), do: 0.0

  def load(row) do
    max(row.running + :counters.get(row.counters, @begun), 0) / max(row.capacity, 1)
  end

  @doc "Whether a request may be sent there at all."
  @spec reachable?(t) :: boolean
  def reachable?(row), do: row.state not in [:connecting, :down, :no_pool]

  @doc "Whether a request should be sent there: it would run."
  @spec good?(t) :: boolean
  def good?(row), do: row.state == :up and not row.leaving and not refused?(row)
end
