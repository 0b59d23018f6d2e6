defmodule Krait.Cluster.Wire do
  @moduledoc false
  # One request to one node, as gen_server:call/3 makes it, with the answer to one more question: when
  # there is none, may it have run? A caller may move on to another node when it surely has not.
  #
  # Calls and batches go by a lane, as those of Krait do, with what others ask at the same time; what makes a
  # lease or a stream goes by itself.

  @type address :: {atom, node}

  # How much longer than the node's own deadline we wait: the way there and back. Within it the node's
  # error is the one that is heard.
  @margin 2_000
  # The longest time that `receive` can wait.
  @longest 0xFFFFFFFF

  @doc """
    * `{:answer, answer}` - of the node, or `{:error, {:timeout, :call}}` when it owed one for too long
    * `{:not_run, reason}` - there was no connection, or nobody of that name: surely it did not run
    * `{:broken, reason}` - the connection broke, or the pool ended, when it was sent: it may have run
  """
  @spec ask(address, term, timeout) ::
          {:answer, term} | {:not_run, term} | {:broken, term}
  def ask({_, node} = address, request, timeout) do
    # The node's member process connects, no caller does: nobody waits for a node that is gone.
    if node in :erlang.nodes(:connected),
      do: connected(address, request, wait(timeout)),
      else: {:not_run, {:nodedown, node}}
  end

  defp connected({_, node} = address, request, wait) when elem(request, 0) in [:call, :batch] do
    case :krait_lane.attempt(address, request, wait) do
      :no_lane -> send_and_wait(address, request, wait)
      :timeout -> {:answer, {:error, {:timeout, :call}}}
      {:broken, _} -> {:broken, {:nodedown, node}}
      outcome -> outcome
    end
  end

  defp connected(address, request, wait), do: send_and_wait(address, request, wait)

  defp send_and_wait({_, node} = address, request, wait) do
    monitor = :erlang.monitor(:process, address, alias: :demonitor)
    message = {:"$gen_call", {self(), [:alias | monitor]}, request}

    case :erlang.send(address, message, [:noconnect]) do
      :ok ->
        receive do
          {[:alias | ^monitor], answer} ->
            :erlang.demonitor(monitor, [:flush])
            {:answer, answer}

          {:DOWN, ^monitor, _, _, :noproc} ->
            {:not_run, :noproc}

          {:DOWN, ^monitor, _, _, _} ->
            {:broken, {:nodedown, node}}
        after
          wait ->
            :erlang.demonitor(monitor, [:flush])
            {:answer, {:error, {:timeout, :call}}}
        end

      :noconnect ->
        :erlang.demonitor(monitor, [:flush])
        {:not_run, {:nodedown, node}}
    end
  end

  defp wait(:infinity), do: :infinity
  defp wait(ms), do: min(ms + @margin, @longest)
end
