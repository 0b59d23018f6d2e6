#!/usr/bin/env escript
%% hundred_calls.escript - a little of everything, said to a running node: hundred_calls.escript NODE COOKIE
%%
%% For runs under valgrind and the like: answers are checked, times are not.

main([Name, Cookie]) ->
    Node = list_to_atom(Name),
    [_, Host] = string:split(Name, "@"),
    Me = list_to_atom("hundred_" ++ os:getpid() ++ "@" ++ Host),
    {ok, _} = net_kernel:start([Me, longnames]),
    erlang:set_cookie(list_to_atom(Cookie)),
    connect(Node, 600),
    Pool = {default, Node},
    ok = ask(Pool, {await_ready, 2}),
    [{ok, N} = ask(Pool, {call, math, fabs, [-N]}) || I <- lists:seq(1, 60), N <- [float(I)]],
    parallel(fun(I) -> {ok, I} = ask(Pool, {call, builtins, abs, [I]}) end, lists:seq(1, 20)),
    refusals(Pool),
    leases(Pool, Node),
    callers_that_die(Pool, Node),
    {ok, #{pools := _}} = ask(Pool, status),
    {ok, _} = ask(Pool, workers),
    _ = rpc:call(Node, math, sqrt, [4], 60000),
    pong = net_adm:ping(Node),
    large(Pool),
    {error, {worker_exit, _}} = ask(Pool, {call, os, abort, []}),
    ok = ask(Pool, await_ready),
    {ok, 1} = ask(Pool, {call, builtins, abs, [-1]}),
    true = erlang:disconnect_node(Node),
    connect(Node, 10),
    {ok, 2} = ask(Pool, {call, builtins, abs, [-2]}),
    io:format("a hundred calls: all as they should be~n").

connect(Node, 0) -> exit({no_connection, Node});
connect(Node, Tries) ->
    case net_kernel:connect_node(Node) of
        true -> ok;
        _ -> timer:sleep(200), connect(Node, Tries - 1)
    end.

ask(To, Request) -> gen_server:call(To, Request, 120000).

parallel(Fun, List) ->
    Workers = [spawn_monitor(fun() -> Fun(X) end) || X <- List],
    [receive {'DOWN', Ref, _, _, normal} -> ok end || {_, Ref} <- Workers].

refusals(Pool) ->
    {error, {bad_request, _}} = ask(Pool, {call, 1, 2, 3}),
    {error, {bad_option, timeout, _}} = ask(Pool, {call, math, sqrt, [2], [{timeout, soon}]}),
    {error, {unknown_request, nonsense}} = ask(Pool, nonsense),
    {error, {no_function, nothing, f}} = ask(Pool, {call, nothing, f, []}),
    {error, {python, #{type := _}}} = ask(Pool, {call, math, sqrt, [-1]}),
    {error, {unencodable, _, _}} = ask(Pool, {call, math, sqrt, [[a | b]]}),
    {error, {unencodable, _, _}} = ask(Pool, {call, builtins, object, []}),
    {error, {timeout, call}} = ask(Pool, {call, time, sleep, [20], [{timeout, 100}]}),
    {error, {too_deep, _}} = ask(Pool, {call, builtins, repr, [nested(300)]}),
    gen_server:cast(Pool, {call, math, sqrt, [4]}),
    Pool ! junk.

nested(0) -> [];
nested(N) -> [nested(N - 1)].

leases(Pool, _Node) ->
    {ok, Lease} = ask(Pool, {checkout, anonymous}),
    Ref = monitor(process, Lease),
    {ok, 3} = ask(Lease, {call, builtins, abs, [-3]}),
    ok = ask(Lease, checkin),
    receive {'DOWN', Ref, process, Lease, _} -> ok end,
    {ok, Linked} = ask(Pool, {checkout, anonymous}),
    process_flag(trap_exit, true),
    link(Linked),
    exit(Linked, shutdown),
    receive {'EXIT', Linked, _} -> ok end.

callers_that_die(Pool, _Node) ->
    Callers = [spawn(fun() -> ask(Pool, {call, time, sleep, [30]}) end) || _ <- lists:seq(1, 6)],
    Holders = [spawn(fun() -> {ok, _} = ask(Pool, {checkout, anonymous}), receive stop -> ok end end) || _ <- [1, 2]],
    await_queued(Pool, 6, 1000),
    [exit(P, kill) || P <- Callers ++ Holders],
    {ok, 5} = ask(Pool, {call, builtins, abs, [-5]}).

%% What waits is told to nobody: one has to ask.
await_queued(Pool, N, Tries) when Tries > 0 ->
    case ask(Pool, status) of
        {ok, #{pools := #{default := #{queued := N}}}} -> ok;
        _ -> receive after 20 -> await_queued(Pool, N, Tries - 1) end
    end.

large(Pool) ->
    Bytes = crypto:strong_rand_bytes(300000),
    {ok, [Bytes, [1, 2.5, {a, <<"b">>}]]} = ask(Pool, {call, builtins, list, [[Bytes, [1, 2.5, {a, <<"b">>}]]]}).
