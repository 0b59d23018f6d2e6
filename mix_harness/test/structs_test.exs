defmodule Krait.StructsTest do
  # The last rows of section 9: structs that are types in Python, and tensors.
  use Krait.Case, async: true

  @mapset_fields Map.keys(MapSet.new())

  defp identity(node, term), do: ask(node, {:call, :krait, :identity, [term]})

  defp decimal(sign, coef, exp), do: %{__struct__: Decimal, sign: sign, coef: coef, exp: exp}

  defp berlin(fields) do
    struct!(
      %{
        ~U[2024-07-01 12:30:00.5Z]
        | time_zone: "Europe/Berlin",
          zone_abbr: "CEST",
          utc_offset: 3600,
          std_offset: 3600
      },
      fields
    )
  end

  # A set in the other of the two forms of Elixir: 1.15 has no version.
  defp other_form(set) do
    if Map.has_key?(set, :version),
      do: Map.delete(set, :version),
      else: Map.put(set, :version, 2)
  end

  defp dates do
    [
      ~D[2024-02-29],
      ~D[0001-01-01],
      ~D[9999-12-31],
      ~T[00:00:00],
      ~T[23:59:59.999999],
      ~T[12:00:00.000],
      ~T[12:00:00.500],
      ~T[12:00:00.000000],
      ~T[12:00:00.123456],
      # A microsecond with more digits than it says.
      %{~T[12:00:00.123] | microsecond: {123_456, 3}},
      ~N[2024-02-29 23:59:59],
      ~N[2024-02-29 23:59:59.1],
      ~N[0001-01-01 00:00:00.000000],
      ~U[2024-02-29 23:59:59Z],
      ~U[2024-02-29 23:59:59.123Z],
      DateTime.utc_now()
    ]
  end

  defp zoned do
    [
      berlin([]),
      # The hour that comes twice.
      berlin(month: 10, day: 27, hour: 2, std_offset: 0, zone_abbr: "CET"),
      berlin(month: 10, day: 27, hour: 2),
      # What Python's database says otherwise, or does not know.
      berlin(zone_abbr: "XYZ"),
      berlin(utc_offset: 7200, std_offset: 0),
      berlin(month: 1),
      berlin(time_zone: "Mars/Olympus", utc_offset: -86_399, std_offset: 0),
      berlin(time_zone: "../../etc/passwd"),
      berlin(time_zone: "/etc/passwd"),
      berlin(time_zone: "a\0b"),
      berlin(time_zone: "Europe"),
      berlin(time_zone: ""),
      berlin(time_zone: "UTC", zone_abbr: "UTC", utc_offset: 0, std_offset: 0),
      berlin(time_zone: "Etc/UTC", zone_abbr: "UTC", utc_offset: 0, std_offset: 1),
      berlin(
        time_zone: "America/New_York",
        zone_abbr: "EDT",
        utc_offset: -18_000,
        std_offset: 3600
      )
    ]
  end

  defp decimals do
    for(
      sign <- [1, -1],
      {coef, exp} <- [
        {15, -1},
        {0, 0},
        {0, -3},
        {150, -2},
        {1, 6},
        {1, 400_000_000},
        {1, -400_000_000},
        {2 ** 64, -5},
        {2 ** 2048 - 1, 0},
        {:NaN, 0},
        {:inf, 0}
      ],
      do: decimal(sign, coef, exp)
    )
  end

  defp sets do
    sets = [
      MapSet.new(),
      MapSet.new([1, 2, 3]),
      MapSet.new([[1], %{a: [2]}, {3, [4]}, "text", <<255>>, nil, :atom, 2 ** 70]),
      MapSet.new([MapSet.new([1]), MapSet.new([MapSet.new([[]])])]),
      MapSet.new(1..1_000),
      MapSet.new([~D[2024-01-01], ~D[2024-01-02], decimal(1, 5, -1)])
    ]

    sets ++ Enum.map(sets, &other_form/1)
  end

  # Structs by name only: Python's types could not hold them.
  defp others do
    date = ~D[2024-01-01]
    time = ~T[10:00:00]
    utc = ~U[2024-01-01 00:00:00Z]

    [
      %{date | year: 0},
      %{date | year: -44},
      %{date | year: 10_000},
      %{date | year: 2 ** 80},
      %{date | month: 2, day: 30},
      %{date | month: 13},
      %{date | day: 0},
      %{date | day: "1"},
      %{date | calendar: My.Calendar},
      Map.delete(date, :day),
      Map.put(date, :hour, 1),
      Map.put(Map.delete(date, :day), "day", 1),
      %{time | second: 60},
      %{time | hour: 24},
      %{time | microsecond: {0, 7}},
      %{time | microsecond: {1_000_000, 6}},
      %{time | microsecond: 0},
      %{time | microsecond: {0, 0, 0}},
      %{utc | utc_offset: 86_400},
      %{utc | utc_offset: 86_399, std_offset: 1},
      %{utc | time_zone: nil},
      %{utc | time_zone: <<255>>},
      %{utc | time_zone: String.duplicate("x", 65)},
      %{utc | zone_abbr: :UTC},
      decimal(0, 1, 1),
      decimal(2, 1, 1),
      decimal(1, -1, 1),
      decimal(1, :nan, 0),
      decimal(1, :NaN, 1),
      decimal(1, 1.5, 0),
      decimal(1, 1, 400_000_001),
      decimal(1, 2 ** 2048, 0),
      %{__struct__: MapSet, map: []},
      %{__struct__: MapSet, map: %{1 => true}},
      %{__struct__: MapSet, map: %{}, version: 1},
      %{__struct__: MapSet, map: %{1 => []}, version: 2, more: 1},
      %{__struct__: MapSet, version: 2},
      %{__struct__: MapSet, version: 2, maps: %{}},
      %{__struct__: Date},
      %{__struct__: "Elixir.Date", year: 3, month: 1, day: 1, calendar: Calendar.ISO},
      1..10,
      %URI{host: "x"},
      ~r/x/ |> Map.put(:re_pattern, nil)
    ]
  end

  test "every struct comes back as it went, alone and within anything" do
    node = start_node()

    for term <- dates() ++ zoned() ++ decimals() ++ sets() ++ others() do
      assert identity(node, term) == {:ok, term}

      for wrapped <- [[term, term], {term}, %{k: term}, %{term => 1}, %{{term, [term]} => [term]}] do
        assert identity(node, wrapped) == {:ok, wrapped}
      end

      assert identity(node, MapSet.new([term, 1])) == {:ok, MapSet.new([term, 1])}
    end

    everything = dates() ++ zoned() ++ decimals() ++ sets() ++ others()
    assert identity(node, everything) == {:ok, everything}
    by_key = Map.new(Enum.with_index(everything))
    assert identity(node, by_key) == {:ok, by_key}
    # Deeper than the fast codec goes.
    deep = Enum.reduce(1..50, by_key, &{&1, &2})
    assert identity(node, deep) == {:ok, deep}
    await_rest(node)
  end

  test "structs are in Python what the table says" do
    node = start_node()

    table = [
      {~D[2024-02-29], "datetime.date(2024, 2, 29)"},
      {~T[12:30:01], "datetime.time(12, 30, 1)"},
      {~T[12:30:01.000005], "datetime.time(12, 30, 1, 5)"},
      {~N[2024-02-29 12:30:01.5], "DateTime(2024, 2, 29, 12, 30, 1, 500000)"},
      {~U[2024-02-29 12:30:01Z],
       "datetime.datetime(2024, 2, 29, 12, 30, 1, tzinfo=datetime.timezone.utc)"},
      {berlin(microsecond: {0, 0}),
       "datetime.datetime(2024, 7, 1, 12, 30, tzinfo=zoneinfo.ZoneInfo(key='Europe/Berlin'))"},
      {decimal(1, 150, -2), "Decimal('1.50')"},
      {decimal(-1, :inf, 0), "Decimal('-Infinity')"},
      {%{__struct__: MapSet, map: %{1 => []}}, "{1}"},
      {%{%{__struct__: MapSet, map: %{1 => []}} => 1}, "{frozenset({1}): 1}"},
      {%{~D[2024-02-29] => 1}, "{datetime.date(2024, 2, 29): 1}"}
    ]

    for {term, repr} <- table do
      assert ask(node, {:call, :builtins, :repr, [term]}) == {:ok, repr}
    end

    assert ask(node, {:call, "krait_structs", "is_a", [old_set(), "set"]}) == {:ok, true}

    assert ask(node, {:call, "krait_structs", "is_a", [%{~D[2024-01-01] | year: 0}, "dict"]}) ==
             {:ok, true}
  end

  defp old_set, do: %{__struct__: MapSet, map: %{1 => []}, version: 2}

  test "keys that are equal in Python alone stay apart" do
    node = start_node()
    same = [1, decimal(1, 1, 0), decimal(1, 10, -1)]

    times = [
      ~T[10:00:00],
      ~T[10:00:00.0],
      %{~U[2024-07-01 10:30:00.5Z] | microsecond: {500_000, 1}},
      berlin([])
    ]

    for keys <- [same, times, Enum.map(same, &{&1}), Enum.map(same ++ times, &MapSet.new([&1]))] do
      term = Map.new(Enum.with_index(keys))
      assert identity(node, term) == {:ok, term}
      assert identity(node, MapSet.new(keys)) == {:ok, MapSet.new(keys)}
      assert identity(node, [%{term => term}, keys]) == {:ok, [%{term => term}, keys]}
    end

    # And what the BEAM alone tells apart is refused, as in maps.
    assert {:error, {:unencodable, "args[0]" <> _, :duplicate_key}} =
             identity(node, MapSet.new([1, 1.0]))
  end

  test "what is made in Python is a struct in Elixir" do
    node = start_node()

    imports =
      "(lambda d, D, z: %s)(__import__('datetime'), __import__('decimal').Decimal, " <>
        "__import__('zoneinfo').ZoneInfo)"

    made = fn expression -> py(node, String.replace(imports, "%s", expression)) end

    table = [
      {"d.date(2024, 2, 29)", ~D[2024-02-29]},
      {"d.time(1, 2, 3)", ~T[01:02:03]},
      {"d.time(1, 2, 3, 4)", ~T[01:02:03.000004]},
      {"d.datetime(2024, 2, 29, 1)", ~N[2024-02-29 01:00:00]},
      {"d.datetime(2024, 2, 29, 1, 2, 3, 500000)", ~N[2024-02-29 01:02:03.500000]},
      {"d.datetime(2024, 2, 29, tzinfo=d.timezone.utc)", ~U[2024-02-29 00:00:00Z]},
      {"d.datetime(2024, 2, 29, tzinfo=z('UTC'))", ~U[2024-02-29 00:00:00Z]},
      {"d.datetime(2024, 7, 1, 12, 30, tzinfo=z('Europe/Berlin'))", berlin(microsecond: {0, 0})},
      # As DateTime.from_iso8601/1 has it.
      {"d.datetime(2024, 1, 1, tzinfo=d.timezone(d.timedelta(hours=1)))", ~U[2023-12-31 23:00:00Z]},
      {"D('1.50')", decimal(1, 150, -2)},
      {"D('-0')", decimal(-1, 0, 0)},
      {"D('-NaN')", decimal(-1, :NaN, 0)},
      {"D('1E+1000')", decimal(1, 1, 1000)},
      {"D(10) ** 27 * 3", decimal(1, 3 * 10 ** 27, 0)},
      {"{d.date(2024, 1, 1): {D(1): [d.date(2024, 1, 2)]}}",
       %{~D[2024-01-01] => %{decimal(1, 1, 0) => [~D[2024-01-02]]}}},
      {"__import__('krait').Time(1, precision=3)", ~T[01:00:00.000]}
    ]

    for {expression, struct} <- table do
      assert {expression, made.(expression)} == {expression, {:ok, struct}}
    end

    unencodable = [
      {"d.time(1, tzinfo=d.timezone.utc)", :"datetime.time"},
      {"D('sNaN')", :"decimal.Decimal"},
      {"D('NaN12')", :"decimal.Decimal"},
      {"d.timedelta(1)", :"datetime.timedelta"},
      {"d.datetime(1, 1, 1, tzinfo=d.timezone(d.timedelta(hours=1)))", :"datetime.datetime"}
    ]

    for {expression, type} <- unencodable do
      assert {:error, {:unencodable, "result", what}} = made.(expression)
      assert to_string(what) == to_string(type)
    end

    assert {:error, {:unencodable, "result" <> _, :duplicate_key}} = py(node, "{'a', b'a'}")
  end

  test "a set that is made in Python is a MapSet to all of Elixir's functions" do
    node = start_node()
    assert {:ok, %MapSet{} = made} = py(node, "{1, 2, (3, 4), frozenset({5})}")
    {:ok, %MapSet{} = frozen} = py(node, "frozenset({5})")
    mine = MapSet.new([1, 2, {3, 4}, frozen])
    assert MapSet.equal?(made, mine) and MapSet.equal?(mine, made)
    assert MapSet.subset?(made, mine) and MapSet.subset?(mine, made)
    assert MapSet.member?(made, 1) and MapSet.size(made) == 4
    one = MapSet.new([1])

    for function <- [:union, :intersection, :difference, :disjoint?] do
      expected = apply(MapSet, function, [mine, one])
      assert same?(apply(MapSet, function, [made, one]), expected)
      assert same?(apply(MapSet, function, [one, made]), apply(MapSet, function, [one, mine]))
    end

    assert made |> MapSet.put(9) |> MapSet.delete(1) |> MapSet.size() == 4
    assert Enum.sort(MapSet.filter(made, &is_integer/1)) == [1, 2]
    assert Enum.count(made) == 4 and 2 in made
    assert inspect(py(node, "{7}")) =~ "MapSet.new([7])"
    assert Enum.into([8], elem(py(node, "{7}"), 1)) |> Enum.sort() == [7, 8]
    assert :version not in Map.keys(made) and :map in @mapset_fields
  end

  defp same?(%MapSet{} = a, b), do: MapSet.equal?(a, b)
  defp same?(a, b), do: a == b

  test "an encoder of the user's comes before all that" do
    node = start_node(size: 1)
    assert ask(node, {:call, "krait_structs", "encode_dates_as_text", []}) == {:ok, nil}
    assert identity(node, ~D[2024-01-02]) == {:ok, "2024-01-02"}
  end

  test "MapSets within MapSets, however deep and in whichever order of their keys, cost no more than once" do
    node = start_node()
    deep = Enum.reduce(1..100, MapSet.new(1..200), &MapSet.new([&1, &2]))
    assert identity(node, deep) == {:ok, deep}
    nearly = Enum.reduce(1..100, %{}, &%{map: %{&2 => [], &1 => []}, more: 1})
    assert identity(node, nearly) == {:ok, nearly}
  end

  test "a tensor is an array of numpy's, and comes back as it went" do
    node = start_node()

    for {dtype, size} <- [
          s8: 1,
          s16: 2,
          s32: 4,
          s64: 8,
          u8: 1,
          u16: 2,
          u32: 4,
          u64: 8,
          f16: 2,
          f32: 4,
          f64: 8,
          c64: 8,
          c128: 16,
          bf16: 2
        ],
        {shape, count} <- [{{}, 1}, {{3}, 3}, {{2, 3, 1}, 6}, {{0}, 0}, {{2, 0, 3}, 0}] do
      data = :crypto.strong_rand_bytes(size * count)

      for tensor <- [
            {:krait_tensor, dtype, shape, data},
            {:krait_tensor, Atom.to_string(dtype), shape, data},
            {:krait_tensor, dtype, Tuple.to_list(shape), data},
            {:krait_tensor, Atom.to_string(dtype), Tuple.to_list(shape), data}
          ] do
        assert identity(node, tensor) == {:ok, tensor}
        assert identity(node, [%{"t" => {tensor}}]) == {:ok, [%{"t" => {tensor}}]}
      end
    end

    large = {:krait_tensor, :f32, {1_000, 1_000}, :crypto.strong_rand_bytes(4_000_000)}
    assert identity(node, large) == {:ok, large}
    assert identity(node, [large]) == {:ok, [large]}
    data = for n <- 1..6, into: <<>>, do: <<n * 1.0::float-32-native>>
    tensor = {:krait_tensor, :f32, {2, 3}, data}

    assert ask(node, {:call, :builtins, :repr, [tensor]}) ==
             {:ok, "array([[1., 2., 3.],\n       [4., 5., 6.]], dtype=float32)"}

    assert ask(node, {:call, :numpy, :sum, [tensor]}) == {:ok, 21.0}

    assert ask(node, {:call, :numpy, :transpose, [tensor]}) ==
             {:ok,
              {:krait_tensor, :f32, {3, 2},
               for(n <- [1, 4, 2, 5, 3, 6], into: <<>>, do: <<n * 1.0::float-32-native>>)}}

    assert py(node, "__import__('numpy').array([True, False])") ==
             {:ok, {:krait_tensor, :u8, {2}, <<1, 0>>}}

    assert py(node, "__import__('numpy').arange(2, dtype='>i2')") ==
             {:ok, {:krait_tensor, :s16, {2}, <<0::16-native, 1::16-native>>}}

    assert py(node, "[__import__('numpy').int64(7), __import__('numpy').float32(0.5)]") ==
             {:ok, [7, 0.5]}

    for odd <- ["array(['a'])", "array([object()])", "array([(1, 2)], dtype='i4,i4')"] do
      assert {:error, {:unencodable, "result", "numpy.ndarray"}} =
               py(node, "__import__('numpy')." <> odd)
    end

    # Key or not a tensor: a tuple.
    for tuple <- [%{tensor => 1}, {:krait_tensor, :f32}, {:krait_tensor, 1, 2, 3, 4}] do
      assert identity(node, tuple) == {:ok, tuple}
    end

    await_rest(node)
  end

  test "a tensor that does not add up is refused" do
    node = start_node()

    for {dtype, shape, data} <- [
          {:f32, {2}, <<0::56>>},
          {:f32, {2}, <<0::72>>},
          {:f32, {1, 1, 2}, <<0::32>>},
          {:float32, {1}, <<0::32>>},
          {{:f, 32}, {1}, <<0::32>>},
          {:f32, {-1}, <<>>},
          {:f32, {1.0}, <<0::32>>},
          {:f32, {2 ** 63, 2}, <<>>},
          {:u8, {2 ** 40, 2 ** 40, 0}, <<>>},
          {:f32, 1, <<0::32>>},
          {:u8, [1 | 1], <<0>>},
          {:u8, List.to_tuple(List.duplicate(1, 33)), <<0>>},
          {:u8, {1}, [0]},
          {:u8, {1}, <<0::7>>}
        ] do
      assert {shape, identity(node, [{:krait_tensor, dtype, shape, data}])} ==
               {shape, {:error, {:unencodable, "args[0][0]", :bad_tensor}}}
    end
  end

  test "without numpy a tensor is a memoryview, and comes back as it went" do
    node = start_node(size: 1)
    assert ask(node, {:call, "krait_structs", "forget_numpy", []}) == {:ok, nil}
    data = for n <- 1..6, into: <<>>, do: <<n * 1.0::float-32-native>>
    tensor = {:krait_tensor, :f32, {2, 3}, data}

    assert ask(node, {:call, "krait_structs", "view", [tensor]}) ==
             {:ok, {"memoryview", "f", [2, 3], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}}

    for tensor <- [
          tensor,
          {:krait_tensor, :f32, {}, <<0::32>>},
          {:krait_tensor, "u8", [3], "abc"},
          {:krait_tensor, :bf16, {2}, "abcd"},
          {:krait_tensor, :c64, {0, 1}, ""}
        ] do
      assert identity(node, tensor) == {:ok, tensor}
      assert identity(node, [%{"t" => {tensor, tensor}}]) == {:ok, [%{"t" => {tensor, tensor}}]}
    end

    assert py(node, "memoryview(b'abc')") == {:ok, "abc"}
  end
end
