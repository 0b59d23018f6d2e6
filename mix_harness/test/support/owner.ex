defmodule Krait.Owner do
  @moduledoc "A process that owns a node, for BEAMs that are controlled by remote calls."

  @doc "Starts a node that lives until this BEAM ends."
  @spec start(keyword) :: :ok | {:error, Krait.Error.t()}
  def start(options), do: start_child(Krait, options)

  @doc "The same, of anything that has a `start_link/1`."
  @spec start_child(module, keyword) :: :ok | {:error, term}
  def start_child(module, options) do
    parent = self()

    owner =
      spawn(fn ->
        case module.start_link(options) do
          {:ok, _} ->
            send(parent, {self(), :ok})
            receive do: (:never -> :ok)

          error ->
            send(parent, {self(), error})
        end
      end)

    receive do: ({^owner, answer} -> answer)
  end
end
