defmodule Bench.Load do
  @moduledoc """
  Closed-loop load: so many calls are always under way, the next one starts when one is answered.

  Each measurement warms up first. Its latencies are those of the calls that began and ended inside of its
  window; its number of calls counts the two calls at the edges of it by the share that lies inside, which
  matters where a call takes a tenth of the window. All return

      %{calls: number in the window, all: number altogether, us: length of the window,
        p50: ns, p99: ns, p999: ns}
  """

  @doc "`concurrency` processes, each calling `fun` over and over, with what `prepare` gave it."
  def processes(concurrency, ms, fun, prepare \\ fn _ -> nil end, finish \\ fn _ -> :ok end) do
    parent = self()

    pids =
      for n <- 1..concurrency do
        spawn_link(fn ->
          mine = prepare.(n)
          send(parent, {self(), :prepared})
          {from, till} = receive do: ({:go, from, till} -> {from, till})
          send(parent, {self(), loop(fun, mine, from, till, {[], 0, 0.0})})
          finish.(mine)
        end)
      end

    for pid <- pids, do: receive(do: ({^pid, :prepared} -> :ok))
    {from, till} = window(ms)
    for pid <- pids, do: send(pid, {:go, from, till})

    pids
    |> Enum.map(fn pid -> receive do: ({^pid, {_, _, _} = result} -> result) end)
    |> summary(ms)
  end

  defp loop(fun, mine, from, till, result) do
    begin = System.monotonic_time()
    fun.(mine)
    now = System.monotonic_time()
    result = ended(result, begin, now, from, till)
    if now >= till, do: result, else: loop(fun, mine, from, till, result)
  end

  defp ended({latencies, all, parts}, begin, now, from, till) do
    cond do
      now <= from -> {latencies, all + 1, parts}
      begin >= from and now < till -> {[now - begin | latencies], all + 1, parts}
      true -> {latencies, all + 1, parts + share(begin, now, from, till)}
    end
  end

  defp share(begin, now, from, till) do
    max(min(now, till) - max(begin, from), 0) / max(now - begin, 1)
  end

  @doc """
  One process with `concurrency` requests under way on one port, answers coming back in order: what a
  port can do at best, without anything in between that says whose answer is whose.
  """
  def pipeline(port, concurrency, ms, request, answer) do
    {from, till} = window(ms)
    sent = for _ <- 1..concurrency, do: command(port, request)
    [pipe(port, request, answer, :queue.from_list(sent), from, till, {[], 0, 0.0})] |> summary(ms)
  end

  defp pipe(port, request, answer, sent, from, till, result) do
    receive do
      {^port, {:data, ^answer}} ->
        now = System.monotonic_time()
        {{:value, begin}, sent} = :queue.out(sent)
        result = ended(result, begin, now, from, till)

        cond do
          now < till ->
            sent = :queue.in(command(port, request), sent)
            pipe(port, request, answer, sent, from, till, result)

          :queue.is_empty(sent) ->
            result

          true ->
            pipe(port, request, answer, sent, from, till, result)
        end

      {^port, {:data, other}} ->
        raise "echo answered #{byte_size(other)} bytes that are not its request's"
    end
  end

  defp command(port, request) do
    begin = System.monotonic_time()
    Port.command(port, request)
    begin
  end

  defp window(%{warm: warm, window: window}) do
    from = System.monotonic_time() + native(warm)
    {from, from + native(window)}
  end

  defp native(ms), do: System.convert_time_unit(ms, :millisecond, :native)

  defp summary(results, %{window: window}) do
    sorted =
      results
      |> Enum.flat_map(&elem(&1, 0))
      |> Enum.sort()
      |> List.to_tuple()

    %{
      calls: tuple_size(sorted) + (results |> Enum.map(&elem(&1, 2)) |> Enum.sum()),
      all: results |> Enum.map(&elem(&1, 1)) |> Enum.sum(),
      us: window * 1000,
      p50: percentile(sorted, 0.50),
      p99: percentile(sorted, 0.99),
      p999: percentile(sorted, 0.999)
    }
  end

  defp percentile({}, _), do: 0

  defp percentile(sorted, share) do
    elem(sorted, trunc(share * (tuple_size(sorted) - 1)))
    |> System.convert_time_unit(:native, :nanosecond)
  end
end
