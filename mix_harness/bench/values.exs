defmodule Bench.Values do
  @moduledoc "What is sent: one small map for the calls, and payloads from it to 16 MB."

  # Not UTF-8 from its first byte on, so that it is `bytes` in Python on every side.
  @not_text <<0xFF>>

  @doc "The small map that everything echoes; 64 bytes in the external term format."
  def small, do: %{"id" => 42, "name" => "Bungarus caeruleus", "values" => [1, 2, 3]}

  @doc "A payload by its name."
  def payload("64 B map"), do: small()
  def payload("1 KB"), do: binary(1_000)
  def payload("64 KB"), do: binary(64_000)
  def payload("1 MB"), do: binary(1_000_000)
  def payload("16 MB"), do: binary(16_000_000)
  def payload("nested"), do: nested(1_000)

  @doc "All names, in the order of the tables."
  def names, do: ["64 B map", "1 KB", "64 KB", "1 MB", "16 MB", "nested"]

  # The same bytes in every run, and none that compress or repeat within a cache line.
  defp binary(size) do
    :rand.seed(:exsss, {1, 2, 3})

    block =
      for _ <- 1..div(min(size, 64_000) + 7, 8), into: "", do: <<:rand.uniform(0xFFFFFFFF)::64>>

    times = div(size, byte_size(block)) + 1
    @not_text <> binary_part(:binary.copy(block, times), 0, size - 1)
  end

  # Ten elements a row.
  defp nested(rows) do
    for i <- 1..rows do
      %{
        "id" => i,
        "name" => "row number #{i}",
        "price" => i * 0.25,
        "live" => rem(i, 2) == 0,
        "tags" => ["first", "second", "third"],
        "at" => [i / 7, -i / 3, i * 1.5]
      }
    end
  end

  @doc "Bytes of a payload: of a binary its own, of anything else those of its external term."
  def bytes(value) when is_binary(value), do: byte_size(value)
  def bytes(value), do: :erlang.external_size(value)
end
