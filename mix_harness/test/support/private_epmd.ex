defmodule Krait.PrivateEpmd do
  @moduledoc """
  An epmd of one test, on a port of its own, with BEAMs and a node that know no other.

  The node is started by such a BEAM and inherits the port, so nothing that happens here touches the
  epmd that everybody else uses. An epmd that dies may be started again by the node, by a BEAM or by us:
  all of them are known by the port in their environment.
  """

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [on_exit: 1]
  import Krait.Case, only: [eventually: 1]

  alias Krait.{Proc, TestNode}

  @variable "ERL_EPMD_PORT"
  @host {127, 0, 0, 1}

  @doc "Starts an epmd on a free port; whatever runs on that port when the test ends is ended."
  @spec start() :: :inet.port_number()
  def start do
    port = Krait.Ports.free()
    on_exit(fn -> kill(port) end)
    run(port)
    port
  end

  @doc "Runs the program (again), and waits until it answers."
  @spec run(:inet.port_number()) :: :ok
  def run(port) do
    program = System.find_executable("epmd") || flunk("no epmd in PATH")
    # Told by its environment alone: so are those that others start, and so we find them all.
    {_, 0} = System.cmd(program, ["-daemon"], env: [{@variable, to_string(port)}])
    eventually(answers?(port))
    :ok
  end

  defp answers?(port) do
    case :gen_tcp.connect(@host, port, []) do
      {:ok, socket} -> :ok == :gen_tcp.close(socket)
      {:error, :econnrefused} -> false
    end
  end

  @doc "The processes that are this epmd: one, or none."
  @spec os_pids(:inet.port_number()) :: [pos_integer]
  def os_pids(port) do
    for entry <- File.ls!("/proc"),
        {os_pid, ""} <- [Integer.parse(entry)],
        {:ok, "epmd\n"} <- [File.read("/proc/#{os_pid}/comm")],
        {:ok, environment} <- [File.read("/proc/#{os_pid}/environ")],
        "#{@variable}=#{port}" in String.split(environment, <<0>>),
        Proc.alive?(os_pid),
        do: os_pid
  end

  @spec signal(:inet.port_number(), String.t()) :: :ok
  def signal(port, name), do: Enum.each(os_pids(port), &TestNode.signal(&1, name))

  @doc "SIGKILL, for every one there is."
  @spec kill(:inet.port_number()) :: :ok
  def kill(port) do
    os_pids = os_pids(port)
    Enum.each(os_pids, &TestNode.signal(&1, "KILL"))
    eventually(not Enum.any?(os_pids, &Proc.alive?/1))
    :ok
  end

  @doc "A BEAM that knows this epmd; controlled by its standard input and output."
  @spec start_beam(:inet.port_number()) :: pid
  def start_beam(port) do
    code = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
    hidden = [~c"-hidden", ~c"-connect_all", ~c"false"]

    {:ok, peer, _node} =
      :peer.start(%{
        name: ~c"private_#{System.pid()}_#{System.unique_integer([:positive])}",
        host: ~c"127.0.0.1",
        longnames: true,
        connection: :standard_io,
        wait_boot: 30_000,
        env: [{to_charlist(@variable), Integer.to_charlist(port)}],
        args: hidden ++ [~c"-setcookie", Atom.to_charlist(Node.get_cookie()) | code]
      })

    on_exit(fn -> if Process.alive?(peer), do: :peer.stop(peer) end)
    peer
  end

  @doc "A node that belongs to that BEAM; no process of it may outlive the test."
  @spec start_node(pid, keyword) :: TestNode.t()
  def start_node(beam, options) do
    name = TestNode.unique_name()

    defaults = [
      name: name,
      size: 2,
      await_ready: true,
      python: TestNode.python(),
      pythonpath: [TestNode.faults()],
      stop_timeout: 500,
      stop_grace: 200,
      log_level: :error
    ]

    options = Keyword.merge(defaults, options)
    assert :peer.call(beam, Krait.Owner, :start, [options], 30_000) == :ok
    node = %TestNode{name: name, pool: {:default, name}}
    {:ok, %{os_pid: os_pid}} = ask(beam, node, :status)
    %{node | os_pid: os_pid}
  end

  @doc "Waits until a node is gone with all that belongs to it; its BEAM ends, and it ends therefore."
  @spec assert_nothing_left(pid, TestNode.t()) :: :ok
  def assert_nothing_left(beam, node) do
    :peer.stop(beam)
    assert Proc.await_none(node.name) == []
    :ok
  end

  @doc "A request by a process of that BEAM."
  @spec ask(pid, TestNode.t(), term) :: term
  def ask(beam, node, request) do
    :peer.call(beam, GenServer, :call, [node.pool, request, 20_000], 30_000)
  end

  @doc "Whether the epmd knows the node, and where."
  @spec lookup(:inet.port_number(), TestNode.t()) :: {:port, :inet.port_number()} | :unknown
  def lookup(port, node) do
    # PORT_PLEASE2_REQ and PORT2_RESP of the ERTS documentation.
    alive = alive(node)

    with {:ok, socket} <- :gen_tcp.connect(@host, port, [:binary, active: false]),
         :ok <- :gen_tcp.send(socket, <<byte_size(alive) + 1::16, 122, alive::binary>>),
         {:ok, <<119, 0, where::16, _::binary>>} <- :gen_tcp.recv(socket, 0, 5_000) do
      :gen_tcp.close(socket)
      {:port, where}
    else
      _ -> :unknown
    end
  end

  @doc "Registers the node's name as a stranger does; the name is taken until the socket is closed."
  @spec take_name(:inet.port_number(), TestNode.t()) :: {:ok, :gen_tcp.socket()} | :taken
  def take_name(port, node) do
    alive = alive(node)
    body = <<120, 1::16, 72, 0, 6::16, 5::16, byte_size(alive)::16, alive::binary, 0::16>>
    {:ok, socket} = :gen_tcp.connect(@host, port, [:binary, active: false])
    :ok = :gen_tcp.send(socket, <<byte_size(body)::16, body::binary>>)

    case :gen_tcp.recv(socket, 0, 5_000) do
      {:ok, <<_, 0, _creation::binary>>} -> {:ok, socket}
      _ -> :taken
    end
  end

  defp alive(node), do: node.name |> Atom.to_string() |> String.split("@") |> hd()
end
