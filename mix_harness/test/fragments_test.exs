defmodule Krait.FragmentsTest do
  # Large messages come and go in fragments (DFLAG_FRAGMENTS): nothing small waits for one.
  use Krait.Case, async: true

  alias Krait.LightPeer

  # What LightPeer announces, and FRAGMENTS.
  @flags 0x507874FBC
  @fragment 64 * 1024

  defp light_peer(node) do
    {:ok, peer} = LightPeer.connect(node.name, LightPeer.unique_name(), 77, @flags)
    peer
  end

  # What our own BEAM, or another, hears of a node's peers.
  defp unfinished(node) do
    {:ok, peers} = GenServer.call({:krait, node.name}, :peers)
    peers |> Enum.map(& &1.unfinished_bytes) |> Enum.sum()
  end

  # A gen_server call to the pool in the name of the peer's n-th process, as frames of one message.
  defp call_in_fragments(peer, sequence, request, n \\ 1) do
    caller = LightPeer.process(peer, n)
    control = {6, caller, :"", :default}
    body = bare(control) <> bare({:"$gen_call", {caller, make_ref()}, request})
    pieces = cut(body)
    count = length(pieces)

    for {piece, i} <- Enum.with_index(pieces) do
      if i == 0,
        do: <<131, 69, sequence::64, count::64, 0, piece::binary>>,
        else: <<131, 70, sequence::64, count - i::64, piece::binary>>
    end
  end

  defp cut(<<piece::binary-size(@fragment), rest::binary>>), do: [piece | cut(rest)]
  defp cut(piece), do: [piece]

  # Behind a distribution header terms have no version byte.
  defp bare(term) do
    <<131, bytes::binary>> = :erlang.term_to_binary(term)
    bytes
  end

  defp send_frames(peer, frames),
    do: Enum.each(frames, &(:ok = :gen_tcp.send(peer.socket, &1)))

  # The next frame but for ticks: {:first | :more, sequence, number, bytes} or {:signal, control, message}.
  defp next(peer) do
    case :gen_tcp.recv(peer.socket, 0, 20_000) do
      {:ok, ""} ->
        next(peer)

      {:ok, <<131, 69, sequence::64, number::64, 0, bytes::binary>>} ->
        {:first, sequence, number, bytes}

      {:ok, <<131, 70, sequence::64, number::64, bytes::binary>>} ->
        {:more, sequence, number, bytes}

      {:ok, <<131, 68, 0, bytes::binary>>} ->
        signal(bytes)

      {:error, reason} ->
        {:error, reason}
    end
  end

  defp signal(bytes) do
    {control, used} = :erlang.binary_to_term(<<131, bytes::binary>>, [:used])
    rest = binary_part(bytes, used - 1, byte_size(bytes) - used + 1)
    message = if rest == "", do: nil, else: :erlang.binary_to_term(<<131, rest::binary>>)
    {:signal, control, message}
  end

  # All that comes until the message whose first fragment was read is whole; then that message.
  defp until_whole(peer, sequence, bytes, others \\ []) do
    case next(peer) do
      {:more, ^sequence, 1, last} ->
        {signal(IO.iodata_to_binary(Enum.reverse([last | bytes]))), Enum.reverse(others)}

      {:more, ^sequence, _, more} ->
        until_whole(peer, sequence, [more | bytes], others)

      other ->
        until_whole(peer, sequence, bytes, [other | others])
    end
  end

  defp first(peer) do
    case next(peer) do
      {:first, sequence, number, bytes} -> {sequence, number, bytes}
      {:signal, _, _} -> first(peer)
    end
  end

  # The next answer, past monitors and the like.
  defp answer(peer) do
    case next(peer) do
      {:signal, _, {_tag, answer}} -> answer
      {:signal, _, nil} -> answer(peer)
      other -> other
    end
  end

  defp answers(signals), do: for({:signal, _, {_tag, answer}} <- signals, do: answer)

  test "a small answer overtakes a large one that has begun" do
    node = start_node(size: 1)
    peer = light_peer(node)
    LightPeer.request(peer, :default, eval("bytes(48 * 2**20)"), 1)
    {sequence, number, bytes} = first(peer)
    assert number == 193
    LightPeer.request(peer, :default, :ping, 2)
    {{:signal, _, {_, {:ok, large}}}, others} = until_whole(peer, sequence, [bytes])
    assert large == :binary.copy(<<0>>, 48 * 1024 * 1024)
    assert answers(others) == [:pong]
  end

  test "what is not too large comes in one frame" do
    node = start_node(size: 1)
    peer = light_peer(node)

    for size <- [100_000, 2 ** 17, 1_000_000], do: assert(whole?(peer, size))
    refute whole?(peer, 2 ** 20)
  end

  defp whole?(peer, size) do
    LightPeer.request(peer, :default, eval("bytes(#{size})"), 1)

    case answer(peer) do
      {:ok, bytes} ->
        byte_size(bytes) == size

      {:first, sequence, number, bytes} when number > 1 ->
        {{:signal, _, {_, {:ok, bytes}}}, _} = until_whole(peer, sequence, [bytes])
        byte_size(bytes) != size
    end
  end

  test "large answers take turns" do
    node = start_node(size: 2)
    peer = light_peer(node)
    LightPeer.request(peer, :default, eval("bytes(48 * 2**20)"), 1)
    {sequence, _, bytes} = first(peer)
    LightPeer.request(peer, :default, eval("bytes(2**22)"), 2)
    {_, others} = until_whole(peer, sequence, [bytes])
    numbers = for {kind, _, number, _} <- others, kind in [:first, :more], do: number
    assert numbers == Enum.to_list(17..1//-1)
  end

  test "a small answer of a lane overtakes a large one, and those gathered with it do not wait" do
    node = start_node(size: 1)
    peer = light_peer(node)
    lane = LightPeer.process(peer, 1)
    say = fn calls -> send_frames(peer, [lane_message(lane, calls)]) end
    say.([{1, eval("bytes(48 * 2**20)")}])
    {sequence, _, bytes} = first(peer)
    say.([{2, :ping}, {3, :ping}])

    {{:signal, _, {:krait_lane, [{1, {:ok, large}}]}}, others} =
      until_whole(peer, sequence, [bytes])

    assert byte_size(large) == 48 * 1024 * 1024
    assert answers(others) == [[{2, :pong}, {3, :pong}]]
  end

  defp lane_message(lane, calls) do
    control = {6, lane, :"", :default}
    <<131, 68, 0, bare(control)::binary, bare({:krait_lane, lane, calls, []})::binary>>
  end

  # The first large answer fills what the kernel takes; everything else gathers in the node meanwhile.
  test "more small answers than one write takes stand whole between the fragments" do
    node = start_node(size: 1)
    peer = light_peer(node)
    LightPeer.request(peer, :default, eval("bytes(48 * 2**20)"), 1)
    {sequence, _, bytes} = first(peer)
    for n <- 1..30, do: LightPeer.request(peer, :default, eval("bytes([#{n}]) * 60000"), 1 + n)
    eventually(totals(node).answered == 31)
    {{:signal, _, {_, {:ok, large}}}, others} = until_whole(peer, sequence, [bytes])
    assert byte_size(large) == 48 * 1024 * 1024
    assert answers(others) == for(n <- 1..30, do: {:ok, :binary.copy(<<n>>, 60_000)})
  end

  test "what is said to the same process afterwards comes afterwards" do
    node = start_node(size: 1)
    peer = light_peer(node)
    {:ok, lease} = granted(peer)
    LightPeer.request(peer, lease, eval("bytes(48 * 2**20)"), 1)
    {sequence, _, bytes} = first(peer)
    LightPeer.request(peer, lease, :checkin, 1)
    LightPeer.request(peer, :default, :ping, 2)
    {{:signal, _, {_, {:ok, large}}}, others} = until_whole(peer, sequence, [bytes])
    assert byte_size(large) == 48 * 1024 * 1024
    assert answers(others) == [:pong]
    # two monitors of the process end, and the checkin is answered
    rest = for _ <- 1..3, do: next(peer)
    assert :ok in answers(rest)
    assert Enum.count(rest, &match?({:signal, control, _} when elem(control, 0) == 21, &1)) == 2
  end

  # A lease for the peer's first process; the node is told that it was heard of.
  defp granted(peer) do
    LightPeer.request(peer, :default, {:checkout, :anonymous}, 1)
    granted(peer, nil, false)
  end

  defp granted(_peer, lease, true) when is_pid(lease), do: {:ok, lease}

  defp granted(peer, lease, told) do
    case next(peer) do
      {:signal, _, {_, {:ok, pid}}} when is_pid(pid) ->
        granted(peer, pid, told)

      {:signal, {35, id, from, to}, nil} ->
        :ok = :gen_tcp.send(peer.socket, <<131, 68, 0, bare({36, id, to, from})::binary>>)
        granted(peer, lease, true)

      {:signal, _, _} ->
        granted(peer, lease, told)
    end
  end

  test "a small call is answered while a large argument is on its way" do
    node = start_node(size: 1)
    peer = light_peer(node)
    large = :crypto.strong_rand_bytes(16_000_000)

    {begin, rest} =
      peer
      |> call_in_fragments(5, {:call, "zlib", "crc32", [large], %{strings: :bytes}})
      |> Enum.split(100)

    send_frames(peer, begin)
    LightPeer.request(peer, :default, eval("6 * 7"), 2)
    assert answer(peer) == {:ok, 42}
    assert unfinished(node) == 100 * @fragment
    send_frames(peer, rest)
    assert answer(peer) == {:ok, :erlang.crc32(large)}
    assert unfinished(node) == 0
  end

  test "messages of several processes come interleaved, each exact" do
    node = start_node(size: 2)
    peer = light_peer(node)

    calls =
      for n <- 1..4 do
        bytes = :crypto.strong_rand_bytes(n * 300_000)
        request = {:call, "zlib", "crc32", [bytes], %{strings: :bytes}}
        {n, :erlang.crc32(bytes), call_in_fragments(peer, n, request, n)}
      end

    # the k-th fragment of each, for all k
    calls
    |> Enum.flat_map(fn {n, _, frames} ->
      for {frame, k} <- Enum.with_index(frames), do: {k, n, frame}
    end)
    |> Enum.sort()
    |> Enum.map(&elem(&1, 2))
    |> then(&send_frames(peer, &1))

    found = for _ <- calls, do: answer(peer)
    assert Enum.sort(found) == Enum.sort(for {_, crc, _} <- calls, do: {:ok, crc})
  end

  test "a message over the limit is refused, and its sender is told" do
    node = start_node(size: 1, max_request_bytes: 1_000_000)
    peer = light_peer(node)
    frames = call_in_fragments(peer, 1, {:call, "builtins", "len", [:binary.copy("x", 5_000_000)]})
    send_frames(peer, frames)
    assert {:error, {:too_large, bytes, 1_000_000}} = answer(peer)
    # as long as it would have been in one frame
    assert bytes == 3 + Enum.sum(for f <- frames, do: byte_size(f) - 18) - 1
    assert unfinished(node) == 0
  end

  for {what, change} <- [
        {"out of order", :swap},
        {"that was never begun", :headless},
        {"begun twice", :twice}
      ] do
    test "a message #{what} costs its connection, and no other" do
      node = start_node(size: 1)
      peer = light_peer(node)
      request = {:call, "builtins", "len", [:binary.copy("x", 300_000)]}
      [a, b, c, _, _] = call_in_fragments(peer, 1, request)

      send_frames(
        peer,
        case unquote(change) do
          :swap -> [a, c]
          :headless -> [b]
          :twice -> [a, b, a]
        end
      )

      assert next(peer) == {:error, :closed}
      other = light_peer(node)
      send_frames(other, call_in_fragments(other, 1, request))
      assert answer(other) == {:ok, 300_000}
      await_rest(node)
    end
  end

  for {how, close} <- [{"ends", :close}, {"is reset", :reset}] do
    test "a peer that #{how} in the middle of a large message leaves nothing" do
      node = start_node(size: 1)
      peer = light_peer(node)
      request = {:call, "builtins", "len", [:binary.copy("x", 3_000_000)]}
      send_frames(peer, peer |> call_in_fragments(1, request) |> Enum.take(20))
      eventually(unfinished(node) == 20 * @fragment)
      apply(LightPeer, unquote(close), [peer])
      eventually(unfinished(node) == 0)
      assert {:ok, 4} = py(node, "2 + 2")
      await_rest(node)
    end
  end

  test "16 MB there and back are exact, while thousands of small calls go on" do
    node = start_node(size: 3)

    large =
      for i <- 1..3 do
        Task.async(fn ->
          bytes = :crypto.strong_rand_bytes(16_000_000 + i)
          request = {:call, "copy", "copy", [bytes], %{strings: :bytes}}
          for _ <- 1..2, do: ask(node, request, 120_000) == {:ok, bytes}
        end)
      end

    small =
      for i <- 1..8 do
        Task.async(fn ->
          for k <- 1..300, do: ask(node, {:call, "operator", "add", [i, k]}) == {:ok, i + k}
        end)
      end

    assert large |> Task.await_many(300_000) |> List.flatten() |> Enum.all?()
    assert small |> Task.await_many(300_000) |> List.flatten() |> Enum.all?()
    assert unfinished(node) == 0
    await_rest(node)
  end

  test "callers that are killed while they send cost nobody anything" do
    node = start_node(size: 2)
    bytes = :binary.copy("x", 16_000_000)
    request = {:call, "builtins", "len", [bytes]}

    for _ <- 1..5 do
      pid = spawn(fn -> ask(node, request) end)
      eventually(unfinished(node) > 0 or totals(node).received > 0, 2_000)
      kill(pid)
    end

    assert ask(node, request, 60_000) == {:ok, 16_000_000}
    # a BEAM finishes what it has begun to send
    eventually(unfinished(node) == 0)
    await_rest(node)
  end

  test "an rpc takes and returns 16 MB" do
    node = start_node(size: 1, rpc: true)
    bytes = :binary.copy("y", 16_000_000)
    assert :erpc.call(node.name, :copy, :copy, [bytes], 60_000) == bytes
  end
end
