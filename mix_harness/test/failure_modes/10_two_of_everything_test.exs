defmodule Krait.FailureMode10Test do
  use Krait.Case, async: true

  test "failure mode 10, two of everything: two nodes with different pools never mix" do
    a = start_node(size: 2, pool: :reds, env: %{"KRAIT_TEST_WORD" => "red"})
    b = start_node(size: 2, pool: :blues, env: %{"KRAIT_TEST_WORD" => "blue"})
    word = {:call, :krait_faults, :env, ["KRAIT_TEST_WORD"]}

    answers =
      for i <- 1..400 do
        node = if rem(i, 2) == 0, do: a, else: b

        Task.async(fn -> {node.name, ask(node, word), Krait.call(node.instance, "os", "getpid")} end)
      end
      |> Task.await_many(30_000)

    for {name, {:ok, word}, {:ok, os_pid}} <- answers do
      assert word == if(name == a.name, do: "red", else: "blue")
      assert os_pid in os_pids(if(name == a.name, do: a, else: b))
    end

    lease = lease!(a)
    assert exit_reason(fn -> GenServer.call({:reds, b.name}, :ping) end) == :noproc
    assert Krait.stop(b.instance) == :ok
    assert ask(lease, word) == {:ok, "red"}
    assert ask(lease, :checkin) == :ok
    await_rest(a)
  end

  test "failure mode 10, two of everything: an absent node is one clear error within a second" do
    absent = TestNode.unique_name()
    {ms, answer} = timed(fn -> Krait.call(absent, "math", "sqrt", [4.0]) end)
    assert {:error, %Error{kind: :nodedown, reason: {:nodedown, ^absent}} = error} = answer
    assert ms < 1_000
    assert Exception.message(error) =~ "no connection to #{absent}"
    assert Krait.ping({:default, absent}) |> elem(0) == :error
    assert exit_reason(fn -> GenServer.call({:default, absent}, :ping) end) == {:nodedown, absent}
    assert :krait.checkout(absent) == {:error, {:nodedown, absent}}
    assert Krait.cast(absent, "math", "sqrt", [4.0]) == :ok
  end
end
