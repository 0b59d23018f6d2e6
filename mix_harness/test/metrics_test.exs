defmodule Krait.MetricsTest do
  # What a node tells by HTTP: to Prometheus, to probes, and to nobody else.
  use Krait.Case, async: true
  alias Krait.Http

  @docs Path.expand("../../docs/metrics.md", __DIR__)
  @promtool Path.expand("../../build/tools/promtool", __DIR__)

  defp start(options \\ []), do: start_node(Keyword.merge([metrics: "127.0.0.1:0"], options))

  defp metrics(node) do
    {200, %{"content-type" => "text/plain; version=0.0.4; charset=utf-8"}, body} =
      Http.get(node, "/metrics")

    body
  end

  # `{name, labels as they are written} => value`
  defp samples(node) do
    for line <- String.split(metrics(node), "\n", trim: true),
        not match?("#" <> _, line),
        into: %{} do
      [_, name, labels, value] = Regex.run(~r/^([a-z_]+)(?:\{(.*)\})? (\S+)$/, line)
      {number, ""} = Float.parse(value)
      {{name, labels}, number}
    end
  end

  defp sample(node, name, labels \\ ""), do: Map.fetch!(samples(node), {name, labels})

  defp tool do
    Enum.find([@promtool, System.find_executable("promtool")], &(&1 && File.exists?(&1))) ||
      flunk("no promtool: scripts/setup.sh test brings one")
  end

  describe "/metrics" do
    test "is what promtool calls clean, of a node that has seen something" do
      node = start(size: 2)
      {:ok, 1} = py(node, "1")
      {:error, _} = py(node, "1 / 0")
      {:error, _} = py(node, "__import__('os')._exit(1)")
      file = temporary("metrics")
      on_exit(fn -> File.rm(file) end)
      File.write!(file, metrics(node))

      {said, status} =
        System.cmd("sh", ["-c", ~s("$0" check metrics <"$1"), tool(), file], stderr_to_stdout: true)

      assert {said, status} == {"", 0}
    end

    test "is listed in docs/metrics.md, name by name, with its type and its help" do
      said =
        for [_, name, help, type] <-
              Regex.scan(~r/^# HELP (\S+) (.*)\n# TYPE \1 (\S+)$/m, metrics(start(size: 1))),
            do: {name, type, help}

      listed =
        for [_, name, type, help] <-
              Regex.scan(~r/^\| `(\w+)` \| (\w+) \| (.*) \|$/m, File.read!(@docs)),
            do: {name, type, help}

      assert Enum.sort(listed) == Enum.sort(said)
    end

    test "counts every request once, by its outcome" do
      node = start(size: 1)
      {:ok, 1} = py(node, "1")
      {:ok, 2} = py(node, "2")
      {:error, {:python, _}} = py(node, "1 / 0")
      {:error, {:timeout, :call}} = py(node, sleep(30), timeout: 50)
      {:error, {:bad_request, _}} = ask(node, {:call, 1, 2, 3})
      dying = caller(:dying, node, eval(sleep(30)))
      await_running(node, 1)
      kill(dying)
      await_rest(node)
      samples = samples(node)

      for {outcome, count} <- [ok: 2, python: 1, timeout_call: 1, bad_request: 1, abandoned: 1] do
        assert samples[{"krait_requests_total", ~s(pool="default",outcome="#{outcome}")}] == count
      end

      ended = for {{"krait_requests_total", _}, n} <- samples, do: n
      assert samples[{"krait_requests_received_total", ~s(pool="default")}] == Enum.sum(ended)
      assert samples[{"krait_requests_queued", ~s(pool="default")}] == 0
    end

    test "has workers by state, and who waits" do
      node = start(size: 2)
      lease = lease!(node)
      caller(:busy, node, eval(sleep(30)))
      await_running(node, 1)
      caller(:waits, node, eval("1"))
      await_queued(node, 1)
      samples = samples(node)

      for {state, count} <- [idle: 0, leased: 1, busy: 1, starting: 0] do
        assert samples[{"krait_workers", ~s(pool="default",state="#{state}")}] == count
      end

      assert samples[{"krait_requests_queued", ~s(pool="default")}] == 1
      assert samples[{"krait_leases", ~s(pool="default")}] == 1
      assert samples[{"krait_peers", ""}] == 1
      assert samples[{"krait_ready", ""}] == 1
      assert samples[{"krait_workers_resident_memory_bytes", ~s(pool="default")}] > 1_000_000
      assert ask(lease, :checkin) == :ok
    end

    test "has histograms whose buckets add up" do
      node = start(size: 1)
      for _ <- 1..3, do: py(node, sleep(0.05))
      {:ok, _} = py(node, "'x' * 100000")
      {:ok, _} = ask(node, {:call, "builtins", "len", [String.duplicate("x", 5000)]})
      samples = samples(node)

      for name <- ~w(krait_request_wait_seconds krait_request_run_seconds krait_worker_start_seconds
                     krait_request_size_bytes krait_result_size_bytes) do
        buckets =
          for {{bucket, labels}, n} <- samples,
              bucket == name <> "_bucket",
              [_, le] = Regex.run(~r/le="(.*)"/, labels),
              do: {if(le == "+Inf", do: :infinity, else: elem(Float.parse(le), 0)), n}

        counts = for {_, n} <- Enum.sort(buckets), do: n
        assert counts == Enum.sort(counts), name
        assert List.last(counts) == samples[{name <> "_count", ~s(pool="default")}]
      end

      run = fn le ->
        samples[{"krait_request_run_seconds_bucket", ~s(pool="default",le="#{le}")}]
      end

      assert run.("134.217728") == 5
      # Not the three that slept; the others may have taken longer where the machine is busy.
      assert run.("0.032768") <= 2
      assert samples[{"krait_request_run_seconds_sum", ~s(pool="default")}] >= 0.15
      assert samples[{"krait_result_size_bytes_bucket", ~s(pool="default",le="65536")}] == 4
      assert samples[{"krait_request_size_bytes_bucket", ~s(pool="default",le="4096")}] == 4
    end

    test "tells why workers ended" do
      node = start(size: 1, stop_grace: 10_000)
      {:error, _} = py(node, "__import__('os')._exit(3)")
      {:error, _} = py(node, "__import__('os').kill(__import__('os').getpid(), 11)")
      await_rest(node)
      {:error, {:timeout, :call}} = py(node, sleep(30), timeout: 50)
      await_rest(node)
      [id] = for worker <- workers(node), worker.state != :stopping, do: worker.id
      :ok = ask(node, {:recycle, id})
      eventually(match?([%{id: other}] when other != id, workers(node)))

      exits = fn why ->
        sample(node, "krait_worker_exits_total", ~s(pool="default",reason="#{why}"))
      end

      eventually(exits.("stopped") == 1)
      left = &sample(node, "krait_worker_departures_total", ~s(pool="default",reason="#{&1}"))
      assert {left.("timeout"), left.("recycle"), left.("surplus")} == {1, 1, 0}
      assert {exits.("status"), exits.("signal"), exits.("killed"), exits.("start")} == {1, 1, 1, 0}
    end

    test "has each pool under its own name" do
      node = start(pool: :"päär\"s\\")
      labels = ~S(pool="päär\"s\\")
      assert sample(node, "krait_pool_size", labels) == 2
    end

    test "says what the node itself uses" do
      node = start()
      samples = samples(node)
      now = System.os_time(:second)
      assert_in_delta samples[{"process_start_time_seconds", ""}], now, 60
      assert samples[{"process_cpu_seconds_total", ""}] > 0
      assert samples[{"process_resident_memory_bytes", ""}] > 1_000_000
      assert_in_delta samples[{"process_open_fds", ""}], Proc.descriptors(node.os_pid), 2

      assert [_] =
               for({{"krait_build_info", labels}, 1.0} <- samples, labels =~ ~r/version="\d/, do: 1)

      assert samples[{"krait_node_info", ~s(node="#{node.name}")}] == 1
    end
  end

  describe "probes" do
    test "a node is alive at once, and ready when its pools can serve" do
      node = start(size: 2, await_ready: false)
      assert {200, _, "alive\n"} = Http.get(node, "/healthz")
      ask(node, :await_ready)
      assert {200, _, "default: serves, 2 of 2 workers are ready\n"} = Http.get(node, "/readyz")
    end

    test "a pool that is paused cannot serve; resumed, it can" do
      node = start()
      assert ask(node, :pause) == :ok
      assert {503, _, "default: paused" <> _} = Http.get(node, "/readyz")
      assert sample(node, "krait_ready") == 0
      assert {200, _, _} = Http.get(node, "/healthz")
      assert ask(node, :resume) == :ok
      assert {200, _, _} = Http.get(node, "/readyz")
    end

    test "workers that do not start are said, with the circuit" do
      node = start(size: 1, preload: ["no_such_module"], await_ready: false, breaker_threshold: 2)
      eventually(pool_status(node).breaker == :open)
      assert {503, _, "default: starting, 0 of 1 workers are ready\n"} = Http.get(node, "/readyz")
      eventually(sample(node, "krait_breaker_state", ~s(pool="default",state="open")) == 1)
      {200, _, json} = Http.get(node, "/api/status")
      assert json =~ ~r/"kind":"start".*no_such_module/
    end
  end

  describe "who may ask" do
    setup do
      {:ok, node: start(metrics_host: ["metrics.example.org"])}
    end

    for path <- ["/", "/metrics", "/api/status", "/healthz", "/readyz"] do
      test "#{path} may be read, and its head alone", %{node: node} do
        assert {200, headers, body} = Http.get(node, unquote(path))
        assert headers["content-length"] == to_string(byte_size(body))
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"] =~ "default-src 'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert {200, %{"content-length" => _}, ""} = Http.get(node, unquote(path), method: "HEAD")
      end

      test "#{path} is for reading only", %{node: node} do
        for method <- ~w(POST PUT DELETE OPTIONS PATCH FROBNICATE) do
          assert {405, %{"allow" => "GET, HEAD"}, _} = Http.get(node, unquote(path), method: method)
        end
      end
    end

    test "there is nothing else", %{node: node} do
      for path <- [
            "/x",
            "/metrics/",
            "/metrics/../etc/passwd",
            "/%2e%2e/",
            "//",
            "/api",
            "/index.html"
          ] do
        assert {404, _, "There is nothing here" <> _} = Http.get(node, path)
      end
    end

    test "a page of elsewhere cannot reach the node by a name of its own", %{node: node} do
      for host <- [
            "evil.example",
            "127.0.0.1.evil.example:80",
            "localhost.evil.example",
            "[evil]",
            "",
            "evil:1:2"
          ] do
        assert {403, _, "This name" <> _} = Http.get(node, "/metrics", host: host)
      end

      {:ok, name} = :inet.gethostname()

      for host <- [
            "localhost",
            "LOCALHOST:9",
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]:80",
            "metrics.example.org",
            name
          ] do
        assert {200, _, _} = Http.get(node, "/metrics", host: host)
      end
    end

    test "nor can its script", %{node: node} do
      port = Http.port(node)
      own = "http://127.0.0.1:#{port}"
      assert {200, _, _} = Http.get(node, "/api/status", headers: [Origin: own])

      for origin <- ["http://evil.example", "null", "https://127.0.0.1:#{port}", "http://127.0.0.1"] do
        assert {403, _, "A page" <> _} = Http.get(node, "/api/status", headers: [Origin: origin])
      end
    end

    test "HTTP/1.0 may leave the host out, HTTP/1.1 may not", %{node: node} do
      assert {200, _, "alive\n"} = Http.raw(node, "GET /healthz HTTP/1.0\r\n\r\n")
      assert {400, _, _} = Http.raw(node, "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    end

    test "a body is refused unread", %{node: node} do
      for headers <- [
            ["Content-Length": 10],
            ["Content-Length": 999_999_999_999],
            ["Transfer-Encoding": "chunked"]
          ] do
        assert {413, %{"connection" => "close"}, _} = Http.get(node, "/metrics", headers: headers)
      end
    end
  end

  describe "hostile requests" do
    test "cost their own connection only" do
      node = start()
      before = Proc.descriptors(node.os_pid)
      long = String.duplicate("a", 100_000)

      hostile = [
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" <> :binary.copy(<<0>>, 500),
        "GET /#{long} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n#{String.duplicate("X: y\r\n", 20_000)}\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: #{long}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
        "GET /api/status?since=#{String.duplicate("9", 500)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /%ff%fe%00?%00=%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        String.duplicate(:binary.list_to_bin(Enum.to_list(0..255)), 20)
      ]

      for bytes <- hostile do
        socket = Http.connect(node)
        :gen_tcp.send(socket, bytes)

        # some are answered, some may still become a request: METRICS_PATIENCE_MS is not waited for here
        with {:ok, answer} <- :gen_tcp.recv(socket, 0, 100), do: assert("HTTP/1.1 " <> _ = answer)
        assert {200, _, _} = Http.get(node, "/healthz")
        :gen_tcp.close(socket)
      end

      assert {:ok, 1} = py(node, "1")
      eventually(Proc.descriptors(node.os_pid) <= before)
    end

    test "hundreds of connections that say nothing, or a little, keep nobody out" do
      node = start()
      before = Proc.descriptors(node.os_pid)

      {ms, slow} =
        timed(fn ->
          slow =
            for i <- 1..300 do
              socket = Http.connect(node)
              if rem(i, 2) == 0, do: :gen_tcp.send(socket, "GET /metrics HTTP/1.1\r\nHost: lo")
              socket
            end

          assert {200, _, _} = Http.get(node, "/metrics")
          slow
        end)

      # before the patience with the first of them ends: they were let go for others
      assert ms < 9_000
      assert {:ok, 1} = py(node, "1")
      assert sample(node, "krait_http_connections") <= 64 + 16
      assert sample(node, "krait_http_connections_evicted_total") >= 300 - 64 - 16
      assert Proc.descriptors(node.os_pid) <= before + 64 + 16
      for socket <- slow, do: :gen_tcp.close(socket)
      eventually(Proc.descriptors(node.os_pid) <= before)
    end

    test "who does not read his answers delays nobody" do
      node = start()

      for _ <- 1..40 do
        socket = Http.connect(node)
        ask = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        :gen_tcp.send(socket, String.duplicate(ask, 200))
      end

      {ms, {200, _, _}} = timed(fn -> Http.get(node, "/metrics") end)
      assert ms < 8_000
      assert {:ok, 1} = py(node, "1")
    end

    test "a connection serves one request after the other, and several that came at once" do
      node = start()
      socket = Http.connect(node)
      for _ <- 1..50, do: assert({200, _, "alive\n"} = Http.ask(socket, "/healthz"))
      one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
      {200, _, rest} = Http.raw(node, [one, "\r\n", one, "\r\n", one, "Connection: close\r\n\r\n"])
      assert length(String.split(rest, "alive")) == 4
    end
  end

  describe "the node" do
    test "idles while nobody is connected, and while somebody is who says nothing" do
      node = start()
      assert {200, _, _} = Http.get(node, "/metrics")
      quiet = fn -> Proc.voluntary_switches(node.os_pid) end
      _silent = Http.connect(node)
      assert {200, _, _} = Http.get(node, "/healthz")
      before = quiet.()
      refute_receive _, 1000
      assert quiet.() - before <= 5
    end

    test "says what is wrong with an address" do
      for {address, status, says} <- [
            {"here:1", 2, ~r/--metrics: found "here:1", expected ADDR:PORT/},
            {"127.0.0.1", 2, ~r/expected ADDR:PORT/},
            {"127.0.0.1:70000", 2, ~r/expected ADDR:PORT/},
            {"::1:80", 2, ~r/expected ADDR:PORT/},
            {"192.0.2.1:0", 1, ~r/\[metrics\] cannot listen on 192.0.2.1 port 0: /}
          ] do
        args = [
          "--name",
          to_string(unique_name()),
          "--metrics",
          address,
          "--python",
          TestNode.python(),
          "--stop-on-eof"
        ]

        script = ~s(: | exec timeout 30 "$0" "$@")
        env = [{"KRAIT_COOKIE", "a cookie"}]

        {said, found} =
          System.cmd("sh", ["-c", script, bin() | args], env: env, stderr_to_stdout: true)

        assert {found, said =~ says} == {status, true}, said
      end
    end

    test "takes an address of IPv6, or a port alone" do
      node = start(metrics: "[::1]:0")
      assert Http.url(node) =~ ~r"^http://\[::1\]:\d+/$"
      node = start(metrics: "0")
      assert Http.url(node) =~ ~r"^http://127.0.0.1:\d+/$"
      assert {200, _, _} = Http.get(node, "/healthz")
    end

    test "warns when it can be reached from elsewhere" do
      node = start(metrics: "0.0.0.0:0")

      assert Enum.any?(
               lines(node),
               &match?({:warning, "metrics", "0.0.0.0 is not loopback" <> _}, &1)
             )
    end

    test "serves while it drains" do
      node = start(stop_timeout: 20_000)
      gate = Krait.Gate.new()
      caller(:slow, node, eval(Krait.Gate.behind(gate, "7")))
      await_running(node, 1)
      url = Http.url(node)
      signal(node.os_pid, "TERM")
      eventually(match?({503, _, "node: stopping" <> _}, Http.get(node, "/readyz")))
      assert is_binary(url)
      Krait.Gate.open(gate)
      assert_receive {:slow, {:ok, 7}}, 10_000
    end

    defp bin, do: System.get_env("KRAIT_BIN") || Path.join(:code.priv_dir(:krait), "krait")
  end

  describe "/api/status" do
    test "has the last log lines, and only those that are asked for" do
      node = start(size: 1)

      {:ok, _} =
        py(node, "print('a line \\x01 \\\"quoted\\\" \\udcff', file=__import__('sys').stderr)")

      # The line comes by another way than the answer.
      eventually(elem(Http.get(node, "/api/status"), 2) =~ ~S(stderr: a line \u0001 \"quoted\"))
      {200, %{"content-type" => "application/json"}, json} = Http.get(node, "/api/status")
      [_, last] = Regex.run(~r/"log":\{"last":(\d+)/, json)
      {200, _, json} = Http.get(node, "/api/status?since=#{last}")
      assert json =~ ~r/"log":\{"last":\d+,"dropped":0,"lines":\[\]\}/
    end

    test "names what runs and who called, and never with what" do
      node = start(size: 1)
      caller(:caller, node, {:call, "krait_faults", "slow", [30, "a secret"]})
      await_running(node, 1)
      {200, _, json} = Http.get(node, "/api/status")
      assert json =~ ~s("name":"krait_faults.slow","caller":"#{node()}")
      refute json =~ "a secret"
    end

    test "keeps the last failures with their tracebacks, each once" do
      node = start(size: 1)
      for _ <- 1..3, do: {:error, {:python, _}} = py(node, "1 / 0")
      {:error, {:worker_exit, _}} = py(node, "__import__('os')._exit(3)")
      await_rest(node)
      {:error, {:timeout, :call}} = py(node, sleep(30), timeout: 50)
      for i <- 1..30, do: py(node, "[][#{i}] + #{i}")
      for i <- 1..12, do: py(node, "undefined_#{i}")
      {200, _, json} = Http.get(node, "/api/status")
      assert length(Regex.scan(~r/"kind":/, json)) == 16

      assert json =~
               ~r/"kind":"python","time_ms":\d+,"count":3,"worker":\d+,"call":"builtins.eval","text":"Traceback.*?ZeroDivisionError/

      assert json =~ ~r/"kind":"worker_exit"[^}]*ended with status 3/
      assert json =~ ~r/"kind":"timeout"[^}]*ran out of time, 50 ms after its arrival/
    end
  end
end
