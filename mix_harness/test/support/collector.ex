defmodule Krait.Collector do
  @moduledoc "Everything that one node said, and how it ended; outlives the test that started it."

  @max_lines 50_000

  @spec start(pid | nil) :: pid
  def start(forward_to) do
    {:ok, pid} =
      Agent.start(fn -> %{lines: [], count: 0, status: nil, expected: [0], to: forward_to} end)

    pid
  end

  @doc "The fun for the option `log`."
  @spec sink(pid) :: (tuple -> :ok)
  def sink(collector), do: fn event -> Agent.cast(collector, &note(&1, event)) end

  @doc "Says that the node is going to end with one of these statuses; `nil`: nobody will see it."
  @spec expect(pid, [non_neg_integer | nil]) :: :ok
  def expect(collector, statuses), do: Agent.update(collector, &%{&1 | expected: statuses})

  @doc "`%{lines: [{level, object, text}], status: status, expected: statuses}`, oldest line first."
  @spec get(pid) :: map
  def get(collector), do: Agent.get(collector, &%{&1 | lines: Enum.reverse(&1.lines)})

  @spec stop(pid) :: :ok
  def stop(collector), do: Agent.stop(collector)

  defp note(state, {:exit, node, status}) do
    if state.to, do: send(state.to, {:krait_exit, node, status})
    %{state | status: status}
  end

  defp note(state, {:line, node, level, object, text}) do
    if state.to, do: send(state.to, {:krait_line, node, level, object, text})

    if state.count < @max_lines,
      do: %{state | lines: [{level, object, text} | state.lines], count: state.count + 1},
      else: state
  end
end
