defmodule Krait.FailureMode09Test do
  use Krait.Case, async: true

  alias Krait.RawPeer

  test "failure mode 9, wrong name, wrong term: 100,000 random terms to every address, then a ping" do
    node = start_node()
    :rand.seed(:exsss, :erlang.unique_integer())
    lease = lease!(node)
    closed = lease!(node)
    assert ask(closed, :checkin) == :ok
    names = [:default, :krait, :net_kernel, :rex, :global_name_server, :nosuch]
    addresses = [lease, closed | for(name <- names, do: {name, node.name})]

    for round <- 1..100 do
      terms = for _ <- 1..50, do: Krait.Terms.term(4)

      for term <- terms, to <- addresses, wrapped <- wrappings(term), do: send(to, wrapped)
      # So that neither side's buffers grow without bound.
      if rem(round, 10) == 0, do: assert(ask(node, :ping) == :pong)
    end

    assert ask(node, :ping) == :pong
    assert node.name in Node.list(:hidden)
    # A random `{'$gen_call', {self, tag}, term}` has an answer; nothing else came.
    assert balanced?(totals(node))
    assert py(lease, "1") == {:ok, 1}
    assert ask(lease, :checkin) == :ok
    await_rest(node)
  end

  # 50 * 100 * 8 addresses * 3 = 120,000.
  defp wrappings(term) do
    [term, {:"$gen_call", {self(), {:tag, make_ref()}}, term}, {:"$gen_cast", term}]
  end

  test "failure mode 9, wrong name, wrong term: truncated and twisted frames close their connection alone" do
    node = start_node()
    :rand.seed(:exsss, :erlang.unique_integer())
    fds = Proc.descriptors(node.os_pid)
    ref = make_ref()
    # Of nobody who is connected: a BEAM that is asked to watch a twisted pid of its own hangs up.
    nobody = Krait.LightPeer.process(%{name: "nobody@127.0.0.1", creation: 1}, 7)

    call =
      {:"$gen_call", {nobody, [:alias | ref]},
       {:call, :math, :sqrt, [4.0, %{a: ["x", <<255>>, 1.5]}]}}

    control = {6, nobody, :"", :default}

    for i <- 1..150 do
      peer = RawPeer.connect(node.name)
      frame = RawPeer.frame(control, call)

      bad =
        case rem(i, 3) do
          0 -> binary_part(frame, 0, :rand.uniform(byte_size(frame) - 1))
          1 -> RawPeer.flip(frame)
          2 -> :crypto.strong_rand_bytes(:rand.uniform(200))
        end

      RawPeer.send_frame(peer, bad)
      RawPeer.close(peer)
    end

    assert ask(node, :ping) == :pong
    assert py(node, "1") == {:ok, 1}
    # Each connection is closed in a turn of the node's loop of its own.
    eventually(Proc.descriptors(node.os_pid) <= fds + 2)
    await_rest(node)
  end
end
