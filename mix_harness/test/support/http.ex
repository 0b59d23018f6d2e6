defmodule Krait.Http do
  @moduledoc "HTTP by hand, for the tests of what a node tells by it: nothing is added, nothing is mended."

  import ExUnit.Assertions

  @doc "Where the node listens: it says so in its log."
  @spec url(Krait.TestNode.t()) :: String.t()
  def url(node) do
    [{_, _, url}] =
      for {:info, "metrics", "http://" <> _} = line <- Krait.TestNode.lines(node), do: line

    url
  end

  @spec port(Krait.TestNode.t()) :: :inet.port_number()
  def port(node), do: URI.parse(url(node)).port

  @spec connect(Krait.TestNode.t()) :: :gen_tcp.socket()
  def connect(node) do
    {:ok, socket} = :gen_tcp.connect('127.0.0.1', port(node), [:binary, active: false])
    socket
  end

  @doc "`{status, headers, body}` of one request; headers have small letters."
  @spec get(Krait.TestNode.t(), String.t(), keyword) :: {pos_integer, map, String.t()}
  def get(node, path, options \\ []) do
    method = Keyword.get(options, :method, "GET")
    host = Keyword.get(options, :host, "127.0.0.1:#{port(node)}")
    more = for {key, value} <- Keyword.get(options, :headers, []), do: "#{key}: #{value}\r\n"
    request = "#{method} #{path} HTTP/1.1\r\nHost: #{host}\r\nConnection: close\r\n#{more}\r\n"
    raw(node, request <> Keyword.get(options, :body, ""))
  end

  @doc "Sends these bytes and reads the answer to its end."
  @spec raw(Krait.TestNode.t(), iodata) :: {pos_integer, map, String.t()}
  def raw(node, bytes) do
    socket = connect(node)
    :ok = :gen_tcp.send(socket, bytes)
    answer = read(socket, "")
    :gen_tcp.close(socket)
    parse(answer)
  end

  @doc "One answer on a connection that stays."
  @spec ask(:gen_tcp.socket(), String.t()) :: {pos_integer, map, String.t()}
  def ask(socket, path) do
    :ok = :gen_tcp.send(socket, "GET #{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer(socket, "")
  end

  defp answer(socket, so_far) do
    {:ok, bytes} = :gen_tcp.recv(socket, 0, 10_000)
    so_far = so_far <> bytes

    with [_, body] <- String.split(so_far, "\r\n\r\n", parts: 2),
         {_, %{"content-length" => length}, _} = whole <- parse(so_far),
         true <- byte_size(body) == String.to_integer(length) do
      whole
    else
      _ -> answer(socket, so_far)
    end
  end

  defp read(socket, so_far) do
    case :gen_tcp.recv(socket, 0, 10_000) do
      {:ok, bytes} -> read(socket, so_far <> bytes)
      {:error, :closed} -> so_far
      {:error, reason} -> flunk("the node neither answers nor closes: #{inspect(reason)}")
    end
  end

  defp parse(""), do: {0, %{}, ""}

  defp parse(answer) do
    [head, body] = String.split(answer, "\r\n\r\n", parts: 2)
    ["HTTP/1.1 " <> <<status::binary-3>> <> _ | headers] = String.split(head, "\r\n")

    headers =
      for line <- headers, [key, value] = String.split(line, ": ", parts: 2), into: %{} do
        {String.downcase(key), value}
      end

    {String.to_integer(status), headers, body}
  end
end
