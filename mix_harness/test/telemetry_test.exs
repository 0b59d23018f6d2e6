defmodule Krait.TelemetryTest do
  # Not async: a stub of the library `telemetry` is there for all of this BEAM, and so are the attached
  # functions.
  use Krait.Case, async: false

  import ExUnit.CaptureLog

  alias Krait.Telemetry

  # In place of the library: tells the test.
  defmodule Stub do
    def put(to) do
      :persistent_term.put(__MODULE__, to)

      contents =
        quote do
          def execute(name, measurements, metadata) do
            to = :persistent_term.get(Krait.TelemetryTest.Stub)
            send(to, {:telemetry, name, measurements, metadata})
            :ok
          end
        end

      {:module, :telemetry, _, _} = Module.create(:telemetry, contents, __ENV__)
    end

    def take do
      :code.purge(:telemetry)
      :code.delete(:telemetry)
      :code.purge(:telemetry)
    end
  end

  setup do
    refute Code.ensure_loaded?(:telemetry), "these tests are for a BEAM without it"
    :ok
  end

  defp attach(id, events, function \\ nil) do
    parent = self()
    tell = fn name, counts, meta, config -> send(parent, {id, name, counts, meta, config}) end
    assert Telemetry.attach(id, events, function || tell, :config) == :ok
    on_exit(fn -> Telemetry.detach(id) end)
  end

  defp watch(options) do
    {:ok, pid} = Telemetry.start_link(options)
    on_exit(fn -> Process.exit(pid, :kill) end)
    pid
  end

  test "events go to :telemetry.execute/3 where that is loaded" do
    Stub.put(self())
    on_exit(&Stub.take/0)
    attach("never", :all)
    node = start_node(size: 1)
    name = node.name
    start_supervised!({Telemetry, nodes: [name]})
    assert_receive {:telemetry, [:krait, :telemetry, :up], %{count: 1}, %{node: ^name}}, 5_000
    assert {:ok, 2.0} = ask(node, {:call, :math, :sqrt, [4.0]})
    assert_receive {:telemetry, [:krait, :call, :stop], counts, %{node: ^name} = meta}, 5_000
    assert %{run_us: _, wait_us: _} = counts
    assert %{module: :math, function: :sqrt, outcome: :ok, pool: :default} = meta
    refute_received {"never", _, _, _, _}
  end

  test "and to attached functions where it is not, each to those that asked for it" do
    node = start_node(size: 1)
    name = node.name
    attach("all", :all)
    attach("stop", [:krait, :call, :stop])
    attach("two", [[:krait, :call, :start], [:krait, :call, :stop]])
    watch(nodes: [name])
    assert_receive {"all", [:krait, :telemetry, :up], _, %{address: {:krait, ^name}}, _}, 5_000
    assert {:ok, 2.0} = ask(node, {:call, :math, :sqrt, [4.0]})

    for id <- ["all", "stop", "two"] do
      assert_receive {^id, [:krait, :call, :stop], %{run_us: _}, %{node: ^name}, :config}, 5_000
    end

    assert_received {"two", [:krait, :call, :start], _, _, _}
    refute_received {"stop", [:krait, :call, :start], _, _, _}
    assert Telemetry.attach("all", :all, fn _, _, _, _ -> :ok end) == {:error, :already_exists}
    assert Telemetry.detach("all") == :ok
    assert Telemetry.detach("all") == {:error, :not_found}
    flush()
    assert {:ok, 2.0} = ask(node, {:call, :math, :sqrt, [4.0]})
    assert_receive {"two", [:krait, :call, :stop], _, _, _}, 5_000
    assert_received {"stop", [:krait, :call, :stop], _, _, _}
    refute_received {"all", _, _, _, _}
  end

  defp flush do
    receive do
      {_, _, _, _, _} -> flush()
    after
      0 -> :ok
    end
  end

  test "a function that fails is detached, and that is logged; others hear on" do
    node = start_node(size: 1)
    attach("good", [:krait, :call, :stop])
    attach("raises", [:krait, :call, :stop], fn _, _, _, _ -> raise "no good" end)
    attach("throws", [:krait, :call, :stop], fn _, _, _, _ -> throw(:ball) end)
    attach("exits", [:krait, :call, :stop], fn _, _, _, _ -> exit(:here) end)
    attach("last", [:krait, :call, :stop])
    attach("up", [:krait, :telemetry, :up])

    log =
      capture_log(fn ->
        pid = watch(nodes: [node.pool])
        assert_receive {"up", _, _, _, _}, 5_000
        assert {:ok, 2.0} = ask(node, {:call, :math, :sqrt, [4.0]})
        # They are called in the order in which they were attached.
        assert_receive {"last", _, _, _, _}, 5_000
        assert Process.alive?(pid)
      end)

    for {id, words} <- [{"raises", "no good"}, {"throws", ":ball"}, {"exits", ":here"}] do
      assert log =~ "the handler #{inspect(id)} failed at [:krait, :call, :stop] and is detached"
      assert log =~ words
      assert Telemetry.detach(id) == {:error, :not_found}
    end

    assert {:ok, 2.0} = ask(node, {:call, :math, :sqrt, [4.0]})
    for id <- ["good", "good", "last"], do: assert_receive({^id, _, _, _, _}, 5_000)
  end

  test "log lines are events too, for who asks for them" do
    node = start_node(size: 1)
    name = node.name
    attach("log", [:krait, :log])
    attach("up", [:krait, :telemetry, :up])
    watch(nodes: [{:default, name}], topics: [:log])
    assert_receive {"up", _, _, %{address: {:default, ^name}}, _}, 5_000
    assert py(node, "print('printed')") == {:ok, nil}
    assert_receive {"log", _, %{count: 1}, %{line: "printed", node: ^name} = meta, _}, 5_000
    assert %{level: :info, stream: :stdout, pool: :default, worker: _, os_pid: _} = meta
  end

  test "a node that comes later, and one that goes and comes back, is subscribed to" do
    name = TestNode.unique_name()
    attach("up", [:krait, :telemetry, :up])
    attach("down", [:krait, :telemetry, :down])
    attach("stop", [:krait, :call, :stop])
    watch(nodes: [name], retry: 20)
    refute_received {"up", _, _, _, _}

    for _ <- 1..2 do
      # its end is part of the test: no inquest but this
      {:ok, instance} =
        Krait.start_link(
          name: name,
          size: 1,
          await_ready: true,
          python: TestNode.python(),
          stop_timeout: 500
        )

      assert_receive {"up", _, _, %{node: ^name}, _}, 10_000
      assert {:ok, 2.0} = Krait.call(instance, :math, :sqrt, [4.0])
      assert_receive {"stop", _, _, %{node: ^name, function: :sqrt}, _}, 5_000
      assert Krait.stop(instance) == :ok
      assert_receive {"down", _, _, %{node: ^name, reason: :noconnection}, _}, 10_000
      assert Proc.await_none(name) == []
    end
  end

  test "several nodes are watched by one process, and a refusal is logged and tried again" do
    nodes = for _ <- 1..2, do: start_node(size: 1)
    attach("stop", [:krait, :call, :stop])
    attach("up", [:krait, :telemetry, :up])
    [one, two] = Enum.map(nodes, & &1.name)

    log =
      capture_log(fn ->
        watch(nodes: [one, two, {:no_such_pool, one}], retry: 10)
        for _ <- 1..2, do: assert_receive({"up", _, _, _, _}, 5_000)

        for node <- nodes do
          name = node.name
          assert {:ok, 2.0} = ask(node, {:call, :math, :sqrt, [4.0]})
          assert_receive {"stop", _, _, %{node: ^name}, _}, 5_000
        end
      end)

    words = "cannot subscribe to {:no_such_pool, #{inspect(one)}}: :noproc"
    assert length(String.split(log, words)) == 2, "once, however often it is tried"
  end

  test "wrong options are refused with what was expected and what was got" do
    for {options, words} <- [
          {[], "nodes: expected a list of nodes"},
          {[nodes: :krait], "got: :krait"},
          {[nodes: ["krait"]], "got: [\"krait\"]"},
          {[nodes: [:a@b], topics: :everything], "topics: expected :events, :log, :all"},
          {[nodes: [:a@b], retry: 0], "retry: expected milliseconds"},
          {[nodes: [:a@b], color: 1], "color"}
        ] do
      error = assert_raise ArgumentError, fn -> Telemetry.start_link(options) end
      assert Exception.message(error) =~ words
    end

    for events <- [[], :some, [1], [[:a], 1]] do
      assert_raise ArgumentError, fn -> Telemetry.attach("x", events, fn _, _, _, _ -> 1 end) end
    end
  end

  doctest Krait.Telemetry
end
