defmodule Krait.Ctl do
  @moduledoc "Runs kraitctl, as a shell does or on a terminal."

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [on_exit: 1]

  alias Krait.TestNode

  @spec bin() :: String.t()
  def bin do
    node = System.get_env("KRAIT_BIN") || Path.join(:code.priv_dir(:krait), "krait")
    Path.join(Path.dirname(node), "kraitctl")
  end

  @doc "The environment that finds this node; `false` unsets."
  @spec environment(TestNode.t() | nil) :: [{String.t(), String.t() | nil}]
  def environment(nil), do: [{"KRAIT_COOKIE", Atom.to_string(Node.get_cookie())}, {"NO_COLOR", nil}]
  def environment(node), do: [{"KRAIT_NODE", Atom.to_string(node.name)} | environment(nil)]

  @doc "`{status, stdout, stderr}` of kraitctl, asked of this node."
  @spec ctl(TestNode.t() | nil, [String.t()], keyword) :: {non_neg_integer, String.t(), String.t()}
  def ctl(node, args, options \\ []) do
    env = Enum.to_list(Map.merge(Map.new(environment(node)), Map.new(options[:env] || [])))
    path = Path.join(System.tmp_dir!(), "ctl_#{System.pid()}_#{System.unique_integer([:positive])}")
    script = ~s(exec 2>"$1"; shift; exec timeout 30 "$@")
    {out, status} = System.cmd("sh", ["-c", script, "sh", path, bin() | args], env: env)
    err = File.read!(path)
    File.rm!(path)
    {status, out, err}
  end

  @doc "What a verb prints when all is well."
  @spec ctl!(TestNode.t(), [String.t()]) :: String.t()
  def ctl!(node, args) do
    assert {0, out, ""} = ctl(node, args)
    out
  end

  @doc "What it answers with --json, whatever its status."
  @spec json(TestNode.t(), [String.t()]) :: term
  def json(node, args) do
    {_, out, _} = ctl(node, ["--json" | args])
    Krait.Json.parse!(out)
  end

  @doc "A command that goes on: its lines come as `{port, {:data, {:eol, line}}}`."
  @spec follow(TestNode.t(), [String.t()]) :: port
  def follow(node, args) do
    open(bin(), args, environment(node), [:exit_status, :stderr_to_stdout, {:line, 65_536}])
  end

  @doc "kraitctl on a terminal of `rows` and `columns`: see on_terminal.py for what it is told."
  @spec terminal(TestNode.t(), pos_integer, pos_integer, [String.t()], list) :: port
  def terminal(node, rows, columns, args, env \\ []) do
    script = Path.expand("on_terminal.py", __DIR__)
    size = [to_string(rows), to_string(columns)]
    env = environment(node) ++ [{"TERM", "xterm"} | env]
    open(TestNode.python(), [script | size] ++ [bin() | args], env, [:exit_status])
  end

  defp open(program, args, env, options) do
    env =
      for {key, value} <- env,
          do: {to_charlist(key), if(value, do: to_charlist(value), else: false)}

    port = Port.open({:spawn_executable, program}, [:binary, {:args, args}, {:env, env} | options])
    {:os_pid, os_pid} = Port.info(port, :os_pid)
    on_exit(fn -> System.cmd("kill", ["-KILL", to_string(os_pid)], stderr_to_stdout: true) end)
    port
  end

  @doc "Reads a terminal until what it said matches; returns what it said since the last time."
  @spec expect(port, Regex.t()) :: String.t()
  def expect(port, pattern), do: expect(port, pattern, "")

  defp expect(port, pattern, heard) do
    if heard =~ pattern do
      heard
    else
      receive do
        {^port, {:data, data}} -> expect(port, pattern, heard <> data)
      after
        10_000 -> flunk("never said #{inspect(pattern)}: #{inspect(heard)}")
      end
    end
  end

  @doc "Types keys."
  @spec type(port, String.t()) :: :ok
  def type(port, keys) do
    Port.command(port, ["keys ", Base.encode16(keys), "\n"])
    :ok
  end

  @doc "Gives the terminal another size."
  @spec resize(port, pos_integer, pos_integer) :: :ok
  def resize(port, rows, columns) do
    Port.command(port, "size #{rows} #{columns}\n")
    :ok
  end

  @doc "Sends the program a signal, by its name."
  @spec told(port, String.t()) :: :ok
  def told(port, name) do
    Port.command(port, "signal #{name}\n")
    :ok
  end
end
