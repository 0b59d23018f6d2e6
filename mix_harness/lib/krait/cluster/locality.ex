defmodule Krait.Cluster.Locality do
  @moduledoc false
  # Is a node on this host? By its name: the host in it is our own, or one of this machine's addresses.

  @spec local?(node, nil | (node -> boolean)) :: boolean
  def local?(node, nil) do
    host = host(node)
    host == host(node()) or address?(host)
  end

  def local?(node, fun), do: fun.(node) == true

  defp host(node) do
    case String.split(Atom.to_string(node), "@", parts: 2) do
      [_, host] -> host
      [name] -> name
    end
  end

  defp address?(host) do
    with {:ok, address} <- :inet.getaddr(String.to_charlist(host), :inet) do
      loopback?(address) or address in own()
    else
      _ -> false
    end
  end

  defp loopback?({127, _, _, _}), do: true
  defp loopback?(_), do: false

  defp own do
    case :inet.getifaddrs() do
      {:ok, interfaces} -> for {_, options} <- interfaces, {:addr, address} <- options, do: address
      {:error, _} -> []
    end
  end
end
