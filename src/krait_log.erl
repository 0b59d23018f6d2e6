%%% @doc The node's output lines, on their way to `logger' (or to a fun).
%%%
%%% A line of the node reads `2026-01-31T12:00:00.123Z warning [worker default/3 pid 812] text', or
%%% `<4>[worker default/3 pid 812] text' in the journal's format. Level and object are taken from it; of a
%%% line of JSON the level, and the line stays whole. What does not look like any of these (a sanitizer's
%%% report, the words of the dynamic linker) is a warning without an object.
%%%
%%% An event of `logger' has the metadata `domain' ([krait]), `krait' (the node), `krait_object', and, where
%%% they are known, `krait_pool' (a binary), `krait_worker' (its id), `krait_os_pid', and of what a worker
%%% printed `krait_stream' (stdout or stderr) and `krait_call' (the id of the request that it ran). At most ?LINES_PER_SECOND lines go to `logger' in
%%% any second; the rest is counted, and the count is logged, so that a chatty worker cannot drown
%%% the BEAM that owns its node. A fun gets every line.
-module(krait_log).

-include_lib("kernel/include/logger.hrl").

-export([new/2, line/2, flush/1, exited/2, last/1]).
-export_type([log/0, sink/0, event/0]).

-type level() :: error | warning | info | debug.
-type event() :: {line, node(), level(), Object :: binary(), Text :: binary()}
               | {exit, node(), Status :: non_neg_integer()}.
-type sink() :: logger | fun((event()) -> term()).

-define(LINES_PER_SECOND, 500).
-define(LAST_LINES, 20).

-record(log, {node :: node(),
              sink :: sink(),
              second = 0 :: integer(),       % the one that `count' counts
              count = 0 :: non_neg_integer(),
              dropped = 0 :: non_neg_integer(),
              last = [] :: [binary()]}).     % newest first, at most ?LAST_LINES

-opaque log() :: #log{}.

%% @doc An empty log of the node `Node'.
-spec new(node(), sink()) -> log().
new(Node, Sink) ->
    #log{node = Node, sink = Sink}.

%% @doc Passes one line on.
-spec line(binary(), log()) -> log().
line(<<>>, Log) ->
    Log;
line(Line, #log{last = Last} = Log) ->
    {Level, Object, Text} = parse(Line),
    emit(Level, Object, Text, Log#log{last = lists:sublist([Line | Last], ?LAST_LINES)}).

%% @doc Says how many lines were dropped, if any were. To be called a second after the last line.
-spec flush(log()) -> log().
flush(#log{dropped = 0} = Log) ->
    Log;
flush(#log{dropped = N, node = Node} = Log) ->
    ?LOG_WARNING("krait ~ts: ~b log lines dropped, more than ~b in a second",
                 [Node, N, ?LINES_PER_SECOND], metadata(Node, <<>>)),
    Log#log{dropped = 0}.

%% @doc Tells that the node has ended.
-spec exited(non_neg_integer(), log()) -> ok.
exited(Status, #log{sink = logger, node = Node}) ->
    Level = case Status of 0 -> info; _ -> error end,
    ?LOG(Level, "krait ~ts: ended with status ~b", [Node, Status], metadata(Node, <<>>));
exited(Status, #log{sink = Fun, node = Node}) ->
    tell(Fun, {exit, Node, Status}).

%% @doc The last lines, oldest first.
-spec last(log()) -> [binary()].
last(#log{last = Last}) ->
    lists:reverse(Last).

-spec emit(level(), binary(), binary(), log()) -> log().
emit(Level, Object, Text, #log{sink = logger, node = Node} = Log0) ->
    case admit(erlang:monotonic_time(second), Log0) of
        {true, Log} ->
            Meta = maps:merge(metadata(Node, Object), printed(Text)),
            ?LOG(Level, "krait ~ts [~ts] ~ts", [Node, Object, Text], Meta),
            Log;
        {false, Log} ->
            Log
    end;
emit(Level, Object, Text, #log{sink = Fun, node = Node} = Log) ->
    ok = tell(Fun, {line, Node, Level, Object, Text}),
    Log.

-spec admit(integer(), log()) -> {boolean(), log()}.
admit(Now, #log{second = Now, count = N} = Log) when N >= ?LINES_PER_SECOND ->
    {false, Log#log{dropped = Log#log.dropped + 1}};
admit(Now, #log{second = Now, count = N} = Log) ->
    {true, Log#log{count = N + 1}};
admit(Now, Log0) ->
    Log = flush(Log0),
    {true, Log#log{second = Now, count = 1}}.

-spec tell(fun((event()) -> term()), event()) -> ok.
tell(Fun, Event) ->
    try Fun(Event) of
        _ -> ok
    catch
        Class:Reason -> ?LOG_ERROR("krait: the fun of option log failed: ~tp:~tp", [Class, Reason])
    end.

-spec metadata(node(), binary()) -> map().
metadata(Node, Object) ->
    maps:merge(#{domain => [krait], krait => Node, krait_object => Object}, about(Object)).

%% What an object's words say: "worker POOL/ID pid PID", "pool POOL", "forkserver POOL".
-spec about(binary()) -> map().
about(<<"worker ", Rest/binary>>) ->
    case re:run(Rest, "^(.*)/([0-9]+) pid ([0-9]+)$", [{capture, all_but_first, binary}]) of
        {match, [Pool, Worker, <<"0">>]} ->
            #{krait_pool => Pool, krait_worker => binary_to_integer(Worker)};
        {match, [Pool, Worker, OsPid]} ->
            #{krait_pool => Pool, krait_worker => binary_to_integer(Worker),
              krait_os_pid => binary_to_integer(OsPid)};
        nomatch ->
            #{}
    end;
about(<<"pool ", Pool/binary>>) -> #{krait_pool => Pool};
about(<<"forkserver ", Pool/binary>>) -> #{krait_pool => Pool};
about(_) -> #{}.

%% Of a line that a worker printed: "call 17 stdout: ...", or without the call.
-spec printed(binary()) -> map().
printed(<<"stdout: ", _/binary>>) -> #{krait_stream => stdout};
printed(<<"stderr: ", _/binary>>) -> #{krait_stream => stderr};
printed(<<"call ", Rest/binary>>) ->
    case binary:split(Rest, <<" ">>) of
        [Id, Text] ->
            case {string:to_integer(Id), printed(Text)} of
                {{Call, <<>>}, #{krait_stream := _} = Meta} when is_integer(Call) ->
                    Meta#{krait_call => Call};
                _ ->
                    #{}
            end;
        _ ->
            #{}
    end;
printed(_) -> #{}.

-spec parse(binary()) -> {level(), binary(), binary()}.
parse(Line) ->
    Clean = printable(Line),
    case Clean of
        <<"{\"ts\":\"", _:24/binary, "\",\"level\":\"", Rest/binary>> ->
            {Level, _, _} = leveled(binary:replace(Rest, <<"\"">>, <<" ">>), Clean),
            {Level, <<>>, Clean};
        <<"<", N, ">[", Rest/binary>> when N >= $0, N =< $7 ->
            object(priority(N), <<"[", Rest/binary>>);
        _ ->
            dated(Clean)
    end.

-spec dated(binary()) -> {level(), binary(), binary()}.
dated(Line) ->
    case binary:split(Line, <<" ">>) of
        [<<_, _, _, _, $-, _, _, $-, _, _, $T, _/binary>>, Rest] -> leveled(Rest, Line);
        _ -> {warning, <<>>, Line}
    end.

-spec priority(byte()) -> level().
priority(N) when N =< $3 -> error;
priority($4) -> warning;
priority($7) -> debug;
priority(_) -> info.

-spec leveled(binary(), binary()) -> {level(), binary(), binary()}.
leveled(<<"error ", Rest/binary>>, _) -> object(error, Rest);
leveled(<<"warning ", Rest/binary>>, _) -> object(warning, Rest);
leveled(<<"info ", Rest/binary>>, _) -> object(info, Rest);
leveled(<<"debug ", Rest/binary>>, _) -> object(debug, Rest);
leveled(_, Line) -> {warning, <<>>, Line}.

-spec object(level(), binary()) -> {level(), binary(), binary()}.
object(Level, <<"[", Rest/binary>>) ->
    case binary:split(Rest, <<"] ">>) of
        [Object, Text] -> {Level, Object, Text};
        _ -> {Level, <<>>, Rest}
    end;
object(Level, Text) ->
    {Level, <<>>, Text}.

%% What a worker prints need not be UTF-8; what goes to a formatter must be.
-spec printable(binary()) -> binary().
printable(Line) ->
    case unicode:characters_to_binary(Line) of
        Line -> Line;
        _ -> unicode:characters_to_binary(Line, latin1)
    end.
