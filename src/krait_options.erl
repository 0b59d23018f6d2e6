%%% @doc What {@link krait:start_link/1} takes: one table, checked once, turned into a command line.
%%%
%%% An option of the node has one row in `table/0': its key, its type and its flag. The rest (`name'
%%% and what only the supervising process needs) is in `parse/1'. A wrong value is refused with what
%%% was expected and what was got, before anything is started.
-module(krait_options).

-export([parse/1, keys/0, derive_name/0, format_error/1]).
-export_type([options/0, config/0, error/0]).

-type options() :: #{atom() => term()} | [{atom(), term()} | atom()].

-type config() :: #{node := node(),
                    pool := atom(),
                    argv := [string() | binary()],
                    env := [{string(), string() | false}],
                    bin := string() | default,
                    register := atom(),
                    timeout := timeout(),
                    await_ready := false | timeout(),
                    shutdown := pos_integer(),
                    log := krait_log:sink()}.

-type error() :: not_distributed
               | {bad_option, Key :: term(), Expected :: binary(), Got :: term()}.

-define(START_TIMEOUT, 30_000).
%% The node's own defaults of `stop_timeout' and `stop_grace'.
-define(STOP_TIMEOUT, 10_000).
-define(STOP_GRACE, 1_000).

%% Rows of what the node itself understands.
-spec table() -> [{atom(), type(), string()}].
table() ->
    [{pool,              name,           "--pool"},
     {size,              {from, 1},      "--size"},
     {slots,             {between, 1, 64},                          "--slots"},
     {rpc,               flag,           "--rpc"},
     {session_mode,      {one_of, [strict, hint, fail_fast]},       "--session-mode"},
     {session_ttl,       {timeout, 1},   "--session-ttl"},
     {max_sessions,      {from, 0},      "--max-sessions"},
     {preload,           names,          "--preload"},
     {expose,            exposed,        "--expose"},
     {allow,             names,          "--allow"},
     {python,            text,           "--python"},
     {pythonpath,        directories,    "--pythonpath"},
     {start_method,      {one_of, [fork, spawn]},                   "--start-method"},
     {abandon,           {one_of, [kill, interrupt, finish]},       "--abandon"},
     {interrupt_grace,   {from, 1},      "--interrupt-grace"},
     {call_timeout,      {timeout, 1},   "--call-timeout"},
     {queue_timeout,     {timeout, 0},   "--queue-timeout"},
     {queue_limit,       {from, 0},      "--queue-limit"},
     {queue_bytes,       {from, 0},      "--queue-bytes"},
     {start_timeout,     {from, 1},      "--start-timeout"},
     {stop_grace,        {from, 1},      "--stop-grace"},
     {stop_timeout,      {from, 0},      "--stop-timeout"},
     {breaker_threshold, {from, 1},      "--breaker-threshold"},
     {backoff_base,      {from, 1},      "--backoff-base"},
     {backoff_max,       {from, 1},      "--backoff-max"},
     {start_burst,       {from, 1},      "--start-burst"},
     {starts_per_second, {from, 1},      "--starts-per-second"},
     {strings,           {one_of, [utf8, bytes]},                   "--strings"},
     {max_depth,         {from, 1},      "--max-depth"},
     {max_request_bytes, {from, 1},      "--max-request-bytes"},
     {max_result_bytes,  {from, 1},      "--max-result-bytes"},
     {net_ticktime,      {from, 1},      "--net-ticktime"},
     {handshake_timeout, {from, 10},     "--handshake-timeout"},
     {max_peers,         {from, 1},      "--max-peers"},
     {max_output_bytes,  {from, 1},      "--max-output-bytes"},
     {log_level,         {one_of, [error, warning, info, debug]},   "--log-level"},
     {log_format,        {one_of, [text, json, journald]},          "--log-format"},
     {log_rate,          {from, 1},      "--log-rate"},
     {listen,            text,           "--listen"},
     {port,              {between, 0, 65535},                       "--port"},
     {cookie_file,       text,           "--cookie-file"}].

-type type() :: flag | name | names | text | directories | exposed | {timeout, 0 | 1}
              | {from, integer()} | {between, integer(), integer()} | {one_of, [atom()]}.

%% What the supervising process takes for itself.
-spec own_keys() -> [atom()].
own_keys() ->
    [name, register, timeout, await_ready, shutdown, log, bin, env, id].

%% @doc Every key that {@link krait:start_link/1} understands.
-spec keys() -> [atom()].
keys() ->
    own_keys() ++ [Key || {Key, _, _} <- table()].

%% @doc Checks the options and says how the node is to be run.
-spec parse(options()) -> {ok, config()} | {error, error()}.
parse(Options) when is_map(Options) ->
    try
        is_alive() orelse throw(not_distributed),
        [throw({bad_option, Key, one_of(keys()), Value})
         || {Key, Value} <- maps:to_list(Options), not lists:member(Key, keys())],
        Node = node_name(maps:get(name, Options, undefined)),
        Flags = lists:append([flags(Row, Options) || Row <- table()]),
        {ok, #{node => Node,
               pool => pool(maps:get(pool, Options, default)),
               argv => ["--name", atom_to_binary(Node), "--stop-on-eof" | Flags],
               env => environment(Options),
               bin => own(bin, text, Options, default),
               register => own(register, atom, Options, undefined),
               timeout => own(timeout, {timeout, 0}, Options, ?START_TIMEOUT),
               await_ready => await_ready(own(await_ready, await, Options, false)),
               shutdown => own(shutdown, {from, 1}, Options, shutdown(Options)),
               log => own(log, sink, Options, logger)}}
    catch
        throw:Reason -> {error, Reason}
    end;
parse(Options) when is_list(Options) ->
    try proplists:to_map(Options) of
        Map -> parse(Map)
    catch
        error:_ -> {error, {bad_option, options, <<"a map or a list of {Key, Value}">>, Options}}
    end;
parse(Options) ->
    {error, {bad_option, options, <<"a map or a list of {Key, Value}">>, Options}}.

%% @doc A node name on this BEAM's own host that nobody else has.
-spec derive_name() -> node().
derive_name() ->
    with_host(io_lib:format("krait_~s_~b", [os:getpid(), erlang:unique_integer([positive])])).

%% @doc The error of a start as one or more lines for people.
-spec format_error(term()) -> unicode:chardata().
format_error(not_distributed) ->
    "this BEAM is not distributed, so it cannot reach a Krait node: start it with --name or --sname, "
    "or call net_kernel:start/2 (Node.start/2) first";
format_error({bad_option, Key, Expected, Got}) ->
    io_lib:format("option ~tp: expected ~ts, got: ~tp", [Key, Expected, Got]);
format_error({name_taken, Name}) ->
    io_lib:format("the node name ~ts is already taken: another Krait node or BEAM on this host runs "
                  "under it; choose another name or stop that one", [Name]);
format_error({usage, Lines}) ->
    ["the node refused its configuration:" | indent(Lines)];
format_error({node_exit, Status, Lines}) ->
    [io_lib:format("the node ended with status ~b before it was ready:", [Status]) | indent(Lines)];
format_error({no_executable, Path}) ->
    io_lib:format("there is no executable ~ts: build the node with make, or point KRAIT_BIN or the "
                  "option bin to it", [Path]);
format_error({start_timeout, Lines}) ->
    ["the node did not become ready in time (option timeout):" | indent(Lines)];
format_error({start_failed, Detail}) ->
    io_lib:format("the node runs, but its workers cannot start: ~tp", [Detail]);
format_error(Reason) ->
    io_lib:format("~tp", [Reason]).

-spec indent([binary()]) -> [unicode:chardata()].
indent(Lines) ->
    [["\n    ", Line] || Line <- Lines].

%% --- the command line -----------------------------------------------------------------------------

-spec flags({atom(), type(), string()}, map()) -> [string() | binary()].
flags({Key, flag, Flag}, Options) ->
    case Options of
        #{Key := true} -> [Flag];
        #{Key := false} -> [];
        #{Key := Value} -> refuse(Key, flag, Value);
        #{} -> []
    end;
flags({Key, Type, Flag}, Options) ->
    case Options of
        #{Key := Value} -> lists:append([[Flag, Text] || Text <- values(Key, Type, Value)]);
        #{} -> []
    end.

%% One value for each time that the flag is given.
-spec values(atom(), type(), term()) -> [binary()].
values(_, {from, Min}, N) when is_integer(N), N >= Min -> [integer_to_binary(N)];
values(_, {between, Min, Max}, N) when is_integer(N), N >= Min, N =< Max -> [integer_to_binary(N)];
values(_, {timeout, _}, infinity) -> [<<"infinity">>];
values(_, {timeout, Min}, N) when is_integer(N), N >= Min -> [integer_to_binary(N)];
values(Key, {one_of, Atoms} = Type, Value) when is_atom(Value) ->
    lists:member(Value, Atoms) orelse refuse(Key, Type, Value),
    [atom_to_binary(Value)];
values(Key, Type, Value) when Type =:= name; Type =:= text ->
    case text(Value) of
        {ok, Text} -> [Text];
        error -> refuse(Key, Type, Value)
    end;
values(Key, Type, Value) when Type =:= names; Type =:= directories ->
    Separator = case Type of names -> <<",">>; directories -> <<":">> end,
    case texts(Value) of
        {ok, []} -> [];
        {ok, Texts} -> [iolist_to_binary(lists:join(Separator, Texts))];
        error -> refuse(Key, Type, Value)
    end;
values(Key, exposed, Value) ->
    case exposed(Value) of
        {ok, Texts} -> Texts;
        error -> refuse(Key, exposed, Value)
    end;
values(Key, Type, Value) ->
    refuse(Key, Type, Value).

-spec exposed(term()) -> {ok, [binary()]} | error.
exposed(Map) when is_map(Map) -> exposed(maps:to_list(Map));
exposed(List) when is_list(List) ->
    try {ok, [exposed_one(E) || E <- List]}
    catch throw:error -> error; error:_ -> error
    end;
exposed(_) -> error.

-spec exposed_one(term()) -> binary().
exposed_one({Name, Target}) ->
    case {text(Name), text(Target)} of
        {{ok, N}, {ok, T}} ->
            [_, _] = binary:split(T, <<":">>),
            <<N/binary, "=", T/binary>>;
        _ -> throw(error)
    end;
exposed_one(_) -> throw(error).

-spec texts(term()) -> {ok, [binary()]} | error.
texts(List) when is_list(List) ->
    Texts = try [text(E) || E <- List] catch error:_ -> [error] end,
    case lists:member(error, Texts) of
        true -> error;
        false -> {ok, [T || {ok, T} <- Texts]}
    end;
texts(_) -> error.

%% Atoms, binaries and strings that can stand on a command line.
-spec text(term()) -> {ok, binary()} | error.
text(Atom) when is_atom(Atom), Atom =/= undefined, Atom =/= nil -> text(atom_to_binary(Atom));
text(Text) when is_binary(Text); is_list(Text) ->
    try unicode:characters_to_binary(Text) of
        Bin when is_binary(Bin), Bin =/= <<>> ->
            case binary:match(Bin, <<0>>) of
                nomatch -> {ok, Bin};
                _ -> error
            end;
        _ -> error
    catch error:_ -> error
    end;
text(_) -> error.

%% --- what the supervising process keeps -----------------------------------------------------------

-spec own(atom(), atom() | type(), map(), term()) -> term().
own(Key, Type, Options, Default) ->
    case Options of
        #{Key := Value} ->
            case own_value(Type, Value) of
                {ok, Checked} -> Checked;
                error -> refuse(Key, Type, Value)
            end;
        #{} -> Default
    end.

-spec own_value(atom() | type(), term()) -> {ok, term()} | error.
own_value(atom, A) when is_atom(A) -> {ok, A};
own_value(text, Value) ->
    case text(Value) of
        {ok, Text} -> {ok, unicode:characters_to_list(Text)};
        error -> error
    end;
own_value({timeout, _}, infinity) -> {ok, infinity};
own_value({timeout, Min}, N) when is_integer(N), N >= Min -> {ok, N};
own_value(await, V) when is_boolean(V); V =:= infinity; is_integer(V), V >= 0 -> {ok, V};
own_value({from, Min}, N) when is_integer(N), N >= Min -> {ok, N};
own_value(sink, logger) -> {ok, logger};
own_value(sink, Fun) when is_function(Fun, 1) -> {ok, Fun};
own_value(_, _) -> error.

-spec await_ready(boolean() | timeout()) -> false | timeout().
await_ready(true) -> infinity;
await_ready(Other) -> Other.

%% A stop waits for running calls, then says EOF, SIGTERM, SIGKILL to the workers, each with its grace.
-spec shutdown(map()) -> pos_integer().
shutdown(Options) ->
    milliseconds(stop_timeout, Options, ?STOP_TIMEOUT)
        + 3 * milliseconds(stop_grace, Options, ?STOP_GRACE) + 2_000.

-spec milliseconds(atom(), map(), pos_integer()) -> non_neg_integer().
milliseconds(Key, Options, Default) ->
    case Options of
        #{Key := Ms} when is_integer(Ms) -> Ms;
        #{} -> Default
    end.

%% The cookie goes through the environment: a command line is public.
-spec environment(map()) -> [{string(), string() | false}].
environment(Options) ->
    Cookie = case Options of
                 #{cookie_file := _} -> false;
                 #{} -> atom_to_list(erlang:get_cookie())
             end,
    Extra = maps:get(env, Options, []),
    Pairs = if is_map(Extra) -> maps:to_list(Extra); true -> Extra end,
    try
        [{"KRAIT_COOKIE", Cookie} | [environment_pair(Pair) || Pair <- Pairs]]
    catch
        error:_ -> refuse(env, environment, Extra)
    end.

-spec environment_pair({term(), term()}) -> {string(), string() | false}.
environment_pair({Key, false}) ->
    {ok, K} = text(Key),
    {unicode:characters_to_list(K), false};
environment_pair({Key, Value}) ->
    {ok, K} = text(Key),
    V = unicode:characters_to_list(unicode:characters_to_binary(Value)),
    {unicode:characters_to_list(K), V}.

-spec pool(term()) -> atom().
pool(Pool) when is_atom(Pool) -> Pool;
pool(Pool) ->
    {ok, Text} = text(Pool),
    binary_to_atom(Text).

-spec node_name(term()) -> node().
node_name(undefined) ->
    derive_name();
node_name(Name) ->
    case text(Name) of
        {ok, Text} ->
            case binary:split(Text, <<"@">>, [global]) of
                [_] -> with_host(Text);
                [Alive, Host] when Alive =/= <<>>, Host =/= <<>> -> binary_to_atom(Text);
                _ -> refuse(name, node, Name)
            end;
        error -> refuse(name, node, Name)
    end.

-spec with_host(iodata()) -> node().
with_host(Alive) ->
    [_, Host] = binary:split(atom_to_binary(node()), <<"@">>),
    binary_to_atom(iolist_to_binary([Alive, "@", Host])).

%% --- what was expected ----------------------------------------------------------------------------

-spec refuse(atom(), term(), term()) -> no_return().
refuse(Key, Type, Got) ->
    throw({bad_option, Key, expected(Type), Got}).

-spec expected(term()) -> binary().
expected({from, Min}) -> iolist_to_binary(io_lib:format("an integer of at least ~b", [Min]));
expected({between, Min, Max}) ->
    iolist_to_binary(io_lib:format("an integer from ~b to ~b", [Min, Max]));
expected({one_of, Atoms}) -> one_of(Atoms);
expected({timeout, 0}) -> <<"milliseconds (a non-negative integer) or infinity">>;
expected({timeout, 1}) -> <<"milliseconds (a positive integer) or infinity">>;
expected(flag) -> <<"true or false">>;
expected(await) -> <<"true, false, milliseconds (a non-negative integer) or infinity">>;
expected(names) -> <<"a list of names (atoms, binaries or strings)">>;
expected(directories) -> <<"a list of directories (binaries or strings)">>;
expected(exposed) -> <<"a list or map of {Name, <<\"module:attribute\">>}">>;
expected(environment) -> <<"a list or map of {Name, Value}, Value false to unset">>;
expected(sink) -> <<"logger or a fun of one argument">>;
expected(node) -> <<"a name such as krait or krait@host">>;
expected(atom) -> <<"an atom">>;
expected(_) -> <<"a non-empty atom, binary or string">>.

-spec one_of([atom()]) -> binary().
one_of(Atoms) ->
    iolist_to_binary(["one of ", lists:join(", ", [atom_to_binary(A) || A <- Atoms])]).
