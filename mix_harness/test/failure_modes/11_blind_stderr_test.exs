defmodule Krait.FailureMode11Test do
  use Krait.Case, async: true

  test "failure mode 11, blind stderr: prints leave the answer intact and arrive as log lines" do
    node = start_node(size: 1, lines: true)
    name = node.name
    [worker] = workers(node)

    prints = """
    (print('to stdout'), print('to stderr', file=__import__('sys').stderr),
     __import__('os').write(1, b'by descriptor\\nno newline'), [1, 'two'])[-1]\
    """

    assert py(node, prints) == {:ok, [1, "two"]}

    object = "worker default/#{worker.id} pid #{worker.os_pid}"
    await_lines(name, object, ["stdout: to stdout", "stderr: to stderr", "stdout: by descriptor"])
  end

  # Two pipes, so in any order; lines of the node itself may stand between them.
  defp await_lines(_, _, []), do: :ok

  defp await_lines(name, object, texts) do
    assert_receive {:krait_line, ^name, _, ^object, line}, 5_000
    await_lines(name, object, Enum.reject(texts, &(line =~ &1)))
  end

  test "failure mode 11, blind stderr: a flood of output delays nobody and is bounded" do
    node = start_node(size: 2)
    flood = Task.async(fn -> ask(node, {:call, :krait_faults, :flood, [20_000]}) end)
    for _ <- 1..50, do: assert(py(node, "1", timeout: 5_000) == {:ok, 1})
    assert Task.await(flood, 20_000) == {:ok, 20_000}
    assert ask(node, :ping) == :pong
    await_rest(node)
  end

  test "failure mode 11, blind stderr: bytes that are no text and endless lines do no harm" do
    node = start_node(size: 1)
    assert {:ok, _} = py(node, "__import__('os').write(1, bytes(range(256)) * 20)")
    assert {:ok, _} = py(node, "__import__('os').write(2, b'x' * 1000000)")
    assert py(node, "1") == {:ok, 1}
    await_rest(node)
  end

  for method <- [:fork, :spawn] do
    @method method
    test "failure mode 11, blind stderr: a worker that dies at import (#{method}) tells its traceback" do
      node =
        start_node(
          start_method: @method,
          preload: ["broken_import"],
          await_ready: false,
          breaker_threshold: 2,
          backoff_base: 20
        )

      assert {:error, {:start_failed, detail}} = ask(node, :await_ready)
      assert inspect(detail) =~ "broken_import is broken"
      assert inspect(detail) =~ "Traceback"
      eventually(Enum.any?(lines(node), fn {_, _, text} -> text =~ "broken_import is broken" end))
    end
  end

  test "failure mode 11, blind stderr: a worker that exits at import tells its status" do
    node =
      start_node(
        preload: ["exiting_import"],
        await_ready: false,
        breaker_threshold: 2,
        backoff_base: 20
      )

    assert {:error, {:start_failed, detail}} = ask(node, :await_ready)
    assert inspect(detail) =~ "9"
  end
end
