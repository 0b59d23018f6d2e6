defmodule Krait.Input do
  @moduledoc """
  An enumerable as an argument: Python iterates over it, item by item, as it needs them.

      Krait.call(pool, "my_app", "train", [Krait.Input.new(batches)])

  In Python the argument is an iterator (also for `async for`). Items are pulled a few at a time, so an
  endless `Stream` will do, and one that reads a file or a table is read as fast as Python takes it.

  An input is a process: it ends with the one that made it, or a minute after Python has come to its end.
  An enumerable that raises makes the iterator raise `krait.Exit` with the exception's message, after the
  items that came before it. Any process can be an input: it answers the `GenServer` call
  `{:krait_input, :next, n}` with `{:items, items}` (1 to `n` of them), `:done` or `{:error, reason}`.
  """

  use GenServer

  @type t :: {:krait_input, pid}

  @doc """
  Starts a process that hands out the enumerable, and returns the argument for Python.

      iex> input = Krait.Input.new(Stream.map(1..4, & &1 * 10))
      iex> Krait.call(Krait.Demo, "builtins", "sum", [input])
      {:ok, 100}
  """
  @spec new(Enumerable.t()) :: t
  def new(enumerable) do
    {:ok, pid} = GenServer.start(__MODULE__, {enumerable, self()})
    {:krait_input, pid}
  end

  # For so long after it has told its end it says `:done` to whoever asks once more.
  @linger 60_000

  @impl true
  def init({enumerable, owner}) do
    Process.monitor(owner)
    {:ok, {:more, &Enumerable.reduce(enumerable, &1, fn item, [] -> {:suspend, [item]} end)}}
  end

  @impl true
  def handle_call({:krait_input, :next, n}, _from, state) when is_integer(n) and n > 0 do
    case pull(state, n, []) do
      {[], {:failed, message}} -> reply({:error, message}, :told)
      {[], _} -> reply(:done, :told)
      {items, state} -> reply({:items, Enum.reverse(items)}, state)
    end
  end

  def handle_call(_, _from, state),
    do: reply({:error, "expected {:krait_input, :next, n}"}, state)

  defp reply(answer, :told), do: {:reply, answer, :told, @linger}
  defp reply(answer, state), do: {:reply, answer, state}

  # Up to `n` items, one at a time, for what raises is told behind those that came before it.
  defp pull({:more, continue}, n, items) when n > 0 do
    {new, state} = step(continue)
    pull(state, n - length(new), new ++ items)
  end

  defp pull(state, _, items), do: {items, state}

  defp step(continue) do
    case continue.({:cont, []}) do
      {:suspended, items, continue} -> {items, {:more, continue}}
      {_, items} -> {items, :ended}
    end
  rescue
    error -> {[], {:failed, Exception.message(error)}}
  end

  @impl true
  def handle_cast(_, state), do: noreply(state)

  @impl true
  def handle_info({:DOWN, _, :process, _, _}, {:more, continue}) do
    continue.({:halt, []})
    {:stop, :normal, :ended}
  end

  def handle_info({:DOWN, _, :process, _, _}, state), do: {:stop, :normal, state}
  def handle_info(:timeout, :told), do: {:stop, :normal, :told}
  def handle_info(_, state), do: noreply(state)

  defp noreply(:told), do: {:noreply, :told, @linger}
  defp noreply(state), do: {:noreply, state}
end
