defmodule Krait.FailureMode15Test do
  use Krait.Case, async: true

  test "failure mode 15, secrets: no payload in any log" do
    # Even at the level debug, which the suites use throughout.
    node = start_node(log_level: :debug, max_request_bytes: 10_000, max_depth: 10)
    secret = "s3cr3t-" <> Base.encode16(:crypto.strong_rand_bytes(12))
    lease = lease!(node)

    requests = [
      {:call, :krait, :identity, [secret]},
      {:call, :krait, :identity, [%{secret => [secret, {secret}]}]},
      {:call, :builtins, :dict, [], kwargs: %{password: secret}},
      {:call, :builtins, :int, [secret]},
      {:call, :json, :loads, [secret]},
      {:call, :builtins, :eval, ["{}['#{secret}']"]},
      {:call, :builtins, :eval,
       ["(_ for _ in ()).throw(ValueError('#{secret}', {'#{secret}': 1}))"]},
      {:call, :krait, :identity, [[secret | secret]]},
      {:call, :krait, :identity, [%{secret => [1 | 2]}]},
      {:call, :krait, :identity, [String.duplicate(secret, 1_000)]},
      {:call, :krait, :identity, [secret], traceparent: 1},
      {:call, :krait, :identity, [secret], timeout: secret},
      {:call, :krait, :identity, {secret}},
      {secret, secret},
      secret,
      {:checkout, secret}
    ]

    for request <- requests, to <- [node, lease] do
      try do
        ask(to, request)
      catch
        :exit, _ -> :ended
      end

      GenServer.cast(node.pool, request)
      send(node.pool, request)
      send(node.pool, {secret, request})
    end

    Process.exit(lease, {:because, secret})

    # Every line that belongs to what was asked before has been written when this one is answered, and
    # has been read when the node has ended.
    assert ask(node, :ping) == :pong
    await_rest(node)
    assert Krait.stop(node.instance) == :ok
    lines = lines(node)
    assert lines != []
    assert for({_, object, text} <- lines, object =~ secret or text =~ secret, do: text) == []
  end
end
