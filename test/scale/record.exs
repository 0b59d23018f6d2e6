# record.exs - how long work takes in real workers (`make record-service`).
#
#   KRAIT_BIN=priv/krait elixir -pa build/demo test/scale/record.exs docs/data/service_times.tsv [SAMPLES]
#
# One worker of a real node runs each function of services.py, again and again, with another argument each time.
# What is kept is the time on the worker's processor (time.thread_time): on a machine that does other things as
# well the clock on the wall (time.perf_counter) tells of those.
Code.require_file("../../mix_harness/test/support/local_node.ex", __DIR__)

[path | rest] = System.argv()
Logger.configure(level: :error)
samples = if rest == [], do: 1000, else: String.to_integer(hd(rest))
:ok = Krait.LocalNode.start("record_#{System.pid()}")
{:ok, pool} = Krait.start_link(size: 1, pythonpath: [__DIR__], await_ready: true)

record = fn name ->
  for seed <- 1..100, do: Krait.call!(pool, "services", "timed", [name, seed])

  times = for seed <- 1..samples, do: Krait.call!(pool, "services", "timed", [name, seed])
  Enum.unzip(times)
end

middle = fn times -> times |> Enum.sort() |> Enum.at(div(length(times), 2)) end
ms = fn seconds -> :erlang.float_to_binary(seconds * 1000, decimals: 2) end

{lines, notes} =
  for name <- ["inference", "features", "documents"] do
    {walls, own} = record.(name)

    note =
      "#   #{name}: median #{ms.(middle.(own))} ms on the processor, #{ms.(middle.(walls))} ms on the wall"

    IO.puts(:stderr, note)
    {Enum.join([name | Enum.map(own, &max(round(&1 * 1.0e6), 1))], " "), note}
  end
  |> Enum.unzip()

version = Krait.call!(pool, "platform", "python_version", [])

File.write!(path, """
# Service times in microseconds: a function and #{samples} calls of it, in the order in which they ran.
# Recorded by test/scale/record.exs (functions: test/scale/services.py) in one worker of a node, as time on the
# worker's processor; Python #{version}, #{Date.utc_today()}.
#{Enum.join(notes, "\n")}
#{Enum.join(lines, "\n")}
""")
