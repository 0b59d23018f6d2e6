defmodule Bench.Sides do
  @moduledoc """
  Who is compared, and how each of them is asked.

  In all of them Python decodes a msgpack request and encodes its value again as the answer; the caller
  compares what comes back with what it sent. What the sides a, b, c and C spare themselves: their request
  is msgpack already (C encodes it, ports got it encoded beforehand), and their answer is compared as
  bytes, not made a term, as Elixir has no msgpack without a package. That favours them.

  Sides d, e and f write to their connection as a BEAM does by itself. D and F do so with `delay_send`, by
  which the BEAM gathers what it writes. Side g has whatever the Erlang client sets.
  """

  alias Bench.{Beam, Floor, Load, Pack, PortPool, Proc, Values}

  @sides [
    a: "one raw `Port`, requests pipelined",
    b: "pool of 4 ports, checkout (NimblePool's design)",
    c: "floor: C to 4 Pythons, one request at a time each",
    C: "floor: C to 4 Pythons, requests pipelined",
    d: "`GenServer.call` to the node, `ping`",
    D: "as d, with `delay_send`",
    e: "`GenServer.call` from BEAM to BEAM",
    f: "`GenServer.call` through the node to Python",
    F: "as f, with `delay_send`",
    g: "`Krait.call`, through lanes"
  ]

  @doc "Letter and name of each, in the order of the tables."
  def all, do: @sides

  @doc "The name of one."
  def name(side), do: @sides[side]

  @doc "Starts what the sides need, once for all rounds."
  def open(sides, run) do
    needs? = fn list -> Enum.any?(list, &(&1 in sides)) end
    node = if needs?.([:d, :D, :f, :F, :g]), do: Bench.Node.start_ready(run.krait, run.node_args)

    port = if needs?.([:a]), do: PortPool.open(echo(run))
    pool = if needs?.([:b]), do: elem(PortPool.start_link(4, echo(run)), 1)
    floor = if needs?.([:c, :C]), do: Floor.start(run.floor, run.python, run.echo_loop)
    beam = if needs?.([:e]), do: Beam.start()

    %{node: node, port: port, pool: pool, floor: floor, beam: beam, run: run}
    |> Map.put(:delay, node && as_the_client_writes(node))
    |> processes()
  end

  defp echo(run), do: {run.python, [run.echo_loop]}

  # The client may set the connection's options when it first uses it.
  defp as_the_client_writes(node) do
    {:ok, 1} = Krait.call(Bench.Node.pool(node), "bench_echo", "echo", [1])
    Bench.Node.delay_send(node)
  end

  # Which process does what: what is between the caller and Python, and Python.
  defp processes(tools) do
    %{node: node, port: port, pool: pool, floor: floor, beam: beam} = tools
    # Pythons that have just been forked are found once they answer.
    if floor, do: Floor.run(floor, :single, 4, %{warm: 1, window: 1}, small_file(tools.run))
    krait = node && Bench.Node.processes(node)
    floor = floor && Floor.processes(floor)

    Map.put(tools, :processes, %{
      a: port && %{between: [], python: [Proc.of_port(port)]},
      b: pool && %{between: [], python: Enum.map(PortPool.ports(pool), &Proc.of_port/1)},
      c: floor,
      C: floor,
      d: krait,
      D: krait,
      e: beam && %{between: [beam.os_pid], python: []},
      f: krait,
      F: krait,
      g: krait
    })
  end

  defp small_file(run), do: Floor.file(run.directory, "small", Values.small())

  @doc "Ends what `open/2` has started."
  def close(tools) do
    if tools.node, do: Bench.Node.stop(tools.node)
    if tools.beam, do: Beam.stop(tools.beam)
    if tools.pool, do: GenServer.stop(tools.pool)
    for port <- [tools.port, tools.floor], port, do: Port.close(port)
  end

  @doc "What a value is for each side, made once: as a term, as msgpack, as a file."
  def load(value, name, run) do
    %{
      value: value,
      request: IO.iodata_to_binary(Pack.request(value)),
      answer: IO.iodata_to_binary(Pack.answer(value)),
      file: Floor.file(run.directory, name, value)
    }
  end

  @doc """
  One measurement: `Bench.Load`'s result, and beside it the microseconds of processor time that a call took
  of this BEAM, of what is between, and of Python (`cpu`).
  """
  def measure(side, concurrency, ms, load, tools) do
    prepare(side, tools)
    %{between: between, python: python} = tools.processes[side]
    parts = [beam: [Proc.own()], between: between, python: python]
    before = for {part, pids} <- parts, do: {part, Proc.cpu_of(pids)}
    result = run(side, concurrency, ms, load, tools)
    later = for {part, pids} <- parts, do: {part, Proc.cpu_of(pids)}

    cpu =
      for {{part, was}, {part, is}} <- Enum.zip(before, later), into: %{} do
        {part, (is - was) / 1000 / max(result.all, 1)}
      end

    Map.put(result, :cpu, cpu)
  end

  defp prepare(side, %{node: node}) when side in [:d, :f], do: Bench.Node.delay_send(node, false)
  defp prepare(side, %{node: node}) when side in [:D, :F], do: Bench.Node.delay_send(node, true)
  defp prepare(:g, %{node: node, delay: delay}), do: Bench.Node.delay_send(node, delay)
  defp prepare(_, _), do: :ok

  defp run(:a, concurrency, ms, load, %{port: port}),
    do: Load.pipeline(port, concurrency, ms, load.request, load.answer)

  defp run(:b, concurrency, ms, %{request: request, answer: answer}, %{pool: pool}) do
    Load.processes(concurrency, ms, fn _ ->
      ^answer = PortPool.checkout!(pool, &PortPool.ask(&1, request), 60_000)
    end)
  end

  defp run(:c, concurrency, ms, load, %{floor: floor}),
    do: Floor.run(floor, :single, concurrency, ms, load.file)

  defp run(:C, concurrency, ms, load, %{floor: floor}),
    do: Floor.run(floor, :pipelined, concurrency, ms, load.file)

  defp run(side, concurrency, ms, _, %{node: node}) when side in [:d, :D] do
    pool = Bench.Node.pool(node)
    Load.processes(concurrency, ms, fn _ -> :pong = GenServer.call(pool, :ping, 60_000) end)
  end

  defp run(:e, concurrency, ms, %{value: value}, %{beam: beam}),
    do: Load.processes(concurrency, ms, fn _ -> {:ok, ^value} = Beam.call(beam, value) end)

  defp run(side, concurrency, ms, %{value: value}, %{node: node}) when side in [:f, :F] do
    pool = Bench.Node.pool(node)
    request = {:call, "bench_echo", "echo", [value]}

    Load.processes(concurrency, ms, fn _ ->
      {:ok, ^value} = GenServer.call(pool, request, 60_000)
    end)
  end

  defp run(:g, concurrency, ms, %{value: value}, %{node: node}) do
    pool = Bench.Node.pool(node)

    Load.processes(concurrency, ms, fn _ ->
      {:ok, ^value} = Krait.call(pool, "bench_echo", "echo", [value])
    end)
  end
end
