defmodule Krait.ChaosPeersTest do
  # Nodes of the cluster that come and go: 200 at once as sockets, and some real BEAMs.
  use Krait.Case, async: true

  import Krait.Chaos

  alias Krait.LightPeer

  @peers 200
  # MONITOR_P of the distribution protocol.
  @monitor 19

  # What a peer has under way when it vanishes, and how it vanishes.
  defp role(i), do: elem({:calling, :holding, :served, :leasing_in_vain}, rem(i, 4))
  defp way(i), do: elem({:close, :reset, :silence}, rem(i, 3))

  # Connects, gets busy, and says so; vanishes when told and is back at once as its own successor.
  defp life(node, parent, i) do
    name = LightPeer.unique_name()
    {:ok, peer} = LightPeer.connect(node.name, name, 2 * i)
    get_busy(peer, role(i), i)
    send(parent, {:busy, self()})
    receive do: (:vanish -> vanish(peer, way(i)))
    {:ok, again} = LightPeer.connect(node.name, name, 2 * i + 1)
    answer = LightPeer.ask(again, :default, {:call, :operator, :add, [i, 1_000_000]}, 60_000)
    late = LightPeer.receive_message(again, 0)
    send(parent, {:back, self(), i, answer, late})
    receive do: (:leave -> LightPeer.close(again))
  end

  defp get_busy(peer, :calling, i) do
    for n <- 1..3, do: LightPeer.request(peer, :default, eval("#{sleep(60)} or #{i}"), n)
  end

  # Whether it gets the lease or waits for it is up to the others.
  defp get_busy(peer, :holding, _) do
    request = LightPeer.request(peer, :default, {:checkout, :anonymous})

    with {:ok, {:ok, lease}} <- LightPeer.answer(peer, request, 50) do
      LightPeer.request(peer, lease, eval(sleep(60)))
    end
  end

  defp get_busy(peer, :served, _) do
    assert LightPeer.ask(peer, :default, :ping) == {:ok, :pong}
  end

  defp get_busy(peer, :leasing_in_vain, _) do
    given_up = LightPeer.request(peer, :default, {:checkout, :anonymous})
    LightPeer.request(peer, :default, {:checkout, :anonymous}, 2)
    LightPeer.give_up(peer, given_up)
  end

  defp vanish(peer, :close), do: LightPeer.close(peer)
  defp vanish(peer, :reset), do: LightPeer.reset(peer)
  # The successor takes over while the node still counts on its predecessor.
  defp vanish(_peer, :silence), do: :ok

  test "200 peers vanish at once by close, reset and silence, and are back at once: each hears its own answer" do
    node = start_node(size: 4, abandon: :kill)
    before = before(node)
    parent = self()
    lives = for i <- 1..@peers, do: spawn_link(fn -> life(node, parent, i) end)
    for pid <- lives, do: assert_receive({:busy, ^pid}, 30_000)
    {:ok, %{peers: peers}} = ask(node, :status)
    assert peers == before.peers + @peers

    for pid <- lives, do: send(pid, :vanish)

    for pid <- lives do
      assert_receive {:back, ^pid, i, answer, late}, 40_000
      assert answer == {:ok, {:ok, i + 1_000_000}}
      # Nothing for the one that was there before.
      assert late == {:error, :timeout}
    end

    for pid <- lives, do: send(pid, :leave)
    assert_unharmed(node, before)
  end

  test "a tick is answered, but not the answer to a tick: two who answer would never be silent" do
    node = start_node(size: 1, net_ticktime: 4)
    {:ok, %{socket: socket} = peer} = LightPeer.connect(node.name)
    hear = fn -> {:ok, ""} = :gen_tcp.recv(socket, 0, 10_000) end
    say = fn -> :ok = :gen_tcp.send(socket, "") end

    say.()
    hear.()
    # From here on the node's own, one in a second.
    hear.()

    {ms, _} =
      timed(fn ->
        for _ <- 1..3 do
          say.()
          hear.()
        end
      end)

    assert ms > 1_500
    LightPeer.close(peer)
  end

  test "peers that fall silent for good are gone after the tick time, with all they held" do
    node = start_node(size: 4, net_ticktime: 2)
    before = before(node)
    parent = self()

    silent =
      for i <- 1..40 do
        spawn_link(fn ->
          {:ok, peer} = LightPeer.connect(node.name)
          get_busy(peer, role(i), i)
          send(parent, {:busy, self()})
          receive do: (:end -> LightPeer.close(peer))
        end)
      end

    for pid <- silent, do: assert_receive({:busy, ^pid}, 10_000)
    # We are heard meanwhile: asking is our sign of life.
    assert_unharmed(node, before)
    for pid <- silent, do: send(pid, :end)
  end

  test "a peer that never reads is closed when its share is full, and nobody else waits" do
    node = start_node(size: 2, max_output_bytes: 4_000_000)
    before = before(node)
    {:ok, deaf} = LightPeer.connect(node.name)

    for n <- 1..40,
        do: LightPeer.request(deaf, :default, {:call, :krait_faults, :huge, [1_000_000]}, n)

    answers = for i <- 1..200, do: py(node, "#{i}")
    assert answers == for(i <- 1..200, do: {:ok, i})
    # Closed by the node, although it has not read a byte of it.
    eventually(match?({:ok, %{peers: peers}} when peers == before.peers, ask(node, :status)))
    LightPeer.close(deaf)
    assert_unharmed(node, before)
  end

  test "a lease that is given to a peer that vanishes before it has acknowledged stays where it was" do
    node = start_node(size: 2)
    before = before(node)

    for i <- 1..30 do
      lease = lease!(node)
      {:ok, heirs} = LightPeer.connect(node.name)
      heir = LightPeer.process(heirs, 7)
      giving = :gen_server.send_request(lease, {:give_away, heir})
      # It is watched: the node waits for word of it.
      assert {:ok, {@monitor, _, ^heir, ref}, nil} = LightPeer.receive_message(heirs, 5_000)

      case rem(i, 3) do
        0 -> LightPeer.close(heirs)
        1 -> LightPeer.reset(heirs)
        2 -> LightPeer.down(heirs, heir, lease, ref)
      end

      assert :gen_server.wait_response(giving, 10_000) == {:reply, {:error, :noproc}}
      assert ask(lease, {:call, :operator, :add, [i, 1]}) == {:ok, i + 1}
      assert ask(lease, :checkin) == :ok
      LightPeer.close(heirs)
    end

    assert_unharmed(node, before)
  end

  test "a lease that is given to a peer that is silent stays where it was, after the net tick time" do
    node = start_node(size: 1, net_ticktime: 2)
    before = before(node)
    # The owner's peer answers ticks while it waits; the heir's does not.
    {:ok, owners} = LightPeer.connect(node.name)
    {:ok, heirs} = LightPeer.connect(node.name)
    assert {:ok, {:ok, lease}} = LightPeer.ask(owners, :default, {:checkout, :anonymous})
    give_away = {:give_away, LightPeer.process(heirs, 7)}
    assert LightPeer.ask(owners, lease, give_away) == {:ok, {:error, :noproc}}
    assert LightPeer.ask(owners, lease, {:call, :operator, :add, [1, 1]}) == {:ok, {:ok, 2}}
    assert LightPeer.ask(owners, lease, :checkin) == {:ok, :ok}
    LightPeer.close(owners)
    LightPeer.close(heirs)
    assert_unharmed(node, before)
  end

  test "a pid of an earlier life of a node is no heir, and its BEAM is not asked" do
    node = start_node(size: 1)
    before = before(node)
    lease = lease!(node)
    {:ok, heirs} = LightPeer.connect(node.name)
    gone = LightPeer.process(%{heirs | creation: heirs.creation + 1}, 7)
    assert ask(lease, {:give_away, gone}) == {:error, :noproc}
    assert ask(lease, {:call, :operator, :add, [1, 1]}) == {:ok, 2}
    assert ask(lease, :checkin) == :ok
    assert LightPeer.receive_message(heirs, 100) == {:error, :timeout}
    LightPeer.close(heirs)
    assert_unharmed(node, before)
  end

  test "a lease that is given to another peer lives as long as that one" do
    node = start_node(size: 2)
    before = before(node)

    for i <- 1..30 do
      lease = lease!(node)
      ref = Process.monitor(lease)
      {:ok, heirs} = LightPeer.connect(node.name)
      heir = LightPeer.process(heirs, 1)
      giving = :gen_server.send_request(lease, {:give_away, heir})
      assert {:ok, {@monitor, _, ^heir, _}, nil} = LightPeer.receive_message(heirs, 5_000)
      # The connection acknowledges while it waits for this answer.
      assert LightPeer.ask(heirs, :default, :ping) == {:ok, :pong}
      assert :gen_server.wait_response(giving, 10_000) == {:reply, :ok}
      assert LightPeer.ask(heirs, lease, {:call, :operator, :add, [i, 1]}) == {:ok, {:ok, i + 1}}
      assert ask(lease, :checkin) == {:error, :not_owner}
      if rem(i, 2) == 0, do: LightPeer.close(heirs), else: LightPeer.reset(heirs)
      assert_receive {:DOWN, ^ref, :process, ^lease, _}, 10_000
    end

    assert_unharmed(node, before)
  end

  test "BEAMs that halt, are suspended, and disconnect and reconnect, all at once" do
    node = start_node(size: 4, net_ticktime: 2)
    before = before(node)

    [{halted, _}, {suspended, _}, {disconnected, _}] = for _ <- 1..3, do: start_peer()
    suspended_os_pid = :peer.call(suspended, :os, :getpid, []) |> List.to_integer()

    for peer <- [halted, suspended, disconnected] do
      # Their ticks must come as often as the node wants to hear from them.
      :peer.call(peer, :net_kernel, :set_net_ticktime, [3, 0])
      :peer.cast(peer, Krait.Chaos, :hold_lease, [node.pool])
      for _ <- 1..3, do: :peer.cast(peer, Krait.Chaos, :call_forever, [node.pool])
    end

    # Of twelve that want one of the four workers, some are served.
    eventually(
      match?(%{totals: %{running: r, queued: 8}, leases: l} when r + l == 4, pool_status(node))
    )

    :peer.cast(halted, :erlang, :halt, [0])
    signal(suspended_os_pid, "STOP")
    assert :peer.call(disconnected, Node, :disconnect, [node.name])

    for i <- 1..20 do
      assert :peer.call(disconnected, GenServer, :call, [node.pool, eval("#{i}"), 20_000]) ==
               {:ok, i}

      assert :peer.call(disconnected, Node, :disconnect, [node.name])
    end

    await_rest(node)
    signal(suspended_os_pid, "CONT")

    assert :peer.call(suspended, :krait, :call, [node.pool, :math, :sqrt, [4.0]], 20_000) ==
             {:ok, 2.0}

    assert :peer.call(suspended, Node, :disconnect, [node.name])
    assert_unharmed(node, before)
  end
end
