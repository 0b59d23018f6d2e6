# costs.exs - what a call, a worker, a peer and a waiting request cost (`make record-costs`).
#
#   KRAIT_BIN=priv/krait elixir -pa build/demo test/scale/costs.exs docs/data/costs.tsv
#
# Processor time is the kernel's account of it, so a machine that is busy with other things disturbs it less than
# it does the clock; memory is resident memory, of workers the part that is theirs (Pss), from /proc. The node, its
# workers and this BEAM are on one machine. Everything is measured in this one run.
root = Path.expand("../..", __DIR__)

for file <- ~w(mix_harness/bench/proc.exs mix_harness/test/support/light_peer.ex
               mix_harness/test/support/local_node.ex),
    do: Code.require_file(file, root)

defmodule Costs do
  alias Bench.Proc
  alias Krait.LightPeer

  @options [pythonpath: [__DIR__], await_ready: true]

  def main([path]) do
    Logger.configure(level: :error)
    :ok = Krait.LocalNode.start("costs_#{System.pid()}")
    {:ok, _} = :krait_sup.start_link() # the lanes
    lines = calls() ++ streams() ++ workers() ++ peers() ++ waiting()

    File.write!(path, """
    # What things cost: test/scale/costs.exs, #{Date.utc_today()}, #{processor()}, OTP #{System.otp_release()}.
    what\tvalue
    #{Enum.map_join(lines, "\n", fn {what, value} -> "#{what}\t#{Float.round(value * 1.0, 3)}" end)}
    """)
  end

  # ---- a call: processor time in the BEAM, in the node and in Python, bytes on the connection ----

  defp calls do
    node = start(size: 4)

    lines =
      for {name, value, callers, count} <- [
            {"64", %{"id" => 42, "name" => "Bungarus caeruleus", "values" => [1, 2, 3]}, 64,
             60_000},
            {"1000", :binary.copy(<<255>>, 1000), 64, 40_000},
            {"64000", :binary.copy(<<255>>, 64_000), 16, 6_000},
            {"1000000", :binary.copy(<<255>>, 1_000_000), 8, 500}
          ],
          line <- call(node, name, value, callers, count),
          do: line

    status = fn -> for _ <- 1..2000, do: {:ok, _} = Krait.status(node.pool) end
    {[beam, krait, _], _} = least(node, status)
    stop(node)
    lines ++ [{"status_beam_us", beam / 2000}, {"status_node_us", krait / 2000}]
  end

  defp call(node, name, value, callers, count) do
    each = div(count, callers)
    one = fn -> {:ok, ^value} = Krait.call(node.pool, "services", "echo", [value]) end
    at_once(callers, fn -> for _ <- 1..div(each, 10), do: one.() end)
    {us, bytes} = least(node, fn -> at_once(callers, fn -> for _ <- 1..each, do: one.() end) end)

    IO.puts(
      :stderr,
      "a call with #{name} bytes: #{inspect(us)} us, #{bytes} bytes for #{each * callers}"
    )

    Enum.zip(~w(beam node python), us)
    |> Enum.map(fn {part, us} -> {"call_#{name}_#{part}_us", us / (each * callers)} end)
    |> Kernel.++([{"call_#{name}_bytes", bytes / (each * callers)}])
  end

  defp streams do
    node = start(size: 4)
    count = 50_000

    items = fn ->
      at_once(4, fn ->
        ^count = Krait.stream(node.pool, "services", "tokens", [count]) |> Enum.count()
      end)
    end

    items.()
    {us, bytes} = least(node, items)
    IO.puts(:stderr, "streams: #{inspect(us)} us for #{4 * count}")
    stop(node)

    Enum.zip(~w(beam node python), us)
    |> Enum.map(fn {part, us} -> {"item_#{part}_us", us / (4 * count)} end)
    |> Kernel.++([{"item_bytes", bytes / (4 * count)}])
  end

  # Of three times the one that cost the least: what else the machine does can only add to that.
  defp least(node, fun) do
    Enum.min_by(for(_ <- 1..3, do: spent(node, fun)), fn {us, _} -> Enum.sum(us) end)
  end

  # Microseconds of each part, and bytes to and from the node.
  defp spent(node, fun) do
    [_ | python] = Proc.family(node.os_pid)
    parts = [[Proc.own()], [node.os_pid], python]
    before = Enum.map(parts, &Proc.cpu_of/1)
    bytes = bytes(node)
    fun.()
    us = Enum.zip_with(Enum.map(parts, &Proc.cpu_of/1), before, &((&1 - &2) / 1000))
    {us, bytes(node) - bytes}
  end

  defp bytes(node) do
    {_, port} = List.keyfind(:erlang.system_info(:dist_ctrl), node.name, 0)
    {:ok, counts} = :inet.getstat(port, [:send_oct, :recv_oct])
    Enum.sum(Keyword.values(counts))
  end

  defp at_once(count, fun) do
    1..count |> Enum.map(fn _ -> Task.async(fun) end) |> Task.await_many(:infinity)
  end

  # ---- a worker ----

  defp workers do
    more = 32
    node = start(size: 1)
    {rss, fds, cpu} = {Proc.rss(node.os_pid), fds(node), Proc.cpu_of(Proc.family(node.os_pid))}
    :ok = GenServer.call({:default, node.name}, {:resize, 1 + more})
    :ok = Krait.await_ready(node.pool)
    {:ok, workers} = Krait.workers(node.pool)
    us = (Proc.cpu_of(Proc.family(node.os_pid)) - cpu) / 1000
    pss = for w <- workers, do: pss(w.os_pid)

    lines = [
      {"node_rss", rss},
      {"node_fds", fds},
      {"worker_node_rss", (Proc.rss(node.os_pid) - rss) / more},
      {"worker_fds", (fds(node) - fds) / more},
      {"worker_pss", Enum.sum(pss) / (1 + more)},
      {"worker_start_us", us / more}
    ]

    stop(node)
    node = start(size: 16, preload: ["numpy"])
    {:ok, workers} = Krait.workers(node.pool)
    pss = for w <- workers, do: pss(w.os_pid)
    stop(node)
    lines ++ [{"worker_numpy_pss", Enum.sum(pss) / 16}]
  end

  defp fds(node), do: length(File.ls!("/proc/#{node.os_pid}/fd"))

  defp pss(os_pid) do
    [_, kib] = Regex.run(~r/^Pss:\s+(\d+) kB/m, File.read!("/proc/#{os_pid}/smaps_rollup"))
    String.to_integer(kib) * 1024
  end

  # ---- a peer, a waiting request ----

  defp peers do
    count = 500
    node = start(size: 1)
    {rss, fds} = {Proc.rss(node.os_pid), fds(node)}
    peers = for _ <- 1..count, do: elem({:ok, _} = LightPeer.connect(node.name), 1)
    {:ok, %{peers: connected}} = Krait.status(node.pool)
    true = connected > count

    lines = [
      {"peer_rss", (Proc.rss(node.os_pid) - rss) / count},
      {"peer_fds", (fds(node) - fds) / count}
    ]

    Enum.each(peers, &LightPeer.close/1)
    stop(node)
    lines
  end

  defp waiting do
    count = 10_000
    node = start(size: 1, queue_limit: 2 * count)
    :ok = GenServer.call({:default, node.name}, :pause)
    # The first ones are not counted, nor what they cost once for all.
    few = callers(node, div(count, 20))
    rss = Proc.rss(node.os_pid)
    many = callers(node, count)
    grown = Proc.rss(node.os_pid) - rss
    for pid <- few ++ many, do: Process.exit(pid, :kill)
    wait_queued(node, 0)
    stop(node)
    payload = :erlang.external_size({:"$gen_call", {self(), [:alias | make_ref()]}, request()})
    [{"waiting_rss", grown / count}, {"waiting_payload", payload}]
  end

  defp request, do: {:call, "services", "echo", [%{"id" => 42, "values" => [1, 2, 3]}]}

  defp callers(node, count) do
    {:ok, %{pools: %{default: %{queued: before}}}} = Krait.status(node.pool)

    pids =
      for _ <- 1..count,
          do: spawn(fn -> GenServer.call({:default, node.name}, request(), :infinity) end)

    wait_queued(node, before + count)
    pids
  end

  # What waits is told to nobody: one has to ask.
  defp wait_queued(node, count) do
    {:ok, %{pools: %{default: pool}}} = Krait.status(node.pool)

    if pool.queued != count do
      Process.sleep(20)
      wait_queued(node, count)
    end
  end

  # ---- nodes ----

  defp start(options) do
    {:ok, pool} = Krait.start_link(options ++ @options)
    {:ok, %{os_pid: os_pid}} = Krait.status(pool)
    %{pool: pool, name: Krait.node_name(pool), os_pid: os_pid}
  end

  defp stop(node), do: GenServer.stop(node.pool)

  defp processor do
    case Regex.run(~r/model name\s*: (.*)/, File.read!("/proc/cpuinfo")) do
      [_, name] -> "#{System.schedulers_online()} cores (#{name})"
      nil -> "#{System.schedulers_online()} cores"
    end
  end
end

Costs.main(System.argv())
