defmodule Krait.LimitsTest do
  # What each option makes of a worker, as the worker sees it itself.
  use Krait.Case, async: true

  @methods [:fork, :spawn]
  @libraries ~w(OMP OPENBLAS MKL BLIS NUMEXPR NUMBA RAYON)

  defp limit(node, which) do
    {:ok, {soft, hard}} =
      py(node, "__import__('resource').getrlimit(__import__('resource').RLIMIT_#{which})")

    {soft, hard}
  end

  defp variable(node, name), do: py(node, "__import__('os').environ.get('#{name}')")

  for method <- @methods do
    describe "#{method}:" do
      @describetag method: method

      test "resource limits are set, and the node's where none is given", %{method: method} do
        node =
          start_node(
            start_method: method,
            rlimit_as: 4_000_000_000,
            rlimit_cpu: 600,
            rlimit_nofile: 200,
            rlimit_core: 0
          )

        assert limit(node, "AS") == {4_000_000_000, 4_000_000_000}
        assert limit(node, "CPU") == {600, 601}
        assert limit(node, "NOFILE") == {200, 200}
        assert limit(node, "CORE") == {0, 0}

        plain = start_node(start_method: method, rlimit_core: :infinity)
        assert {nofile, _} = limit(plain, "NOFILE")
        assert nofile > 200
        assert {-1, -1} = limit(plain, "AS")
        {:ok, own} = File.read("/proc/#{plain.os_pid}/limits")
        [_, core] = Regex.run(~r/Max core file size +(\S+)/, own)
        assert {soft, _} = limit(plain, "CORE")
        assert core == if(soft == -1, do: "unlimited", else: to_string(soft))
      end

      test "niceness, the score of the out-of-memory killer, the directory", %{method: method} do
        directory = Path.expand("../lib", __DIR__)
        options = [start_method: method, nice: 5, oom_score_adj: 321, cwd: directory]
        node = start_node([size: 1] ++ options)
        {own, 0} = System.cmd("ps", ["-o", "ni=", "-p", to_string(node.os_pid)])

        assert py(node, "__import__('os').nice(0)") ==
                 {:ok, String.to_integer(String.trim(own)) + 5}

        assert py(node, "open('/proc/self/oom_score_adj').read()") == {:ok, "321\n"}
        assert py(node, "__import__('os').getcwd()") == {:ok, directory}
      end

      test "each worker finds its index in its environment", %{method: method} do
        node =
          start_node(
            size: 3,
            start_method: method,
            worker_env: %{"CUDA_VISIBLE_DEVICES" => "{index}", "PLAIN" => "a=b", "NONE" => ""}
          )

        for _ <- 1..3, lease = lease!(node) do
          {:ok, index} = variable(lease, "KRAIT_WORKER_INDEX")
          assert variable(lease, "CUDA_VISIBLE_DEVICES") == {:ok, index}
          assert variable(lease, "PLAIN") == {:ok, "a=b"}
          assert variable(lease, "NONE") == {:ok, ""}
          index
        end
        |> Enum.sort()
        |> then(&assert &1 == ["0", "1", "2"])
      end

      test "numerical libraries use one thread, or as many as they are told", %{method: method} do
        node = start_node(start_method: method, preload: ["krait_preloaded"])
        for name <- @libraries, do: assert(variable(node, name <> "_NUM_THREADS") == {:ok, "1"})
        assert variable(node, "VECLIB_MAXIMUM_THREADS") == {:ok, "1"}

        node =
          start_node(
            start_method: method,
            threads: 3,
            env: %{"MKL_NUM_THREADS" => "7"},
            worker_env: [{"OMP_NUM_THREADS", "5"}, {"BLIS_NUM_THREADS", "{index}"}]
          )

        assert variable(node, "OPENBLAS_NUM_THREADS") == {:ok, "3"}
        assert variable(node, "MKL_NUM_THREADS") == {:ok, "7"}
        assert variable(node, "OMP_NUM_THREADS") == {:ok, "5"}
        assert {:ok, index} = variable(node, "BLIS_NUM_THREADS")
        assert index in ["0", "1"]

        node = start_node(start_method: method, threads: 0)
        for name <- @libraries, do: assert(variable(node, name <> "_NUM_THREADS") == {:ok, nil})
      end
    end
  end

  test "they are there when the preload is imported, which is when libraries look" do
    node = start_node(preload: ["krait_preloaded"], threads: 2, worker_env: %{"EARLY" => "yes"})
    assert py(node, "__import__('krait_preloaded').ENVIRONMENT['OMP_NUM_THREADS']") == {:ok, "2"}
    assert py(node, "__import__('krait_preloaded').ENVIRONMENT['EARLY']") == {:ok, "yes"}
  end

  test "neither the cookie nor the mark of Krait's processes can be had or changed" do
    node = start_node(worker_env: %{"KRAIT_MARK" => "mine"})
    {:ok, mark} = variable(node, "KRAIT_MARK")
    assert mark =~ to_string(node.name)
    assert variable(node, "KRAIT_COOKIE") == {:ok, nil}
  end

  test "what the kernel refuses is a start that fails, and says why" do
    node = start_node(cwd: "/nowhere", await_ready: false)
    eventually(match?(%{last_error: text} when is_binary(text), pool_status(node)))
    assert pool_status(node).last_error =~ "cwd /nowhere: No such file or directory"
  end

  test "memory that a worker may not have is a MemoryError, and costs nobody anything" do
    node = start_node(size: 1, rlimit_as: 2_000_000_000)
    assert {:error, {:python, %{type: "MemoryError"}}} = py(node, "bytearray(3_000_000_000)")
    assert py(node, "1") == {:ok, 1}
  end

  # Whether the node may make cgroups here depends on who started this BEAM, and where.
  test "a worker's memory is limited by a cgroup of its own, or one warning says why not" do
    node = start_node(size: 2, memory_max: 200_000_000, cpu_max: 150)
    lines = for {level, "cgroup", text} <- lines(node), do: {level, text}

    case lines do
      [{:info, "one for each worker, in " <> own}] ->
        [pid | _] = os_pids(node)
        assert File.read!("/proc/#{pid}/cgroup") =~ "/krait-#{node.os_pid}-"
        [group | _] = Path.wildcard("#{own}/krait-#{node.os_pid}-[0-9]*")
        assert File.read!("#{group}/cpu.max") == "150000 100000\n"
        greedy = "len(bytearray(400_000_000).replace(b'\\0', b'1'))"
        assert {:error, {:worker_exit, %{exit: {:killed, :memory_limit}}}} = py(node, greedy)
        await_rest(node)
        eventually(length(Path.wildcard("#{own}/krait-#{node.os_pid}-[0-9]*")) == 2)

      [{:warning, text}] ->
        assert text =~ "memory-max and cpu-max do not count: "
        assert py(node, "1") == {:ok, 1}
    end
  end

  test "without such limits nobody looks for cgroups" do
    node = start_node()
    assert for({_, "cgroup", text} <- lines(node), do: text) == []
  end

  test "a worker that replaces another has its index, whoever still serves beside it" do
    node = start_node(size: 3)
    indexes = fn -> Enum.sort(for %{state: :idle, index: index} <- workers(node), do: index) end
    assert indexes.() == [0, 1, 2]
    leases = for _ <- 1..3, do: lease!(node)
    before = os_pids(node)
    :ok = ask(node, :reload)
    # Fresh ones serve beside those that are leased.
    eventually(length(os_pids(node)) == 6)
    eventually(pool_status(node).ready == 6)
    fresh = for %{os_pid: os_pid, index: index} <- workers(node), os_pid not in before, do: index
    assert Enum.sort(fresh) == [0, 1, 2]
    assert py(node, "int(__import__('os').environ['KRAIT_WORKER_INDEX']) < 3") == {:ok, true}
    for lease <- leases, do: :ok = ask(lease, :checkin)
    eventually(length(workers(node)) == 3)
    assert indexes.() == [0, 1, 2]
    [victim | _] = os_pids(node)
    %{index: index} = Enum.find(workers(node), &(&1.os_pid == victim))
    signal(victim, "KILL")
    eventually(victim not in os_pids(node) and indexes.() == [0, 1, 2])
    assert index in [0, 1, 2]
  end
end
