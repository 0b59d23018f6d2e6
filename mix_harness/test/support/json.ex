defmodule Krait.Json do
  @moduledoc "Reads JSON, strictly: OTP 25 has no library for it."

  @doc "Raises on anything that is not exactly one JSON text."
  @spec parse!(binary) :: term
  def parse!(text) do
    {value, rest} = value(skip(text))
    "" = skip(rest)
    value
  end

  defp skip(<<c, rest::binary>>) when c in ' \t\r\n', do: skip(rest)
  defp skip(text), do: text

  defp value("{" <> rest), do: object(skip(rest), %{})
  defp value("[" <> rest), do: array(skip(rest), [])
  defp value("\"" <> rest), do: string(rest, [])
  defp value("true" <> rest), do: {true, rest}
  defp value("false" <> rest), do: {false, rest}
  defp value("null" <> rest), do: {nil, rest}

  defp value(text) do
    [number] = Regex.run(~r/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/, text)
    rest = binary_part(text, byte_size(number), byte_size(text) - byte_size(number))
    {number(number), rest}
  end

  defp number(text) do
    case Integer.parse(text) do
      {integer, ""} -> integer
      _ -> text |> Float.parse() |> elem(0)
    end
  end

  defp object("}" <> rest, map), do: {map, rest}

  defp object("\"" <> rest, map) do
    {key, rest} = string(rest, [])
    ":" <> rest = skip(rest)
    {value, rest} = value(skip(rest))
    false = Map.has_key?(map, key)
    map = Map.put(map, key, value)

    case skip(rest) do
      "}" <> rest -> {map, rest}
      "," <> rest -> object(skip(rest), map)
    end
  end

  defp array("]" <> rest, []), do: {[], rest}

  defp array(text, values) do
    {value, rest} = value(text)

    case skip(rest) do
      "]" <> rest -> {Enum.reverse([value | values]), rest}
      "," <> rest -> array(skip(rest), [value | values])
    end
  end

  defp string("\"" <> rest, parts), do: {parts |> Enum.reverse() |> IO.iodata_to_binary(), rest}

  defp string(<<"\\u", hex::binary-size(4), rest::binary>>, parts) do
    case String.to_integer(hex, 16) do
      high when high in 0xD800..0xDBFF ->
        <<"\\u", low::binary-size(4), rest::binary>> = rest
        low = String.to_integer(low, 16)
        string(rest, [<<0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00::utf8>> | parts])

      code ->
        string(rest, [<<code::utf8>> | parts])
    end
  end

  defp string(<<"\\", c, rest::binary>>, parts) do
    meaning =
      Map.fetch!(%{?" => "\"", ?\\ => "\\", ?/ => "/", ?n => "\n", ?t => "\t", ?r => "\r"}, c)

    string(rest, [meaning | parts])
  end

  defp string(<<c::utf8, rest::binary>>, parts) when c >= 0x20,
    do: string(rest, [<<c::utf8>> | parts])
end
