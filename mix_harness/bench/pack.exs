defmodule Bench.Pack do
  @moduledoc """
  As much msgpack as the benchmark's values need, since Elixir has none without a package: what a port's
  caller does who would rather have terms than bytes. Numbers take their shortest form, as in Python's
  msgpack, so that an echo is the same bytes. Binaries that are text become `str`, others `bin`.
  """

  @doc "A value as iodata; a large binary in it is not copied."
  def encode(value) when is_binary(value) do
    if String.valid?(value), do: [str_head(byte_size(value)), value], else: bin(value)
  end

  def encode(nil), do: <<0xC0>>
  def encode(false), do: <<0xC2>>
  def encode(true), do: <<0xC3>>
  def encode(value) when is_float(value), do: <<0xCB, value::float-64>>
  def encode(value) when is_integer(value), do: integer(value)

  def encode(list) when is_list(list),
    do: [head(length(list), 0x90, 0xDC) | Enum.map(list, &encode/1)]

  def encode(map) when is_map(map),
    do: [head(map_size(map), 0x80, 0xDE) | Enum.map(map, fn {k, v} -> [encode(k), encode(v)] end)]

  defp integer(n) when n in 0..127, do: <<n>>
  defp integer(n) when n in -32..-1, do: <<n::signed-8>>
  defp integer(n) when n in 0..0xFF, do: <<0xCC, n>>
  defp integer(n) when n in 0..0xFFFF, do: <<0xCD, n::16>>
  defp integer(n) when n in 0..0xFFFFFFFF, do: <<0xCE, n::32>>

  defp str_head(n) when n < 32, do: <<0xA0 + n>>
  defp str_head(n) when n < 0x100, do: <<0xD9, n>>
  defp str_head(n) when n < 0x10000, do: <<0xDA, n::16>>
  defp str_head(n), do: <<0xDB, n::32>>

  defp bin(value) when byte_size(value) < 0x100, do: [<<0xC4, byte_size(value)>>, value]
  defp bin(value) when byte_size(value) < 0x10000, do: [<<0xC5, byte_size(value)::16>>, value]
  defp bin(value), do: [<<0xC6, byte_size(value)::32>>, value]

  defp head(n, short, _) when n < 16, do: <<short + n>>
  defp head(n, _, long) when n < 0x10000, do: <<long, n::16>>
  defp head(n, _, long), do: <<long + 1, n::32>>

  @doc "The value at the front of some bytes, and the rest of them. Binaries are parts of the bytes."
  def decode(<<n, rest::binary>>) when n < 0x80, do: {n, rest}
  def decode(<<n, rest::binary>>) when n >= 0xE0, do: {n - 0x100, rest}
  def decode(<<5::3, n::5, value::binary-size(n), rest::binary>>), do: {value, rest}
  def decode(<<8::4, n::4, rest::binary>>), do: pairs(rest, n, [])
  def decode(<<9::4, n::4, rest::binary>>), do: elements(rest, n, [])
  def decode(<<0xC0, rest::binary>>), do: {nil, rest}
  def decode(<<0xC2, rest::binary>>), do: {false, rest}
  def decode(<<0xC3, rest::binary>>), do: {true, rest}
  def decode(<<0xCB, value::float-64, rest::binary>>), do: {value, rest}
  def decode(<<0xCC, n, rest::binary>>), do: {n, rest}
  def decode(<<0xCD, n::16, rest::binary>>), do: {n, rest}
  def decode(<<0xCE, n::32, rest::binary>>), do: {n, rest}

  def decode(<<t, n, value::binary-size(n), rest::binary>>) when t in [0xC4, 0xD9],
    do: {value, rest}

  def decode(<<t, n::16, value::binary-size(n), rest::binary>>) when t in [0xC5, 0xDA],
    do: {value, rest}

  def decode(<<t, n::32, value::binary-size(n), rest::binary>>) when t in [0xC6, 0xDB],
    do: {value, rest}

  def decode(<<0xDC, n::16, rest::binary>>), do: elements(rest, n, [])
  def decode(<<0xDD, n::32, rest::binary>>), do: elements(rest, n, [])
  def decode(<<0xDE, n::16, rest::binary>>), do: pairs(rest, n, [])

  defp elements(rest, 0, list), do: {Enum.reverse(list), rest}

  defp elements(bytes, n, list) do
    {value, rest} = decode(bytes)
    elements(rest, n - 1, [value | list])
  end

  defp pairs(rest, 0, list), do: {Map.new(list), rest}

  defp pairs(bytes, n, list) do
    {key, rest} = decode(bytes)
    {value, rest} = decode(rest)
    pairs(rest, n - 1, [{key, value} | list])
  end

  @doc "The node's CALL frame (include/frame.h) without its length, as echo_loop.py takes it."
  def request(value),
    do: [<<0x97, 1, 0, 0xAA, "bench_echo", 0xA4, "echo", 0x91>>, encode(value), 0x80, 0xC0]

  @doc "The RESULT frame that answers it."
  def answer(value), do: [<<0x93, 2, 0>>, encode(value)]

  @doc "The value in a RESULT frame."
  def result(<<0x93, 2, 0, value::binary>>) do
    {value, ""} = decode(value)
    value
  end
end
