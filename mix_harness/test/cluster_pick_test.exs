defmodule Krait.ClusterPickTest do
  # Which node is next: pure, with chance that is scripted.
  use ExUnit.Case, async: true

  alias Krait.Cluster.{Pick, Report, Row}

  defp row(name, changes \\ []) do
    %Row{address: {:default, :"#{name}@h"}, state: :up, sessions: true, capacity: 4}
    |> Row.fresh()
    |> struct!(changes)
  end

  defp picked(rows, options \\ []) do
    tried = for name <- options[:tried] || [], do: {:default, :"#{name}@h"}
    # The n-th of those that are left, however many; then the one behind it.
    random = options[:random] || fn _ -> 1 end

    case Pick.any(rows, tried, options[:spill] || 1.0, random) do
      {:ok, %{address: {_, node}}} -> node |> Atom.to_string() |> String.first()
      :none -> :none
    end
  end

  test "the less loaded one of two is taken, whichever is drawn first" do
    rows = [row("a", running: 3), row("b", running: 1)]
    assert picked(rows, random: fn _ -> 1 end) == "b"
    assert picked(rows, random: fn n -> n end) == "b"
  end

  test "two different ones are drawn, each pair as often" do
    rows = for name <- ~w(a b c), do: row(name)
    :rand.seed(:exsss, 7)
    counts = Enum.frequencies(for _ <- 1..3000, do: picked(rows, random: &:rand.uniform/1))
    for {_, count} <- counts, do: assert_in_delta(count, 1000, 150)
    # The most loaded one is never the better one of two.
    rows = [row("a", running: 9), row("b"), row("c")]
    refute "a" in for(_ <- 1..300, do: picked(rows, random: &:rand.uniform/1))
  end

  test "load is by how much a node can run at once" do
    assert picked([row("a", running: 3, capacity: 2), row("b", running: 4, capacity: 8)]) == "b"
  end

  test "calls begun here since the report count, those ended do not" do
    [a, b] = rows = [row("a", running: 1), row("b", running: 2)]
    for _ <- 1..2, do: Row.begin(a)
    assert picked(rows) == "b"
    for _ <- 1..2, do: Row.finish(a)
    assert picked(rows) == "a"
    # Calls of before the report, which counted them, end after it.
    for _ <- 1..5, do: Row.finish(b)
    assert Row.load(b) == 0.0
  end

  test "a node on this host is preferred as long as it has room" do
    local = row("l", local: true, running: 3)
    assert picked([row("a"), local]) == "l"
    Row.begin(local)
    assert picked([row("a"), local]) == "a"
    assert picked([row("a"), local], spill: 2.0) == "l"
  end

  test "those that would let it wait or refuse it come last; those that are not there, never" do
    for state <- [:paused, :starting, :draining, :stopping, :circuit_open, :silent] do
      assert picked([row("x", state: state), row("a", running: 99)]) == "a"
      assert picked([row("x", state: state)]) == "x"
    end

    for state <- [:connecting, :down, :no_pool] do
      assert picked([row("x", state: state)]) == :none
    end

    assert picked([row("x", leaving: true), row("a", running: 99)]) == "a"
    refused = row("x")
    Row.refuse(refused)
    assert picked([refused, row("a", running: 99)]) == "a"
    assert picked([refused]) == "x"
    assert picked([Row.fresh(refused), row("a", running: 99)]) == "x"
  end

  test "none is tried twice" do
    rows = [row("a"), row("b")]
    assert picked(rows, tried: ["a"]) == "b"
    assert picked(rows, tried: ["a", "b"]) == :none
  end

  describe "a session" do
    defp homes(rows, ids) do
      Map.new(ids, fn id ->
        {:ok, row} = Pick.home(rows, [], {:user, id})
        {id, row.address}
      end)
    end

    test "goes where its name leads, whatever the load and the order of the nodes" do
      rows = for name <- ~w(a b c d), do: row(name)
      loaded = for row <- Enum.reverse(rows), do: %{row | running: :rand.uniform(50)}
      assert homes(rows, 1..200) == homes(loaded, 1..200)
      for {_, n} <- Enum.frequencies(Map.values(homes(rows, 1..400))), do: assert(n in 60..140)
    end

    test "moves only when its own node goes, and to a new one only" do
      rows = for name <- ~w(a b c d), do: row(name)
      before = homes(rows, 1..200)
      without = homes(tl(rows), 1..200)
      gone = hd(rows).address
      for id <- 1..200, before[id] != gone, do: assert(without[id] == before[id])

      with_e = homes([row("e") | rows], 1..200)
      for id <- 1..200, with_e[id] != before[id], do: assert(with_e[id] == {:default, :e@h})
    end

    test "begins on no node that does not take sessions yet, when there is another" do
      rows = [row("a", sessions: false), row("b")]
      assert Enum.uniq(Map.values(homes(rows, 1..50))) == [{:default, :b@h}]
      assert {:ok, _} = Pick.home([row("a", sessions: false)], [], 1)
    end
  end

  test "a report says whether a call would run" do
    pool = %{state: :running, breaker: :closed, ready: 3, slots: 2, busy: 1, leased: 2, queued: 4}
    assert %{state: :up, running: 7, capacity: 6} = Report.read(%{}, pool)
    assert %{state: :circuit_open} = Report.read(%{}, %{pool | breaker: :open})
    assert %{state: :starting, capacity: 1} = Report.read(%{}, %{pool | ready: 0})

    for state <- [:paused, :draining, :stopping],
        do: assert(%{state: ^state} = Report.read(%{}, %{pool | state: state}))
  end
end
