defmodule Krait.RequestsTest do
  # Section 2 of the contract: requests and their options, by bare gen_server calls and through the
  # clients alike.
  use Krait.Case, async: true

  describe "a call" do
    test "takes modules and functions as atoms and as binaries, with dots" do
      node = start_node()

      for {m, f} <- [{:math, :sqrt}, {"math", "sqrt"}, {:math, "sqrt"}, {"math", :sqrt}] do
        assert ask(node, {:call, m, f, [4.0]}) == {:ok, 2.0}
        assert Krait.call(node.pool, m, f, [4.0]) == {:ok, 2.0}
        assert :krait.call(node.pool, m, f, [4.0]) == {:ok, 2.0}
      end

      assert ask(node, {:call, :"os.path", :basename, ["/a/b"]}) == {:ok, "b"}
      assert ask(node, {:call, "os", "path.basename", ["/a/b"]}) == {:ok, "b"}

      assert ask(node, {:call, "collections", "OrderedDict.fromkeys", [["a"]]}) ==
               {:ok, %{"a" => nil}}
    end

    test "takes options as a map or as a keyword list, or none" do
      node = start_node()
      assert ask(node, {:call, :math, :sqrt, [4.0]}) == {:ok, 2.0}
      assert ask(node, {:call, :math, :sqrt, [4.0], []}) == {:ok, 2.0}
      assert ask(node, {:call, :math, :sqrt, [4.0], %{}}) == {:ok, 2.0}
      assert ask(node, {:call, :math, :sqrt, [4.0], timeout: 5_000}) == {:ok, 2.0}
      assert ask(node, {:call, :math, :sqrt, [4.0], %{timeout: 5_000}}) == {:ok, 2.0}
    end

    test "takes keyword arguments with atoms or binaries as names" do
      node = start_node()
      numbers = [[3, 1, 2]]

      for kwargs <- [%{reverse: true}, %{"reverse" => true}] do
        assert ask(node, {:call, :builtins, :sorted, numbers, %{kwargs: kwargs}}) ==
                 {:ok, [3, 2, 1]}

        assert Krait.call(node.pool, :builtins, :sorted, numbers, kwargs: kwargs) ==
                 {:ok, [3, 2, 1]}
      end
    end

    test "answers send_request, multi_call and a plain message with a tag of one's own" do
      node = start_node()
      request = {:call, :math, :sqrt, [4.0]}

      id = :gen_server.send_request(node.pool, request)
      assert :gen_server.wait_response(id, 5_000) == {:reply, {:ok, 2.0}}

      assert GenServer.multi_call([node.name], :default, request, 5_000) ==
               {[{node.name, {:ok, 2.0}}], []}

      send(node.pool, {:"$gen_call", {self(), :my_tag}, request})
      assert_receive {:my_tag, {:ok, 2.0}}, 5_000
    end

    test "through an instance, a registered name, a node or an address is the same" do
      register = :"krait_#{System.unique_integer([:positive])}"
      node = start_node(register: register)

      for pool <- [node.instance, register, node.name, node.pool] do
        assert Krait.call(pool, "math", "sqrt", [4.0]) == {:ok, 2.0}
        assert :krait.call(pool, :math, :sqrt, [4.0], %{timeout: 5_000}) == {:ok, 2.0}
      end

      assert Krait.pool(register) == node.pool
      assert Krait.node_name(node.instance) == node.name
    end

    test "on different workers runs at the same time" do
      node = start_node(size: 4)
      path = temporary("meeting")
      File.mkdir!(path)
      on_exit(fn -> File.rm_rf!(path) end)
      here = "__import__('os').mkdir('#{path}/' + str(__import__('os').getpid()))"
      all = "iter(lambda: len(__import__('os').listdir('#{path}')) == 4, True)"
      # Each waits for all others.
      meet = eval("(#{here}, [#{sleep(0.005)} for _ in #{all}], 'met')[-1]")
      ids = for _ <- 1..4, do: :gen_server.send_request(node.pool, meet)

      for id <- ids,
          do: assert(:gen_server.wait_response(id, 10_000) == {:reply, {:ok, "met"}})
    end
  end

  describe "a cast" do
    test "runs and answers nothing" do
      node = start_node(size: 1)
      path = temporary("cast")
      on_exit(fn -> File.rm(path) end)

      GenServer.cast(node.pool, {:call, :os, :mkdir, [path]})
      assert {:ok, _} = py(node, "1")
      assert File.dir?(path)
      assert Krait.cast(node.pool, "os", "rmdir", [path]) == :ok
      assert :krait.cast(node.instance, :math, :sqrt, [4.0], %{timeout: 1_000}) == :ok
      assert {:ok, _} = py(node, "1")
      refute File.exists?(path)
      assert Process.info(self(), :message_queue_len) == {:message_queue_len, 0}
      assert balanced?(totals(node))
    end

    test "of nonsense does no harm" do
      node = start_node()
      GenServer.cast(node.pool, {:call, 1, 2, 3})
      GenServer.cast(node.pool, :nonsense)
      GenServer.cast(node.pool, {:call, :math, :sqrt, [-1.0]})
      assert py(node, "1") == {:ok, 1}
      assert balanced?(totals(node))
    end
  end

  describe "the option" do
    @fine [
      timeout: [1_000, :infinity, 4_000_000],
      queue_timeout: [0, 1, :infinity],
      kwargs: [%{}],
      priority: [:high, :normal, :low],
      retry: [0, 1, 3],
      strings: [:utf8, :bytes],
      traceparent: ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]
    ]
    @wrong [
      timeout: [-1, 1.5, "1000", nil, :never, [], 2 ** 70],
      queue_timeout: [-1, 1.5, "1000", nil, :never, -(2 ** 70)],
      kwargs: [[], [a: 1], nil, 1, "a"],
      priority: [1, "high", :highest, nil],
      retry: [-1, :infinity, 1.0, "1", 2 ** 70],
      strings: ["utf8", :latin1, nil, 8],
      traceparent: [1, :atom, nil, [], "", <<0xFF>>, String.duplicate("0", 513)]
    ]

    test "is accepted with each good value, in a map and in a list" do
      node = start_node()

      for {key, values} <- @fine, value <- values, options <- [[{key, value}], %{key => value}] do
        assert {options, ask(node, {:call, :math, :sqrt, [4.0], options})} == {options, {:ok, 2.0}}
      end
    end

    test "is refused with each wrong value, by its name, with what was expected" do
      node = start_node()

      for {key, values} <- @wrong, value <- values, options <- [[{key, value}], %{key => value}] do
        answer = ask(node, {:call, :math, :sqrt, [4.0], options})
        assert {^options, {:error, {:bad_option, ^key, expected}}} = {options, answer}
        assert is_binary(expected) or is_atom(expected)

        assert {:error, %Error{kind: :bad_option} = error} =
                 Krait.call(node.pool, "math", "sqrt", [4.0], options)

        assert Exception.message(error) =~ inspect(key)
      end
    end

    test "that nobody knows is refused, never ignored" do
      node = start_node()

      for request <- [
            {:call, :math, :sqrt, [4.0], frobnicate: 1},
            {:call, :math, :sqrt, [4.0], %{frobnicate: 1}},
            {:checkout, :anonymous, frobnicate: 1},
            {:checkout, :anonymous, %{frobnicate: 1}}
          ] do
        assert {:error, {:bad_option, :frobnicate, _}} = ask(node, request)
      end

      assert {:error, {:bad_option, "timeout", _}} =
               ask(node, {:call, :math, :sqrt, [4.0], %{"timeout" => 1}})
    end

    test "list itself must be one" do
      node = start_node()

      for options <- [42, :fast, "timeout", {:timeout, 1}, [:timeout], [1], [{:timeout, 1, 2}]] do
        assert {:error, reason} = ask(node, {:call, :math, :sqrt, [4.0], options})
        assert {options, elem(reason, 0)} in [{options, :bad_request}, {options, :bad_option}]
      end
    end

    test "retry runs a call again on another worker when its worker dies in it, as often as it says" do
      node = start_node(size: 2)
      path = temporary("retry")
      on_exit(fn -> File.rm(path) end)
      # Dies as long as the file has fewer than two lines, and adds one.
      dies = """
      (lambda os, f: (f.write('x'), f.flush(), f.tell() <= 2 and os.kill(os.getpid(), 9), 'alive'))\
      (__import__('os'), open('#{path}', 'a'))[-1]\
      """

      assert {:error, {:worker_exit, %{exit: {:signal, :sigkill}}}} = py(node, dies, retry: 0)
      File.rm!(path)
      assert {:error, {:worker_exit, _}} = py(node, dies, retry: 1)
      assert File.stat!(path).size == 2
      File.rm!(path)
      assert py(node, dies, retry: 2) == {:ok, "alive"}
      assert File.stat!(path).size == 3
      await_rest(node)
    end

    test "strings decides what a binary is in Python" do
      node = start_node()
      assert ask(node, {:call, :builtins, :repr, ["é"], strings: :utf8}) == {:ok, "'é'"}
      assert ask(node, {:call, :builtins, :repr, ["é"], strings: :bytes}) == {:ok, "b'\\xc3\\xa9'"}
      assert ask(node, {:call, :builtins, :repr, [<<255>>]}) == {:ok, "b'\\xff'"}
      assert ask(node, {:call, :builtins, :repr, [{:bytes, "abc"}]}) == {:ok, "b'abc'"}
    end
  end

  describe "waiters" do
    test "of higher priority go first, of the same one in order of arrival" do
      node = start_node(size: 1)
      lease = lease!(node)
      order = [low: 1, normal: 2, high: 3, low: 4, high: 5, normal: 6, high: 7]

      for {{priority, n}, i} <- Enum.with_index(order, 1) do
        caller(n, node, {:call, :time, :monotonic_ns, [], priority: priority})
        await_queued(node, i)
      end

      assert ask(lease, :checkin) == :ok

      served =
        for({_, n} <- order, do: assert_receive({^n, {:ok, _}}, 5_000))
        |> Enum.sort_by(fn {_, {:ok, at}} -> at end)
        |> Enum.map(&elem(&1, 0))

      assert served == [3, 5, 7, 2, 6, 1, 4]
    end

    test "are served in the order in which they came" do
      node = start_node(size: 1)
      lease = lease!(node)

      ids =
        for _ <- 1..50, do: :gen_server.send_request(node.pool, {:call, :time, :monotonic_ns, []})

      await_queued(node, 50)
      assert ask(lease, :checkin) == :ok

      times =
        for id <- ids do
          {:reply, {:ok, at}} = :gen_server.wait_response(id, 5_000)
          at
        end

      assert times == Enum.sort(times)
    end
  end

  describe "ping, await_ready and stop" do
    test "ping needs no worker, {ping, worker} does" do
      node = start_node(size: 1)
      assert ask(node, :ping) == :pong
      assert Krait.ping(node.pool) == :pong
      assert {:ok, microseconds} = ask(node, {:ping, :worker})
      assert is_integer(microseconds) and microseconds >= 0
      assert {:ok, _} = Krait.ping_worker(node.instance)

      lease = lease!(node)
      assert ask(node, :ping) == :pong
      id = :gen_server.send_request(node.pool, {:ping, :worker})
      assert ask(node, :ping) == :pong
      assert :gen_server.wait_response(id, 0) == :timeout
      assert ask(lease, :checkin) == :ok
      assert {:reply, {:ok, _}} = :gen_server.receive_response(id, 5_000)
    end

    test "await_ready answers when all, or enough, workers are ready" do
      node = start_node(size: 3, await_ready: false)
      assert ask(node, {:await_ready, 1}) == :ok
      assert ask(node, :await_ready) == :ok
      assert ask(node, {:await_ready, 3}) == :ok
      assert Krait.await_ready(node.pool) == :ok
      assert Krait.await_ready(node.pool, n: 2, timeout: 5_000) == :ok
      assert :krait.await_ready(node.pool, 2, 5_000) == :ok
      assert pool_status(node).ready == 3
    end

    test "await_ready refuses numbers that make no sense" do
      node = start_node(size: 1)

      for n <- [-1, 1.0, :all, "1", 2 ** 70] do
        assert {:error, {:bad_request, _}} = ask(node, {:await_ready, n})
      end
    end

    test "stop answers ok, then the node is gone with status 0" do
      node = start_node(lines: true)
      name = node.name
      ref = Process.monitor(node.pool)
      assert ask({:krait, name}, :stop) == :ok
      assert_receive {:DOWN, ^ref, _, _, _}, 5_000
      assert_receive {:krait_exit, ^name, 0}, 5_000
    end

    test "Krait.stop stops any node by its name" do
      node = start_node(lines: true)
      name = node.name
      assert Krait.stop(name) == :ok
      assert_receive {:krait_exit, ^name, 0}, 5_000
      assert {:error, %Error{kind: :nodedown}} = Krait.stop(name)
    end
  end
end
