defmodule Krait.RawPeer do
  @moduledoc """
  A distribution connection by hand (handshake version 6, as the ERTS documentation has it), to send
  what no BEAM would.
  """

  # EXTENDED_REFERENCES up to ALIAS: what is enough for a node of any OTP since 25.
  @flags 0xD07DF7FBD

  @spec connect(node) :: :gen_tcp.socket()
  def connect(node) do
    [alive, _host] = node |> Atom.to_string() |> String.split("@")
    {:port, port, _} = :erl_epmd.port_please(to_charlist(alive), {127, 0, 0, 1})
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, packet: 2])
    name = "raw_#{System.pid()}_#{System.unique_integer([:positive])}@127.0.0.1"
    creation = :rand.uniform(0x7FFFFFFF)
    hello = <<"N", @flags::64, creation::32, byte_size(name)::16, name::binary>>
    :ok = :gen_tcp.send(socket, hello)
    {:ok, "sok"} = :gen_tcp.recv(socket, 0, 5_000)
    {:ok, <<"N", _flags::64, challenge::32, _::binary>>} = :gen_tcp.recv(socket, 0, 5_000)
    :ok = :gen_tcp.send(socket, <<"r", 0::32, digest(challenge)::binary>>)
    {:ok, <<"a", _::binary-size(16)>>} = :gen_tcp.recv(socket, 0, 5_000)
    :ok = :inet.setopts(socket, packet: 4)
    socket
  end

  @doc "A control message and its payload, as they stand in one frame."
  @spec frame(tuple, term) :: binary
  def frame(control, payload) do
    <<112, :erlang.term_to_binary(control)::binary, :erlang.term_to_binary(payload)::binary>>
  end

  @doc "A frame with some of its bytes changed."
  @spec flip(binary) :: binary
  def flip(frame) do
    Enum.reduce(1..:rand.uniform(4), frame, fn _, bytes ->
      at = :rand.uniform(byte_size(bytes)) - 1
      <<head::binary-size(at), _, tail::binary>> = bytes
      <<head::binary, :rand.uniform(256) - 1, tail::binary>>
    end)
  end

  @spec send_frame(:gen_tcp.socket(), binary) :: :ok | {:error, term}
  def send_frame(socket, bytes), do: :gen_tcp.send(socket, bytes)

  @doc "Closes our side, and waits until the other has closed its own: all was read by then."
  @spec close(:gen_tcp.socket()) :: :ok
  def close(socket) do
    :ok = :inet.setopts(socket, packet: :raw)
    _ = :gen_tcp.shutdown(socket, :write)
    drain(socket)
    :gen_tcp.close(socket)
  end

  defp drain(socket) do
    case :gen_tcp.recv(socket, 0, 10_000) do
      {:ok, _} -> drain(socket)
      {:error, _} -> :ok
    end
  end

  defp digest(challenge) do
    :crypto.hash(:md5, [Atom.to_string(Node.get_cookie()), Integer.to_string(challenge)])
  end
end
