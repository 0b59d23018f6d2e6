defmodule Krait.TermsTest do
  # Section 9 of the contract: x == call(krait, identity, [x]).
  use Krait.Case, async: true

  defp identity(node, args, options \\ []), do: ask(node, {:call, :krait, :identity, args, options})

  test "thousands of random terms come back as they went" do
    node = start_node()
    seed = :erlang.unique_integer()
    :rand.seed(:exsss, seed)

    for _ <- 1..150 do
      terms = for _ <- 1..40, do: Krait.Terms.term(5)

      if identity(node, [terms]) != {:ok, terms} do
        # One by one, to show the one that differs.
        for term <- terms do
          assert {seed, identity(node, [[term]])} == {seed, {:ok, [term]}}
        end
      end
    end

    await_rest(node)
  end

  test "edges of every row come back as they went" do
    node = start_node()
    {:ok, lease} = ask(node, {:checkout, :anonymous})

    edges = [
      for(
        n <- [7, 8, 15, 16, 31, 32, 53, 63, 64, 65, 2_000],
        d <- [-1, 0, 1],
        do: [2 ** n + d, -(2 ** n) + d]
      ),
      [0.0, 1.0e-323, 5.0e-324, 1.7976931348623157e308, 0.1, -0.1],
      [true, false, nil, :undefined, :nan, :"", :é, :ÿ, :日本, Enum],
      String.to_atom(String.duplicate("日", 255)),
      [
        "",
        <<0>>,
        <<255>>,
        "é",
        <<0xC3>>,
        <<0xC0, 0x80>>,
        <<0xED, 0xA0, 0x80>>,
        <<0xF4, 0x90, 0x80, 0x80>>
      ],
      [[], [[]], [1], ~c"charlist", Enum.to_list(0..255), Enum.to_list(250..260)],
      List.duplicate(7, 70_000),
      [{}, {1}, {{}}, List.to_tuple(Enum.to_list(1..300))],
      %{},
      %{
        1 => 2,
        "a" => :b,
        {1, [2]} => %{x: nil},
        [1, 2] => "list",
        %{a: %{b: 1}} => "map",
        nil => 0,
        2.5 => 1,
        <<255>> => 1
      },
      Map.new(1..1_000, &{&1, Integer.to_string(&1)}),
      [self(), make_ref(), hd(Port.list()), lease, Process.monitor(lease)],
      [&Enum.map/2, &:erlang.self/0],
      [<<1::1>>, <<5::3>>, <<255, 255, 3::2>>],
      String.duplicate("large ", 200_000),
      :crypto.strong_rand_bytes(1_000_000)
    ]

    for term <- edges do
      assert identity(node, [term]) == {:ok, term}
    end

    fun = fn x -> x + length(edges) end
    assert {:ok, ^fun} = identity(node, [fun])
    {:ok, same} = identity(node, [fun])
    assert same.(1) == fun.(1)
  end

  test "negative zero keeps its sign" do
    node = start_node()
    assert {:ok, zero} = identity(node, [-0.0])
    assert <<1::1, _::63>> = <<zero::float>>
  end

  test "floats that are no numbers become atoms" do
    node = start_node()
    assert py(node, "float('nan')") == {:ok, :nan}
    assert py(node, "float('inf')") == {:ok, :infinity}
    assert py(node, "[float('-inf'), -float('nan')]") == {:ok, [:neg_infinity, :nan]}
    assert py(node, "{float('inf'): 1}") == {:ok, %{infinity: 1}}
  end

  test "values are in Python what the table says" do
    node = start_node()

    table = [
      {1, "1"},
      {2 ** 100, "1267650600228229401496703205376"},
      {1.5, "1.5"},
      {true, "True"},
      {nil, "None"},
      {"text", "'text'"},
      {<<255>>, "b'\\xff'"},
      {[1, 2], "[1, 2]"},
      {{1, 2}, "(1, 2)"},
      {%{"a" => 1}, "{'a': 1}"}
    ]

    for {term, repr} <- table do
      assert ask(node, {:call, :builtins, :repr, [term]}) == {:ok, repr}
    end
  end

  test "an atom is a str that is equal to its text" do
    node = start_node()
    assert ask(node, {:call, :operator, :eq, [:abc, "abc"]}) == {:ok, true}
    assert ask(node, {:call, :operator, :getitem, [%{abc: 1}, "abc"]}) == {:ok, 1}
    assert ask(node, {:call, :operator, :getitem, [%{"abc" => 1}, :abc]}) == {:ok, 1}
    assert ask(node, {:call, "builtins", "str.upper", [:abc]}) == {:ok, "ABC"}
  end

  test "pids, references and ports can be compared and hashed" do
    node = start_node()
    ref = make_ref()
    assert ask(node, {:call, :operator, :eq, [self(), self()]}) == {:ok, true}
    assert ask(node, {:call, :operator, :eq, [ref, make_ref()]}) == {:ok, false}
    assert ask(node, {:call, :operator, :getitem, [%{self() => 1, ref => 2}, ref]}) == {:ok, 2}
  end

  test "{bytes, Binary} is bytes as an argument, and a tuple anywhere deeper" do
    node = start_node()
    assert ask(node, {:call, :builtins, :repr, [{:bytes, "abc"}]}) == {:ok, "b'abc'"}
    assert identity(node, [{:bytes, "abc"}]) == {:ok, "abc"}
    assert identity(node, [[{:bytes, "abc"}]]) == {:ok, [{:bytes, "abc"}]}

    assert ask(node, {:call, :builtins, :dict, [], kwargs: %{a: {:bytes, "x"}}}) ==
             {:ok, %{"a" => "x"}}

    assert {:ok, _} = identity(node, [{:bytes, 1}])
  end

  test "strings = bytes makes every binary bytes, for the pool or for one call" do
    node = start_node(strings: :bytes)
    assert ask(node, {:call, :builtins, :repr, ["abc"]}) == {:ok, "b'abc'"}
    assert ask(node, {:call, :builtins, :repr, ["abc"], strings: :utf8}) == {:ok, "'abc'"}
    term = %{"a" => ["b", <<255>>, :c]}
    assert identity(node, [term]) == {:ok, term}
  end

  test "results are terms of the same row" do
    node = start_node()
    assert py(node, "b'abc'") == {:ok, "abc"}

    assert py(node, "(1, 'two', [3.0, None, True], {'k': (4,)})") ==
             {:ok, {1, "two", [3.0, nil, true], %{"k" => {4}}}}

    assert py(node, "10 ** 400") == {:ok, Integer.pow(10, 400)}
    assert py(node, "-(2 ** 64)") == {:ok, -(2 ** 64)}
    assert py(node, "True") == {:ok, true}
  end

  test "an atom that would be too long for a BEAM is refused, and the connection lives" do
    node = start_node()
    peers = Node.list(:hidden)
    assert node.name in peers

    assert {:error, {:python, %{type: "ValueError"}}} =
             py(node, "__import__('krait').Atom('x' * 256)")

    assert {:ok, _} = py(node, "__import__('krait').Atom('x' * 255)")
    assert node.name in Node.list(:hidden)
  end
end
