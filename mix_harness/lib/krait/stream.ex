defmodule Krait.Stream do
  @moduledoc """
  What `Krait.stream/5` returns: a lazy enumerable over the items of a Python generator.

  The process that enumerates it opens the stream, owns it and asks for items, always as many as keep
  `:demand` of them under way. It ends in one of four ways, and in each nothing stays behind: Python's
  generator is exhausted; the consumer wants no more, or raises (the generator is closed, and its last
  messages are taken out of the mailbox); Python raises, or the worker dies (`Krait.Error`); the node
  is gone (`Krait.Error` of kind `:nodedown`).
  """

  alias Krait.Error

  @demand 16

  @doc """
  An enumerable over the stream that `open` opens; see `Krait.stream/5`.
  """
  @spec new((() -> Krait.result(Krait.stream())), {Krait.name(), Krait.name()}, Krait.options()) ::
          Enumerable.t()
  def new(open, call, options) do
    Stream.resource(fn -> open(open, call, options[:demand]) end, &next/1, &close/1)
  end

  defp open(open, call, demand) do
    case open.() do
      {:ok, stream} ->
        window = window(demand)
        if demand == 0, do: :krait.ask(stream, window)

        %{
          stream: stream,
          monitor: Process.monitor(stream),
          window: window,
          due: window,
          context: [pool: stream, call: call]
        }

      {:error, error} ->
        raise error
    end
  end

  # An enumerable that may never ask for anything would wait for ever.
  defp window(demand) when is_integer(demand) and demand > 0, do: demand
  defp window(_), do: @demand

  # `due` items are still to come of what was asked for.
  defp next(%{ended: true} = state), do: {:halt, state}

  defp next(%{stream: stream, monitor: monitor} = state) do
    receive do
      {:krait_stream, ^stream, {:item, item}} -> taken([item | more(stream, state.due - 1)], state)
      {:krait_stream, ^stream, :done} -> {:halt, ended(state)}
      {:krait_stream, ^stream, {:error, reason}} -> fail(reason, state)
      {:DOWN, ^monitor, :process, _, reason} -> fail(gone(reason, stream), state)
    end
  end

  # What has come already is handed on at once.
  defp more(_, 0), do: []

  defp more(stream, due) do
    receive do
      {:krait_stream, ^stream, {:item, item}} -> [item | more(stream, due - 1)]
    after
      0 -> []
    end
  end

  defp taken(items, %{due: due, window: window} = state) do
    due = due - length(items)

    if due <= div(window, 2) do
      :krait.ask(state.stream, window - due)
      {items, %{state | due: window}}
    else
      {items, %{state | due: due}}
    end
  end

  defp fail(reason, state), do: raise(Error.new(reason, state.context))

  defp gone(:noconnection, stream), do: {:nodedown, node(stream)}
  defp gone(reason, _), do: reason

  defp ended(state) do
    Process.demonitor(state.monitor, [:flush])
    Map.put(state, :ended, true)
  end

  defp close(%{ended: true}), do: :ok

  # Also after an error was raised. A new monitor, for the old one may have fired already.
  defp close(%{stream: stream} = state) do
    :krait.cancel(stream)
    drop(stream, Process.monitor(stream))
    ended(state)
  end

  defp drop(stream, monitor) do
    receive do
      {:krait_stream, ^stream, {:item, _}} -> drop(stream, monitor)
      {:krait_stream, ^stream, _} -> Process.demonitor(monitor, [:flush])
      {:DOWN, ^monitor, :process, _, _} -> :ok
    end
  end
end
