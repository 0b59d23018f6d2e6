defmodule Scale.Model do
  @moduledoc """
  From what things cost (docs/data/costs.tsv) to how much one node carries, and how many nodes a load wants.

  One loop is one core. It is planned with 70 % of that: at 70 % of a single server a call waits for the loop
  about two and a third times as long as the loop is busy with it, some tens of microseconds; at 95 % it would
  be twenty times.
  """

  @use 0.7
  @machine 64
  @network 1.25e9 * 0.7

  @doc "The share of a loop, and of a network, that is planned with; cores of the machine that is reckoned with."
  def planned, do: %{use: @use, machine: @machine, network: @network}

  @doc """
  Typical workloads: seconds of a call, payload each way, calls that a worker holds at once, items that it
  streams in one call.
  """
  def workloads do
    [
      {"features: 1 ms, 1 kB", %{run: 0.001, bytes: 1000, slots: 1, items: 0}},
      {"inference: 50 ms, 64 kB", %{run: 0.05, bytes: 64_000, slots: 1, items: 0}},
      {"LLM call: 5 s, 1 kB, one to a worker", %{run: 5.0, bytes: 1000, slots: 1, items: 0}},
      {"LLM call that waits: 5 s, 1 kB, 64 slots", %{run: 5.0, bytes: 1000, slots: 64, items: 0}},
      {"tokens: 5 s, 50 a second, 64 slots", %{run: 5.0, bytes: 1000, slots: 64, items: 250}}
    ]
  end

  @sizes [64, 1000, 64_000, 1_000_000]

  @doc "What a call with so many bytes each way costs a part: `beam`, `node`, `python` in us, or `bytes`."
  def call(costs, part, bytes) do
    size = Enum.min_by(@sizes, &abs(&1 - bytes))
    key = if part == :bytes, do: "call_#{size}_bytes", else: "call_#{size}_#{part}_us"
    Map.fetch!(costs, key)
  end

  def sizes, do: @sizes

  @doc "Calls (or items) a second that a loop carries at so many microseconds each."
  def per_second(us), do: @use * 1.0e6 / us

  @doc """
  One core of Python with a workload: calls a second, and what these cost each second, in cores of the node
  and of the BEAM, and bytes.
  """
  def core(costs, w) do
    spent = fn part -> call(costs, part, w.bytes) + w.items * costs["item_#{part}_us"] end
    # One call at a time pays for its way; many at once are worked at while others wait.
    held = if w.slots == 1, do: w.run + spent.(:python) / 1.0e6, else: w.run
    calls = min(w.slots / held, 1.0e6 / max(spent.(:python), 1))

    %{
      calls: calls,
      items: calls * w.items,
      node: calls * spent.(:node) / 1.0e6,
      beam: calls * spent.(:beam) / 1.0e6,
      python: calls * spent.(:python) / 1.0e6,
      bytes: calls * (call(costs, :bytes, w.bytes) + w.items * costs["item_bytes"])
    }
  end

  @doc "Cores of Python that one loop carries with a workload, by each of its limits."
  def limits(costs, w) do
    one = core(costs, w)
    # A machine has the node's own loop to feed as well.
    %{loop: @use / one.node, machine: @machine / (1 + one.node), network: @network / one.bytes}
  end

  @doc "What so many cores of Python want."
  def plan(costs, w, cores) do
    one = core(costs, w)
    limits = limits(costs, w)
    machines = ceil(cores / min(limits.machine, limits.network))
    nodes = max(ceil(cores / limits.loop), machines)
    {limit, _} = Enum.min_by(limits, &elem(&1, 1))

    %{
      calls: cores * one.calls,
      items: cores * one.items,
      nodes: nodes,
      machines: machines,
      beams: ceil(cores * one.beam / @use),
      gigabits: cores * one.bytes * 8 / 1.0e9,
      limit: limit
    }
  end
end
