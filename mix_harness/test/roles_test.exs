defmodule Krait.RolesTest do
  # Who may look, and who may administer.
  use Krait.Case, async: true

  import Krait.Ctl

  @error 1

  describe "roles" do
    test "admin: by the names of peers" do
      node = start_node(admin: ["ops@*", "kraitctl_*@127.0.0.1"])
      assert ask(node, :pause) == {:error, {:forbidden, :pause, :admin}}
      assert ask({:krait, node.name}, :stop) == {:error, {:forbidden, :stop, :admin}}
      GenServer.cast({:krait, node.name}, :stop)
      assert {:ok, _} = ask(node, :status)
      assert py(node, "1") == {:ok, 1}
      assert ctl!(node, ["pause"]) == "paused\n"
      assert ctl!(node, ["resume"]) == "resumed\n"

      eventually(
        Enum.any?(lines(node), &(elem(&1, 2) =~ "may not stop: that needs the role admin"))
      )

      roles =
        for %{"name" => name, "role" => role} <- json(node, ["peers"]),
            do: {hd(String.split(name, "_")), role}

      assert Enum.sort(roles) == [{"kraitctl", "admin"}, {"runner", "watch"}]
    end

    test "watch: and who may not look may not administer" do
      node = start_node(watch: ["ops@*"])

      for verb <- [:status, :workers, :requests, :peers, :pools, :sessions, :config],
          do: assert(ask({:krait, node.name}, verb) == {:error, {:forbidden, verb, :watch}})

      assert ask(node, {:subscribe, :all}) == {:error, {:forbidden, :subscribe, :watch}}
      assert ask(node, :pause) == {:error, {:forbidden, :pause, :admin}}
      assert ask(node, :ping) == :pong
      assert ask(node, :await_ready) == :ok
      lease = lease!(node)
      assert py(lease, "2") == {:ok, 2}
      assert ask(lease, :checkin) == :ok
      assert {@error, "", err} = ctl(node, ["status"])
      assert err == "kraitctl: this connection may not `status`: that needs the role watch\n"
    end

    test "are those of each call of a lane, too" do
      node = start_node(watch: ["ops@*"])
      verbs = [pause: :admin, drain: :admin, reload: :admin, workers: :watch, status: :watch]
      calls = [{:resize, {:resize, 1}}, {:subscribe, {:subscribe, :all}}, {:ping, :ping}]
      calls = for({verb, _} <- verbs, do: {verb, verb}) ++ calls
      send(node.pool, {:krait_lane, self(), calls, []})

      assert_receive {:krait_lane, answers}, 5_000
      refused = verbs ++ [resize: :admin, subscribe: :watch]
      refused = for {verb, role} <- refused, do: {verb, {:error, {:forbidden, verb, role}}}
      assert answers == refused ++ [ping: :pong]
      assert py(node, "1") == {:ok, 1}
    end

    test "an administrator may look" do
      node = start_node(watch: ["nobody@*"], admin: ["runner_*"])
      assert {:ok, _} = ask(node, :status)
      assert ask(node, :pause) == :ok
      assert ask(node, :resume) == :ok
      assert {@error, _, _} = ctl(node, ["status"])
    end

    test "admin_users: by who has opened the connection on this machine" do
      {user, 0} = System.cmd("id", ["-un"])
      {uid, 0} = System.cmd("id", ["-u"])

      for one <- [String.trim(user), String.trim(uid)] do
        node = start_node(admin_users: [one, "nobody"])
        assert ctl!(node, ["pause"]) == "paused\n"
        assert ask(node, :resume) == :ok
        assert Enum.all?(json(node, ["peers"]), &(&1["user"] == String.trim(user)))
      end

      node = start_node(admin_users: ["nobody"])
      assert {@error, "", err} = ctl(node, ["pause"])
      assert err =~ "needs the role admin"
      assert ctl!(node, ["status"]) =~ "running"
      assert ask(node, :pause) == {:error, {:forbidden, :pause, :admin}}
    end
  end
end
