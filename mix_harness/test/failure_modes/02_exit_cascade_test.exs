defmodule Krait.FailureMode02Test do
  use Krait.Case, async: true

  # A supervisor with two linked callers (one in a call, one with a linked lease), beside a bystander
  # of each kind that has nothing to do with them.
  defp family(pool) do
    parent = self()

    supervisor =
      spawn(fn ->
        calling = spawn_link(fn -> ask(pool, eval(sleep(60)), :infinity) end)

        holding =
          spawn_link(fn ->
            {:ok, lease} = ask(pool, {:checkout, :anonymous})
            Process.link(lease)
            send(parent, {:holds, self(), lease})
            receive do: (:never -> :ok)
          end)

        send(parent, {:family, calling, holding})
        receive do: (:never -> :ok)
      end)

    assert_receive {:family, calling, holding}, 5_000
    assert_receive {:holds, ^holding, lease}, 5_000
    %{supervisor: supervisor, calling: calling, holding: holding, lease: lease}
  end

  defp bystander(pool) do
    parent = self()

    spawn(fn ->
      {:ok, lease} = ask(pool, {:checkout, :anonymous})
      send(parent, {:bystander, self()})
      serve(lease, pool)
    end)
    |> tap(fn pid -> assert_receive {:bystander, ^pid}, 5_000 end)
  end

  defp serve(lease, pool) do
    receive do
      {:ask, from} ->
        send(
          from,
          {:said, self(), Krait.call(lease, "math", "sqrt", [4.0]),
           Krait.call(pool, "math", "sqrt", [9.0])}
        )

        serve(lease, pool)
    end
  end

  defp said(bystander) do
    send(bystander, {:ask, self()})
    assert_receive {:said, ^bystander, on_lease, on_pool}, 10_000
    {on_lease, on_pool}
  end

  defp owner(options) do
    parent = self()

    owner =
      spawn(fn ->
        {:ok, instance} = Krait.start_link(options)
        send(parent, {:started, self(), Krait.pool(instance)})
        receive do: (:never -> :ok)
      end)

    assert_receive {:started, ^owner, pool}, 20_000
    {owner, pool}
  end

  for order <- [
        [:supervisor, :caller, :owner],
        [:supervisor, :owner, :caller],
        [:caller, :supervisor, :owner],
        [:caller, :owner, :supervisor],
        [:owner, :supervisor, :caller],
        [:owner, :caller, :supervisor]
      ] do
    @order order
    test "failure mode 2, exit cascade: #{Enum.join(order, ", then ")} die, and nobody else does" do
      collector = Krait.Collector.start(nil)
      on_exit(fn -> Krait.Collector.stop(collector) end)
      options = Keyword.merge(TestNode.defaults(collector), size: 5)
      {owner, pool} = owner(options)
      family = family(pool)
      innocent = bystander(pool)
      watch = Process.monitor(innocent)
      {:ok, _} = ask(pool, {:call, :math, :sqrt, [4.0]})

      for {who, nth} <- Enum.with_index(@order) do
        case who do
          :supervisor -> kill(family.supervisor)
          :caller -> kill(family.calling)
          :owner -> kill(owner)
        end

        owner_gone = :owner in Enum.take(@order, nth + 1)

        if owner_gone do
          assert Proc.await_none(options[:name]) == []
          assert {{:error, %Error{}}, {:error, %Error{kind: :nodedown}}} = said(innocent)
        else
          assert said(innocent) == {{:ok, 2.0}, {:ok, 3.0}}
        end

        refute_received {:DOWN, ^watch, _, _, _}
      end

      # The linked ones went with their supervisor, as links do.
      for pid <- [family.supervisor, family.calling, family.holding] do
        ref = Process.monitor(pid)
        assert_receive {:DOWN, ^ref, _, _, _}, 5_000
      end

      assert Process.alive?(innocent)
      kill(innocent)
    end
  end
end
