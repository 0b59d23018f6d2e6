defmodule Krait.InputTest do
  # The process behind an input, asked as Python asks it.
  use ExUnit.Case, async: true

  defp next(pid, n), do: GenServer.call(pid, {:krait_input, :next, n})

  test "it hands out at most as many items as are asked for, then says done" do
    {:krait_input, pid} = Krait.Input.new([1, 2, 3, 4, 5])
    assert next(pid, 2) == {:items, [1, 2]}
    assert next(pid, 10) == {:items, [3, 4, 5]}
    assert next(pid, 10) == :done
    assert next(pid, 10) == :done
  end

  test "it takes no more from the enumerable than it was asked for" do
    test = self()
    endless = Stream.repeatedly(fn -> send(test, :taken) end)
    {:krait_input, pid} = Krait.Input.new(endless)
    assert next(pid, 3) == {:items, [:taken, :taken, :taken]}
    for _ <- 1..3, do: assert_received(:taken)
    refute_received :taken
  end

  test "an empty enumerable is done at once" do
    {:krait_input, pid} = Krait.Input.new([])
    assert next(pid, 1) == :done
  end

  test "an enumerable that raises is an error with its message" do
    {:krait_input, pid} = Krait.Input.new(Stream.map([1], fn _ -> raise "no more data" end))
    assert next(pid, 1) == {:error, "no more data"}
    assert next(pid, 1) == :done
  end

  test "what raises is told after the items that came before it" do
    {:krait_input, pid} =
      Krait.Input.new(Stream.map(1..9, fn n -> if n > 3, do: raise("no more data"), else: n end))

    assert next(pid, 2) == {:items, [1, 2]}
    assert next(pid, 16) == {:items, [3]}
    assert next(pid, 16) == {:error, "no more data"}
    assert next(pid, 16) == :done
  end

  test "one that is at its end does not stay for ever" do
    {:krait_input, pid} = Krait.Input.new([1])
    assert next(pid, 5) == {:items, [1]}
    # Its end is still to be told.
    send(pid, :timeout)
    assert next(pid, 5) == :done
    assert next(pid, 5) == :done
    monitor = Process.monitor(pid)
    send(pid, :timeout)
    assert_receive {:DOWN, ^monitor, :process, _, :normal}
  end

  test "it ends with its owner, and lets go of the enumerable" do
    test = self()

    resource = Stream.resource(fn -> :open end, &{[&1], &1}, fn _ -> send(test, :closed) end)

    owner =
      spawn(fn ->
        {_, pid} = Krait.Input.new(resource)
        send(test, {:input, pid})
        receive do: (:stop -> :ok)
      end)

    assert_receive {:input, pid}
    assert next(pid, 1) == {:items, [:open]}
    monitor = Process.monitor(pid)
    send(owner, :stop)
    assert_receive {:DOWN, ^monitor, :process, _, :normal}
    assert_received :closed
  end

  test "another question is an error, and it goes on" do
    {:krait_input, pid} = Krait.Input.new([1])
    assert {:error, _} = GenServer.call(pid, :hello)
    assert {:error, _} = next(pid, 0)
    assert next(pid, 1) == {:items, [1]}
  end
end
