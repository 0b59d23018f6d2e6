defmodule Bench.Peers do
  @moduledoc """
  What a thousand connected, idle BEAM nodes cost the calls of one that is not.

  Two nodes take turns in the same rounds; to one of them a thousand peers are connected that have made the
  handshake and say nothing. What differs is what they cost: in latency, in the node's processor time for a
  call, and in memory for each.
  """

  alias Bench.{Load, Proc, Rounds, Values}
  alias Krait.LightPeer

  # Ticks to a thousand peers are not what is looked for here.
  @args ["--net-ticktime", "3600"]

  def run(run) do
    many = Bench.Node.start_ready(run.krait, run.node_args ++ @args)
    few = Bench.Node.start_ready(run.krait, run.node_args ++ @args)
    count = max(round(1_000 * run.scale), 20)
    Rounds.progress("connecting #{count} peers")
    before = Proc.rss(many.os_pid)

    peers =
      for _ <- 1..count do
        {:ok, peer} = LightPeer.connect(many.name)
        peer
      end

    grown = Proc.rss(many.os_pid) - before
    {:ok, %{peers: connected}} = Bench.Node.call(many, :status)
    ms = %{warm: run.warm_ms, window: run.window_ms}

    jobs =
      for n <- [1, 64], n <= run.most, {which, node} <- [alone: few, beside: many] do
        {{which, n}, fn -> measure(node, n, ms) end}
      end

    results = Rounds.run(jobs, run.rounds, "calls beside idle peers")
    Enum.each(peers, &LightPeer.close/1)
    Enum.each([many, few], &Bench.Node.stop/1)

    %{
      peers: count,
      connected: if(is_list(connected), do: length(connected), else: connected),
      bytes_each: grown / count,
      calls:
        for n <- [1, 64], n <= run.most, into: %{} do
          {n,
           %{
             alone: Rounds.series(results[{:alone, n}]),
             beside: Rounds.series(results[{:beside, n}])
           }}
        end
    }
  end

  defp measure(node, concurrency, ms) do
    pool = Bench.Node.pool(node)
    value = Values.small()
    request = {:call, "bench_echo", "echo", [value]}
    before = Proc.cpu_ns(node.os_pid)

    result =
      Load.processes(concurrency, ms, fn _ ->
        {:ok, ^value} = GenServer.call(pool, request, 60_000)
      end)

    us = (Proc.cpu_ns(node.os_pid) - before) / 1000 / max(result.all, 1)
    Map.put(result, :cpu, %{beam: 0, between: us, python: 0})
  end
end
