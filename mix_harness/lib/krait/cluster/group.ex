defmodule Krait.Cluster.Group do
  @moduledoc false
  # Members of a cluster by :pg: what one BEAM was told, all BEAMs know.
  #
  # A group's name holds the node's address, and its members are the processes that look after that node, one
  # in each BEAM that was told of it. So a node belongs to the cluster while any of those BEAMs lives, and
  # nobody has to be asked which node a process stands for. A second group, of the same address, says that
  # the node is about to leave.

  alias Krait.Cluster.Pick

  @type kind :: :member | :leaving

  @doc "The scope is started if it is not there; it belongs to the BEAM, not to one cluster."
  @spec start(map) :: :ok
  def start(%{group: nil}), do: :ok

  def start(%{scope: scope}) do
    case :pg.start(scope) do
      {:ok, _} -> :ok
      {:error, {:already_started, _}} -> :ok
    end
  end

  @doc "From now on the caller gets a message for each change in the scope; `change?/2` knows it."
  @spec monitor(map) :: reference | nil
  def monitor(%{group: nil}), do: nil

  def monitor(%{scope: scope}) do
    {ref, _} = :pg.monitor_scope(scope)
    ref
  end

  @spec change?(term, reference | nil) :: boolean
  def change?({ref, kind, _, _}, ref) when is_reference(ref) and kind in [:join, :leave], do: true
  def change?(_, _), do: false

  @spec addresses(map, kind) :: [Pick.address()]
  def addresses(%{group: nil}, _), do: []

  def addresses(%{group: group, scope: scope}, kind) do
    for {__MODULE__, ^group, ^kind, address} <- :pg.which_groups(scope), do: address
  end

  @doc "The calling process stands for that node, or does so no longer."
  @spec advertise(map, kind, Pick.address(), boolean) :: :ok
  def advertise(config, kind \\ :member, address, advertised?)
  def advertise(%{group: nil}, _, _, _), do: :ok

  def advertise(%{group: group, scope: scope}, kind, address, advertised?) do
    name = {__MODULE__, group, kind, address}

    case {self() in :pg.get_local_members(scope, name), advertised?} do
      {false, true} -> :pg.join(scope, name, self())
      {true, false} -> :pg.leave(scope, name, self())
      _ -> :ok
    end
  end
end
