%%% @doc One Krait node as a supervised external program.
%%%
%%% The happy path: a port runs `priv/krait'; its line `ready NAME PORT OS_PID' arrives; with
%%% `await_ready' the pool says that its workers are there; only then does `start_link/1' return. All
%%% other lines are log lines ({@link krait_log}). On a stop the node gets SIGTERM, drains, and ends;
%%% the port reports its exit status.
%%%
%%% What can go wrong: the node ends before it is ready (the exit status says why; the lines it wrote
%%% are in the error); it is not ready in time (it is killed); it ends by itself later (this process
%%% ends with `{node_exit, Status}', so that the supervisor starts it again); it does not end when it
%%% is told (SIGKILL after `shutdown' milliseconds); this process is killed (the port closes, and the
%%% node ends because its standard input does: `--stop-on-eof').
-module(krait_node).
-behaviour(gen_server).

-export([start_link/1, target/1, info/1, stop/1]).
-export([enter/2, init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(LINE_BYTES, 4096).
%% From SIGKILL to the exit status: the kernel has to tear down an address space.
-define(KILL_GRACE, 2_000).
-define(FLUSH_AFTER, 1_000).

%% Without what the port was opened with: a state is printed when its process fails, and the cookie is
%% in there.
-type kept() :: #{node := node(), pool := atom(), shutdown := pos_integer(),
                  await_ready := false | timeout(), _ => _}.

-record(state, {config :: kept(),
                port :: port(),
                os_pid :: pos_integer() | undefined,
                log :: krait_log:log(),
                flush :: reference() | undefined,
                status :: non_neg_integer() | undefined}). % set once it has ended

%% @doc Starts a node and waits until it is published (and, with `await_ready', its workers are
%% ready). On an error nothing is left running, and the caller gets no exit signal.
-spec start_link(krait_options:options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    case krait_options:parse(Options) of
        {ok, Config} -> proc_lib:start_link(?MODULE, enter, [self(), Config]);
        {error, _} = Error -> Error
    end.

%% @doc The address of the node's pool.
-spec target(pid() | atom()) -> {atom(), node()}.
target(Server) ->
    gen_server:call(Server, '$krait_target', infinity).

%% @doc What this process knows: `node', `pool', `os_pid', and the last lines of output.
-spec info(pid() | atom()) -> map().
info(Server) ->
    gen_server:call(Server, '$krait_info', infinity).

%% @doc Stops the node and this process; `ok' when it ended with status 0.
-spec stop(pid() | atom()) -> ok | {error, {node_exit, non_neg_integer()}}.
stop(Server) ->
    gen_server:call(Server, '$krait_stop', infinity).

%% --- the start ------------------------------------------------------------------------------------

%% @private
-spec enter(pid(), krait_options:config()) -> no_return().
enter(Parent, #{register := Register} = Config) ->
    process_flag(trap_exit, true),
    ok = registered(Parent, Register),
    case launch(Parent, Config) of
        {ok, State} ->
            proc_lib:init_ack(Parent, {ok, self()}),
            case Register of
                undefined -> gen_server:enter_loop(?MODULE, [], State);
                Name -> gen_server:enter_loop(?MODULE, [], State, {local, Name})
            end;
        {error, Reason} ->
            refuse(Parent, Reason)
    end.

%% The caller learns of a failed start by its result alone, not by an exit signal as well.
-spec refuse(pid(), term()) -> no_return().
refuse(Parent, Reason) ->
    unlink(Parent),
    proc_lib:init_ack(Parent, {error, Reason}),
    exit(normal).

-spec registered(pid(), atom()) -> ok | no_return().
registered(_, undefined) ->
    ok;
registered(Parent, Name) ->
    try register(Name, self()) of
        true -> ok
    catch
        error:badarg -> refuse(Parent, {already_started, whereis(Name)})
    end.

-spec launch(pid(), krait_options:config()) -> {ok, #state{}} | {error, term()}.
launch(Parent, #{timeout := Timeout} = Config) ->
    case open(Config) of
        {ok, State} -> await_published(Parent, timer(Timeout), State);
        {error, _} = Error -> Error
    end.

-spec open(krait_options:config()) -> {ok, #state{}} | {error, term()}.
open(#{node := Node, argv := Argv, env := Env, log := Sink} = Config) ->
    Path = executable(Config),
    try open_port({spawn_executable, Path},
                  [{args, Argv}, {env, Env}, {line, ?LINE_BYTES}, binary, exit_status, use_stdio,
                   stderr_to_stdout, hide]) of
        Port ->
            OsPid = case erlang:port_info(Port, os_pid) of
                        {os_pid, Pid} -> Pid;
                        undefined -> undefined
                    end,
            {ok, #state{config = maps:without([argv, env, log], Config), port = Port,
                        os_pid = OsPid, log = krait_log:new(Node, Sink)}}
    catch
        error:Reason when Reason =:= enoent; Reason =:= eacces -> {error, {no_executable, Path}};
        error:Reason -> {error, {no_executable, Path, Reason}}
    end.

%% $KRAIT_BIN, the option `bin', the application's priv directory; in this order.
-spec executable(krait_options:config()) -> string().
executable(#{bin := Bin}) ->
    case {os:getenv("KRAIT_BIN"), Bin} of
        {Env, _} when is_list(Env), Env =/= "" -> Env;
        {_, Path} when is_list(Path) -> Path;
        {_, default} -> filename:join(priv_dir(), "krait")
    end.

%% Used from a source tree without being an application, priv is beside the directory of this module.
-spec priv_dir() -> string().
priv_dir() ->
    case code:priv_dir(krait) of
        Dir when is_list(Dir) -> Dir;
        {error, bad_name} ->
            filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv")
    end.

-spec await_published(pid(), reference() | infinity, #state{}) -> {ok, #state{}} | {error, term()}.
await_published(Parent, Timer, #state{port = Port, log = Log} = State) ->
    receive
        {Port, {data, {eol, <<"ready ", Rest/binary>>}}} ->
            ok = krait_wire:know(maps:get(node, State#state.config)),
            await_workers(Parent, Timer, State#state{os_pid = ready_pid(Rest, State)});
        {Port, {data, {_, Line}}} ->
            await_published(Parent, Timer, State#state{log = krait_log:line(Line, Log)});
        {Port, {exit_status, Status}} ->
            krait_log:exited(Status, Log),
            {error, ended_early(Status, State)};
        {timeout, Timer, start} ->
            _ = halt_node(State),
            {error, {start_timeout, krait_log:last(Log)}};
        {'EXIT', Parent, Reason} ->
            _ = halt_node(State),
            exit(Reason)
    end.

-spec await_workers(pid(), reference() | infinity, #state{}) -> {ok, #state{}} | {error, term()}.
await_workers(_, Timer, #state{config = #{await_ready := false}} = State) ->
    cancel(Timer),
    {ok, State};
await_workers(Parent, Timer, #state{config = Config} = State) ->
    #{await_ready := Wait, node := Node} = Config,
    %% The option `timeout' bounds the node's start; a number for await_ready bounds the rest anew.
    Timer2 = case Wait of
                 infinity -> Timer;
                 _ -> cancel(Timer), timer(Wait)
             end,
    %% Asked by another process, so that only what belongs to the start is received here: who knows the
    %% registered name may already call.
    Self = self(),
    Asked = make_ref(),
    _ = spawn_link(fun() -> Self ! {Asked, ask_ready({krait, Node})} end),
    await_answer(Parent, Timer2, Asked, State).

%% An attempt to connect that somebody had begun before the node was published fails everybody who waits
%% for it, us too. The one after it was begun now.
-spec ask_ready({krait, node()}) -> ok | {error, term()}.
ask_ready(Address) ->
    case krait:await_ready(Address) of
        {error, {nodedown, _}} -> krait:await_ready(Address);
        Answer -> Answer
    end.

-spec await_answer(pid(), reference() | infinity, reference(), #state{}) ->
          {ok, #state{}} | {error, term()}.
await_answer(Parent, Timer, Asked, #state{port = Port, log = Log} = State) ->
    receive
        {Port, {data, {_, Line}}} ->
            await_answer(Parent, Timer, Asked, State#state{log = krait_log:line(Line, Log)});
        {Port, {exit_status, Status}} ->
            krait_log:exited(Status, Log),
            {error, ended_early(Status, State)};
        {timeout, Timer, start} ->
            _ = halt_node(State),
            {error, {start_timeout, krait_log:last(Log)}};
        {'EXIT', Parent, Reason} ->
            _ = halt_node(State),
            exit(Reason);
        {Asked, ok} ->
            cancel(Timer),
            {ok, State};
        {Asked, {error, Reason}} ->
            unready(Reason, State)
    end.

%% No connection: most often because the node has ended, and its exit status is on its way.
-spec unready(term(), #state{}) -> {error, term()}.
unready({nodedown, _} = Reason, #state{port = Port, log = Log} = State) ->
    receive
        {Port, {exit_status, Status}} ->
            krait_log:exited(Status, Log),
            {error, ended_early(Status, State)}
    after 500 ->
            _ = halt_node(State),
            {error, Reason}
    end;
unready(Reason, State) ->
    _ = halt_node(State),
    {error, Reason}.

-spec ended_early(non_neg_integer(), #state{}) -> term().
ended_early(2, #state{log = Log}) -> {usage, krait_log:last(Log)};
ended_early(3, #state{config = #{node := Node}}) -> {name_taken, Node};
ended_early(Status, #state{log = Log}) -> {node_exit, Status, krait_log:last(Log)}.

%% "NAME PORT OS_PID"
-spec ready_pid(binary(), #state{}) -> pos_integer() | undefined.
ready_pid(Rest, #state{os_pid = Known}) ->
    case string:lexemes(Rest, " ") of
        [_Name, _Port, OsPid] -> binary_to_integer(OsPid);
        _ -> Known
    end.

-spec timer(timeout()) -> reference() | infinity.
timer(infinity) -> infinity;
timer(Ms) -> erlang:start_timer(Ms, self(), start).

-spec cancel(reference() | infinity) -> ok.
cancel(infinity) -> ok;
cancel(Timer) ->
    _ = erlang:cancel_timer(Timer),
    receive {timeout, Timer, start} -> ok after 0 -> ok end.

%% --- while it runs --------------------------------------------------------------------------------

%% @private Never called: enter/2 has its own way in, which can fail without an exit signal.
-spec init(term()) -> ignore.
init(_) ->
    ignore.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) ->
          {reply, term(), #state{}} | {stop, term(), term(), #state{}}.
handle_call('$krait_target', _, #state{config = #{pool := Pool, node := Node}} = State) ->
    Target = {Pool, Node},
    ok = krait_lanes:know(self(), Target),
    {reply, Target, State};
handle_call('$krait_info', _, #state{config = Config, os_pid = OsPid, log = Log} = State) ->
    #{pool := Pool, node := Node} = Config,
    {reply, #{node => Node, pool => Pool, os_pid => OsPid, last_lines => krait_log:last(Log)}, State};
handle_call('$krait_stop', _, State0) ->
    State = halt_node(State0),
    Reply = case State#state.status of
                0 -> ok;
                Status -> {error, {node_exit, Status}}
            end,
    {stop, normal, Reply, State};
handle_call(Request, _, State) ->
    {reply, {error, {unknown_request, Request}}, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({Port, {data, {_, Line}}}, #state{port = Port, log = Log} = State) ->
    {noreply, flush_later(State#state{log = krait_log:line(Line, Log)})};
handle_info({Port, {exit_status, Status}}, #state{port = Port, log = Log} = State) ->
    krait_log:exited(Status, Log),
    %% 0: somebody told it to stop (SIGTERM, the request `stop'); a transient child stays down.
    Reason = case Status of
                 0 -> {shutdown, {node_exit, 0}};
                 _ -> {node_exit, Status}
             end,
    {stop, Reason, State#state{status = Status}};
handle_info({timeout, Flush, flush}, #state{flush = Flush, log = Log} = State) ->
    {noreply, State#state{flush = undefined, log = krait_log:flush(Log)}};
handle_info(_, State) ->
    {noreply, State}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(_, State) ->
    #state{log = Log} = halt_node(State),
    _ = krait_log:flush(Log),
    ok.

-spec flush_later(#state{}) -> #state{}.
flush_later(#state{flush = undefined} = State) ->
    State#state{flush = erlang:start_timer(?FLUSH_AFTER, self(), flush)};
flush_later(State) ->
    State.

%% --- the stop -------------------------------------------------------------------------------------

%% SIGTERM (drain and end), then SIGKILL. The port stays open meanwhile: its last lines and its exit
%% status are wanted. Nothing is signalled whose exit status has been seen.
-spec halt_node(#state{}) -> #state{}.
halt_node(#state{status = Status} = State) when is_integer(Status) ->
    State;
halt_node(#state{config = #{shutdown := Shutdown}} = State0) ->
    signal("TERM", State0),
    case await_exit(deadline(Shutdown), State0) of
        #state{status = undefined} = State ->
            signal("KILL", State),
            closed(await_exit(deadline(?KILL_GRACE), State));
        State ->
            State
    end.

-spec closed(#state{}) -> #state{}.
closed(#state{status = undefined, port = Port} = State) ->
    _ = (catch port_close(Port)),
    State#state{status = 137};
closed(State) ->
    State.

-spec await_exit(integer(), #state{}) -> #state{}.
await_exit(Deadline, #state{port = Port, log = Log} = State) ->
    receive
        {Port, {data, {_, Line}}} ->
            await_exit(Deadline, State#state{log = krait_log:line(Line, Log)});
        {Port, {exit_status, Status}} ->
            krait_log:exited(Status, Log),
            State#state{status = Status}
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
            State
    end.

-spec deadline(non_neg_integer()) -> integer().
deadline(Ms) ->
    erlang:monotonic_time(millisecond) + Ms.

-spec signal(string(), #state{}) -> ok.
signal(_, #state{os_pid = undefined}) ->
    ok;
signal(Name, #state{os_pid = OsPid}) ->
    _ = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(OsPid)),
    ok.
