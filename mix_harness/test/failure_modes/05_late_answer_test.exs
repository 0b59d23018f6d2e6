defmodule Krait.FailureMode05Test do
  use Krait.Case, async: true

  for {who, abandon} <- [node: :finish, client: :finish, node: :kill, client: :interrupt] do
    @who who
    @abandon abandon
    test "failure mode 5, late answer: after 300 ms of 2 s (#{who} gives up, #{abandon}) poisons nobody" do
      node = start_node(size: 1, abandon: @abandon, interrupt_grace: 5_000)
      late = eval("__import__('time').sleep(2) or 'late'")

      case @who do
        :node ->
          assert ask(node, put_elem(eval("", timeout: 300), 3, elem(late, 3))) ==
                   {:error, {:timeout, :call}}

        :client ->
          assert exit_reason(fn -> ask(node, late, 300) end) == :timeout
      end

      parent = self()

      callers =
        for i <- 1..100 do
          spawn(fn ->
            answer = ask(node, {:call, :operator, :add, [i, 1000]})
            # The late answer has come and gone by the time that all have theirs.
            send(parent, {:answered, self(), i, answer})
            receive do: (:look -> send(parent, {:mailbox, self(), Process.info(self(), :messages)}))
          end)
        end

      for pid <- callers,
          do: assert_receive({:answered, ^pid, i, {:ok, sum}} when sum == i + 1000, 20_000)

      await_rest(node)

      for pid <- callers do
        send(pid, :look)
        assert_receive {:mailbox, ^pid, {:messages, []}}, 5_000
      end

      assert Process.info(self(), :messages) == {:messages, []}
    end
  end
end
