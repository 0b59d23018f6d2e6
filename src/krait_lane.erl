%%% @doc Lanes: how many callers of one pool share messages to its node.
%%%
%%% A `gen_server' call to another node costs three distribution signals: a monitor, the request, and a
%%% demonitor. A lane is a local process that does that once for all: it takes the requests of its
%%% neighbours, monitors them locally, sends to the node what has gathered, and says who is gone. Each
%%% caller monitors its lane, and hears its answer from it through the monitor's alias, as from a
%%% `gen_server'. There is one lane for each scheduler and pool; {@link krait_lanes} starts them.
%%%
%%% A lane ends when its pool is gone, or the connection to its node. Whoever waits hears why; the next
%%% call starts another one.
-module(krait_lane).

-export([call/3, attempt/3, start_link/2, init/3]).

-define(GATHERED, 256). % requests in one message, at most

-type address() :: {Pool :: atom(), node()}.
-type id() :: pos_integer().

-record(lane, {pool :: address(),
               watch :: reference(),
               next = 1 :: id(),
               %% both ways: who waits for which answer
               ids = #{} :: #{id() => {reference(), reference()}},
               tags = #{} :: #{reference() => id()},
               callers = #{} :: #{reference() => id()},
               calls = [] :: [{id(), term(), pid()}],
               gone = [] :: [id()],
               count = 0 :: non_neg_integer()}).

%% @doc Asks the pool through a lane. As `gen_server:call/3' it exits when there is no answer.
-spec call(address(), term(), timeout()) -> term().
call(Pool, Request, Timeout) ->
    case krait_lanes:find(Pool) of
        none -> gen_server:call(Pool, Request, Timeout);
        Lane -> ask(Lane, Pool, Request, Timeout)
    end.

%% @doc As {@link call/3}, for a caller who would rather go elsewhere than wait for a connection: tells
%% whether the request surely did not run. `no_lane' where the application `krait' does not run.
-spec attempt(address(), term(), timeout()) ->
          {answer, term()} | {not_run, term()} | {broken, term()} | timeout | no_lane.
attempt(Pool, Request, Timeout) ->
    case krait_lanes:find(Pool) of
        none -> no_lane;
        Lane -> attempt(Lane, Pool, Request, Timeout)
    end.

-spec attempt(pid(), address(), term(), timeout()) ->
          {answer, term()} | {not_run, term()} | {broken, term()} | timeout.
attempt(Lane, Pool, Request, Timeout) ->
    try ask(Lane, fun() -> throw(nobody_took_it) end, Pool, Request, Timeout) of
        Answer -> {answer, Answer}
    catch
        throw:nobody_took_it -> {not_run, noproc};
        exit:{timeout, _} -> timeout;
        exit:{noproc, _} -> {not_run, noproc};
        exit:{Reason, _} -> {broken, Reason}
    end.

-spec ask(pid(), address(), term(), timeout()) -> term().
ask(Lane, Pool, Request, Timeout) ->
    ask(Lane, fun() -> gen_server:call(Pool, Request, Timeout) end, Pool, Request, Timeout).

-spec ask(pid(), fun(() -> term()), address(), term(), timeout()) -> term().
ask(Lane, Otherwise, Pool, Request, Timeout) ->
    Tag = erlang:monitor(process, Lane, [{alias, reply_demonitor}]),
    Lane ! {ask, Tag, self(), Request},
    receive
        {Tag, Answer} ->
            Answer;
        {'DOWN', Tag, process, _, noproc} ->
            %% The lane was gone, or the pool: nobody has taken the request.
            Otherwise();
        {'DOWN', Tag, process, _, Reason} ->
            exit({Reason, {gen_server, call, [Pool, Request, Timeout]}})
    after Timeout ->
            %% Nothing comes through the alias from here on.
            _ = erlang:demonitor(Tag, [flush]),
            Lane ! {gone, Tag},
            receive
                {Tag, Answer} -> Answer
            after 0 ->
                    exit({timeout, {gen_server, call, [Pool, Request, Timeout]}})
            end
    end.

%% @doc A lane to the pool, which registers itself in the table under the key.
-spec start_link(term(), address()) -> {ok, pid()}.
start_link(Key, Pool) ->
    proc_lib:start_link(?MODULE, init, [self(), Key, Pool]).

%% @private
-spec init(pid(), term(), address()) -> no_return().
init(Parent, Key, Pool) ->
    _ = process_flag(message_queue_data, off_heap),
    Watch = erlang:monitor(process, Pool),
    ok = krait_lanes:ready(Key),
    proc_lib:init_ack(Parent, {ok, self()}),
    wait(#lane{pool = Pool, watch = Watch}).

%% --- the loop -------------------------------------------------------------------------------------

%% Nothing has gathered: waits for the first message of the next turn.
-spec wait(#lane{}) -> no_return().
wait(Lane) ->
    receive
        Message -> turn(message(Message, Lane))
    end.

%% Takes what is there, and then sends.
-spec turn(#lane{}) -> no_return().
turn(#lane{count = Count} = Lane) when Count >= ?GATHERED ->
    wait(send(Lane));
turn(Lane) ->
    receive
        Message -> turn(message(Message, Lane))
    after 0 -> wait(send(Lane))
    end.

-spec send(#lane{}) -> #lane{}.
send(#lane{count = 0} = Lane) ->
    Lane;
send(#lane{pool = Pool, calls = Calls, gone = Gone} = Lane) ->
    Pool ! {krait_lane, self(), lists:reverse(Calls), Gone},
    Lane#lane{calls = [], gone = [], count = 0}.

-spec message(term(), #lane{}) -> #lane{}.
message({ask, Tag, Caller, Request}, Lane) ->
    #lane{next = Id, ids = Ids, tags = Tags, callers = Callers, calls = Calls, count = Count} = Lane,
    Monitor = erlang:monitor(process, Caller),
    Lane#lane{next = Id + 1,
              ids = Ids#{Id => {Tag, Monitor}},
              tags = Tags#{Tag => Id},
              callers = Callers#{Monitor => Id},
              calls = [{Id, Request, Caller} | Calls],
              count = Count + 1};
message({krait_lane, Answers}, Lane) ->
    lists:foldl(fun answer/2, Lane, Answers);
message({gone, Tag}, #lane{tags = Tags} = Lane) ->
    case Tags of
        #{Tag := Id} -> gone(Id, Lane);
        #{} -> Lane
    end;
message({'DOWN', Watch, process, _, Reason}, #lane{watch = Watch} = Lane) ->
    ended(Reason, Lane);
message({'DOWN', Monitor, process, _, _}, #lane{callers = Callers} = Lane) ->
    case Callers of
        #{Monitor := Id} -> gone(Id, Lane);
        #{} -> Lane
    end;
message(_, Lane) ->
    Lane.

-spec answer({id(), term()}, #lane{}) -> #lane{}.
answer({Id, Answer}, #lane{ids = Ids} = Lane) ->
    case Ids of
        #{Id := {Tag, _}} ->
            Tag ! {Tag, Answer},
            forget(Id, Lane);
        #{} ->
            unwanted(Answer),
            Lane
    end.

%% What is granted to nobody goes back.
-spec unwanted(term()) -> ok.
unwanted({ok, Pid}) when is_pid(Pid) ->
    exit(Pid, normal),
    ok;
unwanted(_) ->
    ok.

-spec gone(id(), #lane{}) -> #lane{}.
gone(Id, #lane{gone = Gone, count = Count} = Lane) ->
    (forget(Id, Lane))#lane{gone = [Id | Gone], count = Count + 1}.

-spec forget(id(), #lane{}) -> #lane{}.
forget(Id, #lane{ids = Ids, tags = Tags, callers = Callers} = Lane) ->
    {{Tag, Monitor}, Left} = maps:take(Id, Ids),
    _ = erlang:demonitor(Monitor, [flush]),
    Lane#lane{ids = Left, tags = maps:remove(Tag, Tags), callers = maps:remove(Monitor, Callers)}.

%% The pool is gone. Whoever has asked hears that from the monitor on this process, with the reason.
-spec ended(term(), #lane{}) -> no_return().
ended(Reason, #lane{pool = {_, Node}}) ->
    ok = krait_lanes:gone(self()),
    exit(case Reason of
             noconnection -> {nodedown, Node};
             _ -> Reason
         end).
