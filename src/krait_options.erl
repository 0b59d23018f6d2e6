%%% @doc What {@link krait:start_link/1} takes: one table, checked once, turned into a command line.
%%%
%%% An option of the node has one row in {@link krait_options_table}: its key, its type and its flag. The
%%% rest (`name' and what only the supervising process needs) is in `parse/1'. Options of pools that stand
%%% beside `pools' are those of each pool that does not say otherwise. A wrong value is refused with what
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

-type type() :: krait_options_table:type().

-type error() :: not_distributed
               | {bad_option, Key :: term(), Expected :: binary(), Got :: term()}.

-define(START_TIMEOUT, 30_000).
%% The node's own defaults of `stop_timeout' and `stop_grace'.
-define(STOP_TIMEOUT, 10_000).
-define(STOP_GRACE, 1_000).

%% What the supervising process takes for itself.
-spec own_keys() -> [atom()].
own_keys() ->
    [name, pools, register, timeout, await_ready, shutdown, log, bin, env, id].

%% @doc Every key that {@link krait:start_link/1} understands.
-spec keys() -> [atom()].
keys() ->
    own_keys() ++ [pool | [Key || {Key, _, _} <- rows()]].

-spec rows() -> [krait_options_table:row()].
rows() ->
    krait_options_table:node() ++ krait_options_table:pool().

%% @doc Checks the options and says how the node is to be run.
-spec parse(options()) -> {ok, config()} | {error, error()}.
parse(Options) when is_map(Options) ->
    try
        is_alive() orelse throw(not_distributed),
        [throw({bad_option, Key, one_of(keys()), Value})
         || {Key, Value} <- maps:to_list(Options), not lists:member(Key, keys())],
        Node = node_name(maps:get(name, Options, undefined)),
        Flags = lists:append([flags(Row, Options) || Row <- krait_options_table:node()]),
        Pools = pools(Options),
        {ok, #{node => Node,
               pool => main_pool([Name || {Name, _} <- Pools]),
               argv => ["--name", atom_to_binary(Node), "--stop-on-eof" | Flags]
                       ++ lists:append([pool_flags(Pool) || Pool <- Pools]),
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
values(Key, size, Size) ->
    case Size of
        N when is_integer(N), N >= 1 -> [integer_to_binary(N)];
        {Min, Max} when is_integer(Min), is_integer(Max), Min >= 1, Max >= Min ->
            [iolist_to_binary(io_lib:format("~b..~b", [Min, Max]))];
        #{first := Min, last := Max} -> values(Key, size, {Min, Max}); % a Range of Elixir
        _ -> refuse(Key, size, Size)
    end;
values(_, {timeout, _}, infinity) -> [<<"infinity">>];
values(_, {timeout, Min}, N) when is_integer(N), N >= Min -> [integer_to_binary(N)];
values(_, {limit, _}, infinity) -> [<<"infinity">>];
values(_, {limit, Min}, N) when is_integer(N), N >= Min -> [integer_to_binary(N)];
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
values(Key, pairs, Value) ->
    try [<<(unicode:characters_to_binary(K))/binary, "=", (unicode:characters_to_binary(V))/binary>>
         || {K, V} <- [environment_pair(Pair) || Pair <- pairs(Value)]]
    catch error:_ -> refuse(Key, pairs, Value)
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

%% Those that are named, each with its options; else the one.
-spec pools(map()) -> [{atom() | none, map()}].
pools(#{pools := _, pool := Name}) ->
    throw({bad_option, pool, <<"none beside the option pools">>, Name});
pools(#{pools := Pools} = Options) ->
    try [{pool(Name), pool_options(Given)} || {Name, Given} <- pairs(Pools)] of
        [] -> refuse(pools, pools, Pools);
        Named -> [{Name, maps:merge(Options, Given)} || {Name, Given} <- Named]
    catch
        error:_ -> refuse(pools, pools, Pools)
    end;
pools(#{pool := Name} = Options) ->
    try [{pool(Name), Options}]
    catch error:_ -> refuse(pool, name, Name)
    end;
pools(Options) ->
    [{none, Options}].

-spec pairs(term()) -> [{term(), term()}].
pairs(Map) when is_map(Map) -> maps:to_list(Map);
pairs(List) -> [begin {_, _} = Pair end || Pair <- List].

-spec pool_options(map() | [{atom(), term()} | atom()]) -> map().
pool_options(Options) when is_list(Options) -> pool_options(proplists:to_map(Options));
pool_options(Options) ->
    Keys = [Key || {Key, _, _} <- krait_options_table:pool()],
    [throw({bad_option, Key, one_of(Keys), Value})
     || {Key, Value} <- maps:to_list(Options), not lists:member(Key, Keys)],
    Options.

-spec pool_flags({atom() | none, map()}) -> [string() | binary()].
pool_flags({none, Options}) ->
    lists:append([flags(Row, Options) || Row <- krait_options_table:pool()]);
pool_flags({Name, Options}) ->
    ["--pool", atom_to_binary(Name) | pool_flags({none, Options})].

%% Where calls go that name the instance alone: as those that name the node do.
-spec main_pool([atom() | none]) -> atom().
main_pool([none]) -> default;
main_pool([Name | _] = Names) ->
    case lists:member(default, Names) of
        true -> default;
        false -> Name
    end.

-spec pool(term()) -> atom().
pool(Pool) when is_atom(Pool), Pool =/= none -> Pool;
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
expected({limit, Min}) ->
    iolist_to_binary(io_lib:format("an integer of at least ~b, or infinity", [Min]));
expected({timeout, 0}) -> <<"milliseconds (a non-negative integer) or infinity">>;
expected({timeout, 1}) -> <<"milliseconds (a positive integer) or infinity">>;
expected(size) -> <<"an integer of at least 1, or {Least, Most}">>;
expected(pairs) -> <<"a list or map of {Name, Value}">>;
expected(pools) -> <<"a list or map of {Name, Options}, at least one">>;
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
