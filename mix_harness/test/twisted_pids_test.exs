defmodule Krait.TwistedPidsTest do
  # A pid says which node it belongs to, and a peer may write what it likes: a process of another BEAM, as a
  # forwarded call has it, or one that this BEAM cannot have. The latter a BEAM refuses to read, and closes
  # the connection that brought it: it is not to be ours that brings it.
  use Krait.Case, async: true

  alias Krait.{LightPeer, RawPeer}

  @send 2
  @reg_send 6
  @exit2 8

  # What the BEAM of this test, which has called and so shown its age, has no process of: with OTP 24 and 25 the
  # numbers have 15 and 13 bits, later 28 and 32.
  defp twists do
    <<_id::32, _serial::32, creation::32>> = numbers(self())

    [
      {"an id that is too large", <<0x10000000::32, 0::32, creation::32>>},
      {"all bits", <<-1::32, -1::32, creation::32>>},
      {"a creation of another life", <<1::32, 0::32, creation + 1::32>>},
      {"no creation", <<1::32, 0::32, 0::32>>},
      {"a process that was never there", <<0x7FFF::32, 0x1FFF::32, creation::32>>}
    ] ++ if(otp() < 26, do: narrow(creation), else: [])
  end

  defp narrow(creation) do
    [
      {"an id of another OTP", <<0x8000::32, 0::32, creation::32>>},
      {"a serial of another OTP", <<1::32, 0x2000::32, creation::32>>}
    ]
  end

  defp otp, do: :otp_release |> :erlang.system_info() |> List.to_integer()

  defp encoded(term) do
    <<131, bytes::binary>> = :erlang.term_to_binary(term)
    bytes
  end

  # Of a pid: behind its node's name.
  defp numbers(pid), do: binary_part(encoded(pid), byte_size(encoded(pid)), -12)

  # The test's own pid becomes the twisted one, wherever it stands.
  defp twist(frame, <<_::binary-size(12)>> = bytes) do
    mine = encoded(self())
    head = binary_part(mine, 0, byte_size(mine) - 12)
    :binary.replace(frame, mine, head <> bytes, [:global])
  end

  defp say(peer, to, message, twist) do
    control =
      case to do
        {name, _node} -> {@reg_send, LightPeer.process(peer, 1), :"", name}
        pid -> {@send, :"", pid}
      end

    :ok = :gen_tcp.send(peer.socket, control |> RawPeer.frame(message) |> twist(twist))
  end

  defp call(request, tag, from \\ self()), do: {:"$gen_call", {from, tag}, request}

  # A request of the peer's own process that says the twisted pid; its answer.
  defp ask_twisted(peer, to, request, twist) do
    from = LightPeer.process(peer, 1)
    ref = make_ref()
    say(peer, to, call(request, [:alias | ref], from), twist)
    {:ok, answer} = LightPeer.answer(peer, %{caller: from, to: :default, ref: ref})
    answer
  end

  # Whatever the peer has said was heard; and this BEAM's connection is the one that it was.
  defp assert_unharmed(node, peer, what) do
    assert {what, LightPeer.ask(peer, :default, :ping)} == {what, {:ok, :pong}}
    assert {what, ask(node, :ping)} == {what, :pong}
    name = node.name
    refute_received {:nodedown, ^name}, "the connection was closed: #{inspect(what)}"
  end

  defp watched_node(options \\ []) do
    node = start_node(options)
    assert ask(node, :ping) == :pong
    true = Node.monitor(node.name, true)
    {:ok, peer} = LightPeer.connect(node.name)
    {node, peer}
  end

  describe "a call that another node has forwarded" do
    test "is answered where its caller lives" do
      {node, peer} = watched_node()
      as_it_is = numbers(self())
      ref = make_ref()
      say(peer, node.pool, call(:ping, ref), as_it_is)
      assert_receive {^ref, :pong}, 5_000
      alias = :erlang.alias()
      say(peer, node.pool, call(eval("6 * 7"), [:alias | alias]), as_it_is)
      assert_receive {[:alias | ^alias], {:ok, 42}}, 5_000
      say(peer, node.pool, call({:checkout, :anonymous}, ref), as_it_is)
      assert_receive {^ref, {:ok, lease}}, 5_000
      assert py(lease, "1") == {:ok, 1}
      assert ask(lease, :checkin) == :ok
      await_rest(node)
    end

    test "whose caller cannot be costs nobody a connection" do
      {node, peer} = watched_node(rpc: true)

      for {text, twist} <- twists() do
        for request <-
              [:ping, eval("1"), :status, {:checkout, :anonymous}] ++
                [{:subscribe, [:all]}, {:stream, "builtins", "range", [3]}, {:what, self()}],
            tag <- [make_ref(), [:alias | make_ref()], {make_ref(), node()}, {self(), 1}] do
          say(peer, node.pool, call(request, tag), twist)
          assert_unharmed(node, peer, {text, request, tag})
        end

        for {to, message} <- [
              {:net_kernel, call({:is_auth, node()}, make_ref())},
              {:rex, {self(), :features_request}},
              {:rex, {self(), {:call, :math, :sqrt, [2.0], self()}}},
              {:rex, call({:block_call, :math, :sqrt, [2.0], self()}, make_ref())}
            ] do
          say(peer, {to, node.name}, message, twist)
          assert_unharmed(node, peer, {text, to, message})
        end
      end

      await_rest(node)
    end

    test "whose tag or request its caller's BEAM cannot read is dropped" do
      {node, peer} = watched_node()
      caller = spawn(fn -> Process.sleep(:infinity) end)

      for {text, twist} <- twists(),
          {request, tag} <-
            [{:ping, self()}, {:ping, {[self()], 1}}, {{:what, self()}, 1}] ++
              [{{:checkout, {self()}}, 1}, {:ping, fn -> {self(), caller} end}] do
        say(peer, node.pool, call(request, tag, caller), twist)
        assert_unharmed(node, peer, {text, request, tag})
      end

      # And a reference of this BEAM that it has not made.
      for words <- [[-1, 1, 1], [1, 1, 1, 1, 1], [-1]], otp() < 26 or hd(words) < 0 do
        mine = encoded(make_ref())
        len = byte_size(mine) - 19
        <<90, 3::16, name::binary-size(len), creation::32, _::96>> = mine
        twisted = <<90, length(words)::16, name::binary, creation::32>>
        bytes = for word <- words, into: twisted, do: <<word::32>>
        ref = :erlang.binary_to_term(<<131, mine::binary>>)

        for tag <- [ref, [:alias | ref], {ref, 1}] do
          control = {@reg_send, LightPeer.process(peer, 1), :"", :default}
          frame = RawPeer.frame(control, call(:ping, tag, caller))
          :ok = :gen_tcp.send(peer.socket, :binary.replace(frame, mine, bytes, [:global]))
          assert_unharmed(node, peer, {words, tag})
        end
      end

      await_rest(node)
    end
  end

  test "a lease is not given to a process that cannot be" do
    {node, peer} = watched_node()
    {:ok, {:ok, lease}} = LightPeer.ask(peer, :default, {:checkout, :anonymous})

    for {text, twist} <- twists() do
      assert {text, ask_twisted(peer, lease, {:give_away, self()}, twist)} ==
               {text, {:error, :noproc}}

      assert_unharmed(node, peer, {text, :give_away})
    end

    assert LightPeer.ask(peer, lease, eval("1")) == {:ok, {:ok, 1}}
  end

  test "a reason that a BEAM cannot read is another one for it" do
    {node, peer} = watched_node()

    for {text, twist} <- twists() do
      {:ok, {:ok, lease}} = LightPeer.ask(peer, :default, {:checkout, :anonymous})
      ref = Process.monitor(lease)
      assert ask(lease, :ping) == :pong
      control = {@exit2, LightPeer.process(peer, 1), lease, {:bye, self()}}
      frame = <<112, :erlang.term_to_binary(control)::binary>>
      :ok = :gen_tcp.send(peer.socket, twist(frame, twist))
      assert_receive {:DOWN, ^ref, :process, ^lease, reason}, 5_000
      assert reason == :unencodable or match?({:bye, pid} when is_pid(pid), reason)
      assert_unharmed(node, peer, {text, reason})
    end
  end

  test "a process that cannot be owns no session" do
    {node, peer} = watched_node()

    for {text, twist} <- twists() do
      request = eval("1", session: text, owner: self())

      case ask_twisted(peer, node.pool, request, twist) do
        {:ok, 1} -> assert text =~ "never there"
        answer -> assert {:error, {:bad_option, :owner, _}} = answer
      end

      assert_unharmed(node, peer, {text, :owner})
    end

    eventually(ask(node, :sessions) == {:ok, []})
  end

  test "a lane, and who calls in it, is of the peer that says so" do
    {node, peer} = watched_node()

    for {text, twist} <- twists() do
      say(peer, node.pool, {:krait_lane, self(), [{1, :ping}, {2, eval("1"), self()}], []}, twist)
      assert_unharmed(node, peer, {text, :lane})
      mine = LightPeer.process(peer, 2)
      say(peer, node.pool, {:krait_lane, mine, [{text, eval("1"), self()}], []}, twist)
      assert {:ok, _, {:krait_lane, [{^text, {:ok, 1}}]}} = next_answers(peer)
      assert_unharmed(node, peer, {text, :lane})
    end

    await_rest(node)
  end

  defp next_answers(peer) do
    case LightPeer.receive_message(peer, 5_000) do
      {:ok, _, {:krait_lane, _}} = answers -> answers
      {:ok, _, _} -> next_answers(peer)
    end
  end

  test "a worker that calls, watches or sends to a process that cannot be hears noproc, or nothing" do
    {node, peer} = watched_node()

    for {text, twist} <- twists() do
      outcome = {:call, :krait_back, :outcome, [self(), :hello, 5]}
      answer = ask_twisted(peer, node.pool, outcome, twist)
      assert {text, answer} == {text, {:ok, {:exit, :noproc}}}
      sent = ask_twisted(peer, node.pool, {:call, :krait_back, :send, [self(), [1]]}, twist)
      assert {text, sent} == {text, {:ok, 1}}
      watch = {:call, :krait_back, :watch, [self(), LightPeer.process(peer, 3)]}
      watched = ask_twisted(peer, node.pool, watch, twist)
      assert {text, watched} == {text, {:ok, :noproc}}
      assert_unharmed(node, peer, {text, :worker})
    end

    await_rest(node)
  end
end
