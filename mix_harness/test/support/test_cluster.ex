defmodule Krait.TestCluster do
  @moduledoc "A cluster for one test: its own name, and reports that come often."

  import ExUnit.Callbacks, only: [start_supervised!: 1]
  require Krait.Case

  alias Krait.{Cluster, TestNode}

  @interval 50

  @doc "Takes all options of `Krait.Cluster.start_link/1`."
  @spec start_cluster(keyword) :: Cluster.name()
  def start_cluster(options) do
    # An atom or two for each test.
    name = :"cluster_#{System.unique_integer([:positive])}"
    options = Keyword.merge([name: name, interval: @interval], options)
    start_supervised!(Supervisor.child_spec({Cluster, options}, id: name))
    name
  end

  @doc "What the cluster thinks of a node."
  @spec state(Cluster.name(), TestNode.t()) :: atom | nil
  def state(cluster, node) do
    Enum.find_value(Cluster.nodes(cluster), &(&1.node == node.name && &1.state))
  end

  @spec await_state(Cluster.name(), TestNode.t(), atom) :: true
  def await_state(cluster, node, state) do
    Krait.Case.poll(fn -> state(cluster, node) == state end, "#{node.name} is #{state}", 10_000)
  end

  @doc "Evaluates a Python expression, on some node."
  @spec call(Cluster.name(), String.t(), keyword) :: Krait.result(term)
  def call(cluster, expression, options \\ []),
    do: Cluster.call(cluster, "builtins", "eval", [expression], options)

  @doc "Calls that its session has seen, this one included."
  @spec count(Cluster.name(), term, keyword) :: Krait.result(pos_integer)
  def count(cluster, session, options \\ []) do
    state = "__import__('krait').session()"
    count = "(lambda s: s.__setitem__('n', s.get('n', 0) + 1) or s['n'])(#{state})"
    call(cluster, count, [session: session] ++ options)
  end
end
