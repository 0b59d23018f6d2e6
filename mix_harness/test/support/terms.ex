defmodule Krait.Terms do
  @moduledoc """
  Random terms of every row of the contract's section 9.

  Only terms that have a Python form: no improper list, no map two of whose keys are the same to
  Python (`1`, `1.0` and `true`; `:a` and `"a"`; a list and a tuple of the same).
  """

  @atoms [
    :a,
    :"",
    :ok,
    :undefined,
    :None,
    :nan,
    :infinity,
    :"with space",
    :é,
    :ÿ,
    :日本,
    :"🐍",
    Elixir.Krait,
    String.to_atom(String.duplicate("x", 255)),
    String.to_atom(String.duplicate("é", 255))
  ]

  @spec term(non_neg_integer) :: term
  def term(depth) do
    if depth == 0 or :rand.uniform(3) == 1, do: leaf(), else: container(depth - 1)
  end

  defp container(depth) do
    size = :rand.uniform(6) - 1

    case :rand.uniform(5) do
      1 -> many(size, depth)
      2 -> List.to_tuple(many(size, depth))
      3 -> charlist()
      4 -> many(size, depth) |> Map.new(&{key(depth), &1}) |> unique_for_python()
      5 -> set(size, depth)
    end
  end

  # In the form of any Elixir: without a version, since 1.15, or with it.
  defp set(0, _), do: %{__struct__: MapSet, map: %{}, version: 2}

  defp set(size, depth) do
    elements = for _ <- 1..size, into: %{}, do: {key(depth), []}
    %{__struct__: MapSet, map: unique_for_python(elements)}
  end

  defp many(0, _), do: []
  defp many(n, depth), do: for(_ <- 1..n, do: term(depth))

  defp charlist, do: for(_ <- 1..:rand.uniform(20), do: :rand.uniform(256) - 1)

  defp key(depth), do: if(:rand.uniform(4) == 1, do: term(min(depth, 2)), else: leaf())

  defp leaf do
    case :rand.uniform(16) do
      1 ->
        :rand.uniform(512) - 256

      2 ->
        integer(:rand.uniform(80))

      3 ->
        integer(:rand.uniform(3_000))

      4 ->
        Enum.random([
          2 ** 31,
          2 ** 63 - 1,
          2 ** 63,
          2 ** 64 - 1,
          2 ** 64,
          -(2 ** 63),
          -(2 ** 63) - 1
        ])

      5 ->
        float()

      6 ->
        Enum.random([true, false, nil])

      7 ->
        Enum.random(@atoms)

      8 ->
        :crypto.strong_rand_bytes(:rand.uniform(300) - 1)

      9 ->
        text(:rand.uniform(60) - 1)

      10 ->
        Enum.random(["", "a", "\0", "é", "日本", "🐍", <<255>>, <<0xC3>>, <<0xED, 0xA0, 0x80>>])

      11 ->
        Enum.random([self(), make_ref(), hd(Port.list()), List.last(Port.list())])

      12 ->
        Enum.random([&Enum.map/2, &:lists.map/2, fn x -> {x, depth_free()} end])

      13 ->
        bits()

      14 ->
        Enum.random([[], {}, %{}])

      15 ->
        struct_or_nearly()

      16 ->
        n = :rand.uniform(4)
        {:krait_tensor, :u16, {n, 2}, :crypto.strong_rand_bytes(4 * n)}
    end
  end

  # One field in ten is out of range, and makes it a map.
  defp struct_or_nearly do
    date = %{~D[2024-01-01] | year: field(1, 9999), month: field(1, 12), day: field(1, 28)}
    digits = :rand.uniform(7) - 1
    micro = {Enum.random([0, :rand.uniform(999_999)]), digits}
    time = %{~T[00:00:00] | hour: field(0, 23), second: field(0, 59), microsecond: micro}
    naive = Map.merge(time, %{date | __struct__: NaiveDateTime})

    zone =
      Enum.random([
        %{time_zone: "Etc/UTC", zone_abbr: "UTC", utc_offset: 0, std_offset: 0},
        %{time_zone: "Europe/Berlin", zone_abbr: "CET", utc_offset: 3600, std_offset: 0},
        %{time_zone: "Europe/Berlin", zone_abbr: "CEST", utc_offset: 3600, std_offset: 3600},
        %{time_zone: text(3), zone_abbr: text(3), utc_offset: field(-9, 9), std_offset: 0}
      ])

    Enum.random([
      date,
      time,
      naive,
      naive |> Map.merge(zone) |> Map.put(:__struct__, DateTime),
      %{__struct__: Decimal, sign: field(1, 1), coef: integer(90) |> abs(), exp: field(-9, 9)}
    ])
  end

  defp field(low, high),
    do: if(:rand.uniform(10) == 1, do: high + 1, else: Enum.random(low..high))

  defp depth_free, do: :rand.uniform(10)

  defp integer(bits) do
    bytes = :crypto.strong_rand_bytes(div(bits, 8) + 1)
    :binary.decode_unsigned(bytes) * Enum.random([1, -1])
  end

  defp float do
    case :rand.uniform(4) do
      1 -> :rand.normal()
      2 -> Enum.random([0.0, -0.0, 1.0, 5.0e-324, 1.7976931348623157e308, -2.2250738585072014e-308])
      3 -> :rand.uniform() * :math.pow(10, :rand.uniform(600) - 300)
      4 -> random_bits_float()
    end
  end

  defp random_bits_float do
    case :crypto.strong_rand_bytes(8) do
      <<float::float>> -> float
      _not_a_number -> random_bits_float()
    end
  end

  defp text(n) do
    for _ <- 1..n//1, into: "" do
      <<Enum.random([Enum.random(32..126), Enum.random(0xA0..0x7FF), Enum.random(0x10000..0x1FFFF)])::utf8>>
    end
  end

  defp bits do
    size = :rand.uniform(7)
    <<:crypto.strong_rand_bytes(:rand.uniform(20))::binary, 1::size(size)>>
  end

  defp unique_for_python(map) do
    map |> Enum.uniq_by(fn {key, _} -> python_key(key) end) |> Map.new()
  end

  # What a key is to Python's == and hash.
  defp python_key(true), do: {:number, 1}
  defp python_key(false), do: {:number, 0}
  defp python_key(nil), do: nil
  defp python_key(atom) when is_atom(atom), do: {:text, Atom.to_string(atom)}
  defp python_key(n) when is_integer(n), do: {:number, n}

  defp python_key(f) when is_float(f) do
    if trunc(f) == f, do: {:number, trunc(f)}, else: {:number, f}
  end

  defp python_key(text) when is_binary(text) do
    if String.valid?(text), do: {:text, text}, else: {:bytes, text}
  end

  defp python_key(list) when is_list(list), do: {:row, Enum.map(list, &python_key/1)}
  defp python_key(tuple) when is_tuple(tuple), do: python_key(Tuple.to_list(tuple))

  defp python_key(map) when is_map(map) do
    {:map, Enum.sort(for {k, v} <- :maps.to_list(map), do: {python_key(k), python_key(v)})}
  end

  defp python_key(other), do: {:other, other}
end
