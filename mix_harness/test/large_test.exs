defmodule Krait.LargeTest do
  # Payloads of megabytes: exact, whatever their size; what breaks off in the middle of one harms nobody; the
  # memory for them comes back.
  use Krait.Case, async: true

  alias Krait.LightPeer

  # What LightPeer announces, and FRAGMENTS.
  @fragments 0x507874FBC
  @kb 1024
  @mb 1024 * 1024

  # Around every threshold that is met on the way: msgpack's and ETF's lengths, a read, a fragment, where a
  # frame goes in parts, the buffers of the channel.
  @sizes [0, 1, 31, 32, 255, 256, 65_535, 65_536] ++
           Enum.flat_map([64 * @kb - 64, 64 * @kb, 128 * @kb], &[&1 - 30, &1 - 20, &1 + 1]) ++
           [256 * @kb - 1, 256 * @kb, 256 * @kb + 1, @mb - 1, @mb, @mb + 1] ++
           [3 * @mb + 7, 16 * @mb, 16 * @mb + 13, 64 * @mb]

  defp bytes(0), do: ""
  defp bytes(size), do: <<255, :crypto.strong_rand_bytes(size - 1)::binary>>

  # Whole characters of one, two and three bytes, and what is missing in ASCII.
  defp text(size) do
    unit = "Größe und 漢字, "
    n = div(size, byte_size(unit))
    :binary.copy(unit, n) <> :binary.copy("x", size - n * byte_size(unit))
  end

  defp seen(type, data), do: {type, byte_size(data), :crypto.hash(:sha256, data)}

  defp look_at(node, args, options \\ []) do
    ask(node, {:call, "krait_large", "look_at", args, options}, 60_000)
  end

  test "bytes and text of any size arrive as they are, and come back" do
    node = start_node()

    for size <- @sizes, make <- [&bytes/1, &text/1] do
      data = make.(size)
      assert ask(node, {:call, "krait_large", "echo", [data]}, 60_000) == {:ok, data}
    end

    for size <- Enum.filter(@sizes, &(&1 > 100)) do
      data = bytes(size)
      assert look_at(node, [data]) == {:ok, [[seen("bytes", data)], %{}]}
      text = text(size)
      assert look_at(node, [text]) == {:ok, [[seen("str", text)], %{}]}
      assert look_at(node, [{:bytes, text}]) == {:ok, [[seen("bytes", text)], %{}]}
      assert look_at(node, [text], strings: :bytes) == {:ok, [[seen("bytes", text)], %{}]}
    end
  end

  test "large binaries may stand anywhere, in any number" do
    node = start_node()
    [a, b, c] = for size <- [300 * @kb, @mb, 700 * @kb], do: bytes(size)
    text = text(2 * @mb)

    assert look_at(node, [a, {1, b, [c]}, %{"k" => {:x, text}}], kwargs: %{d: text, e: a}) ==
             {:ok,
              [
                [
                  seen("bytes", a),
                  {1, seen("bytes", b), [seen("bytes", c)]},
                  %{"k" => {:x, seen("str", text)}}
                ],
                %{"d" => seen("str", text), "e" => seen("bytes", a)}
              ]}

    key = text(300 * @kb)
    assert look_at(node, [%{key => 1}]) == {:ok, [[%{seen("str", key) => 1}], %{}]}

    # More than a frame has parts, and some that are too small a part of their message.
    many = for i <- 1..20, do: bytes(300 * @kb + 50 * @kb * i)
    assert look_at(node, many) == {:ok, [Enum.map(many, &seen("bytes", &1)), %{}]}
    mixed = [Enum.to_list(1..20_000), bytes(400 * @kb), text(256 * @kb), 1.5]

    assert look_at(node, mixed) ==
             {:ok,
              [
                [hd(mixed), seen("bytes", Enum.at(mixed, 1)), seen("str", Enum.at(mixed, 2)), 1.5],
                %{}
              ]}
  end

  test "large binaries may stand anywhere in answers, too" do
    node = start_node(size: 2)
    [a, b, c] = for size <- [300 * @kb, @mb, 700 * @kb], do: bytes(size)
    text = text(2 * @mb)
    {:ok, lease} = ask(node, {:checkout, :anonymous})

    for value <- [
          [a, {1, b, [c]}, %{"k" => {:x, text}}],
          %{text(300 * @kb) => 1, {a, 2} => a},
          for(i <- 1..20, do: bytes(300 * @kb + 50 * @kb * i)),
          [Enum.to_list(1..20_000), bytes(400 * @kb), text(256 * @kb), 1.5]
        ] do
      request = {:call, "krait_large", "echo", [value]}
      assert ask(node, request, 60_000) == {:ok, value}
      assert GenServer.call(lease, request, 60_000) == {:ok, value}
      assert Krait.call(node.pool, "krait_large", "echo", [value]) == {:ok, value}
    end
  end

  # An answer is not copied, so it keeps what it was received to. Of blocks that were kept, that may be longer.
  test "answers that nobody reads take the memory of their bytes, and give it back" do
    node = start_node(size: 2, max_output_bytes: 300 * @mb)
    before = Proc.rss(node.os_pid)
    # blocks of 16 MB are kept when the answers come
    assert {:ok, _} = ask(node, {:call, "krait_large", "give", [16 * @mb]}, 60_000)

    {slack, rest} =
      if Krait.Chaos.sanitized?(node), do: {400 * @mb, 400 * @mb}, else: {64 * @mb, 16 * @mb}

    {:ok, peer} = LightPeer.connect(node.name, LightPeer.unique_name(), 77, @fragments)
    n = 40

    for i <- 1..n,
        do: LightPeer.request(peer, :default, {:call, "krait_large", "give", [4 * @mb]}, i)

    eventually(totals(node).answered == n + 1)
    assert peak(node) - before < 1.3 * n * 4 * @mb + slack
    assert ask(node, {:call, "krait_large", "echo", [1]}) == {:ok, 1}
    LightPeer.close(peer)
    eventually(Proc.rss(node.os_pid) - before < rest)
  end

  test "a large tensor is an array over what was received" do
    node = start_node()
    data = bytes(3 * @mb)
    tensor = {:krait_tensor, :u8, {3, @mb}, data}
    sum = for <<byte <- data>>, reduce: 0, do: (sum -> sum + byte)

    case ask(node, {:call, "krait_large", "tensor", [tensor]}, 60_000) do
      {:ok, answer} -> assert answer == {"uint8", [3, @mb], sum, true, tensor}
      {:error, {:python, %{message: "'memoryview'" <> _}}} -> :no_numpy
    end
  end

  test "by Krait.call, too, among small ones" do
    node = start_node(size: 2)
    data = bytes(3 * @mb)
    call = &Krait.call(node.pool, "krait_large", "echo", [&1], timeout: 60_000)

    answers =
      1..60
      |> Task.async_stream(
        fn i -> if rem(i, 10) == 0, do: call.(data) == {:ok, data}, else: call.(i) == {:ok, i} end,
        max_concurrency: 60,
        timeout: 60_000
      )
      |> Enum.to_list()

    assert Enum.uniq(answers) == [{:ok, true}]
    await_rest(node)
  end

  test "batches and streams carry large binaries" do
    node = start_node()
    data = bytes(2 * @mb)
    calls = [{"krait_large", "look_at", [data]}, {"krait_large", "echo", [data]}]
    seen = seen("bytes", data)
    assert {:ok, [{:ok, [[^seen], %{}]}, {:ok, ^data}]} = ask(node, {:batch, calls}, 60_000)
    {:ok, stream} = ask(node, {:stream, "builtins", "list", [[data, 1, data]]})
    assert_receive {:krait_stream, ^stream, {:item, ^data}}, 20_000
    assert_receive {:krait_stream, ^stream, {:item, 1}}, 20_000
    assert_receive {:krait_stream, ^stream, {:item, ^data}}, 20_000
    assert_receive {:krait_stream, ^stream, :done}, 20_000
  end

  test "a request that runs again on another worker carries the same" do
    node = start_node(size: 2)
    mark = Krait.Gate.new()
    data = bytes(5 * @mb)
    request = {:call, "krait_large", "die_first", [data, mark], %{retry: 1}}
    assert ask(node, request, 60_000) == {:ok, seen("bytes", data)}
  end

  # A worker that is stopped takes some of a large frame, and no more.
  defp given_a_write_under_way(node) do
    [%{os_pid: os_pid}] = workers(node)
    TestNode.signal(os_pid, "STOP")
    data = bytes(8 * @mb)
    Process.put(:caller, caller(:large, node, {:call, "krait_large", "echo", [data]}))
    await_running(node, 1)
    {os_pid, data}
  end

  test "a worker that is killed in the middle of a large write has not begun: another one gets all of it" do
    node = start_node(size: 1)
    {os_pid, data} = given_a_write_under_way(node)
    caller(:next, node, {:call, "krait_large", "look_at", [1]})
    TestNode.signal(os_pid, "KILL")
    assert_receive {:large, {:ok, ^data}}, 20_000
    assert_receive {:next, {:ok, [[1], %{}]}}, 20_000
    await_rest(node)
  end

  test "a caller that dies in the middle of a large write leaves nothing behind" do
    node = start_node(size: 1)
    given_a_write_under_way(node)
    kill(Process.get(:caller))
    eventually(totals(node).abandoned == 1)
    data = bytes(8 * @mb)
    assert ask(node, {:call, "krait_large", "echo", [data]}) == {:ok, data}
    await_rest(node)
  end

  test "small calls on other workers do not wait for a large one that is stuck" do
    node = start_node(size: 2)
    [first, second] = os_pids(node)
    for os_pid <- [first, second], do: TestNode.signal(os_pid, "STOP")
    data = bytes(8 * @mb)
    caller(:large, node, {:call, "krait_large", "echo", [data]})
    await_running(node, 1)
    stuck = Enum.find(workers(node), &(&1.state == :busy)).os_pid
    [free] = [first, second] -- [stuck]
    TestNode.signal(free, "CONT")
    for i <- 1..100, do: assert(ask(node, {:call, "krait_large", "echo", [i]}) == {:ok, i})
    refute_received {:large, _}
    TestNode.signal(stuck, "CONT")
    assert_receive {:large, {:ok, ^data}}, 20_000
  end

  test "what is too large is refused, and what is just not too large is not" do
    limit = 2 * @mb
    node = start_node(max_request_bytes: limit, max_result_bytes: limit)
    inside = bytes(limit - 1000)
    assert ask(node, {:call, "krait_large", "echo", [inside]}) == {:ok, inside}

    assert {:error, {:too_large, bytes, ^limit}} =
             ask(node, {:call, "krait_large", "echo", [bytes(limit + 1)]})

    assert bytes > limit
    halves = [bytes(div(limit, 2)), bytes(div(limit, 2) + 100)]
    assert {:error, {:too_large, _, ^limit}} = ask(node, {:call, "krait_large", "look_at", halves})

    assert {:error, {:too_large, _, ^limit}} =
             ask(node, {:call, "krait_large", "give", [limit + 1]})

    assert ask(node, {:call, "krait_large", "echo", [1]}) == {:ok, 1}
  end

  test "many large requests take the memory of their bytes, and give it back" do
    node = start_node(size: 2, queue_limit: 100)
    for os_pid <- os_pids(node), do: TestNode.signal(os_pid, "STOP")
    before = Proc.rss(node.os_pid)
    # a sanitizer keeps what was freed
    {slack, rest} =
      if Krait.Chaos.sanitized?(node), do: {400 * @mb, 400 * @mb}, else: {64 * @mb, 16 * @mb}

    data = bytes(4 * @mb)
    n = 40
    for i <- 1..n, do: caller(i, node, {:call, "krait_large", "echo", [data]}, 60_000)
    await_queued(node, n - 2)
    # All of them are there: their bytes, and what was kept of the receiving.
    assert peak(node) - before < 1.3 * n * byte_size(data) + slack
    for os_pid <- os_pids(node), do: TestNode.signal(os_pid, "CONT")
    for i <- 1..n, do: assert_receive({^i, {:ok, ^data}}, 60_000)
    assert peak(node) - before < 1.6 * n * byte_size(data) + slack
    eventually(Proc.rss(node.os_pid) - before < rest)
  end

  defp peak(node) do
    [_, kb] = Regex.run(~r/VmHWM:\s+(\d+)/, File.read!("/proc/#{node.os_pid}/status"))
    String.to_integer(kb) * @kb
  end
end
