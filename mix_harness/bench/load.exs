defmodule Bench.Load do
  @moduledoc """
  Closed-loop load: so many calls are always under way, the next one starts when one is answered.

  Each measurement warms up first and counts only what began and ended inside its window. All return
  `%{calls: number, us: length of the window, p50: ns, p99: ns}`.
  """

  @warm_up_ms 50

  @doc "The small map that everything echoes. bench_floor.c has it in C, bench.exs in msgpack."
  def value, do: %{"id" => 42, "name" => "krait", "values" => [1, 2, 3]}

  @doc "`concurrency` processes, each calling `fun` over and over."
  def processes(concurrency, duration_ms, fun) do
    {from, till} = window(duration_ms)
    parent = self()

    pids =
      for _ <- 1..concurrency do
        spawn_link(fn -> send(parent, {self(), loop(fun, from, till, [])}) end)
      end

    pids
    |> Enum.flat_map(fn pid ->
      receive do
        {^pid, latencies} -> latencies
      end
    end)
    |> summary(duration_ms)
  end

  defp loop(fun, from, till, latencies) do
    begin = System.monotonic_time()
    fun.()
    now = System.monotonic_time()

    cond do
      now >= till -> latencies
      begin >= from -> loop(fun, from, till, [now - begin | latencies])
      true -> loop(fun, from, till, latencies)
    end
  end

  @doc """
  One process with `concurrency` requests under way on one port, answers coming back in order: what a
  port can do at best, without anything in between that says whose answer is whose.
  """
  def pipeline(port, concurrency, duration_ms, request, answer) do
    {from, till} = window(duration_ms)
    sent = for _ <- 1..concurrency, do: command(port, request)
    pipe(port, request, answer, :queue.from_list(sent), from, till, []) |> summary(duration_ms)
  end

  defp pipe(port, request, answer, sent, from, till, latencies) do
    receive do
      {^port, {:data, ^answer}} ->
        now = System.monotonic_time()
        {{:value, begin}, sent} = :queue.out(sent)

        cond do
          now >= till and :queue.is_empty(sent) ->
            latencies

          now >= till ->
            pipe(port, request, answer, sent, from, till, latencies)

          true ->
            latencies = if begin >= from, do: [now - begin | latencies], else: latencies
            sent = :queue.in(command(port, request), sent)
            pipe(port, request, answer, sent, from, till, latencies)
        end

      {^port, {:data, other}} ->
        raise "echo answered #{inspect(other)} instead of #{inspect(answer)}"
    end
  end

  defp command(port, request) do
    begin = System.monotonic_time()
    Port.command(port, request)
    begin
  end

  defp window(duration_ms) do
    ms = System.convert_time_unit(1, :millisecond, :native)
    from = System.monotonic_time() + @warm_up_ms * ms
    {from, from + duration_ms * ms}
  end

  defp summary(latencies, duration_ms) do
    sorted =
      latencies
      |> Enum.sort()
      |> Enum.map(&System.convert_time_unit(&1, :native, :nanosecond))
      |> List.to_tuple()

    %{
      calls: tuple_size(sorted),
      us: duration_ms * 1000,
      p50: percentile(sorted, 0.50),
      p99: percentile(sorted, 0.99)
    }
  end

  defp percentile({}, _), do: 0
  defp percentile(sorted, share), do: elem(sorted, trunc(share * (tuple_size(sorted) - 1)))

  @doc "The middle one of some numbers."
  def median(numbers) do
    sorted = Enum.sort(numbers)
    Enum.at(sorted, div(length(sorted), 2))
  end
end
