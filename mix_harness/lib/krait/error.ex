defmodule Krait.Error do
  @moduledoc """
  Why something did not work, for programs and for people.

    * `reason` - the contract's own term, such as `{:timeout, :queue}`
    * `kind` - its first word: `:timeout`
    * `call` - `{module, function}`, when it was a call
    * `pool` - where it was asked for

  The message says what happened and what can be done about it; for an exception in Python it holds
  Python's traceback.

      iex> Exception.message(Krait.Error.new(:draining))
      "no new requests are taken: the node is stopping, or the pool is drained (resume/1 ends that)"
  """

  defexception [:kind, :reason, :call, :pool]

  @type t :: %__MODULE__{
          kind: atom,
          reason: term,
          call: {Krait.name(), Krait.name()} | nil,
          pool: Krait.pool() | nil
        }

  @doc """
  Makes an error of a reason.

      iex> Krait.Error.new({:too_deep, 256}, call: {"m", "f"}).kind
      :too_deep
  """
  @spec new(term, keyword) :: t
  def new(reason, context \\ []) do
    %__MODULE__{
      kind: kind(reason),
      reason: reason,
      call: context[:call],
      pool: context[:pool]
    }
  end

  @impl true
  def exception(reason), do: new(reason)

  @impl true
  def message(%__MODULE__{reason: reason, call: nil, pool: pool}) do
    Krait.Error.Message.text(reason, pool)
  end

  def message(%__MODULE__{reason: reason, call: {module, function}, pool: pool}) do
    "#{name(module)}.#{name(function)}: #{Krait.Error.Message.text(reason, pool)}"
  end

  defp name(name) when is_binary(name) or is_atom(name), do: to_string(name)
  defp name(other), do: inspect(other)

  defp kind(reason) when is_atom(reason), do: reason

  defp kind(reason) when is_tuple(reason) and is_atom(elem(reason, 0)) and tuple_size(reason) > 0,
    do: elem(reason, 0)

  defp kind(_), do: :unknown
end
