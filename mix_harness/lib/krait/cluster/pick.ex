defmodule Krait.Cluster.Pick do
  @moduledoc false
  # Which node is next: a function of the rows, of what was tried already, and of chance, which is given.
  #
  # First choice are nodes that would run the call, of those the ones on this host that have room, of those
  # the less loaded one of two that are drawn (two choices are nearly as good as the best one, and not
  # everybody runs to the same). Nodes that would let it wait or refuse it come last: their own word is a
  # better answer than ours. A session is no matter of load: of all nodes the one that its name and theirs
  # say (rendezvous hashing), so that everybody who sees the same nodes goes to the same one, and a node that
  # comes or goes moves no session but its own.

  alias Krait.Cluster.Row

  @type address :: {atom, node}
  @type random :: (pos_integer -> pos_integer)

  @doc """
  The next node for a call; `random.(n)` is one of 1 to n.
  """
  @spec any([Row.t()], [address], float, random) :: {:ok, Row.t()} | :none
  def any(rows, tried, spill, random \\ &:rand.uniform/1) do
    case tiers(rows, tried) do
      {[], []} -> :none
      {[], rest} -> {:ok, one_of(rest, random)}
      {good, _} -> {:ok, good |> near(spill) |> one_of(random)}
    end
  end

  @doc """
  The node of a session that has none yet.
  """
  @spec home([Row.t()], [address], term) :: {:ok, Row.t()} | :none
  def home(rows, tried, session) do
    {good, rest} = tiers(rows, tried)

    case Enum.find([Enum.filter(good, & &1.sessions), good, rest], &(&1 != [])) do
      nil -> :none
      rows -> {:ok, Enum.max_by(rows, &score(&1.address, session))}
    end
  end

  @doc """
  The weight of a node for a session; the highest one wins.
  """
  @spec score(address, term) :: {non_neg_integer, address}
  def score(address, session), do: {:erlang.phash2({address, session}, 0x100000000), address}

  defp tiers(rows, tried) do
    rows
    |> Enum.filter(&(Row.reachable?(&1) and &1.address not in tried))
    |> Enum.split_with(&Row.good?/1)
  end

  defp near(rows, spill) do
    case Enum.filter(rows, &(&1.local and Row.load(&1) < spill)) do
      [] -> rows
      local -> local
    end
  end

  defp one_of([row], _), do: row

  defp one_of(rows, random) do
    rows = List.to_tuple(rows)
    n = tuple_size(rows)
    first = random.(n)
    # Another one than the first, each as likely.
    second = rem(first - 1 + random.(n - 1), n) + 1
    lighter(elem(rows, first - 1), elem(rows, second - 1))
  end

  defp lighter(a, b), do: if(Row.load(b) < Row.load(a), do: b, else: a)
end
