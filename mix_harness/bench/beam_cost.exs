# beam_cost.exs - what a call costs the BEAM: processor time for each, by kind of call and concurrency.
#
#   elixir -pa build/demo mix_harness/bench/beam_cost.exs [--seconds 2] [--rounds 3]
#       [--concurrency 1,8,64,1024] [--kinds local,ping,call,gping,gen] [--no-delay-send]
#
# The kinds:
#
#   local  krait:call through a lane to a process of this BEAM that answers as the node would: a lane's own
#          cost, without distribution
#   ping   a lane's `ping` to the node, answered by the node itself
#   call   krait:call through the node to four Pythons that echo a small map
#   gping  GenServer.call of `ping`
#   gen    GenServer.call of the same call
#
# Processor time is that of this BEAM and of the node, from /proc/PID/stat, user and system; a shared machine
# makes calls slower, but hardly dearer. `writes` and `reads` are messages to the node and from it for each call.

for file <-
      ~w(../test/support/local_node.ex stats.exs proc.exs values.exs load.exs node_under_test.exs),
    do: Code.require_file(file, __DIR__)

defmodule BeamCost do
  alias Bench.{Load, Values}

  @root Path.expand("../..", __DIR__)

  def main(argv) do
    {given, [], []} =
      OptionParser.parse(argv,
        strict: [
          seconds: :float,
          rounds: :integer,
          concurrency: :string,
          kinds: :string,
          delay_send: :boolean
        ]
      )

    Application.put_env(:kernel, :inet_dist_use_interface, {127, 0, 0, 1})
    :ok = Krait.LocalNode.start("cost_#{System.pid()}")
    Process.register(spawn_link(&stand_in/0), :stand_in)

    python = System.get_env("KRAIT_PYTHON") || "/usr/bin/python3"
    args = ["--size", "4", "--pythonpath", __DIR__, "--python", python]
    node = Bench.Node.start(System.get_env("KRAIT_BIN") || Path.join(@root, "priv/krait"), args)
    :ok = Bench.Node.call(node, :await_ready)
    {:ok, _} = :krait_sup.start_link()
    {_, port} = List.keyfind(:erlang.system_info(:dist_ctrl), node.name, 0)
    # A first lane, so that the client has set it.
    {:ok, _} = :krait.call({:default, node.name}, "math", "sqrt", [4])
    _ = :sys.get_state(:krait_wire)
    if given[:delay_send] == false, do: Bench.Node.delay_send(node, false)

    kinds = String.split(given[:kinds] || "local,ping,call,gping,gen", ",")
    concurrencies = String.split(given[:concurrency] || "1,8,64,1024", ",")
    ms = round((given[:seconds] || 2.0) * 1000)
    IO.puts("kind\tat once\tcalls/s\tp50 us\tBEAM user+sys us\tnode us\tred.\twrites\tcsw\treads")

    for _ <- 1..(given[:rounds] || 1), n <- concurrencies, kind <- kinds do
      n = String.to_integer(n)
      fun = asker(kind, node.name)
      Load.processes(n, %{warm: 50, window: 100}, fun)
      begin = numbers(node, port)
      result = Load.processes(n, %{warm: 50, window: ms}, fun)
      done = numbers(node, port)
      report(kind, n, ms, result, Enum.zip_with(done, begin, &(&1 - &2)))
    end

    Bench.Node.stop(node)
  end

  defp report(kind, n, ms, result, [user, sys, of_node, reductions, writes, switches, reads]) do
    calls = result.all
    each = fn ticks -> ticks * 10_000 / calls end

    [
      kind,
      "#{n}",
      "#{round(result.calls * 1000 / ms)}",
      round1(result.p50 / 1000),
      "#{round1(each.(user))}+#{round1(each.(sys))}=#{round1(each.(user + sys))}",
      round1(each.(of_node)),
      round1(reductions / calls),
      :erlang.float_to_binary(writes / calls, decimals: 3),
      :erlang.float_to_binary(switches / calls, decimals: 3),
      :erlang.float_to_binary(reads / calls, decimals: 3)
    ]
    |> Enum.join("\t")
    |> IO.puts()
  end

  defp round1(number), do: :erlang.float_to_binary(number / 1, decimals: 1)

  defp asker(kind, node) do
    to = {:default, node}
    value = Values.small()

    case kind do
      "local" ->
        to = {:stand_in, node()}
        fn _ -> {:ok, ^value} = :krait.call(to, "bench_echo", "echo", [value]) end

      "ping" ->
        fn _ -> {:answer, :pong} = :krait_lane.attempt(to, :ping, :infinity) end

      "call" ->
        fn _ -> {:ok, ^value} = :krait.call(to, "bench_echo", "echo", [value]) end

      "gping" ->
        fn _ -> :pong = GenServer.call(to, :ping) end

      "gen" ->
        fn _ -> {:ok, ^value} = GenServer.call(to, {:call, "bench_echo", "echo", [value]}) end
    end
  end

  # A node without distribution: answers each call of a lane with its first argument.
  defp stand_in do
    receive do
      {:krait_lane, lane, calls, _gone} ->
        send(lane, {:krait_lane, for({id, request, _} <- calls, do: {id, {:ok, first(request)}})})
    end

    stand_in()
  end

  defp first(request), do: hd(elem(request, 3))

  defp numbers(node, port) do
    [user, sys] = cpu(System.pid())
    {reductions, _} = :erlang.statistics(:exact_reductions)
    {:ok, [send_cnt: writes, recv_cnt: reads]} = :inet.getstat(port, [:send_cnt, :recv_cnt])
    [user, sys, Enum.sum(cpu(node.os_pid)), reductions, writes, switches(), reads]
  end

  # User and system time of a process, in ticks of 10 ms.
  defp cpu(os_pid) do
    [_, after_name] = Regex.run(~r/^\d+ .*\) (.*)$/s, File.read!("/proc/#{os_pid}/stat"))
    after_name |> String.split() |> Enum.slice(11, 2) |> Enum.map(&String.to_integer/1)
  end

  defp switches do
    for file <- Path.wildcard("/proc/self/task/*/status"), reduce: 0 do
      sum ->
        [[_, count]] = Regex.scan(~r/^voluntary_ctxt_switches:\s+(\d+)/m, File.read!(file))
        sum + String.to_integer(count)
    end
  end
end

BeamCost.main(System.argv())
