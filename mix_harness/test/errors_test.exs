defmodule Krait.ErrorsTest do
  # Section 3 of the contract: every reason that applies, exactly, and only for the one whose fault it is.
  use Krait.Case, async: true

  describe "python" do
    test "tells type, module, message, traceback and args" do
      node = start_node()
      assert {:error, {:python, error}} = ask(node, {:call, :builtins, :int, ["seven"]})
      assert error.type == "ValueError"
      assert error.module == "builtins"
      assert error.message == "invalid literal for int() with base 10: 'seven'"
      assert error.traceback =~ "ValueError: invalid literal"
      assert error.args == [error.message]
      assert Enum.sort(Map.keys(error)) == [:args, :message, :module, :traceback, :type]
      await_rest(node)
    end

    test "carries the arguments of the exception as terms" do
      node = start_node()
      raises = "(_ for _ in ()).throw(KeyError(1, 'two', (3, None), b'\\xff'))"
      assert {:error, {:python, error}} = py(node, raises)
      assert error.args == [1, "two", {3, nil}, <<255>>]
    end

    test "is what BaseException and SystemExit become too, and the worker lives" do
      node = start_node(size: 1)
      before = os_pids(node)

      for {expression, type} <- [
            {"(_ for _ in ()).throw(BaseException('x'))", "BaseException"},
            {"__import__('sys').exit(3)", "SystemExit"},
            {"(_ for _ in ()).throw(KeyboardInterrupt())", "KeyboardInterrupt"},
            {"(_ for _ in ()).throw(GeneratorExit())", "GeneratorExit"},
            {"(lambda f: f(f))(lambda f: f(f))", "RecursionError"},
            {"1 +", "SyntaxError"}
          ] do
        assert {_, {:error, {:python, %{type: ^type}}}} = {expression, py(node, expression)}
      end

      assert os_pids(node) == before
    end

    test "survives an exception whose str and repr raise" do
      node = start_node(size: 1)

      assert {:error, {:python, %{type: "Nasty", message: message}}} =
               py(node, """
               (_ for _ in ()).throw(type('Nasty', (Exception,), {
                 '__str__': lambda s: 1 / 0, '__repr__': lambda s: 1 / 0})('x'))\
               """)

      assert is_binary(message)
      assert py(node, "1") == {:ok, 1}
    end

    test "has a message that holds Python's traceback" do
      node = start_node()
      assert {:error, error} = Krait.call(node.pool, "json", "loads", ["{"])
      assert %Error{kind: :python, call: {"json", "loads"}} = error
      assert Exception.message(error) =~ "json.loads: Python raised JSONDecodeError: Expecting"
      assert Exception.message(error) =~ "Traceback (most recent call last):"

      assert_raise Error, ~r/JSONDecodeError/, fn ->
        Krait.call!(node.pool, "json", "loads", ["{"])
      end
    end
  end

  describe "no_function" do
    test "names module and function as the caller gave them" do
      node = start_node()

      for {m, f} <- [
            {:no_such_module, :f},
            {"no_such_module", "f"},
            {:math, "no_such_function"},
            {"math", :sqrtt},
            {"os", "path.nothing"},
            {"os.nothing", "path"},
            {:math, :pi},
            {"math.", "sqrt"},
            {".math", "sqrt"},
            {"größe", "größe"}
          ] do
        answer = ask(node, {:call, m, f, []})
        assert {{m, f}, answer} == {{m, f}, {:error, {:no_function, m, f}}}
      end
    end

    test "is not what an ImportError inside of the module becomes" do
      node = start_node()
      assert {:error, {:python, %{traceback: text}}} = ask(node, {:call, :broken_import, :f, []})
      assert text =~ "broken_import"
    end
  end

  describe "not_allowed" do
    test "is every name with a part that starts with an underscore" do
      node = start_node()

      for {m, f} <- [
            {:os, :_exit},
            {"os", "_exit"},
            {"_thread", "start_new_thread"},
            {"builtins", "__import__"},
            {"os", "path.__class__"},
            {"os.__dict__", "get"},
            {"builtins", "str.__len__"}
          ] do
        assert ask(node, {:call, m, f, []}) == {:error, {:not_allowed, m, f}}
      end
    end

    test "is what the option allow does not name" do
      node = start_node(allow: ["math", "os.path.*", "json.loads"])
      assert {:ok, 2.0} = ask(node, {:call, :math, :sqrt, [4.0]})
      assert {:ok, "b"} = ask(node, {:call, "os.path", :basename, ["a/b"]})
      assert {:ok, 1} = ask(node, {:call, :json, :loads, ["1"]})
      assert ask(node, {:call, :json, :dumps, [1]}) == {:error, {:not_allowed, :json, :dumps}}
      assert ask(node, {:call, :os, :getpid, []}) == {:error, {:not_allowed, :os, :getpid}}
      assert ask(node, {:call, "mathx", "f", []}) == {:error, {:not_allowed, "mathx", "f"}}
      assert {:error, %Error{kind: :not_allowed} = error} = Krait.call(node.pool, "os", "getpid")
      assert Exception.message(error) =~ "option allow"
    end
  end

  describe "timeout" do
    test "queue: no worker came free in queue_timeout, or the deadline came while it waited" do
      node = start_node(size: 1)
      lease = lease!(node)

      for options <- [[queue_timeout: 100], [timeout: 100], [queue_timeout: 100, timeout: 5_000]] do
        {ms, answer} = timed(fn -> py(node, "1", options) end)
        assert answer == {:error, {:timeout, :queue}}
        assert ms in 95..4_500
        assert ask(node, {:checkout, :anonymous, options}) == {:error, {:timeout, :queue}}
      end

      assert py(node, "1", queue_timeout: 0) == {:error, {:timeout, :queue}}

      assert {:error, %Error{reason: {:timeout, :queue}}} =
               Krait.call(node.pool, "math", "sqrt", [4.0], queue_timeout: 10)

      assert ask(lease, :checkin) == :ok
      assert py(node, "1", queue_timeout: 0) == {:ok, 1}
    end

    test "call: it ran out of time, and was told then" do
      node = start_node(size: 1)
      {ms, answer} = timed(fn -> py(node, sleep(30), timeout: 200) end)
      assert answer == {:error, {:timeout, :call}}
      assert ms in 195..15_000
      assert py(node, "1") == {:ok, 1}

      assert {:error, %Error{reason: {:timeout, :call}}} =
               Krait.call(node.pool, "time", "sleep", [30], timeout: 100)
    end

    test "comes from the pool's own defaults when the request has none" do
      node = start_node(size: 1, call_timeout: 150, queue_timeout: 50)
      assert py(node, sleep(30)) == {:error, {:timeout, :call}}
      await_rest(node)
      assert {:ok, lease} = ask(node, {:checkout, :anonymous})
      assert py(node, "1") == {:error, {:timeout, :queue}}
      assert ask(lease, :checkin) == :ok
    end
  end

  describe "overloaded" do
    test "is answered at once when the queue is full" do
      node = start_node(size: 1, queue_limit: 2)
      lease = lease!(node)
      for i <- 1..2, do: caller(i, node, eval("1"))
      await_queued(node, 2)

      {ms, answer} = timed(fn -> py(node, "1") end)
      assert answer == {:error, {:overloaded, %{queued: 2, limit: 2}}}
      assert ms < 10_000
      assert ask(node, {:checkout, :anonymous}) == {:error, {:overloaded, %{queued: 2, limit: 2}}}

      assert {:error, %Error{kind: :overloaded} = error} =
               Krait.call(node.pool, "math", "sqrt", [4.0])

      assert Exception.message(error) =~ "2 requests wait, the limit is 2"

      assert ask(lease, :checkin) == :ok
      for i <- 1..2, do: assert_receive({^i, {:ok, 1}}, 5_000)
      assert py(node, "1") == {:ok, 1}
    end
  end

  describe "worker_exit" do
    test "tells the last lines of stderr as text, whatever they were" do
      node = start_node(size: 1)
      garbage = "__import__('os').write(2, b'a\\xff\\xe2\\x82\\0z\\n'), __import__('os')._exit(3)"
      assert {:error, {:worker_exit, death}} = py(node, garbage)
      assert death.stderr == "a\uFFFD\uFFFD\uFFFD?z\n"
    end

    test "tells signal, exit status and the last lines of stderr" do
      node = start_node(size: 1)
      last_words = "print('famous last words', file=__import__('sys').stderr, flush=True)"

      assert {:error, {:worker_exit, death}} =
               py(node, "(#{last_words}, __import__('os').kill(__import__('os').getpid(), 11))")

      assert death.exit == {:signal, :sigsegv}
      assert Map.has_key?(death, :worker)
      assert death.stderr =~ "famous last words\n"

      assert {:error, {:worker_exit, death}} = py(node, "__import__('os')._exit(7)")
      assert death.exit == {:exit, 7}

      assert {:error, %Error{kind: :worker_exit} = error} =
               Krait.call(node.pool, "builtins", "eval", ["__import__('os').abort()"])

      assert Exception.message(error) =~ "sigabrt"
      await_rest(node)
      assert pool_status(node).totals.worker_exit == 3
    end

    test "is for the caller whose call it was, and for nobody else" do
      node = start_node(size: 4)

      others =
        for _ <- 1..20,
            do:
              :gen_server.send_request(node.pool, eval("__import__('time').sleep(0.05) or 'fine'"))

      assert {:error, {:worker_exit, _}} = py(node, "__import__('os')._exit(1)")
      for id <- others, do: assert(:gen_server.wait_response(id, 10_000) == {:reply, {:ok, "fine"}})
      await_rest(node)
    end
  end

  describe "circuit_open" do
    test "is answered at once when workers keep failing to start, and await_ready has the cause" do
      node =
        start_node(
          await_ready: false,
          preload: ["broken_import"],
          breaker_threshold: 2,
          backoff_base: 20,
          backoff_max: 60_000
        )

      assert {:error, {:start_failed, detail}} = ask(node, :await_ready)
      assert inspect(detail) =~ "broken_import"
      {ms, answer} = timed(fn -> py(node, "1") end)
      assert {:error, {:circuit_open, retry_after_ms}} = answer
      assert is_integer(retry_after_ms) and retry_after_ms >= 1
      assert ms < 10_000
      assert {:error, %Error{kind: :circuit_open}} = Krait.call(node.pool, "math", "sqrt", [4.0])
      assert {:error, %Error{kind: :start_failed}} = Krait.await_ready(node.pool)
      assert ask(node, :ping) == :pong
    end
  end

  describe "requests that are none" do
    test "bad_request: the parts of a call have the wrong types" do
      node = start_node()

      for request <- [
            {:call, 1, :f, []},
            {:call, :m, 1, []},
            {:call, ~c"math", :sqrt, [4.0]},
            {:call, :math, ["sqrt"], [4.0]},
            {:call, "", "sqrt", []},
            {:call, "math", "", []},
            {:call, <<255>>, "f", []},
            {:call, "m", <<255, 254>>, []},
            {:call, :math, :sqrt, 4.0},
            {:call, :math, :sqrt, {4.0}},
            {:call, :math, :sqrt, [4.0 | 5.0]},
            {:call, :math, :sqrt, nil},
            {:call, :math, :sqrt, %{}, []}
          ] do
        assert {^request, {:error, {:bad_request, expected}}} = {request, ask(node, request)}
        assert is_binary(expected) or is_atom(expected)
      end
    end

    test "unknown_request: by its name" do
      node = start_node()
      assert ask(node, :frobnicate) == {:error, {:unknown_request, :frobnicate}}
      assert ask(node, {:frobnicate, 1, 2}) == {:error, {:unknown_request, :frobnicate}}
      assert {:error, %Error{} = error} = {:error, Error.new({:unknown_request, :frobnicate})}
      assert Exception.message(error) =~ ":frobnicate"
    end

    test "whatever else it is, there is an answer" do
      node = start_node()

      for request <- [
            42,
            "call",
            [],
            %{},
            nil,
            {},
            {1},
            {:call},
            {:call, :math},
            {:call, :math, :sqrt},
            {:call, :math, :sqrt, [], [], []},
            {:checkout},
            {:ping, :pong},
            {:give_away, self()},
            :checkin,
            fn -> 1 end
          ] do
        assert {^request, {:error, reason}} = {request, ask(node, request)}
        assert {request, elem(reason, 0)} in [{request, :bad_request}, {request, :unknown_request}]
      end
    end

    test "invalid_checkout_type: as it was given" do
      node = start_node()

      for type <- [:session, {:sessions, 1}, 42, "anonymous", nil, {:session}] do
        assert ask(node, {:checkout, type}) == {:error, {:invalid_checkout_type, type}}
        assert ask(node, {:checkout, type, timeout: 10}) == {:error, {:invalid_checkout_type, type}}
        assert :krait.checkout(node.pool, type) == {:error, {:invalid_checkout_type, type}}
      end
    end
  end

  describe "unencodable" do
    test "names where an argument has no Python form" do
      node = start_node()
      identity = &ask(node, {:call, :krait, :identity, &1, &2})

      assert identity.([[1 | 2]], []) == {:error, {:unencodable, "args[0]", :improper_list}}

      assert {:error, {:unencodable, "args[1].key[2]", _}} =
               ask(node, {:call, :builtins, :print, [1, %{key: [0, 1, [1 | 2]]}]})

      assert {:error, {:unencodable, "kwargs.a", _}} = identity.([], kwargs: %{a: [1 | 2]})

      assert {:error, {:unencodable, "args[0]" <> _, :duplicate_key}} =
               identity.([%{:a => 1, "a" => 2}], [])

      assert {:error, {:unencodable, "args[0]" <> _, :duplicate_key}} =
               identity.([%{1 => 1, 1.0 => 2}], [])

      assert {:error, {:unencodable, "args[0]" <> _, :duplicate_key}} =
               identity.([%{1 => 1, true => 2}], [])
    end

    test "names where a result has no term" do
      node = start_node(size: 1)
      before = os_pids(node)

      for {expression, where, what} <- [
            {"object()", "result", "object"},
            {"[1, {'k': object()}]", "result[1].k", "object"},
            {"lambda: 1", "result", "function"},
            {"{'a': 1, b'a': 2}", "result.a", :duplicate_key},
            {"'\\ud800'", "result", :invalid_utf8}
          ] do
        assert {_, {:error, {:unencodable, ^where, told}}} = {expression, py(node, expression)}
        assert told == what
      end

      assert os_pids(node) == before
      assert {:error, %Error{} = error} = Krait.call(node.pool, "builtins", "object")
      assert Exception.message(error) =~ "cannot go between BEAM and Python: object"
    end
  end

  describe "limits" do
    test "too_large: a request or a result beyond the operator's limit" do
      node = start_node(max_request_bytes: 10_000, max_result_bytes: 20_000)
      big = String.duplicate("x", 50_000)
      assert {:error, {:too_large, bytes, 10_000}} = ask(node, {:call, :krait, :identity, [big]})
      assert bytes >= 50_000
      assert {:error, {:too_large, bytes, 20_000}} = py(node, "'x' * 50000")
      assert bytes >= 50_000
      assert {:ok, _} = ask(node, {:call, :krait, :identity, [String.duplicate("x", 9_000)]})
      assert {:ok, _} = py(node, "'x' * 19000")
      await_rest(node)
    end

    test "too_deep: nesting beyond the operator's limit, in either direction" do
      node = start_node(max_depth: 10)
      nest = fn depth -> Enum.reduce(1..depth, [], fn _, inner -> [inner] end) end
      assert ask(node, {:call, :krait, :identity, [nest.(20)]}) == {:error, {:too_deep, 10}}
      assert {:ok, _} = ask(node, {:call, :krait, :identity, [nest.(8)]})
      deep = "__import__('functools').reduce(lambda a, _: [a], range(50), [])"
      assert py(node, deep) == {:error, {:too_deep, 10}}
      cycle = "(lambda a: (a.append(a), a)[1])([])"
      assert py(node, cycle) == {:error, {:too_deep, 10}}
    end

    test "too_deep is 256 unless told otherwise" do
      node = start_node()
      nest = fn depth -> Enum.reduce(1..depth, [], fn _, inner -> [inner] end) end
      assert ask(node, {:call, :krait, :identity, [nest.(300)]}) == {:error, {:too_deep, 256}}
      assert ask(node, {:call, :krait, :identity, [nest.(200)]}) == {:ok, nest.(200)}
      assert ask(node, {:call, :krait, :identity, [nest.(100_000)]}) == {:error, {:too_deep, 256}}
    end
  end

  describe "draining" do
    test "is what new requests hear while the node finishes its calls" do
      node = start_node(size: 1, stop_timeout: 20_000)
      name = node.name
      gate = Krait.Gate.new()
      lasts = :gen_server.send_request(node.pool, eval(Krait.Gate.behind(gate, "'done'")))
      await_running(node, 1)
      assert ask({:krait, name}, :stop) == :ok
      assert py(node, "1") == {:error, :draining}
      assert ask(node, {:checkout, :anonymous}) == {:error, :draining}
      Krait.Gate.open(gate)
      assert :gen_server.wait_response(lasts, 10_000) == {:reply, {:ok, "done"}}
    end
  end
end
