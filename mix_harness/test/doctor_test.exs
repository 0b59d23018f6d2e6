defmodule Krait.DoctorTest do
  # A broken set-up of each kind, and what is said of it.
  use Krait.Case, async: true

  import ExUnit.CaptureIO

  alias Krait.{Doctor, PrivateEpmd}

  # What is not well, or not known because of that: {check, finding}.
  defp wrong(findings), do: Enum.reject(findings, &(&1.status in [:ok, :skipped]))

  defp diagnosis(findings) do
    [finding] = wrong(findings)
    assert finding.means =~ ~r/\.$/
    assert finding.do =~ ~r/\.$/
    {finding.check, finding.status, finding.found, finding.do}
  end

  test "a node that is well, in words" do
    node = start_node()
    assert wrong(Doctor.check(node.pool)) == []
    text = capture_io(fn -> assert Krait.doctor(node.name) == :ok end)
    assert text =~ "ok    epmd          answers at 127.0.0.1:"
    assert text =~ "ok    call          Python answers"
  end

  test "no such instance" do
    assert {:distribution, :error, found, _} = diagnosis(Doctor.check(:no_such_instance))
    assert found =~ "no instance :no_such_instance"
  end

  test "a BEAM that is not distributed" do
    code = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
    {:ok, beam, _} = :peer.start(%{connection: :standard_io, args: code})
    on_exit(fn -> if Process.alive?(beam), do: :peer.stop(beam) end)
    findings = :peer.call(beam, Doctor, :check, [:"krait@127.0.0.1"], 20_000)

    assert {:distribution, :error, "this BEAM is not distributed", "start it with --name" <> _} =
             diagnosis(findings)
  end

  test "names of two kinds" do
    assert {:distribution, :error, found, _} = diagnosis(Doctor.check(:krait@somewhere))
    assert found =~ "with long names; krait@somewhere is a short one"
  end

  test "a host without an address" do
    assert {:resolution, :error, "256.1.1.1 has no address" <> _, _} =
             diagnosis(Doctor.check(:"krait@256.1.1.1"))
  end

  test "no epmd" do
    port = PrivateEpmd.start()
    beam = PrivateEpmd.start_beam(port)
    PrivateEpmd.kill(port)
    findings = :peer.call(beam, Doctor, :check, [:"krait@127.0.0.1"], 20_000)
    assert {:epmd, :error, found, _} = diagnosis(findings)
    assert found == "nobody answers at 127.0.0.1:#{port} (refused)"
  end

  test "no such node, and what there is" do
    node = start_node(await_ready: false)
    [alive, _] = String.split(Atom.to_string(node.name), "@")
    assert {:name, :error, found, _} = diagnosis(Doctor.check(:"nowhere@127.0.0.1"))
    assert found =~ "knows no nowhere, but "
    assert found =~ alive

    assert List.last(Doctor.check(:"nowhere@127.0.0.1")).found ==
             "cannot be known before name is well"
  end

  test "a node that listens elsewhere" do
    node = start_node(listen: "127.0.0.2", await_ready: false)
    assert {:port, :error, found, remedy} = diagnosis(Doctor.check(node.name))
    assert found =~ "refuses connections"
    assert remedy =~ "--listen 127.0.0.1"
  end

  test "another cookie" do
    name = unique_name()
    Node.set_cookie(name, :another)
    node = start_node(name: name, await_ready: false)
    assert {:cookie, :error, found, remedy} = diagnosis(Doctor.check(node.name))
    assert found == "#{name} does not take this BEAM"
    assert remedy =~ "--cookie-file"
    text = capture_io(fn -> assert Krait.doctor(node.name) == :error end)

    assert text =~
             "\nFAIL  cookie        #{name} does not take this BEAM\n                    means: a cookie"

    refute text =~ "another\n"
  end

  test "no such pool, and what there is" do
    node = start_node(pool: :numbers, await_ready: false)
    assert {:pool, :error, found, _} = diagnosis(Doctor.check(node.name))
    assert found == "the node has no pool default, but numbers"
  end

  test "workers that do not start" do
    node = start_node(preload: ["no_such_module_at_all"], await_ready: false)
    assert {:error, _} = Krait.await_ready(node.pool)
    findings = Doctor.check(node.pool)
    assert [%{check: :pool, found: found}, %{check: :call}] = wrong(findings)
    assert found =~ "no worker is ready"
    assert found =~ "no_such_module_at_all"
  end

  test "a pool that is paused, and one that allows little" do
    node = start_node(allow: ["operator"])
    assert wrong(Doctor.check(node.pool)) == []
    assert List.last(Doctor.check(node.pool)).found =~ "does not name math.sqrt"
    :ok = Krait.drain(node.pool)

    assert [%{check: :pool, status: :warning, found: "default is draining"}] =
             wrong(Doctor.check(node.pool))
  end
end
