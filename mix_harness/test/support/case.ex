defmodule Krait.Case do
  @moduledoc "What every suite begins with: helpers of the tests, and nothing that waits by sleeping."

  use ExUnit.CaseTemplate

  using do
    quote do
      import Krait.Case
      import Krait.Runner, only: [start_peer: 0]
      import Krait.TestNode, except: [defaults: 1]
      alias Krait.{Error, Proc, TestNode}
      require Krait.Case
    end
  end

  @doc "The contract itself: a bare gen_server call to a node's pool, or to any other address."
  def ask(to, request, timeout \\ 20_000)

  def ask(%Krait.TestNode{pool: pool}, request, timeout),
    do: GenServer.call(pool, request, timeout)

  def ask(address, request, timeout), do: GenServer.call(address, request, timeout)

  @doc "Evaluates a Python expression: what the suites make Python do, in sight of the test."
  def py(to, expression, options \\ []) do
    ask(to, {:call, "builtins", "eval", [expression], options})
  end

  @doc "A Python expression that holds a worker for some seconds."
  def sleep(seconds), do: "__import__('time').sleep(#{seconds})"

  @doc "A path for a file of this test alone: other runs of the suites have other names."
  def temporary(name) do
    unique = System.unique_integer([:positive])
    Path.join(System.tmp_dir!(), "krait_#{name}_#{System.pid()}_#{unique}")
  end

  @doc "The request to evaluate a Python expression."
  def eval(expression, options \\ []),
    do: {:call, "builtins", "eval", [expression], options}

  @doc "A lease by the contract."
  def lease!(to, options \\ []) do
    {:ok, lease} = ask(to, {:checkout, :anonymous, options})
    lease
  end

  @doc "The pool's part of `status`."
  def pool_status(%Krait.TestNode{pool: address}), do: pool_status(address)

  def pool_status({pool, _} = address) do
    {:ok, %{pools: %{^pool => map}}} = ask(address, :status)
    map
  end

  def totals(node), do: pool_status(node).totals

  def workers(node) do
    {:ok, workers} = ask(node, :workers)
    workers
  end

  @doc "The processes that serve, or will; not those that are on their way out."
  def os_pids(node) do
    Enum.sort(for worker <- workers(node), worker.state != :stopping, do: worker.os_pid)
  end

  @doc "The books of a pool at rest or not: nothing is ever lost or counted twice."
  def balanced?(totals) do
    totals.received == totals.answered + totals.abandoned + totals.queued + totals.running
  end

  @doc """
  Asks until the answer is true, ten seconds at most.

  For what the node tells nobody, and for what it would tell only those who subscribed to its events
  (docs/events.md): that a caller's death was noticed, that a call has begun.
  """
  defmacro eventually(question, ms \\ 10_000) do
    text = Macro.to_string(question)

    quote do
      Krait.Case.poll(fn -> unquote(question) end, unquote(text), unquote(ms))
    end
  end

  def poll(question, text, ms) do
    poll_until(question, text, System.monotonic_time(:millisecond) + ms)
  end

  defp poll_until(question, text, deadline) do
    answer = question.()

    cond do
      answer ->
        answer

      System.monotonic_time(:millisecond) > deadline ->
        flunk("never came true: " <> text)

      true ->
        receive do
        after
          5 -> poll_until(question, text, deadline)
        end
    end
  end

  @doc "Waits until `n` calls run in the pool."
  def await_running(node, n), do: eventually(totals(node).running == n)

  @doc "Waits until `n` requests wait in the pool."
  def await_queued(node, n), do: eventually(totals(node).queued == n)

  @doc "All workers idle, nothing queued, the books balanced."
  def await_rest(node) do
    eventually(
      match?(
        %{busy: 0, leased: 0, queued: 0, starting: 0, ready: n, size: n},
        pool_status(node)
      )
    )

    assert balanced?(totals(node))
  end

  @doc "A process that asks for something and reports the answer as `{name, answer}`; not linked."
  def caller(name, to, request, timeout \\ 20_000) do
    parent = self()
    spawn(fn -> send(parent, {name, ask(to, request, timeout)}) end)
  end

  @doc "Ends a process and waits until it is dead."
  def kill(pid) do
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, :process, ^pid, _}, 5_000
    :ok
  end

  @doc "Milliseconds that something takes, and its result."
  def timed(fun) do
    {us, result} = :timer.tc(fun)
    {div(us, 1000), result}
  end

  @doc "The reason that a gen_server call exits with."
  def exit_reason(fun) do
    fun.()
    flunk("did not exit")
  catch
    :exit, {reason, {GenServer, :call, _}} -> reason
  end
end
