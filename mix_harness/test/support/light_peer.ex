defmodule Krait.LightPeer do
  @moduledoc """
  A BEAM as far as a node can tell, and a socket in truth: hundreds of them fit where three BEAMs do.

  It speaks handshake version 6 and the distribution protocol of the ERTS documentation, makes requests
  as `gen_server` does (monitor, send, later demonitor) and vanishes in every way in which a real one
  may: `close/1`, `reset/1`, or silence (nothing more is sent, read, or closed). A peer belongs to the
  process that connected it.
  """

  # What the node asks for, without the atom cache: frames are plain ("pass through").
  @flags 0x507074FBC
  @pass_through 112

  @send 2
  @reg_send 6
  @monitor 19
  @demonitor 20
  @monitor_exit 21
  @unlink_id 35
  @unlink_id_ack 36

  @enforce_keys [:socket, :name, :creation]
  defstruct [:socket, :name, :creation]

  @type t :: %__MODULE__{socket: :gen_tcp.socket(), name: String.t(), creation: pos_integer}

  @typedoc "A request under way: who asked, where, and the reference that the answer will bear."
  @type request :: %{caller: pid, to: atom | pid, ref: reference}

  @doc "A name that nobody else has. It becomes an atom: a few hundred in a run."
  @spec unique_name() :: String.t()
  def unique_name do
    "light_#{System.pid()}_#{System.unique_integer([:positive])}@127.0.0.1"
  end

  @doc "Connects; a name that is still connected (a silent peer that comes back) takes over."
  @spec connect(node, String.t(), pos_integer, pos_integer) :: {:ok, t} | {:error, term}
  def connect(
        node,
        name \\ unique_name(),
        creation \\ :rand.uniform(0x7FFFFFFF),
        flags \\ @flags
      ) do
    options = [:binary, active: false, packet: 2, nodelay: true]

    with {:ok, socket} <- :gen_tcp.connect({127, 0, 0, 1}, port_of(node), options, 10_000),
         :ok <- handshake(socket, name, creation, flags),
         :ok <- :inet.setopts(socket, packet: 4) do
      {:ok, %__MODULE__{socket: socket, name: name, creation: creation}}
    end
  end

  defp port_of(node) do
    [alive, _host] = node |> Atom.to_string() |> String.split("@")
    {:port, port, _version} = :erl_epmd.port_please(to_charlist(alive), {127, 0, 0, 1})
    port
  end

  defp handshake(socket, name, creation, flags) do
    hello = <<"N", flags::64, creation::32, byte_size(name)::16, name::binary>>

    with :ok <- :gen_tcp.send(socket, hello),
         {:ok, status} <- :gen_tcp.recv(socket, 0, 10_000),
         :ok <- confirm(socket, status),
         {:ok, <<"N", _flags::64, theirs::32, _::binary>>} <- :gen_tcp.recv(socket, 0, 10_000),
         ours = :rand.uniform(0xFFFFFFFF),
         :ok <- :gen_tcp.send(socket, <<"r", ours::32, digest(theirs)::binary>>),
         {:ok, <<"a", proof::binary-size(16)>>} <- :gen_tcp.recv(socket, 0, 10_000) do
      if proof == digest(ours), do: :ok, else: {:error, :wrong_digest}
    end
  end

  defp confirm(_socket, "sok"), do: :ok
  defp confirm(socket, "salive"), do: :gen_tcp.send(socket, "strue")
  defp confirm(_socket, status), do: {:error, {:status, status}}

  defp digest(challenge) do
    :crypto.hash(:md5, [Atom.to_string(Node.get_cookie()), Integer.to_string(challenge)])
  end

  @doc "The n-th process of this peer."
  @spec process(t, non_neg_integer) :: pid
  def process(peer, n) do
    <<131, 88, atom(peer.name)::binary, n::32, 0::32, peer.creation::32>>
    |> :erlang.binary_to_term()
  end

  defp reference(peer) do
    n = System.unique_integer([:positive])
    id = <<rem(n, 0x3FFFF)::32, div(n, 0x3FFFF)::32, 0::32>>

    <<131, 90, 3::16, atom(peer.name)::binary, peer.creation::32, id::binary>>
    |> :erlang.binary_to_term()
  end

  defp atom(name), do: <<119, byte_size(name), name::binary>>

  @doc "Asks as `gen_server:send_request/2` does, in the name of the peer's n-th process."
  @spec request(t, atom | pid, term, non_neg_integer) :: request
  def request(peer, to, request, n \\ 1) do
    caller = process(peer, n)
    ref = reference(peer)
    message = {:"$gen_call", {caller, [:alias | ref]}, request}
    to_process = if is_pid(to), do: {@send, :"", to}, else: {@reg_send, caller, :"", to}
    _ = send_frames(peer, [{@monitor, caller, to, ref}, {to_process, message}])
    %{caller: caller, to: to, ref: ref}
  end

  @doc "Gives up, as `gen_server:call/3` does after its time-out."
  @spec give_up(t, request) :: :ok | {:error, term}
  def give_up(peer, %{caller: caller, to: to, ref: ref}) do
    send_frames(peer, [{@demonitor, caller, to, ref}])
  end

  @doc "One of the peer's processes ends: its monitor on the node's part is told, its own are gone."
  @spec down(t, pid, pid | atom, reference) :: :ok | {:error, term}
  def down(peer, process, watcher, ref) do
    send_frames(peer, [{@monitor_exit, process, watcher, ref, :killed}])
  end

  # Together, as a BEAM's port driver sends them.
  defp send_frames(peer, messages) do
    :ok = :inet.setopts(peer.socket, packet: :raw)

    bytes =
      for message <- messages do
        body = frame(message)
        [<<byte_size(body)::32>>, body]
      end

    result = :gen_tcp.send(peer.socket, bytes)
    _ = :inet.setopts(peer.socket, packet: 4)
    result
  end

  defp frame({control, message}) when is_tuple(control) do
    <<@pass_through, :erlang.term_to_binary(control)::binary,
      :erlang.term_to_binary(message)::binary>>
  end

  defp frame(control), do: <<@pass_through, :erlang.term_to_binary(control)::binary>>

  @doc """
  The answer to a request, and its monitor taken back. Everything else that comes is passed over, ticks
  among it; each is answered with one, which keeps the connection alive while we wait.
  """
  @spec answer(t, request, timeout) :: {:ok, term} | {:error, term}
  def answer(peer, request, timeout \\ 20_000) do
    ref = request.ref

    case receive_message(peer, timeout) do
      {:ok, _control, {[:alias | ^ref], answer}} ->
        _ = give_up(peer, request)
        {:ok, answer}

      {:ok, {@monitor_exit, _, _, ^ref, reason}, _} ->
        {:error, {:down, reason}}

      {:ok, _, _} ->
        answer(peer, request, timeout)

      error ->
        error
    end
  end

  @doc "The next message, `{:ok, control, payload}`; acknowledges what a BEAM acknowledges."
  @spec receive_message(t, timeout) :: {:ok, tuple, term} | {:error, term}
  def receive_message(peer, timeout) do
    case :gen_tcp.recv(peer.socket, 0, timeout) do
      {:ok, ""} ->
        _ = :gen_tcp.send(peer.socket, "")
        receive_message(peer, timeout)

      {:ok, <<@pass_through, terms::binary>>} ->
        {control, used} = :erlang.binary_to_term(terms, [:used])
        message = payload(binary_part(terms, used, byte_size(terms) - used))
        handle(peer, control, message, timeout)

      {:error, _} = error ->
        error
    end
  end

  # A node that grants a lease asks for this, to learn whether we still want it; no process sees it.
  defp handle(peer, {@unlink_id, id, from, to}, _, timeout) do
    _ = send_frames(peer, [{@unlink_id_ack, id, to, from}])
    receive_message(peer, timeout)
  end

  defp handle(_peer, control, message, _timeout), do: {:ok, control, message}

  defp payload(""), do: nil
  defp payload(term), do: :erlang.binary_to_term(term)

  @doc "A request and its answer."
  @spec ask(t, atom | pid, term, timeout) :: {:ok, term} | {:error, term}
  def ask(peer, to, request, timeout \\ 20_000) do
    answer(peer, request(peer, to, request), timeout)
  end

  @doc "Ends as a BEAM that halts."
  @spec close(t) :: :ok
  def close(peer), do: :gen_tcp.close(peer.socket)

  @doc "Ends as a machine that was restarted: the node gets a reset."
  @spec reset(t) :: :ok
  def reset(peer) do
    _ = :inet.setopts(peer.socket, linger: {true, 0})
    :gen_tcp.close(peer.socket)
  end
end
