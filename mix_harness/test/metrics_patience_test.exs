defmodule Krait.MetricsPatienceTest do
  # Slow HTTP clients lose their connections in their time; a file of its own, since that takes ten seconds.
  use Krait.Case, async: true
  alias Krait.Http

  @patience 10_000

  test "who says nothing, or a byte now and then, is let go in time; who asks, stays" do
    node = start_node(metrics: "127.0.0.1:0", size: 1)
    asks = Http.connect(node)
    silent = Http.connect(node)

    # empty lines before a request are allowed, so they end nothing; nor does the end of what is sent
    crlf = Http.connect(node)
    :gen_tcp.send(crlf, "\r\n\r\n")
    :gen_tcp.shutdown(crlf, :write)
    before = Proc.voluntary_switches(node.os_pid)

    drips =
      spawn_link(fn ->
        socket = Http.connect(node)

        drip(
          socket,
          "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " <> String.duplicate("x", 1000)
        )
      end)

    dripped = Process.monitor(drips)

    {ms, :ok} =
      timed(fn ->
        assert {:error, :timeout} = :gen_tcp.recv(silent, 0, 5_000)
        assert {200, _, _} = Http.ask(asks, "/healthz")
        assert {:error, :closed} = :gen_tcp.recv(silent, 0, 10_000)
        :ok
      end)

    assert ms in (@patience - 500)..(@patience + 8_000)
    assert {:error, :closed} = :gen_tcp.recv(crlf, 0, 5_000)
    assert_receive {:DOWN, ^dripped, :process, _, :normal}, 5_000
    assert {200, _, _} = Http.ask(asks, "/healthz")
    # 100 bytes came one by one; nothing else kept the node awake
    assert Proc.voluntary_switches(node.os_pid) - before < 300
  end

  defp drip(socket, <<byte, rest::binary>>) do
    with :ok <- :gen_tcp.send(socket, <<byte>>),
         {:error, :timeout} <- :gen_tcp.recv(socket, 0, 100) do
      drip(socket, rest)
    else
      {:error, reason} when reason in [:closed, :econnreset] -> :ok
    end
  end
end
