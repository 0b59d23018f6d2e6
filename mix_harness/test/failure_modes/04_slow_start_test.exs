defmodule Krait.FailureMode04Test do
  # Workers whose import takes 2 s: imports that all are under way at the same moment take 2 s together,
  # however busy the machine is. So each import is held until that moment has come, or never ends.
  use Krait.Case, async: true

  # A node whose workers import, and the gate that they all wait at.
  defp start_held(options) do
    {:ok, gate} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false, backlog: 16])
    {:ok, port} = :inet.port(gate)

    held = [
      preload: ["held_import"],
      env: %{"KRAIT_TEST_GATE" => to_string(port)},
      await_ready: false
    ]

    {start_node(held ++ options), gate}
  end

  defp import_begun(gate) do
    {:ok, import} = :gen_tcp.accept(gate, 20_000)
    import
  end

  defp let_go(imports), do: for(import <- imports, do: :ok = :gen_tcp.send(import, "."))

  # One in four: answers may be late because this machine was busy elsewhere, but a node that waits for its
  # workers is late with every one.
  defp status_ms(node) do
    times =
      for _ <- 1..21, do: node |> then(&timed(fn -> {:ok, _} = ask(&1, :status) end)) |> elem(0)

    times |> Enum.sort() |> Enum.at(5)
  end

  test "failure mode 4, slow start: 8 workers import at the same time, and status answers meanwhile" do
    {node, gate} = start_held(size: 8, start_method: :spawn)
    imports = for _ <- 1..8, do: import_begun(gate)
    assert %{starting: 8, ready: 0} = pool_status(node)
    assert status_ms(node) <= 50
    let_go(imports)
    assert ask(node, :await_ready) == :ok
    assert %{starting: 0, ready: 8} = pool_status(node)
    assert :gen_tcp.accept(gate, 0) == {:error, :timeout}
  end

  test "failure mode 4, slow start: with the fork server 8 workers take one import" do
    {node, gate} = start_held(size: 8, start_method: :fork)
    import = import_begun(gate)
    assert %{starting: 8, ready: 0} = pool_status(node)
    assert status_ms(node) <= 50
    let_go([import])
    assert ask(node, :await_ready) == :ok
    assert %{starting: 0, ready: 8} = pool_status(node)
    assert :gen_tcp.accept(gate, 0) == {:error, :timeout}
  end
end
