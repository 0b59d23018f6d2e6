defmodule Krait.StreamTest do
  # Krait.stream/5 against a scripted pool: what it asks for, and what it leaves behind.
  use ExUnit.Case, async: true

  alias Krait.Error

  # Plays a pool of this BEAM: opens one stream, sends items as they are asked for, never more.
  defmodule Pool do
    def start(script) do
      test = self()
      name = :"pool_#{System.unique_integer([:positive])}"

      spawn_link(fn ->
        Process.register(self(), name)
        send(test, {:started, self()})
        serve(test, script)
      end)

      receive do: ({:started, _} -> {name, node()})
    end

    defp serve(test, script) do
      receive do
        {:"$gen_call", from, {:stream, _, _, _, options}} ->
          if is_tuple(script) and elem(script, 0) == :error do
            GenServer.reply(from, script)
          else
            {owner, _} = from
            stream = spawn(fn -> stream(test, owner, script, Map.new(options)[:demand] || 16) end)
            GenServer.reply(from, {:ok, stream})
          end

          serve(test, script)
      end
    end

    defp stream(test, owner, [:die | _], credit) when credit > 0,
      do: stop(test, owner, :none, :noconnection)

    defp stream(test, owner, [{:error, reason} | _], credit) when credit > 0,
      do: stop(test, owner, {:error, reason}, reason)

    defp stream(test, owner, [], credit) when credit > 0, do: stop(test, owner, :done, :normal)

    defp stream(test, owner, [item | rest], credit) when credit > 0 do
      send(owner, {:krait_stream, self(), {:item, item}})
      stream(test, owner, rest, credit - 1)
    end

    defp stream(test, owner, script, 0) do
      receive do
        {:ask, n} ->
          send(test, {:asked, n})
          stream(test, owner, script, n)

        {:cancel} ->
          send(test, :cancelled)
          stop(test, owner, :done, :normal)
      end
    end

    defp stop(_, owner, message, reason) do
      if message != :none, do: send(owner, {:krait_stream, self(), message})
      exit(reason)
    end
  end

  # Everything that came to this process and is not of the scripted pool.
  defp left_behind do
    {:messages, messages} = Process.info(self(), :messages)
    Enum.reject(messages, &(match?({:asked, _}, &1) or &1 == :cancelled))
  end

  test "all items come, in order, and nothing stays in the mailbox" do
    pool = Pool.start(Enum.to_list(1..100))
    assert Krait.stream(pool, "m", "f") |> Enum.to_list() == Enum.to_list(1..100)
    assert left_behind() == []
  end

  test "nothing is opened before it is enumerated, and then an absent node is an error" do
    stream = Krait.stream({:default, :"nowhere@127.0.0.1"}, "m", "f")
    error = assert_raise Error, fn -> Enum.to_list(stream) end
    assert error.kind == :nodedown
  end

  test "no more than the demand is ever under way" do
    pool = Pool.start(Enum.to_list(1..50))

    for {item, seen} <- Enum.with_index(Krait.stream(pool, "m", "f", [], demand: 4), 1) do
      assert item == seen
    end

    {:messages, messages} = Process.info(self(), :messages)
    asked = for {:asked, n} <- messages, do: n
    assert Enum.all?(asked, &(&1 in 1..4))
    assert 4 + Enum.sum(asked) <= 50 + 4
  end

  test "a demand of nothing asks when it is enumerated, as if none were given" do
    pool = Pool.start(Enum.to_list(1..40))
    assert Krait.stream(pool, "m", "f", [], demand: 0) |> Enum.to_list() == Enum.to_list(1..40)
    assert_received {:asked, 16}
  end

  test "who stops early cancels the stream and leaves no message behind" do
    pool = Pool.start(Stream.cycle([:x]) |> Enum.take(1000))
    assert Krait.stream(pool, "m", "f", [], demand: 4) |> Enum.take(3) == [:x, :x, :x]
    assert_received :cancelled
    assert left_behind() == []
  end

  test "a consumer that raises cancels it too" do
    pool = Pool.start(Enum.to_list(1..1000))

    assert_raise RuntimeError, "enough", fn ->
      Krait.stream(pool, "m", "f", [], demand: 2) |> Enum.each(fn _ -> raise "enough" end)
    end

    assert_received :cancelled
    assert left_behind() == []
  end

  test "an error at the start is raised" do
    pool = Pool.start({:error, {:no_function, "m", "f"}})

    error = assert_raise Error, fn -> Krait.stream(pool, "m", "f") |> Enum.to_list() end

    assert error.reason == {:no_function, "m", "f"}
    assert error.call == {"m", "f"}
  end

  test "an error in the middle is raised after the items before it" do
    pool = Pool.start([1, 2, {:error, {:timeout, :call}}])
    test = self()

    error =
      assert_raise Error, fn ->
        Krait.stream(pool, "m", "f") |> Enum.each(&send(test, {:got, &1}))
      end

    assert error.kind == :timeout
    assert_received {:got, 1}
    assert_received {:got, 2}
    assert left_behind() == []
  end

  test "a node that vanishes is an error, not an endless wait" do
    pool = Pool.start([1, :die])

    assert_raise Error, fn -> Krait.stream(pool, "m", "f") |> Enum.to_list() end
    assert left_behind() == []
  end

  test "streams within streams keep their items apart" do
    inner = Pool.start([:a, :b])
    outer = Pool.start([1, 2, 3])

    pairs =
      for n <- Krait.stream(outer, "m", "f", [], demand: 1), x <- Krait.stream(inner, "m", "f") do
        {n, x}
      end

    assert pairs == [{1, :a}, {1, :b}, {2, :a}, {2, :b}, {3, :a}, {3, :b}]
    assert left_behind() == []
  end

  test "it works in tasks, each the owner of its own stream" do
    pool = Pool.start([1, 2, 3])

    sums =
      1..4
      |> Task.async_stream(fn _ -> Krait.stream(pool, "m", "f") |> Enum.sum() end)
      |> Enum.map(fn {:ok, sum} -> sum end)

    assert sums == [6, 6, 6, 6]
  end
end
