defmodule Bench.Streams do
  @moduledoc """
  A stream of Krait beside a raw port that sends the same items.

  The port's items are msgpack that nobody decodes (Elixir has none without a package), and nothing holds it
  up: that favours it. The stream's items are terms when they arrive, its consumer asks for as many as it has
  read, eight thousand ahead, and it can be cancelled.
  """

  alias Bench.{PortPool, Proc, Rounds}

  @ahead 8000
  # Items in one measurement: about half a second each.
  @kinds [{"an integer", 60_000}, {"a row, a small map", 40_000}, {"1 KB", 40_000}, {"1 MB", 300}]
  # What is streamed once, in full, to see that memory stays what it was.
  @full [{"a row, a small map", 1_000_000}, {"1 MB", 1024}]

  @doc "The kinds of items, in the order of the table."
  def kinds, do: Enum.map(@kinds, &elem(&1, 0))

  def run(run) do
    node = Bench.Node.start_ready(run.krait, run.node_args ++ ["--size", "1"])
    port = PortPool.open({run.python, [Path.join(__DIR__, "bench_streams.py")]})

    jobs =
      for {kind, count} <- @kinds, {side, fun} <- [stream: &stream/3, port: &from_port/3] do
        to = if side == :stream, do: node, else: port
        {{kind, side}, fn -> rate(fun, to, kind, scaled(count, run)) end}
      end

    results = Rounds.run(jobs, run.rounds, "streams")
    Port.close(port)
    full = for {kind, count} <- @full, into: %{}, do: {kind, full(node, kind, scaled(count, run))}
    Bench.Node.stop(node)

    %{
      items_per_s:
        for kind <- kinds(), into: %{} do
          {kind, %{stream: results[{kind, :stream}], port: results[{kind, :port}]}}
        end,
      full: full
    }
  end

  defp scaled(count, run), do: max(round(count * run.scale), 20)

  defp rate(fun, to, kind, count) do
    {us, :ok} = :timer.tc(fn -> fun.(to, kind, count) end)
    count * 1_000_000 / us
  end

  defp from_port(port, kind, count) do
    Port.command(port, "#{kind}|#{count}")
    count_packets(port, count)
  end

  defp count_packets(_, 0), do: :ok

  defp count_packets(port, left) do
    receive do: ({^port, {:data, _}} -> count_packets(port, left - 1))
  end

  defp stream(node, kind, count) do
    stream = open(node, kind, count)
    :ok = drink(stream, count, 0)
    receive do: ({:krait_stream, ^stream, :done} -> :ok)
  end

  defp open(node, kind, count) do
    request = {:stream, "bench_streams", "items", [kind, count], [demand: @ahead]}
    {:ok, stream} = Bench.Node.call(node, request)
    stream
  end

  defp drink(_, 0, _), do: :ok

  defp drink(stream, left, read) do
    receive do
      {:krait_stream, ^stream, {:item, _}} when read + 1 == div(@ahead, 4) ->
        send(stream, {:ask, read + 1})
        drink(stream, left - 1, 0)

      {:krait_stream, ^stream, {:item, _}} ->
        drink(stream, left - 1, read + 1)
    end
  end

  # Once from end to end, with the memory of node and worker at a tenth and at the end.
  defp full(node, kind, count) do
    Rounds.progress("streams: #{count} items, #{kind}")
    {:ok, [%{os_pid: worker} | _]} = Bench.Node.call(node, :workers)
    stream = open(node, kind, count)
    begin = System.monotonic_time(:microsecond)
    :ok = drink(stream, div(count, 10), 0)
    early = {Proc.rss(node.os_pid), Proc.rss(worker)}
    :ok = drink(stream, count - div(count, 10), 0)
    late = {Proc.rss(node.os_pid), Proc.rss(worker)}
    receive do: ({:krait_stream, ^stream, :done} -> :ok)

    %{
      items: count,
      seconds: (System.monotonic_time(:microsecond) - begin) / 1.0e6,
      node_grew: elem(late, 0) - elem(early, 0),
      worker_grew: elem(late, 1) - elem(early, 1)
    }
  end
end
