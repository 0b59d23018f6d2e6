defmodule Krait.PoolsFaceTest do
  # Several pools in one node, and all options of the node, as start_link/1 takes them.
  use Krait.Case, async: true

  alias Krait.Cluster

  test "every option of the command line is an option of start_link" do
    {words, 0} = System.cmd(System.fetch_env!("KRAIT_BIN"), ["--help-words"])

    flags =
      for line <- String.split(words, "\n", trim: true) do
        ["--" <> flag | _] = String.split(line, "\t")
        String.replace(flag, "-", "_")
      end

    keys = Enum.map(:krait_options.keys(), &Atom.to_string/1)
    ours = ~w(sname stop_on_eof)
    assert (flags -- ours) -- keys == []
    assert "worker_env" in keys
  end

  test "pools have their options, share others, and are addressed by name" do
    node =
      start_node(
        size: 1,
        call_timeout: 2_000,
        pools: [one: [size: 1..2], two: %{size: 2, allow: ["math"], call_timeout: 3_000}]
      )

    one = {:one, node.name}
    two = {:two, node.name}
    assert Krait.call(one, "operator", "neg", [1]) == {:ok, -1}
    assert Krait.call(two, "math", "sqrt", [4.0]) == {:ok, 2.0}
    assert {:error, %Error{kind: :not_allowed}} = Krait.call(two, "operator", "neg", [1])
    assert {:error, %Error{kind: :noproc}} = Krait.call(node.name, "math", "sqrt", [4.0])
    {:ok, %{pools: %{one: %{size: 1}, two: %{size: 2}}}} = Krait.status({:krait, node.name})
    # The instance's calls go to `default`; where there is none, to the first.
    assert Krait.pool(node.instance) == one

    assert {:ok, lease} = Krait.checkout_lease(two)
    assert {:error, %Error{kind: :not_allowed}} = Krait.call(lease, "operator", "neg", [1])
    assert :ok = Krait.checkin(lease)
    assert Enum.to_list(Krait.stream(one, "builtins", "range", [3])) == [0, 1, 2]

    assert :ok = Krait.pause(two)
    assert Krait.call(one, "operator", "neg", [1]) == {:ok, -1}
    assert :ok = Krait.resume(two)
    assert :ok = Krait.resize(two, 1)
    assert :ok = Krait.drain(one)
    assert {:error, %Error{kind: :draining}} = Krait.call(one, "operator", "neg", [1])
    assert Krait.call(two, "math", "sqrt", [4.0]) == {:ok, 2.0}
    assert :ok = Krait.resume(one)
    assert :ok = Krait.reload(two)
    {:ok, workers} = Krait.workers(one)
    assert :ok = Krait.recycle(one, hd(workers).id)
    assert :ok = Krait.await_ready({:krait, node.name})
  end

  test "a worker's id is that of one worker of the node, whatever its pool" do
    node = start_node(size: 2, pools: [one: [], two: []])
    all = {:krait, node.name}
    assert :ok = Krait.await_ready(all)
    {:ok, workers} = Krait.workers(all)
    ids = Enum.map(workers, & &1.id)
    assert length(Enum.uniq(ids)) == 4

    {:ok, [mine | _]} = Krait.workers({:two, node.name})
    assert :ok = Krait.kill(all, mine.id)
    {:ok, now} = Krait.workers(all)
    serving = for w <- now, w.state == :idle, w.id in ids, do: w.id
    assert Enum.sort([mine.id | serving]) == Enum.sort(ids)
  end

  test "one of several pools can be left out of a cluster, or be one of its own" do
    node = start_node(size: 1, pools: [default: [], numbers: [allow: ["math"]]])

    for {name, pool} <- [all: :default, few: :numbers] do
      start_supervised!({Cluster, name: name, pool: pool, nodes: [node.name], interval: 50},
        id: name
      )
    end

    assert Cluster.call(:all, "operator", "neg", [1]) == {:ok, -1}
    assert {:error, %Error{kind: :not_allowed}} = Cluster.call(:few, "operator", "neg", [1])
    assert {:ok, _} = Cluster.call(:few, "math", "sqrt", [4], session: 1)
    assert {:ok, []} = Krait.sessions({:default, node.name})
    assert {:ok, [%{id: 1}]} = Krait.sessions({:numbers, node.name})
    # The pools of one node are drained apart.
    assert :ok = Krait.drain({:numbers, node.name})

    assert {:error, %Error{kind: :session_lost}} =
             Cluster.call(:few, "math", "sqrt", [4], session: 1)

    assert {:error, %Error{kind: :draining}} = Cluster.call(:few, "math", "sqrt", [4])
    assert Cluster.call(:all, "operator", "neg", [1]) == {:ok, -1}
  end

  test "wrong pools are refused with what was got" do
    for {options, words} <- [
          {[pools: []], "option pools: expected a list or map of {Name, Options}, at least one"},
          {[pools: [:a]], "option pools"},
          {[pools: [a: 1]], "option pools"},
          {[pools: [a: [listen: "127.0.0.1"]]], "option listen: expected one of size, "},
          {[pools: [a: [size: 0]]], "option size: expected an integer of at least 1"},
          {[pools: [a: [size: 3..2//-1]]], "option size"},
          {[pools: [a: []], pool: :b], "option pool: expected none beside the option pools"},
          {[worker_env: [1]], "option worker_env"},
          {[rlimit_as: -1], "or infinity"}
        ] do
      assert {:error, %Error{} = error} = Krait.start_link(options)
      assert Exception.message(error) =~ words
    end
  end
end
