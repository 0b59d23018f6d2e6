defmodule Krait.Input do
  @moduledoc """
  An enumerable as an argument: Python iterates over it, item by item, as it needs them.

      Krait.call(pool, "my_app", "train", [Krait.Input.new(batches)])

  In Python the argument is an iterator (also for `async for`). Items are pulled a few at a time, so an
  endless `Stream` will do, and one that reads a file or a table is read as fast as Python takes it.

  An input is a process: it ends with the one that made it. An enumerable that raises makes the iterator
  raise `krait.Exit` with the exception's message. Any process can be an input: it answers the
  `GenServer` call `{:krait_input, :next, n}` with `{:items, items}` (1 to `n` of them), `:done` or
  `{:error, reason}`.
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

  @impl true
  def init({enumerable, owner}) do
    Process.monitor(owner)
    {:ok, {:more, &Enumerable.reduce(enumerable, &1, fn item, acc -> take(item, acc) end)}}
  end

  defp take(item, {1, items}), do: {:suspend, {0, [item | items]}}
  defp take(item, {n, items}), do: {:cont, {n - 1, [item | items]}}

  @impl true
  def handle_call({:krait_input, :next, n}, _from, {:more, continue})
      when is_integer(n) and n > 0 do
    case continue.({:cont, {n, []}}) do
      {:suspended, {_, items}, continue} ->
        {:reply, {:items, Enum.reverse(items)}, {:more, continue}}

      {_, {_, []}} ->
        {:reply, :done, :done}

      {_, {_, items}} ->
        {:reply, {:items, Enum.reverse(items)}, :done}
    end
  rescue
    error -> {:reply, {:error, Exception.message(error)}, :done}
  end

  def handle_call({:krait_input, :next, n}, _from, :done) when is_integer(n) and n > 0,
    do: {:reply, :done, :done}

  def handle_call(_, _from, state),
    do: {:reply, {:error, "expected {:krait_input, :next, n}"}, state}

  @impl true
  def handle_cast(_, state), do: {:noreply, state}

  @impl true
  def handle_info({:DOWN, _, :process, _, _}, {:more, continue}) do
    continue.({:halt, {0, []}})
    {:stop, :normal, :done}
  end

  def handle_info({:DOWN, _, :process, _, _}, :done), do: {:stop, :normal, :done}
  def handle_info(_, state), do: {:noreply, state}
end
