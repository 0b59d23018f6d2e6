defmodule Krait.NetHost do
  @moduledoc """
  Hosts that are none: network namespaces of this machine, each with an address of its own on a cable
  between them, its own loopback and its own epmd. Needs the right to make them (root in CI).
  """

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [on_exit: 1]

  defstruct [:name, :address, :cable]

  @type t :: %__MODULE__{name: String.t(), address: String.t(), cable: String.t()}

  @doc "Whether namespaces can be made here; tried once."
  @spec possible?() :: boolean
  def possible? do
    name = "krait_try_#{System.pid()}"

    with true <- System.find_executable("ip") != nil,
         {_, 0} <- ip(~w(netns add #{name})) do
      tries = [~w(netns exec #{name} true), ~w(-n #{name} link add kr type veth peer name kr2)]
      possible? = Enum.all?(tries, &match?({_, 0}, ip(&1)))
      {_, 0} = ip(~w(netns del #{name}))
      possible?
    else
      _ -> false
    end
  end

  @doc "Two of them, with a cable from one to the other."
  @spec pair() :: {t, t}
  def pair do
    unique = System.unique_integer([:positive])
    # Of no matter to others: each pair has a net of its own.
    id = rem(unique, 65_000)
    net = "10.#{64 + div(id, 256 * 4)}.#{rem(div(id, 4), 256)}."

    [one, two] =
      for side <- 1..2 do
        %__MODULE__{
          name: "krait_#{System.pid()}_#{unique}_#{side}",
          address: net <> to_string(4 * rem(id, 4) + side),
          cable: "kr#{id}.#{side}"
        }
      end

    on_exit(fn -> for host <- [one, two], do: ip(~w(netns del #{host.name})) end)
    for host <- [one, two], do: assert({_, 0} = ip(~w(netns add #{host.name})))

    cable =
      ~w(link add #{one.cable} netns #{one.name} type veth) ++
        ~w(peer name #{two.cable} netns #{two.name})

    assert {_, 0} = ip(cable)

    for host <- [one, two] do
      assert {_, 0} = ip(~w(-n #{host.name} addr add #{host.address}/30 dev #{host.cable}))
      assert {_, 0} = ip(~w(-n #{host.name} link set lo up))
      plug(host)
    end

    {one, two}
  end

  @doc "Pulls this host's end of the cable out."
  @spec unplug(t) :: :ok
  def unplug(host), do: link(host, "down")

  @doc "Puts it in again."
  @spec plug(t) :: :ok
  def plug(host), do: link(host, "up")

  defp link(host, state) do
    assert {_, 0} = ip(~w(-n #{host.name} link set #{host.cable} #{state}))
    :ok
  end

  @doc "A BEAM on that host, controlled by its standard input and output; it starts epmd there."
  @spec start_beam(t) :: {pid, node}
  def start_beam(host) do
    code = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
    erl = System.find_executable("erl")
    exec = Enum.map(["netns", "exec", host.name, erl], &to_charlist/1)

    {:ok, peer, node} =
      :peer.start(%{
        name: ~c"beam",
        host: to_charlist(host.address),
        longnames: true,
        connection: :standard_io,
        wait_boot: 30_000,
        exec: {to_charlist(System.find_executable("ip")), exec},
        args: [~c"-connect_all", ~c"false", ~c"-setcookie", ~c"#{Node.get_cookie()}" | code]
      })

    on_exit(fn ->
      if Process.alive?(peer), do: :peer.stop(peer)
      end_epmd(host)
    end)

    {peer, node}
  end

  # The BEAM started it; it belongs to nobody, and holds the namespace.
  defp end_epmd(host) do
    {pids, 0} = ip(~w(netns pids #{host.name}))

    for pid <- String.split(pids),
        {:ok, "epmd\n"} <- [File.read("/proc/#{pid}/comm")],
        do: Krait.TestNode.signal(String.to_integer(pid), "KILL")
  end

  defp ip(arguments), do: System.cmd("ip", arguments, stderr_to_stdout: true)
end
