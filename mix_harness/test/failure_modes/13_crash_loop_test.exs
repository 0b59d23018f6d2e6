defmodule Krait.FailureMode13Test do
  use Krait.Case, async: true

  @backoff [backoff_base: 100, backoff_max: 400, breaker_threshold: 3]

  # A module that ends the process that imports it, for as long as the file is there.
  defp crashing do
    dir =
      Path.join(System.tmp_dir!(), "crash_#{System.pid()}_#{System.unique_integer([:positive])}")

    File.mkdir_p!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)
    broken = Path.join(dir, "broken")
    File.touch!(broken)

    File.write!(Path.join(dir, "crash_loop.py"), """
    import os, sys
    if os.path.exists("#{broken}"):
        print("crash_loop: no license file", file=sys.stderr, flush=True)
        os._exit(7)
    """)

    {dir, broken}
  end

  for method <- [:fork, :spawn] do
    @method method
    test "failure mode 13, crash loop: a worker that exits at start is tried a bounded number of times, and heals (#{method})" do
      {dir, broken} = crashing()
      begun = System.monotonic_time(:millisecond)

      node =
        start_node(
          [
            size: 2,
            start_method: @method,
            preload: ["crash_loop"],
            pythonpath: [dir, TestNode.faults()],
            await_ready: false,
            lines: true
          ] ++ @backoff
        )

      assert_receive {:krait_line, _, :error, "pool default", "circuit open: " <> _}, 20_000
      assert {:error, {:start_failed, detail}} = ask(node, :await_ready)
      assert detail =~ "no license file"

      # Whoever calls hears so at once.
      {ms, answer} = timed(fn -> py(node, "1") end)
      assert {:error, {:circuit_open, retry_after}} = answer
      assert retry_after in 1..500
      assert ms < 10_000
      assert %{breaker: breaker, last_error: cause, ready: 0} = pool_status(node)
      assert breaker in [:open, :half_open]
      assert cause =~ "no license file"

      # 100, 200 and 400 ms after the first three, 400 ms after each further one; while the circuit is
      # open one at a time. So many starts take so long at least.
      eventually(totals(node).start_failures >= 8)
      %{starts: starts} = totals(node)
      took = System.monotonic_time(:millisecond) - begun
      assert starts <= 2 * 3 + div(took, 400) + 1
      assert took >= 100 + 200 + 400

      File.rm!(broken)
      eventually(match?(%{ready: 2, breaker: :closed}, pool_status(node)))
      assert py(node, "'healed'") == {:ok, "healed"}
      await_rest(node)
      assert_receive {:krait_line, _, :info, "pool default", "circuit closed: " <> _}, 5_000
      refute_received {:krait_line, _, :error, "pool default", "circuit open: " <> _}
    end
  end

  test "failure mode 13, crash loop: a worker that dies in each call is replaced each time and harms nobody else" do
    node = start_node(size: 2)
    for _ <- 1..20, do: assert({:error, {:worker_exit, _}} = py(node, "__import__('os')._exit(3)"))
    assert py(node, "1") == {:ok, 1}
    await_rest(node)
    assert %{breaker: :closed} = pool_status(node)
  end

  test "failure mode 13, crash loop: those who wait when the circuit opens hear so" do
    {dir, _} = crashing()

    node =
      start_node(
        [size: 1, preload: ["crash_loop"], pythonpath: [dir], await_ready: false] ++
          [backoff_base: 300, backoff_max: 10_000, breaker_threshold: 2]
      )

    for i <- 1..5, do: caller(i, node, eval("1"))
    for i <- 1..5, do: assert_receive({^i, {:error, {:circuit_open, _}}}, 10_000)
    assert balanced?(totals(node))
  end
end
