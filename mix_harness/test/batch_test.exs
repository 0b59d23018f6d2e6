defmodule Krait.BatchTest do
  # {batch, Calls, Opts}: several calls in one round trip, on one worker, with an outcome for each.
  use Krait.Case, async: true

  test "runs its calls one after the other on one worker, with an outcome for each" do
    node = start_node(size: 3)
    calls = for n <- 1..20, do: {:krait_faults, :incr, [n]}
    expected = calls |> Enum.map(fn {_, _, [n]} -> n end) |> Enum.scan(&+/2) |> Enum.map(&{:ok, &1})
    assert ask(node, {:batch, calls}) == {:ok, expected}
    assert ask(node, {:batch, [{"math", "sqrt", [4.0]}], %{timeout: 5_000}}) == {:ok, [ok: 2.0]}
    assert %{received: 2, answered: 2, ok: 2} = totals(node)
    await_rest(node)
  end

  test "goes on behind a call that fails, with the reasons of single calls" do
    node = start_node()

    calls = [
      {:builtins, :int, ["seven"]},
      {:no_such_module, :f, []},
      {"math", "sqrtt", [1]},
      {:builtins, :object, []},
      {:krait_faults, :add, [1, 2]}
    ]

    assert {:ok, [{:error, {:python, error}} | rest]} = ask(node, {:batch, calls})
    assert %{type: "ValueError", module: "builtins", args: [text]} = error
    assert text == error.message and error.traceback =~ "ValueError"

    assert rest == [
             error: {:no_function, :no_such_module, :f},
             error: {:no_function, "math", "sqrtt"},
             error: {:unencodable, "result", "object"},
             ok: 3
           ]

    # each as the same call alone is answered
    for {{m, f, args}, outcome} <- Enum.zip(tl(calls), rest),
        do: assert(ask(node, {:call, m, f, args}) == outcome)
  end

  test "takes 10000 calls" do
    node = start_node(size: 1)
    calls = for n <- 1..10_000, do: {:krait_faults, :echo, [n]}
    assert ask(node, {:batch, calls}) == {:ok, for(n <- 1..10_000, do: {:ok, n})}
  end

  test "runs on a lease, and as a cast" do
    node = start_node(size: 1)
    lease = lease!(node)
    batch = {:batch, [{:krait_faults, :incr, [1]}, {:krait_faults, :incr, [10]}]}
    assert ask(lease, batch) == {:ok, [ok: 1, ok: 11]}
    GenServer.cast(lease, batch)
    assert ask(lease, {:call, :krait_faults, :incr, [0]}) == {:ok, 22}
    assert ask(lease, :checkin) == :ok
    GenServer.cast(node.pool, batch)
    assert ask(node, {:call, :krait_faults, :incr, [0]}) == {:ok, 33}
    refute_received _
    await_rest(node)
  end

  test "is refused whole when one of its functions is not allowed, and none has run" do
    node = start_node(size: 1, allow: ["krait_faults", "math.sqrt"])
    one = {:krait_faults, :incr, [1]}

    for {m, f} <- [{:math, :floor}, {"os", "system"}, {:krait_faults, :_private}] do
      assert ask(node, {:batch, [one, {:math, :sqrt, [4]}, {m, f, []}]}) ==
               {:error, {:not_allowed, m, f}}
    end

    assert ask(node, {:batch, [one]}) == {:ok, [ok: 1]}
    assert totals(node).not_allowed == 3
  end

  test "names the call and the argument that have no Python form, and none has run" do
    node = start_node(size: 1, max_depth: 10)
    one = {:krait_faults, :incr, [1]}
    key = String.duplicate("k", 64)
    deep = Enum.reduce(1..6, [1 | 2], fn _, inner -> %{key => inner} end)

    assert ask(node, {:batch, [one, one, {:krait_faults, :echo, [1, %{a: [0, [1 | 2]]}]}]}) ==
             {:error, {:unencodable, "calls[2].args[1].a[1]", :improper_list}}

    assert {:error, {:unencodable, "calls[1]." <> path, :improper_list}} =
             ask(node, {:batch, [one, {:krait_faults, :echo, [deep]}]})

    assert path =~ "kkk"

    too_deep = Enum.reduce(1..20, 1, fn _, inner -> [inner] end)
    assert ask(node, {:batch, [one, {:a, :b, [too_deep]}]}) == {:error, {:too_deep, 10}}
    assert ask(node, {:batch, [one]}) == {:ok, [ok: 1]}
  end

  test "is limited as a whole: its arguments" do
    node = start_node(max_request_bytes: 6_000)
    # {} takes two bytes from the BEAM, more to Python
    call = {:krait_faults, :echo, [List.duplicate({}, 800)]}
    assert {:ok, [ok: _]} = ask(node, {:batch, [call]})
    assert {:error, {:too_large, bytes, 6_000}} = ask(node, {:batch, [call, call]})
    assert bytes > 6_000
  end

  test "is limited as a whole: its results, one by one" do
    node = start_node(max_result_bytes: 20_000)
    # None takes one byte from Python, five to the BEAM
    nones = {:operator, :mul, [[nil], 3_000]}
    one = {:krait_faults, :echo, [1]}

    assert {:ok, [{:ok, list}, {:error, {:too_large, bytes, 20_000}}, {:ok, 1}]} =
             ask(node, {:batch, [nones, nones, one]})

    assert length(list) == 3_000
    assert bytes > 20_000

    assert {:ok, [{:error, {:too_large, _, 20_000}}, {:ok, 1}]} =
             ask(node, {:batch, [{:operator, :mul, [[nil], 5_000]}, one]})
  end

  test "ends as a whole: by time, by a worker's death, by its caller's" do
    node = start_node(size: 1)
    sleep = {:builtins, :eval, [sleep(3600)]}
    one = {:krait_faults, :echo, [1]}

    assert ask(node, {:batch, [one, sleep], timeout: 300}) == {:error, {:timeout, :call}}

    assert {:error, {:worker_exit, %{exit: {:exit, 7}}}} =
             ask(node, {:batch, [one, {:krait_faults, :exit, [7]}, one]})

    caller = caller(:never, node, {:batch, [one, sleep]})
    await_running(node, 1)
    kill(caller)
    eventually(totals(node).abandoned == 1)
    assert ask(node, {:batch, [one]}) == {:ok, [ok: 1]}
    refute_received {:never, _}
    await_rest(node)
  end

  test "runs again on another worker, as often as its retry says" do
    node = start_node()
    path = temporary("batch")
    on_exit(fn -> File.rm(path) end)
    batch = [{:krait_faults, :echo, [1]}, {:krait_rpc, :die_once, [path]}]
    assert ask(node, {:batch, batch, retry: 1}) == {:ok, [ok: 1, ok: "survived"]}
  end

  test "takes the options of a call, save kwargs" do
    node = start_node()
    assert ask(node, {:batch, [{:builtins, :repr, ["x"]}], strings: :bytes}) == {:ok, [ok: "b'x'"]}

    assert ask(node, {:batch, [{:builtins, :repr, [{:bytes, "x"}]}], priority: :high}) ==
             {:ok, [ok: "b'x'"]}

    for {key, value} <- [kwargs: %{}, demand: 3, nosuch: 1, timeout: 0] do
      assert {:error, {:bad_option, ^key, _}} =
               ask(node, {:batch, [{:math, :sqrt, [4]}], [{key, value}]})
    end
  end

  test "runs in a session, reports progress, calls back and awaits coroutines" do
    node = start_node(size: 2)

    for n <- 1..3 do
      assert ask(node, {:batch, [{:krait_faults, :incr, [1]}], session: "a"}) == {:ok, [ok: n]}
    end

    calls = [
      {:krait_callbacks, :progress, [1, 2]},
      {:krait_callbacks, :rpc, ["erlang", "node", []]},
      {:asyncio, :sleep, [0.01, "slept"]}
    ]

    assert {:ok, [{:ok, _}, {:ok, here}, {:ok, "slept"}]} =
             ask(node, {:batch, calls, progress: :tag, session: "a"})

    assert here == node()
    assert_received {:krait_progress, :tag, 1}
    assert_received {:krait_progress, :tag, 2}
    await_rest(node)
  end

  test "that is none is a bad request" do
    node = start_node()
    call = {:math, :sqrt, [4]}

    for calls <- [
          [],
          call,
          [call | call],
          [call, {:math, :sqrt}],
          [call, {:math, 1, []}],
          [call, {:math, :sqrt, [4 | 5]}],
          [call, :math],
          ~c"abc",
          List.duplicate(call, 10_001)
        ] do
      assert {:error, {:bad_request, expected}} = ask(node, {:batch, calls})
      assert expected =~ "1 to 10000"
    end

    assert {:error, {:unknown_request, :batch}} = ask({:krait, node.name}, {:batch, [call]})
    await_rest(node)
  end

  # msgpack: 0x92 is an array of two, 0xc3 true, 0xc2 false, 0xa1 a str of one byte.
  @lies [
    {"nothing", <<0xC0>>},
    {"too few", <<0x91, 0x92, 0xC3, 1>>},
    {"too many", <<0x93, 0x92, 0xC3, 1, 0x92, 0xC3, 2, 0x92, 0xC3, 3>>},
    {"no pairs", <<0x92, 1, 2>>},
    {"a triple that is true", <<0x92, 0x93, 0xC3, 1, 2, 0x92, 0xC3, 2>>},
    {"true alone", <<0x92, 0x91, 0xC3, 0x92, 0xC3, 2>>},
    {"false alone", <<0x92, 0x91, 0xC2, 0x92, 0xC3, 2>>},
    {"neither true nor false", <<0x92, 0x92, 0xC0, 1, 0x92, 0xC3, 2>>},
    {"cut off", <<0x92, 0x92, 0xC3, 1, 0x92, 0xC3>>},
    {"a count beyond the end", <<0xDD, 0xFF, 0xFF, 0xFF, 0xFF>>},
    {"more behind it", <<0x92, 0x92, 0xC3, 1, 0x92, 0xC3, 2, 9>>}
  ]

  test "survives a worker that answers with something else, for this caller alone" do
    node = start_node(size: 1)

    for {what, bytes} <- @lies do
      calls = [{:krait_liar, :result, [{:bytes, bytes}]}, {:krait_faults, :echo, [1]}]

      assert {^what, {:error, {:unencodable, "result", :corrupt}}} =
               {what, ask(node, {:batch, calls})}
    end

    assert ask(node, {:batch, [{:krait_faults, :echo, [1]}]}) == {:ok, [ok: 1]}
    assert node.name in Node.list(:hidden)
  end

  test "survives a worker whose errors are none" do
    node = start_node(size: 1)
    str = fn text -> <<0xDA, byte_size(text)::16, text::binary>> end

    for {bytes, outcome} <- [
          {<<0x92, 0xC2, 7>>, {:unencodable, "", ""}},
          {<<0x92, 0xC2, str.("no_function")::binary>>, {:no_function, :krait_liar, :result}},
          {<<0x94, 0xC2, str.("unencodable")::binary, str.("x")::binary, str.(":\xff")::binary>>,
           {:unencodable, "x", ":\xff"}},
          {<<0x94, 0xC2, str.("unencodable")::binary, str.("x")::binary,
             str.(":" <> String.duplicate("a", 2_000))::binary>>,
           {:unencodable, "x", ":" <> String.duplicate("a", 2_000)}}
        ] do
      lie = {:krait_liar, :result, [{:bytes, <<0x91, bytes::binary>>}]}
      assert ask(node, {:batch, [lie]}) == {:ok, [error: outcome]}
    end

    # a batch as a whole has no names that could be missing
    lie = {:krait_liar, :error, [{:bytes, str.("no_function")}, 1]}
    assert ask(node, {:batch, [lie]}) == {:error, {:unencodable, "", ""}}

    assert ask(node, {:call, :krait_liar, :error, [{:bytes, str.("no_function")}, 1]}) ==
             {:error, {:no_function, :krait_liar, :error}}

    assert py(node, "1") == {:ok, 1}
    assert node.name in Node.list(:hidden)
  end
end
