defmodule Bench.Json do
  @moduledoc "Numbers and names of a run as JSON and back: OTP 25 has no library for it."

  @doc "JSON text, an element a line down to `depth`, so that two runs can be told apart by eye."
  def encode(value, depth \\ 4), do: value |> text(depth, "\n") |> IO.iodata_to_binary()

  defp text(map, depth, line) when is_map(map) do
    map
    |> Enum.map(fn {key, value} -> {name(key), value} end)
    |> Enum.sort()
    |> Enum.map(fn {key, value} -> [string(key), ": ", text(value, depth - 1, line <> "  ")] end)
    |> between("{", "}", depth, line)
  end

  defp text(list, depth, line) when is_list(list) do
    list |> Enum.map(&text(&1, depth - 1, line <> "  ")) |> between("[", "]", min(depth, 0), line)
  end

  defp text(value, _, _) when is_boolean(value), do: "#{value}"
  defp text(nil, _, _), do: "null"
  defp text(value, _, _) when is_float(value), do: :erlang.float_to_binary(value, decimals: 3)
  defp text(value, _, _) when is_integer(value), do: Integer.to_string(value)
  defp text(value, _, _) when is_atom(value), do: string(Atom.to_string(value))
  defp text(value, _, _) when is_binary(value), do: string(value)

  defp name(key) when is_binary(key), do: key
  defp name(key), do: to_string(key)

  defp between([], open, close, _, _), do: [open, close]

  defp between(parts, open, close, depth, line) when depth > 0,
    do: [open, line, "  ", Enum.intersperse(parts, [",", line, "  "]), line, close]

  defp between(parts, open, close, _, _), do: [open, Enum.intersperse(parts, ", "), close]

  defp string(text), do: [?", for(<<c::utf8 <- text>>, do: escaped(c)), ?"]

  defp escaped(?"), do: "\\\""
  defp escaped(?\\), do: "\\\\"
  defp escaped(c) when c < 0x20, do: "\\u" <> String.pad_leading(Integer.to_string(c, 16), 4, "0")
  defp escaped(c), do: <<c::utf8>>

  @doc "What `encode/1` has written; keys are strings."
  defdelegate decode(text), to: Krait.Json, as: :parse!
end
