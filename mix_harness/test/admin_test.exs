defmodule Krait.AdminTest do
  # What operators ask of a node, from a BEAM: every way to name it, and what they hear when it will not.
  use Krait.Case, async: true

  alias Krait.Admin

  defp file(text) do
    path =
      Path.join(
        System.tmp_dir!(),
        "krait_#{System.pid()}_#{System.unique_integer([:positive])}.conf"
      )

    on_exit(fn -> File.rm(path) end)
    File.write!(path, text)
    path
  end

  test "a node is named by an instance, its name, a pool, a lease" do
    node = start_node(register: :krait_admin_test)
    {:ok, lease} = Krait.checkout_lease(node.pool)

    for name <- [node.instance, :krait_admin_test, node.name, node.pool, {:krait, node.name}, lease] do
      assert Admin.pools(name) == {:ok, [:default]}
    end

    assert {:error, %Error{kind: :noproc}} = Admin.pools(:no_such_instance)
    assert {:error, %Error{kind: :nodedown}} = Admin.pools(:"nowhere@127.0.0.1")
  end

  test "the configuration is read again: the difference, or what is wrong and where" do
    path = file("pool default {\n  call-timeout = 1000\n}\n")
    node = start_node(config: path)
    File.write!(path, "pool default {\n  call-timeout = 2000\n}\n")

    assert {:ok, %{pools: %{default: %{call_timeout: {1000, 2000}}}}} =
             Admin.reload_config(node.instance)

    File.write!(path, "pool default {\n  call-timeout = soon\n}\n")
    assert {:error, %Error{kind: :bad_config} = error} = Admin.reload_config(node.instance)
    assert Exception.message(error) =~ ~r/nothing changed: .*#{Path.basename(path)}:2/
    assert {:ok, %{pools: %{default: %{call_timeout: 2000}}}} = Admin.config(node.instance)
  end

  test "an option is changed, or there is a reason why not" do
    node = start_node()
    assert {:ok, {_, 7}} = Admin.set(node.pool, :queue_limit, 7)
    assert %{queue_limit: 7} = pool_status(node)
    assert {:error, %Error{kind: :bad_option}} = Admin.set(node.pool, :queue_limit, :many)

    assert {:error, %Error{kind: :restart_needed} = error} =
             Admin.set({:krait, node.name}, :listen, "127.0.0.9")

    assert Exception.message(error) == "option listen cannot change while the node runs: restart it"
  end

  test "a pool may be told a range" do
    node = start_node(size: 1)
    assert :ok = Krait.resize(node.pool, 2..3)
    assert :ok = Krait.await_ready(node.pool)
    eventually(pool_status(node).ready == 2)
  end

  test "events come until they are unwanted" do
    node = start_node()
    name = node.name
    assert :ok = Admin.subscribe(node.pool, [:events, :log])
    assert {:ok, 2.0} = Krait.call(node.pool, "math", "sqrt", [4.0])
    assert_receive {:krait_event, ^name, [:krait, :call, :stop], _, _}, 5_000
    assert :ok = Admin.unsubscribe(node.pool)
    assert {:ok, nil} = Krait.call(node.pool, "builtins", "print", ["x"])
    refute_received {:krait_log, _, %{line: "x"}}
  end
end
