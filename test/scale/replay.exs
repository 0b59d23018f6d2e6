# replay.exs - plays requests of the simulation to a real node (`make record-played`).
#
#   KRAIT_BIN=priv/krait elixir -pa build/demo test/scale/replay.exs build/simulate docs/data
#
# A trace (trace_80.tsv, trace_120.tsv) is a run of krait_simulate, request by request: when it arrives, how urgent
# it is, how long it is served. The same requests go to a real node at these times, all of them times five; its
# eight workers sleep as long as the service takes, so that they fit on any machine, and a machine that is late by
# a millisecond says little. Written is what really happened (played_80.tsv, ...):
# when each request was made, how long its worker was asleep, how it ended and after what time. That is simulated
# once more, so that what is compared is the queue, and not how exactly a busy machine keeps time.
Code.require_file("../../mix_harness/test/support/local_node.ex", __DIR__)

defmodule Replay do
  @workers 8
  @limits %{"80" => 1000, "120" => 4 * @workers}
  @slower 5
  @classes {:high, :normal, :low}

  def main([from, to]) do
    Logger.configure(level: :error)
    :ok = Krait.LocalNode.start("replay_#{System.pid()}")

    for load <- ["80", "120"] do
      lines = Path.join(from, "trace_#{load}.tsv") |> read() |> play(@limits[load])

      File.write!(Path.join(to, "played_#{load}.tsv"), """
      # What a real node with #{@workers} workers did under #{load} % load, queue_limit #{@limits[load]}: test/scale/replay.exs,
      # #{Date.utc_today()}, OTP #{System.otp_release()}. Microseconds; total is from request to answer, as its caller saw it.
      at_us\tclass\tservice_us\toutcome\ttotal_us
      #{Enum.join(lines, "\n")}
      """)
    end
  end

  defp read(trace) do
    [_ | lines] = trace |> File.read!() |> String.split("\n", trim: true)

    for line <- lines do
      [at, class, service, _outcome, _wait, _total, id] = String.split(line, "\t")
      [id, at, class, service] = Enum.map([id, at, class, service], &String.to_integer/1)
      %{id: id, at: at * @slower, class: class, service: service * @slower}
    end
    |> Enum.sort_by(& &1.id)
  end

  defp play(requests, limit) do
    {:ok, pool} =
      Krait.start_link(
        size: @workers,
        pythonpath: [__DIR__],
        queue_limit: limit,
        await_ready: true
      )

    for _ <- 1..200, do: Krait.call!(pool, "services", "sleep_us", [10])
    from = System.monotonic_time(:microsecond) + 100_000
    lines = requests |> Enum.map(&ask(pool, from, &1)) |> Enum.map(&Task.await(&1, :infinity))
    GenServer.stop(pool)
    lines |> Enum.sort() |> Enum.map(&Enum.join(&1, "\t"))
  end

  # Timers count milliseconds; when it really was is written down.
  defp ask(pool, from, request) do
    left = div(from + request.at - System.monotonic_time(:microsecond), 1000)
    if left > 0, do: Process.sleep(left)
    options = [priority: elem(@classes, request.class), timeout: :infinity]

    Task.async(fn ->
      begin = System.monotonic_time(:microsecond)
      answer = Krait.call(pool, "services", "sleep_us", [request.service], options)
      total = System.monotonic_time(:microsecond) - begin

      case answer do
        {:ok, slept} ->
          [begin - from, request.class, slept, "ok", total]

        {:error, %{kind: :overloaded}} ->
          [begin - from, request.class, request.service, "overloaded", total]
      end
    end)
  end
end

Replay.main(System.argv())
