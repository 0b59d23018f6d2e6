defmodule Krait.Owner do
  @moduledoc "A process that owns a node, for BEAMs that are controlled by remote calls."

  @doc "Starts a node that lives until this BEAM ends."
  @spec start(keyword) :: :ok | {:error, Krait.Error.t()}
  def start(options) do
    parent = self()

    owner =
      spawn(fn ->
        case Krait.start_link(options) do
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
