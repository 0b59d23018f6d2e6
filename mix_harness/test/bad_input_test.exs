defmodule Krait.BadInputTest do
  # Messages that are no requests, requests to what cannot serve them, connections that are none.
  use Krait.Case, async: true

  defp tcp(node) do
    [_, host] = node.name |> Atom.to_string() |> String.split("@")
    [alive, _] = node.name |> Atom.to_string() |> String.split("@")
    {:port, port, _} = :erl_epmd.port_please(to_charlist(alive), to_charlist(host))
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, packet: :raw])
    socket
  end

  defp assert_closed(socket, ms \\ 10_000) do
    case :gen_tcp.recv(socket, 0, ms) do
      {:error, reason} -> assert reason in [:closed, :econnreset]
      {:ok, _} -> assert_closed(socket, ms)
    end
  end

  test "messages that are neither calls nor casts are dropped, wherever they go" do
    node = start_node()
    lease = lease!(node)

    for to <- [
          node.pool,
          {:krait, node.name},
          {:net_kernel, node.name},
          {:nosuch, node.name},
          lease
        ],
        message <- [
          :hello,
          {1, 2, 3},
          {:"$gen_call", :no_from, :ping},
          {:"$gen_call", {self(), 1}},
          {:"$gen_call", {:nobody, make_ref()}, :ping},
          {:"$gen_call", {self(), make_ref(), 1}, :ping},
          {:"$gen_cast"},
          {:system, {self(), make_ref()}, :get_state},
          {:EXIT, self(), :kill},
          "text",
          [1 | 2]
        ] do
      send(to, message)
    end

    assert ask(node, :ping) == :pong
    {:ok, %{ignored_messages: 55}} = ask({:krait, node.name}, :status)

    [_, id, serial] =
      self() |> :erlang.pid_to_list() |> to_string() |> String.split(["<", ".", ">"], trim: true)

    me = "pid #{id}.#{serial} sent "
    dropped = fn -> for {_, _, text} <- lines(node), text =~ "dropped", do: text =~ me end
    # What goes to a pid does not say from whom it is.
    eventually(Enum.frequencies(dropped.()) == %{true => 44, false => 11})
    assert py(lease, "1") == {:ok, 1}
    assert ask(lease, :checkin) == :ok
    await_rest(node)
    assert node.name in Node.list(:hidden)
  end

  test "tags of every shape are copied, never interpreted" do
    node = start_node()

    for tag <- [
          :atom,
          1,
          "binary",
          {:a, make_ref()},
          [:alias],
          [:alias | 1],
          [[:alias | make_ref()], 1],
          %{a: 1},
          nil
        ] do
      send(node.pool, {:"$gen_call", {self(), tag}, :ping})
      assert_receive {^tag, :pong}, 5_000
    end

    assert node.name in Node.list(:hidden)
  end

  test "pids and references of others, or of former lives, hit nothing" do
    node = start_node()
    lease = lease!(node)
    assert ask(lease, :checkin) == :ok

    for _ <- 1..100 do
      Process.exit(lease, :kill)
      send(lease, :hello)
      GenServer.cast(lease, :checkin)
    end

    await_rest(node)
    assert py(node, "1") == {:ok, 1}
  end

  test "a connection with the wrong cookie is refused, and nobody else notices" do
    node = start_node()
    {peer, _} = start_peer()
    assert :peer.call(peer, :krait, :ping, [node.pool]) == :pong
    assert :peer.call(peer, Node, :disconnect, [node.name])
    :peer.call(peer, :erlang, :set_cookie, [node.name, :wrong])
    assert :peer.call(peer, :krait, :ping, [node.pool]) == {:error, {:nodedown, node.name}}
    assert py(node, "1") == {:ok, 1}
    eventually(Enum.any?(lines(node), fn {_, _, text} -> text =~ ~r/cookie|digest/ end))
  end

  test "garbage, half packets and a frame of 4 GB close that connection alone" do
    node = start_node(handshake_timeout: 500)

    rss = fn ->
      File.read!("/proc/#{node.os_pid}/statm")
      |> String.split()
      |> Enum.at(1)
      |> String.to_integer()
    end

    before = rss.()

    for bytes <- [
          "GET / HTTP/1.0\r\n\r\n",
          <<0xFFFFFFFF::32>>,
          <<0::16>>,
          <<5::16, "Nabcd">>,
          <<0xFFFF::16, "N">>,
          :crypto.strong_rand_bytes(10_000)
        ] do
      socket = tcp(node)
      :ok = :gen_tcp.send(socket, bytes)
      assert_closed(socket)
    end

    # One that says nothing, one that stops in the middle.
    silent = tcp(node)
    half = tcp(node)
    :ok = :gen_tcp.send(half, <<40::16, "N", 0::64>>)
    assert_closed(silent)
    assert_closed(half)
    assert py(node, "1") == {:ok, 1}
    assert (rss.() - before) * 4096 < 50_000_000
  end

  test "a worker that prints, closes its descriptors or garbles its channel hurts its own caller only" do
    node = start_node(size: 2)
    assert {:ok, _} = ask(node, {:call, :krait_faults, :print_, ["hello"]})

    assert {:error, {:worker_exit, _}} = ask(node, {:call, :krait_faults, :garble, []})
    await_rest(node)
    assert {:error, {:worker_exit, _}} = ask(node, {:call, :krait_faults, :close_fds, []})
    await_rest(node)
    assert {:error, {:worker_exit, _}} = ask(node, {:call, :krait_faults, :close_channel, []})
    await_rest(node)
    for _ <- 1..10, do: assert(py(node, "1") == {:ok, 1})
  end
end
