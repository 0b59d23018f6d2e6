defmodule Krait.Ports do
  @moduledoc """
  TCP ports for what must know its port beforehand, or must find nobody there.

  Outside of the range that the kernel gives to those who leave the choice to it: what was free when we looked
  is not taken by chance meanwhile.
  """

  @range "/proc/sys/net/ipv4/ip_local_port_range"

  @doc "A port of 127.0.0.1 that nobody listens at."
  @spec free() :: :inet.port_number()
  def free do
    port = Enum.random(candidates())

    case :gen_tcp.listen(port, ip: {127, 0, 0, 1}) do
      {:ok, socket} ->
        :ok = :gen_tcp.close(socket)
        port

      {:error, _} ->
        free()
    end
  end

  defp candidates do
    [low, high] = @range |> File.read!() |> String.split() |> Enum.map(&String.to_integer/1)
    if low > 20_000, do: 10_000..(low - 1), else: (high + 1)..65_000
  end
end
