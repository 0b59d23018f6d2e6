defmodule Krait.Gate do
  @moduledoc "A gate that Python code waits behind until the test opens it: a file."

  import ExUnit.Callbacks, only: [on_exit: 1]

  @doc "A gate that is shut."
  @spec new() :: Path.t()
  def new do
    name = "gate_#{System.pid()}_#{System.unique_integer([:positive])}"
    gate = Path.join(System.tmp_dir!(), name)
    on_exit(fn -> File.rm(gate) end)
    gate
  end

  @spec open(Path.t()) :: :ok
  def open(gate), do: File.touch!(gate)

  @doc "A Python expression that is worth `value` when the gate is open."
  @spec behind(Path.t(), String.t()) :: String.t()
  def behind(gate, value) do
    shut = "iter(lambda: __import__('os').path.exists('#{gate}'), True)"
    "(lambda _: #{value})([__import__('time').sleep(0.005) for _ in #{shut}])"
  end
end
