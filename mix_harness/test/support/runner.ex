defmodule Krait.Runner do
  @moduledoc "Makes the BEAM that runs the suites a distributed one, and starts others beside it."

  import ExUnit.Callbacks, only: [on_exit: 1]

  @doc "Starts distribution under a name and a cookie of this run alone."
  @spec distribute() :: :ok
  def distribute do
    unless Node.alive?() do
      :ok = Krait.LocalNode.start("runner_#{System.pid()}")
      cookie = Base.encode16(:crypto.strong_rand_bytes(16))
      true = Node.set_cookie(String.to_atom(cookie))
    end

    :ok
  end

  @doc "Another BEAM with this one's code and cookie; controlled by its standard input and output."
  @spec start_peer() :: {pid, node}
  def start_peer, do: start_peer([~c"-hidden", ~c"-connect_all", ~c"false"])

  @doc "One that is not hidden, as :pg wants it; it connects to nobody by itself."
  @spec start_visible_peer() :: {pid, node}
  def start_visible_peer, do: start_peer([~c"-connect_all", ~c"false"])

  defp start_peer(args) do
    name = ~c"peer_#{System.pid()}_#{System.unique_integer([:positive])}"
    cookie = Atom.to_charlist(Node.get_cookie())
    code = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])

    {:ok, peer, node} =
      :peer.start(%{
        name: name,
        host: ~c"127.0.0.1",
        longnames: true,
        connection: :standard_io,
        wait_boot: 30_000,
        args: args ++ [~c"-setcookie", cookie | code]
      })

    # A peer that was halted may be ending by itself at this very moment.
    on_exit(fn ->
      try do
        :peer.stop(peer)
      catch
        :exit, _ -> :ok
      end
    end)

    {peer, node}
  end
end
