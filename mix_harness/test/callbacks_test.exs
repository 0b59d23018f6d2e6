defmodule Krait.CallbacksTest do
  # Sections 5 of the contract: Python calls processes of the cluster.
  use Krait.Case, async: true

  # A gen_server in a few lines, told by its test what to do.
  defmodule Server do
    use GenServer

    def init(parent), do: {:ok, parent}

    def handle_call({:echo, term}, _from, parent), do: {:reply, term, parent}

    def handle_call({:held, tag}, from, parent) do
      send(parent, {:held, tag, from})
      {:noreply, parent}
    end

    def handle_call({:stop, reason}, _from, parent), do: {:stop, reason, parent}

    def handle_call({:ask, pool, request}, _from, parent) do
      {:reply, GenServer.call(pool, request), parent}
    end
  end

  defp server(options \\ []) do
    {:ok, pid} = GenServer.start(Server, self(), options)
    on_exit(fn -> if Process.alive?(pid), do: Process.exit(pid, :kill) end)
    pid
  end

  defp back(function, args, options \\ []),
    do: {:call, :krait_callbacks, function, args, options}

  test "a call to a pid, a name, and a name on a node is answered as GenServer.call answers" do
    node = start_node()
    name = :"server_#{System.unique_integer([:positive])}"
    pid = server(name: name)
    terms = [1, "text", :atom, {:a, [1, 2.5, %{"k" => nil}]}, pid, make_ref(), <<255>>]

    for term <- terms, dest <- [pid, name, {name, node()}, [name, to_string(node())]] do
      assert ask(node, back(:call, [dest, {:echo, term}])) == {:ok, term}
    end

    await_rest(node)
  end
end
