defmodule Krait.ShellNode do
  @moduledoc """
  The program, started as a shell or systemd would: by its arguments and environment, without an instance
  of this BEAM that owns it. It ends with the test, and nothing of it may outlive that.
  """

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [on_exit: 1]

  alias Krait.{Chaos, Proc, TestNode}

  defstruct [:name, :os_pid, :port, :pool]

  @type t :: %__MODULE__{name: node, os_pid: pos_integer, port: port, pool: {atom, node}}

  @doc "The executable under test."
  @spec bin() :: String.t()
  def bin, do: System.get_env("KRAIT_BIN") || Path.join(:code.priv_dir(:krait), "krait")

  @doc "Starts it under a name of its own, and returns once it has said `ready`."
  @spec start([String.t()], %{String.t() => String.t() | nil}) :: t
  def start(args, env \\ %{}) do
    name = TestNode.unique_name()
    args = ["--name", to_string(name), "--python", TestNode.python(), "--log-level", "error" | args]

    env =
      %{"KRAIT_COOKIE" => to_string(Node.get_cookie())}
      |> Map.merge(env)
      |> Enum.map(fn {key, value} -> {to_charlist(key), value && to_charlist(value)} end)
      |> Enum.map(fn {key, value} -> {key, value || false} end)

    port =
      Port.open({:spawn_executable, bin()}, [
        :binary,
        :exit_status,
        line: 4096,
        args: args,
        env: env
      ])

    assert_receive {^port, {:data, {:eol, "ready " <> words}}}, 20_000
    [_, _, os_pid] = String.split(words)
    os_pid = String.to_integer(os_pid)
    on_exit(fn -> inquest(name, os_pid) end)
    %__MODULE__{name: name, os_pid: os_pid, port: port, pool: {:default, name}}
  end

  defp inquest(name, os_pid) do
    # Where it has --stop-on-eof, or the test has told it to stop, it may be ending already.
    Chaos.try_signal(os_pid, "TERM")
    assert Proc.await_none(name, 10_000) == [], "processes outlived node #{name}"
  end
end
