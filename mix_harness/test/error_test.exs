defmodule Krait.ErrorTest do
  # Every reason has a message that says what happened and what to do; none needs a node.
  use ExUnit.Case, async: true

  alias Krait.Error

  doctest Krait.Error

  @reasons [
    {{:python,
      %{
        type: "ValueError",
        module: "builtins",
        message: "no",
        traceback: "Traceback\n  x",
        args: []
      }}, ["Python raised ValueError: no", "Traceback"]},
    {{:no_function, "m", "f"}, ["no such Python module or function", "pythonpath"]},
    {{:not_allowed, "m", "f"}, ["option allow", "underscore"]},
    {{:timeout, :queue}, ["no worker came free", "option size"]},
    {{:timeout, :call}, ["ran out of time", "option timeout", "abandon"]},
    {{:overloaded, %{queued: 7, limit: 7}}, ["7 requests wait", "queue_limit"]},
    {{:worker_exit, %{worker: 3, exit: {:exit, 1}, stderr: ["Fatal: x"]}},
     ["exit status 1", "Fatal: x", "retry"]},
    {{:worker_exit, %{worker: 3, exit: {:signal, :sigsegv}, stderr: []}}, ["signal :sigsegv"]},
    {{:worker_exit, %{worker: 3, exit: {:killed, :memory_limit}, stderr: []}},
     ["killed, :memory_limit"]},
    {{:circuit_open, 800}, ["keep failing to start", "800 ms"]},
    {{:session_lost, "s"}, ["session \"s\" is gone"]},
    {{:session_busy, "s"}, ["session \"s\" is busy"]},
    {{:no_session, "s"}, ["no session \"s\""]},
    {{:deadlock, "all wait"}, ["all wait", "no worker could ever serve", "option session"]},
    {{:invalid_checkout_type, :x}, ["no checkout of type :x", ":anonymous"]},
    {:not_owner, ["belongs to another process", "give_away"]},
    {:lease_closed, ["has ended", "Check out a new one"]},
    {{:bad_request, "a list of arguments"}, ["expected: a list of arguments"]},
    {{:bad_option, :timeout, "milliseconds"}, [":timeout", "milliseconds"]},
    {{:unknown_request, :fly}, ["request :fly"]},
    {{:unencodable, "args[1].key", :improper_list}, ["args[1].key", ":improper_list"]},
    {{:unencodable, "result", "object"}, ["result cannot go", "object"]},
    {{:too_large, 20, 10}, ["20 bytes", "10", "max_request_bytes"]},
    {{:too_deep, 256}, ["256", "max_depth"]},
    {{:start_failed, "no numpy"}, ["cannot start: no numpy"]},
    {{:no_worker, 7}, ["no worker 7", "workers/1"]},
    {:resumed, ["resumed before"]},
    {:paused, ["paused"]},
    {:draining, ["stopping"]},
    {{:nodedown, :a@b}, ["no connection to a@b"]},
    {:noproc, ["no running instance :some_pool"]},
    {:not_distributed, ["not distributed"]},
    {{:name_taken, :a@b}, ["a@b is already taken"]},
    {{:usage, ["--size: found 0"]}, ["refused its configuration", "--size: found 0"]},
    {{:node_exit, 1, ["oops"]}, ["status 1", "oops"]},
    {{:node_exit, 1}, ["node_exit"]},
    {{:no_executable, '/k'}, ["no executable /k", "make"]},
    {{:start_timeout, []}, ["not become ready"]},
    {{:bad_option, :size, "an integer", 0}, ["option size: expected an integer, got: 0"]},
    {{:something, :new}, ["something"]},
    {"odd", ["odd"]}
  ]

  test "every reason has its kind and a message that teaches" do
    for {reason, words} <- @reasons do
      error = Error.new(reason, pool: :some_pool)
      message = Exception.message(error)
      assert error.reason == reason
      assert is_atom(error.kind)
      for word <- words, do: assert(message =~ word)
    end
  end

  test "a call is named in front" do
    error = Error.new({:timeout, :call}, call: {:"my.mod", "f"})
    assert Exception.message(error) =~ ~r/^my\.mod\.f: it ran out of time/
    assert error.kind == :timeout
    assert Exception.message(Error.new({:bad_request, "x"}, call: {1, nil})) =~ "1.: "
  end

  test "messages are valid text whatever Python said" do
    error = Error.new({:worker_exit, %{exit: {:exit, 1}, stderr: [<<255, 254>>]}})
    assert String.valid?(Exception.message(error))
  end

  test "can be raised with a reason" do
    assert_raise Error, ~r/has ended/, fn -> raise Error, :lease_closed end
  end
end
