defmodule Bench.Floor do
  @moduledoc "The bare C with its four Pythons, test/bench_floor.c, as an external program."

  alias Bench.{Pack, Proc}

  @doc "Starts it; it ends when the port is closed, or with the process that opened it."
  def start(program, python, echo_loop) do
    Port.open({:spawn_executable, program}, [
      :binary,
      :exit_status,
      {:line, 200},
      args: [python, echo_loop]
    ])
  end

  @doc "One measurement, in the form `:single` or `:pipelined`; the result is that of `Bench.Load`."
  def run(port, form, concurrency, %{warm: warm, window: window}, file) do
    Port.command(port, "#{form} #{concurrency} #{warm} #{window} #{file}\n")

    receive do
      {^port, {:data, {:eol, line}}} ->
        [calls, all, p50, p99, p999] = line |> String.split() |> Enum.map(&String.to_integer/1)

        %{calls: calls / 1000, all: all, us: window * 1000, p50: p50, p99: p99, p999: p999}

      {^port, {:exit_status, status}} ->
        raise "bench_floor ended with status #{status}"
    end
  end

  @doc "The C, and its Pythons."
  def processes(port) do
    [floor | pythons] = Proc.family(Proc.of_port(port))
    %{between: [floor], python: pythons}
  end

  @doc "A value as a file of msgpack, under the run's own directory."
  def file(directory, name, value) do
    path = Path.join(directory, String.replace(name, " ", "_") <> ".msgpack")
    File.write!(path, Pack.encode(value))
    path
  end
end
