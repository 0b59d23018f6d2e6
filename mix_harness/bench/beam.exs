{:module, _, code, _} =
  defmodule Bench.Echo do
    @moduledoc "The gen_server that answers in another BEAM. OTP's behaviour alone: Elixir is not there."

    def start, do: :gen_server.start({:local, :bench_echo}, __MODULE__, [], [])
    def init([]), do: {:ok, []}
    def handle_call({:echo, value}, _from, state), do: {:reply, {:ok, value}, state}
    def handle_cast(_, state), do: {:noreply, state}
  end

:persistent_term.put(Bench.Echo, code)

defmodule Bench.Beam do
  @moduledoc "A second BEAM on this machine, with one process that echoes: what distribution costs by itself."

  defstruct [:peer, :node, :os_pid]

  @doc "Starts it; it ends with the process that asked."
  def start do
    {:ok, peer, node} =
      :peer.start_link(%{
        name: ~c"bench_beam_#{System.pid()}",
        host: ~c"127.0.0.1",
        longnames: true,
        connection: :standard_io,
        args: [
          ~c"-setcookie",
          Atom.to_charlist(Node.get_cookie()),
          ~c"-kernel",
          ~c"inet_dist_use_interface",
          ~c"{127,0,0,1}"
        ]
      })

    {:module, _} =
      :peer.call(peer, :code, :load_binary, [
        Bench.Echo,
        ~c"beam.exs",
        :persistent_term.get(Bench.Echo)
      ])

    {:ok, _} = :peer.call(peer, Bench.Echo, :start, [])
    os_pid = peer |> :peer.call(:os, :getpid, []) |> List.to_integer()
    %__MODULE__{peer: peer, node: node, os_pid: os_pid}
  end

  @doc "Asks it as one asks any gen_server elsewhere."
  def call(%__MODULE__{node: node}, value),
    do: GenServer.call({:bench_echo, node}, {:echo, value})

  def stop(%__MODULE__{peer: peer}), do: :peer.stop(peer)
end
