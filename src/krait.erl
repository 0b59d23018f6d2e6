%%% @doc Python workers for the BEAM: run a Krait node, and talk to one.
%%%
%%% ```
%%% {ok, Pid} = krait:start_link(#{size => 4}),
%%% {ok, 1.4142135623730951} = krait:call(Pid, math, sqrt, [2.0]).
%%% '''
%%%
%%% A pool is named by `{Pool, Node}', by a node alone (its pool `default'), by a running instance
%%% (the pid or the registered name of what {@link start_link/1} started), or, once checked out, by
%%% a lease. Asking an instance costs one local message for its address; {@link pool/1} gives it for
%%% keeps.
%%%
%%% Nothing here exits because a node or worker is gone. Every failure is `{error, Reason}': the
%%% reasons of the node's own protocol as they came, and three of this side's:
%%% <ul>
%%% <li>`{nodedown, Node}': there is no connection to the node, or it broke in the call</li>
%%% <li>`noproc': the node has no such pool, or there is no such instance</li>
%%% <li>`{timeout, call}': also when the node did not answer within the margin after its own
%%% deadline</li>
%%% </ul>
%%% All of it is plain `gen_server' calls: this module is a convenience, not a need.
-module(krait).

-export([start_link/1, child_spec/1, format_error/1]).
-export([node_name/1, pool/1, stop/1]).
-export([call/3, call/4, call/5, cast/3, cast/4, cast/5]).
-export([batch/2, batch/3, stream/3, stream/4, stream/5, ask/2, cancel/1]).
-export([sessions/1, end_session/2]).
-export([checkout/1, checkout/2, checkout/3, checkin/1, give_away/2, with_lease/2, with_lease/3]).
-export([use_lease/2]).
-export([ping/1, ping_worker/1, await_ready/1, await_ready/2, await_ready/3, status/1, workers/1]).
-export([request/3]).
-export([resize/2, pause/1, resume/1, drain/1, drain/2, reload/1, recycle/2, kill/2]).
-export_type([pool/0, instance/0, lease/0, stream/0, name/0, call_options/0, reason/0]).

-type instance() :: pid() | atom().
%% The pid or the registered name of what start_link/1 started.
-type lease() :: pid().
-type stream() :: pid().
%% What stream/5 opened: a pid of the node; it can be monitored and linked to.
-type pool() :: {Pool :: atom(), node()} | node() | instance() | lease().
-type name() :: atom() | binary().
%% Dots allowed: `sklearn.cluster', `<<"KMeans.fit">>'.
-type call_options() :: #{timeout => timeout(),
                          queue_timeout => timeout(),
                          kwargs => map(),
                          session => term(),
                          session_mode => strict | hint | fail_fast,
                          owner => pid(),
                          demand => non_neg_integer(),
                          progress => term(),
                          priority => high | normal | low,
                          retry => non_neg_integer(),
                          strings => utf8 | bytes,
                          traceparent => binary()}
                      | [{atom(), term()}].
-type reason() :: {python, map()}
                | {no_function, name(), name()} | {not_allowed, name(), name()}
                | {timeout, queue} | {timeout, call}
                | {overloaded, map()}
                | {worker_exit, map()}
                | {circuit_open, pos_integer()}
                | {session_lost, term()} | {session_busy, term()} | {no_session, term()}
                | {deadlock, binary()}
                | {invalid_checkout_type, term()} | not_owner | lease_closed
                | {bad_request, term()} | {bad_option, term(), term()} | {unknown_request, term()}
                | {unencodable, binary(), term()}
                | {too_large, pos_integer(), pos_integer()} | {too_deep, pos_integer()}
                | {start_failed, term()}
                | {no_worker, non_neg_integer()} | resumed
                | paused | draining
                | {no_request, non_neg_integer()} | cancelled
                | {forbidden, atom(), atom()} | {bad_config, binary()} | {restart_needed, atom()}
                | {nodedown, node()} | noproc.

%% How much longer than the node's own deadline a call waits: the way there and back, and a node that
%% is busy. Within it the node's error is the one that is heard.
-define(MARGIN, 2_000).
%% The longest time that `receive' can wait.
-define(LONGEST, 16#FFFFFFFF).
%% What a supervisor adds to the node's own time to stop.
-define(SHUTDOWN_MARGIN, 5_000).

%% --- running a node -------------------------------------------------------------------------------

%% @doc Runs a node as an external program that stops with its owner.
%%
%% Returns once the node is published (`await_ready => true': once its workers are ready too).
%% Options are a map or a list. Those of the node's command line, with underscores
%% ({@link krait_options_table}; `size' may be `{Least, Most}', and `--env' is `worker_env'). And:
%% <ul>
%% <li>`name': the node's name, with or without host; by default a new one on this BEAM's host</li>
%% <li>`pools': a map or a list of `{Name, Options}', for several pools in one node. Options of pools that
%% stand beside it are those of each pool that does not say otherwise. Calls that name the instance go to
%% `default', or to the first</li>
%% <li>`register': an atom under which the instance is registered locally</li>
%% <li>`timeout': how long the start may take, in ms (30000)</li>
%% <li>`await_ready': `true', `false' (default) or ms: wait until the workers are ready</li>
%% <li>`shutdown': ms from SIGTERM to SIGKILL (the node's `stop_timeout', three times its
%% `stop_grace', and two seconds)</li>
%% <li>`log': `logger' (default) or a fun that gets `{line, Node, Level, Object, Text}' and
%% `{exit, Node, Status}'</li>
%% <li>`bin': the executable (`$KRAIT_BIN' comes first); `env': more environment; `id': the id in
%% {@link child_spec/1}</li>
%% </ul>
%% The node's cookie is this BEAM's, passed through the environment. Errors:
%% `not_distributed', `{bad_option, Key, Expected, Got}', `{name_taken, Node}', `{usage, Lines}',
%% `{node_exit, Status, Lines}', `{start_timeout, Lines}', `{no_executable, Path}',
%% `{start_failed, Detail}'; {@link format_error/1} makes text of them.
-spec start_link(krait_options:options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    krait_node:start_link(Options).

%% @doc A child specification for {@link start_link/1}. A node without a `name' is given one here, so
%% that it keeps it when it is restarted.
-spec child_spec(krait_options:options()) -> supervisor:child_spec().
child_spec(Options) ->
    Map = named(if is_list(Options) -> proplists:to_map(Options); true -> Options end),
    Id = maps:get(id, Map, maps:get(register, Map, ?MODULE)),
    Shutdown = case krait_options:parse(Map) of
                   {ok, #{shutdown := Ms}} -> Ms + ?SHUTDOWN_MARGIN;
                   {error, _} -> ?SHUTDOWN_MARGIN
               end,
    #{id => Id,
      start => {?MODULE, start_link, [Map]},
      restart => permanent,
      shutdown => Shutdown,
      type => worker,
      modules => [krait_node]}.

-spec named(map()) -> map().
named(#{name := _} = Options) -> Options;
named(Options) ->
    case is_alive() of
        true -> Options#{name => krait_options:derive_name()};
        false -> Options
    end.

%% @doc An error of {@link start_link/1} as text.
-spec format_error(term()) -> unicode:chardata().
format_error(Reason) ->
    krait_options:format_error(Reason).

%% @doc The node of a running instance.
-spec node_name(instance()) -> node().
node_name(Instance) ->
    {_, Node} = krait_node:target(Instance),
    Node.

%% @doc The address of a running instance's pool, good for as long as it runs under that name.
-spec pool(instance()) -> {atom(), node()}.
pool(Instance) ->
    krait_node:target(Instance).

%% @doc Stops a node: an instance of this BEAM and its process (`ok' when the node ended with status
%% 0), or any node, by its name or one of its pools, which drains and exits after the answer.
-spec stop(pool()) -> ok | {error, reason() | {node_exit, non_neg_integer()}}.
stop({_, Node}) ->
    ask({krait, Node}, stop, infinity);
stop(Pool) ->
    case is_instance(Pool) of
        true -> local(fun() -> krait_node:stop(Pool) end);
        false when is_atom(Pool) -> ask({krait, Pool}, stop, infinity);
        false -> {error, noproc}
    end.

%% --- calls ----------------------------------------------------------------------------------------

%% @equiv call(Pool, M, F, [], #{})
-spec call(pool(), name(), name()) -> {ok, term()} | {error, reason()}.
call(Pool, M, F) ->
    call(Pool, M, F, []).

%% @equiv call(Pool, M, F, Args, #{})
-spec call(pool(), name(), name(), list()) -> {ok, term()} | {error, reason()}.
call(Pool, M, F, Args) ->
    by_lane(Pool, {call, M, F, Args}, infinity).

%% @doc Calls the Python function `F' of module `M' on a free worker, or on the worker of a lease.
%%
%% The option `timeout' is the node's deadline for the whole request; this side waits a little longer,
%% so that the node's own error is normally the one that is heard.
-spec call(pool(), name(), name(), list(), call_options()) -> {ok, term()} | {error, reason()}.
call(Pool, M, F, Args, []) ->
    call(Pool, M, F, Args);
call(Pool, M, F, Args, Opts) ->
    by_lane(Pool, {call, M, F, Args, Opts}, wait(Opts)).

%% @equiv cast(Pool, M, F, [], #{})
-spec cast(pool(), name(), name()) -> ok | {error, noproc}.
cast(Pool, M, F) ->
    cast(Pool, M, F, []).

%% @equiv cast(Pool, M, F, Args, #{})
-spec cast(pool(), name(), name(), list()) -> ok | {error, noproc}.
cast(Pool, M, F, Args) ->
    cast_on(Pool, {call, M, F, Args}).

%% @doc As {@link call/5}, but nobody waits for the answer.
-spec cast(pool(), name(), name(), list(), call_options()) -> ok | {error, noproc}.
cast(Pool, M, F, Args, Opts) ->
    cast_on(Pool, {call, M, F, Args, Opts}).

%% @equiv batch(Pool, Calls, #{})
-spec batch(pool(), [{name(), name(), list()}]) ->
          {ok, [{ok, term()} | {error, reason()}]} | {error, reason()}.
batch(Pool, Calls) ->
    batch(Pool, Calls, #{}).

%% @doc Runs several calls on one worker, one after the other, in one round trip. One that fails does
%% not stop those behind it.
-spec batch(pool(), [{name(), name(), list()}], call_options()) ->
          {ok, [{ok, term()} | {error, reason()}]} | {error, reason()}.
batch(Pool, Calls, Opts) ->
    by_lane(Pool, {batch, Calls, Opts}, wait(Opts)).

%% --- streams --------------------------------------------------------------------------------------

%% @equiv stream(Pool, M, F, [], #{})
-spec stream(pool(), name(), name()) -> {ok, stream()} | {error, reason()}.
stream(Pool, M, F) ->
    stream(Pool, M, F, []).

%% @equiv stream(Pool, M, F, Args, #{})
-spec stream(pool(), name(), name(), list()) -> {ok, stream()} | {error, reason()}.
stream(Pool, M, F, Args) ->
    stream(Pool, M, F, Args, #{}).

%% @doc Opens a stream of what the Python function returns: a generator, or anything to iterate over.
%%
%% The calling process owns it and gets `{krait_stream, Stream, {item, Term}}' for each item, at most
%% `demand' (16) of them before the first {@link ask/2}, and then exactly one
%% `{krait_stream, Stream, done}' or `{krait_stream, Stream, {error, Reason}}'.
-spec stream(pool(), name(), name(), list(), call_options()) -> {ok, stream()} | {error, reason()}.
stream(Pool, M, F, Args, Opts) ->
    request(Pool, {stream, M, F, Args, Opts}, wait(Opts)).

%% @doc Asks for `N' more items.
-spec ask(stream(), pos_integer()) -> ok.
ask(Stream, N) when is_pid(Stream), is_integer(N), N > 0 ->
    Stream ! {ask, N},
    ok.

%% @doc Wants no more items: the generator is closed, and what is on its way, and `done', still come.
-spec cancel(stream()) -> ok.
cancel(Stream) when is_pid(Stream) ->
    Stream ! {cancel},
    ok.

%% --- sessions -------------------------------------------------------------------------------------

%% @doc The sessions of a pool: their ids, workers, calls, and how long they have been idle.
-spec sessions(pool()) -> {ok, [map()]} | {error, reason()}.
sessions(Pool) ->
    request(Pool, sessions, infinity).

%% @doc Ends a session when the calls that run in it are done.
-spec end_session(pool(), term()) -> ok | {error, reason()}.
end_session(Pool, Id) ->
    request(Pool, {end_session, Id}, infinity).

%% --- leases ---------------------------------------------------------------------------------------

%% @equiv checkout(Pool, anonymous, #{})
-spec checkout(pool()) -> {ok, lease()} | {error, reason()}.
checkout(Pool) ->
    checkout(Pool, anonymous).

%% @equiv checkout(Pool, Type, #{})
-spec checkout(pool(), anonymous | {session, term()}) -> {ok, lease()} | {error, reason()}.
checkout(Pool, Type) ->
    request(Pool, {checkout, Type}, infinity).

%% @doc Takes a worker out of the pool. The lease is a pid of the node: it can be monitored and
%% linked to, takes calls, and belongs to the calling process, whose end gives the worker back.
-spec checkout(pool(), anonymous | {session, term()}, call_options()) ->
          {ok, lease()} | {error, reason()}.
checkout(Pool, Type, Opts) ->
    request(Pool, {checkout, Type, Opts}, wait(Opts)).

%% @doc Gives the worker of a lease back.
-spec checkin(lease()) -> ok | {error, reason()}.
checkin(Lease) ->
    request(Lease, checkin, infinity).

%% @doc Makes another process the owner of a lease.
-spec give_away(lease(), pid()) -> ok | {error, reason()}.
give_away(Lease, Pid) ->
    request(Lease, {give_away, Pid}, infinity).

%% @equiv with_lease(Pool, Fun, #{})
-spec with_lease(pool(), fun((lease()) -> Result)) -> {ok, Result} | {error, reason()}.
with_lease(Pool, Fun) ->
    with_lease(Pool, Fun, #{}).

%% @doc Runs `Fun' with a lease, which is given back whatever happens in it; an exception goes on to
%% the caller. `{error, Reason}' when there was no lease to be had, or when it ended before `Fun' did
%% (its worker died, or a call on it ran out of time). A lease that `Fun' gave away stays with its
%% new owner.
-spec with_lease(pool(), fun((lease()) -> Result), call_options()) ->
          {ok, Result} | {error, reason()}.
with_lease(Pool, Fun, Opts) when is_function(Fun, 1) ->
    case checkout(Pool, anonymous, Opts) of
        {ok, Lease} -> use_lease(Lease, Fun);
        {error, _} = Error -> Error
    end.

%% @doc As {@link with_lease/3}, with a lease that the calling process owns already.
-spec use_lease(lease(), fun((lease()) -> Result)) -> {ok, Result} | {error, reason()}.
use_lease(Lease, Fun) when is_function(Fun, 1) ->
    Monitor = erlang:monitor(process, Lease),
    try Fun(Lease) of
        Result -> returned(Result, checkin(Lease), Monitor)
    catch
        Class:Reason:Stack ->
            _ = checkin(Lease),
            _ = erlang:demonitor(Monitor, [flush]),
            erlang:raise(Class, Reason, Stack)
    end.

-spec returned(Result, ok | {error, reason()}, reference()) -> {ok, Result} | {error, reason()}.
returned(Result, Answer, Monitor) when Answer =:= ok; Answer =:= {error, not_owner} ->
    _ = erlang:demonitor(Monitor, [flush]),
    {ok, Result};
returned(Result, {error, Reason}, Monitor) ->
    %% The lease had ended: its monitor knows why. `normal' is Fun's own checkin.
    receive
        {'DOWN', Monitor, process, _, normal} -> {ok, Result};
        {'DOWN', Monitor, process, Lease, noconnection} -> {error, {nodedown, node(Lease)}};
        {'DOWN', Monitor, process, _, Why} -> {error, ended(Why)}
    after 0 ->
            _ = erlang:demonitor(Monitor, [flush]),
            {error, Reason}
    end.

%% --- questions ------------------------------------------------------------------------------------

%% @doc `pong' from the node, without a worker.
-spec ping(pool()) -> pong | {error, reason()}.
ping(Pool) ->
    request(Pool, ping, infinity).

%% @doc The microseconds of a way through a worker and back.
-spec ping_worker(pool()) -> {ok, non_neg_integer()} | {error, reason()}.
ping_worker(Pool) ->
    request(Pool, {ping, worker}, infinity).

%% @equiv await_ready(Pool, all, infinity)
-spec await_ready(pool()) -> ok | {error, reason()}.
await_ready(Pool) ->
    await_ready(Pool, all, infinity).

%% @equiv await_ready(Pool, N, infinity)
-spec await_ready(pool(), all | pos_integer()) -> ok | {error, reason()}.
await_ready(Pool, N) ->
    await_ready(Pool, N, infinity).

%% @doc Waits until all (or `N') workers are ready, at most `Timeout' ms: `{error, {timeout, call}}'.
-spec await_ready(pool(), all | pos_integer(), timeout()) -> ok | {error, reason()}.
await_ready(Pool, all, Timeout) ->
    request(Pool, await_ready, Timeout);
await_ready(Pool, N, Timeout) ->
    request(Pool, {await_ready, N}, Timeout).

%% @doc The node's own account: version, peers, pools, totals, latencies.
-spec status(pool()) -> {ok, map()} | {error, reason()}.
status(Pool) ->
    request(Pool, status, infinity).

%% @doc One map for each worker of the pool.
-spec workers(pool()) -> {ok, [map()]} | {error, reason()}.
workers(Pool) ->
    request(Pool, workers, infinity).

%% --- control --------------------------------------------------------------------------------------

%% @doc Sets how many workers there are, 1 to 1024, or `{Min, Max}'. Who is too many leaves when it is
%% free.
-spec resize(pool(), pos_integer() | {pos_integer(), pos_integer()}) -> ok | {error, reason()}.
resize(Pool, Size) ->
    request(Pool, {resize, Size}, infinity).

%% @doc Lets calls wait from now on. What runs, and leases, go on.
-spec pause(pool()) -> ok | {error, reason()}.
pause(Pool) ->
    request(Pool, pause, infinity).

%% @doc Ends a pause, or a drain, whose callers hear `{error, resumed}'.
-spec resume(pool()) -> ok | {error, reason()}.
resume(Pool) ->
    request(Pool, resume, infinity).

%% @equiv drain(Pool, infinity)
-spec drain(pool()) -> ok | {error, reason()}.
drain(Pool) ->
    drain(Pool, infinity).

%% @doc Refuses new requests with `draining' and waits until the last one has finished, at most `Timeout'
%% ms: `{error, {timeout, call}}', and the drain goes on. {@link resume/1} ends it.
-spec drain(pool(), timeout()) -> ok | {error, reason()}.
drain(Pool, Timeout) ->
    request(Pool, drain, Timeout).

%% @doc Loads the Python code anew: when its preload is done, all workers are replaced, one by one, and
%% no call is lost. `{error, {start_failed, Detail}}' when it fails: then nothing has changed.
-spec reload(pool()) -> ok | {error, reason()}.
reload(Pool) ->
    request(Pool, reload, infinity).

%% @doc Replaces a worker, by its id as in {@link workers/1}: another one first, then it leaves when it is
%% free.
-spec recycle(pool(), non_neg_integer()) -> ok | {error, reason()}.
recycle(Pool, Worker) ->
    request(Pool, {recycle, Worker}, infinity).

%% @doc Kills a worker at once, by its id as in {@link workers/1}; another one takes its place.
-spec kill(pool(), non_neg_integer()) -> ok | {error, reason()}.
kill(Pool, Worker) ->
    request(Pool, {kill, Worker}, infinity).

%% --- the way there --------------------------------------------------------------------------------

%% @doc Any request, as the protocol has it.
-spec request(pool(), term(), timeout()) -> term().
request(Pool, Request, Timeout) ->
    case resolve(Pool) of
        {ok, To} -> ask(To, Request, Timeout);
        {error, _} = Error -> Error
    end.

%% What many ask at the same time: through a lane, where there may be one. A lease has one caller.
-spec by_lane(pool(), term(), timeout()) -> term().
by_lane(Pool, Request, Timeout) ->
    case resolve(Pool) of
        {ok, {_, _} = To} ->
            case krait_lane:attempt(To, Request, Timeout) of
                {answer, Answer} -> Answer;
                timeout -> {error, {timeout, call}};
                {broken, Reason} -> {error, failed(To, Reason)};
                %% It surely did not run: what is there now hears it, or nothing is.
                {not_run, _} -> ask(To, Request, Timeout);
                no_lane -> ask(To, Request, Timeout)
            end;
        {ok, Lease} -> ask(Lease, Request, Timeout);
        {error, _} = Error -> Error
    end.

-spec cast_on(pool(), term()) -> ok | {error, noproc}.
cast_on(Pool, Request) ->
    case resolve(Pool) of
        {ok, To} -> gen_server:cast(To, Request);
        {error, _} = Error -> Error
    end.

-spec resolve(pool()) -> {ok, {atom(), node()} | pid()} | {error, noproc}.
resolve({Name, Node} = Address) when is_atom(Name), is_atom(Node) ->
    {ok, Address};
resolve(Pool) ->
    case is_instance(Pool) of
        true -> instance(Pool);
        false when is_pid(Pool) -> {ok, Pool};
        false -> {ok, {default, Pool}}
    end.

%% A node that is supervised here. Its address is known from the first time it was asked.
-spec instance(pid() | atom()) -> {ok, {atom(), node()}} | {error, noproc}.
instance(Name) when is_atom(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> instance(Pid);
        _ -> {error, noproc}
    end;
instance(Pid) ->
    case is_process_alive(Pid) andalso krait_lanes:target(Pid) of
        false -> {error, noproc};
        none -> local(fun() -> {ok, krait_node:target(Pid)} end);
        Target -> {ok, Target}
    end.

%% A lease is a pid of another node; a node's name has an @.
-spec is_instance(pid() | atom()) -> boolean().
is_instance(Pid) when is_pid(Pid) -> node(Pid) =:= node();
is_instance(Name) when is_atom(Name) -> not lists:member($@, atom_to_list(Name)).

-spec local(fun(() -> Result)) -> Result | {error, noproc}.
local(Fun) ->
    try Fun()
    catch exit:{_, {gen_server, call, _}} -> {error, noproc}
    end.

-spec ask({atom(), node()} | pid(), term(), timeout()) -> term().
ask(To, Request, Timeout) ->
    try gen_server:call(To, Request, Timeout)
    catch exit:{Reason, {gen_server, call, _}} -> {error, failed(To, Reason)}
    end.

-spec failed({atom(), node()} | pid(), term()) -> reason().
failed(_, timeout) -> {timeout, call};
failed(_, {nodedown, _} = Down) -> Down;
failed({_, Node}, noconnection) -> {nodedown, Node};
failed(Lease, Reason) when is_pid(Lease) -> ended(Reason);
failed({_, _}, noproc) -> noproc;
%% The pool ended with its node while the call was under way.
failed({_, Node}, _) -> {nodedown, Node}.

%% Why a lease ended, in the words of the contract.
-spec ended(term()) -> reason().
ended({worker_exit, Map} = Reason) when is_map(Map) -> Reason;
ended({timeout, call} = Reason) -> Reason;
ended(_) -> lease_closed.

-spec wait(call_options()) -> timeout().
wait(Opts) ->
    Timeout = if is_map(Opts) -> maps:get(timeout, Opts, infinity);
                 is_list(Opts) -> keyword(timeout, Opts);
                 true -> infinity
              end,
    if is_integer(Timeout), Timeout >= 0, Timeout =< ?LONGEST - ?MARGIN -> Timeout + ?MARGIN;
       true -> infinity
    end.

-spec keyword(atom(), list()) -> term().
keyword(Key, Opts) ->
    try lists:keyfind(Key, 1, Opts) of
        {_, Value} -> Value;
        _ -> infinity
    catch
        error:_ -> infinity
    end.
