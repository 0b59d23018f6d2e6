defmodule Krait.CancelTest do
  # Requests that an operator ends by their ids.
  use Krait.Case, async: true

  import Krait.Ctl

  alias Krait.Gate

  @error 1

  describe "cancel" do
    test "ends what waits, at once" do
      node = start_node(size: 1)
      gate = Gate.new()
      caller(:runs, node, eval(Gate.behind(gate, "1")))
      await_running(node, 1)
      caller(:waits, node, eval("2"))
      await_queued(node, 1)
      [_, %{"id" => id}] = json(node, ["requests"])
      assert ctl!(node, ["cancel", "#{id}"]) == "cancelled\n"
      assert_receive {:waits, {:error, :cancelled}}, 5_000
      assert {@error, "", says} = ctl(node, ["cancel", "#{id}"])
      assert says == "kraitctl: there is no request #{id}\n"
      Gate.open(gate)
      assert_receive {:runs, {:ok, _}}, 5_000
      await_rest(node)
      assert totals(node).cancelled == 1
    end

    test "ends what runs, as the pool's abandon says" do
      for abandon <- [:kill, :interrupt, :finish] do
        node = start_node(size: 1, abandon: abandon)
        gate = Gate.new()
        [pid] = os_pids(node)
        caller(abandon, node, eval(Gate.behind(gate, "1")))
        await_running(node, 1)
        {:ok, [%{id: id}]} = ask(node, :requests)
        assert ask({:krait, node.name}, {:cancel, id}) == :ok
        assert_receive {^abandon, {:error, :cancelled}}, 5_000
        Gate.open(gate)
        await_rest(node)
        assert pid in os_pids(node) == (abandon != :kill)
      end
    end

    test "a stream, a checkout, a verb that waits" do
      node = start_node(size: 1)
      {:ok, stream} = ask(node, {:stream, "builtins", "range", [1_000_000]})
      caller(:checkout, node, {:checkout, :anonymous})
      await_queued(node, 1)
      caller(:drain, node, :drain)
      eventually(length(elem(ask(node, :requests), 1)) == 3)
      {:ok, requests} = ask(node, :requests)

      for %{id: id, verb: verb} <- Enum.reverse(requests),
          do: assert({verb, ask(node, {:cancel, id})} == {verb, :ok})

      assert_receive {:krait_stream, ^stream, {:error, :cancelled}}, 5_000
      assert_receive {:checkout, {:error, :cancelled}}, 5_000
      assert_receive {:drain, {:error, :cancelled}}, 5_000
      assert ask(node, :resume) == :ok
      await_rest(node)
    end

    test "rpc hears it as an error" do
      node = start_node(size: 1, rpc: true)
      parent = self()
      spawn(fn -> send(parent, {:rpc, :rpc.call(node.name, :time, :sleep, [60])}) end)
      await_running(node, 1)
      {:ok, [%{id: id, module: :time, function: :sleep}]} = ask(node, :requests)
      assert ask(node, {:cancel, id}) == :ok
      assert_receive {:rpc, {:badrpc, {:EXIT, {:cancelled, _}}}}, 5_000
    end
  end
end
