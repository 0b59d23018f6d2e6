defmodule Krait.Cluster.Options do
  @moduledoc false
  # The options of a cluster: each is checked, and a wrong one is refused with what was got.

  @defaults %{
    name: nil,
    nodes: [],
    pool: :default,
    find: nil,
    find_interval: 5_000,
    group: nil,
    scope: Krait.Cluster,
    interval: 1_000,
    timeout: 60_000,
    spill: 1.0,
    local: nil,
    session_ttl: 1_800_000,
    settle: 5_000
  }

  @spec parse(keyword | map) :: {:ok, map} | {:error, term}
  def parse(options) do
    with {:ok, options} <- pairs(options),
         :ok <- Enum.find_value(options, :ok, &wrong/1),
         :ok <- named(options) do
      config = Map.merge(@defaults, Map.new(options))
      {:ok, %{config | nodes: Enum.map(config.nodes, &address(&1, config.pool))}}
    end
  end

  @doc "A node, or a pool of one, as an address."
  @spec address(node | {atom, node} | Krait.instance(), atom) :: {atom, node}
  def address({pool, node}, _) when is_atom(pool) and is_atom(node), do: {pool, node}

  def address(name, pool) when is_pid(name) or is_atom(name) do
    if is_atom(name) and node?(name), do: {pool, name}, else: Krait.pool(name)
  end

  @spec member?(term) :: boolean
  def member?({pool, node}) when is_atom(pool), do: is_atom(node) and node?(node)
  def member?(node), do: is_atom(node) and node?(node)

  defp pairs(options) when is_map(options), do: {:ok, Map.to_list(options)}

  defp pairs(options) do
    if Keyword.keyword?(options),
      do: {:ok, options},
      else: {:error, {:bad_option, :options, "a keyword list or a map", options}}
  end

  defp named(options) do
    if List.keymember?(options, :name, 0),
      do: :ok,
      else: {:error, {:bad_option, :name, "an atom, which a cluster must have", nil}}
  end

  defp wrong({key, value}) do
    expected = expected(key)

    cond do
      expected == nil -> {:error, {:bad_option, key, "one of #{keys()}", value}}
      right?(key, value) -> nil
      true -> {:error, {:bad_option, key, expected, value}}
    end
  end

  defp keys, do: @defaults |> Map.keys() |> Enum.map_join(", ", &to_string/1)

  defp expected(:name), do: "an atom, the cluster's name"
  defp expected(:nodes), do: "a list of nodes, or of {pool, node}"
  defp expected(:pool), do: "an atom, the name of the pool on nodes that are given without one"
  defp expected(:find), do: "a function of no arguments that returns a list of nodes"
  defp expected(:find_interval), do: "milliseconds, at least 10"
  defp expected(:group), do: "any term but nil, the name of the :pg group"
  defp expected(:scope), do: "an atom, a scope of :pg"
  defp expected(:interval), do: "milliseconds, at least 10"
  defp expected(:timeout), do: "milliseconds, at least 1, or :infinity"
  defp expected(:spill), do: "a number over 0: calls that run or wait, for each that can run"
  defp expected(:local), do: "a function of one argument, a node, that returns a boolean"
  defp expected(:session_ttl), do: "milliseconds, at least 1"
  defp expected(:settle), do: "milliseconds"
  defp expected(_), do: nil

  defp right?(:nodes, nodes), do: is_list(nodes) and Enum.all?(nodes, &member?/1)
  defp right?(:find, find), do: find == nil or is_function(find, 0)
  defp right?(:local, local), do: local == nil or is_function(local, 1)
  defp right?(:group, _), do: true
  defp right?(:timeout, ms), do: ms == :infinity or positive?(ms)
  defp right?(:session_ttl, ms), do: positive?(ms)
  defp right?(:settle, ms), do: is_integer(ms) and ms >= 0
  defp right?(:spill, n), do: is_number(n) and n > 0
  defp right?(key, ms) when key in [:interval, :find_interval], do: is_integer(ms) and ms >= 10
  defp right?(_, name), do: is_atom(name) and name not in [nil, true, false]

  defp positive?(n), do: is_integer(n) and n > 0

  # A node's name has an @.
  defp node?(name), do: String.contains?(Atom.to_string(name), "@")
end
