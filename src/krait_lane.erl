%%% @doc Lanes: how many callers of one pool share messages to its node.
%%%
%%% A `gen_server' call to another node costs three distribution signals: a monitor, the request, and a
%%% demonitor. A lane is a local process that does that once for all: it takes the requests of its
%%% neighbours, sends to the node what has gathered, hands out the answers, and says who is gone. Each
%%% caller monitors its lane, and hears its answer from it. There is one lane for each scheduler and pool;
%%% {@link krait_lanes} starts them.
%%%
%%% What is not needed for a call that is answered soon is not done for it. A lane monitors a caller only when
%%% his call has been under way for a tick or two (?TICK); whoever died before is noticed then, as such a
%%% monitor fires at once. A caller's tag is the reference of his monitor and no alias, which would cost more
%%% than all the rest: who gives up asks his lane to forget him, and waits until it has. A lane always hears
%%% that, as it never waits for its connection: what that cannot take now is tried again at the next tick.
%%%
%%% What is large goes alone: it would hold up its neighbours, and a lane's message has a limit as well.
%%%
%%% A lane ends when its pool is gone, or the connection to its node. Whoever waits hears why; the next
%%% call starts another one.
-module(krait_lane).

-export([attempt/3, start_link/2, init/3]).

-define(GATHERED, 256). % requests in one message, at most
-define(TICK, 5).       % ms
-define(LARGE, 65536).  % bytes of a request that goes alone

-type address() :: {Pool :: atom(), node()}.
-type id() :: integer(). % made by the caller
-type waiting() :: {tag, reference(), pid()}        % young: not monitored yet
                 | {monitored, reference(), pid(), reference()}.

-record(lane, {pool :: address(),
               ids = #{} :: #{id() => waiting()},
               calls = [] :: [{id(), term(), pid()}], % not sent yet, the last one first
               gone = [] :: [id()],
               count = 0 :: non_neg_integer(),        % of both
               busy = unwatched :: unwatched | boolean(), % nothing is sent: true, before the next tick
               ticking = false :: boolean(),
               young = [] :: [id()],                  % asked since the last tick
               elder = [] :: [id()]}).                % asked in the tick before it

%% @doc Asks the pool through a lane, and tells whether the request surely did not run when there is no
%% answer. `no_lane' where the application `krait' does not run, and for what is large.
-spec attempt(address(), term(), timeout()) ->
          {answer, term()} | {not_run, noproc} | {broken, term()} | timeout | no_lane.
attempt(Pool, Request, Timeout) ->
    case erlang:external_size(Request) =< ?LARGE andalso krait_lanes:find(Pool) of
        Lane when is_pid(Lane) -> ask(Lane, Request, Timeout);
        _ -> no_lane
    end.

-spec ask(pid(), term(), timeout()) ->
          {answer, term()} | {not_run, noproc} | {broken, term()} | timeout.
ask(Lane, Request, Timeout) ->
    Id = erlang:unique_integer(),
    Tag = erlang:monitor(process, Lane),
    Lane ! {ask, Id, Tag, self(), Request},
    receive
        {Tag, Answer} ->
            _ = erlang:demonitor(Tag, [flush]),
            {answer, Answer};
        {'DOWN', Tag, process, _, Reason} ->
            down(Reason)
    after Timeout ->
            give_up(Lane, Id, Tag)
    end.

%% Once the lane has forgotten the call nothing can come any more. It may have been answered meanwhile.
-spec give_up(pid(), id(), reference()) ->
          {answer, term()} | {not_run, noproc} | {broken, term()} | timeout.
give_up(Lane, Id, Tag) ->
    Lane ! {forget, Id},
    receive
        {Tag, Answer} ->
            _ = erlang:demonitor(Tag, [flush]),
            {answer, Answer};
        {forgotten, Tag} ->
            _ = erlang:demonitor(Tag, [flush]),
            timeout;
        {'DOWN', Tag, process, _, Reason} ->
            down(Reason)
    end.

%% `noproc': the lane was gone, or the pool; nobody has taken the request.
-spec down(term()) -> {not_run, noproc} | {broken, term()}.
down(noproc) -> {not_run, noproc};
down(Reason) -> {broken, Reason}.

%% @doc A lane to the pool, which registers itself in the table under the key.
-spec start_link(term(), address()) -> {ok, pid()}.
start_link(Key, Pool) ->
    proc_lib:start_link(?MODULE, init, [self(), Key, Pool]).

%% @private
-spec init(pid(), term(), address()) -> no_return().
init(Parent, Key, Pool) ->
    Lane = self(),
    _ = spawn_link(fun() -> watch_pool(Lane, Pool) end),
    ok = krait_lanes:ready(Key),
    proc_lib:init_ack(Parent, {ok, Lane}),
    wait(#lane{pool = Pool}).

%% A monitor waits for the connection, as the lane must not. Nothing is sent before it is set, so that no
%% call is on its way whose end nobody would hear of.
-spec watch_pool(pid(), address()) -> ok.
watch_pool(Lane, Pool) ->
    Monitor = erlang:monitor(process, Pool),
    Lane ! watched,
    receive
        {'DOWN', Monitor, process, _, Reason} ->
            Lane ! {ended, Reason},
            ok
    end.

%% --- the loop -------------------------------------------------------------------------------------

%% Nothing has gathered that could be sent: waits for the first message of the next turn.
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

-spec message(term(), #lane{}) -> #lane{}.
message({ask, Id, Tag, Caller, Request}, Lane) ->
    #lane{ids = Ids, calls = Calls, count = Count, young = Young} = Lane,
    tick_later(Lane#lane{ids = Ids#{Id => {tag, Tag, Caller}},
                         calls = [{Id, Request, Caller} | Calls],
                         count = Count + 1,
                         young = [Id | Young]});
message({krait_lane, Answers}, #lane{ids = Ids} = Lane) ->
    Lane#lane{ids = answers(Answers, Ids)};
message(tick, Lane) ->
    tick(Lane);
message({forget, Id}, #lane{ids = Ids} = Lane) ->
    case maps:take(Id, Ids) of
        {Waiting, Left} ->
            element(3, Waiting) ! {forgotten, forget(Waiting)},
            gone(Id, Lane#lane{ids = Left});
        error -> Lane % answered
    end;
message({Id, _, process, _, _}, #lane{ids = Ids} = Lane) when is_integer(Id) ->
    case maps:take(Id, Ids) of
        {_, Left} -> gone(Id, Lane#lane{ids = Left});
        error -> Lane
    end;
message(watched, Lane) ->
    Lane#lane{busy = false};
message({ended, Reason}, Lane) ->
    ended(Reason, Lane);
message(_, Lane) ->
    Lane.

-spec answers([{id(), term()}], #{id() => waiting()}) -> #{id() => waiting()}.
answers([{Id, Answer} | Rest], Ids) ->
    case maps:take(Id, Ids) of
        {Waiting, Left} ->
            Tag = forget(Waiting),
            element(3, Waiting) ! {Tag, Answer},
            answers(Rest, Left);
        error ->
            answers(Rest, Ids) % he has given up, or is gone
    end;
answers([], Ids) ->
    Ids.

%% A `DOWN' that has come already finds nobody of its id.
-spec forget(waiting()) -> reference().
forget({tag, Tag, _}) ->
    Tag;
forget({monitored, Tag, _, Monitor}) ->
    _ = erlang:demonitor(Monitor),
    Tag.

-spec gone(id(), #lane{}) -> #lane{}.
gone(Id, #lane{gone = Gone, count = Count} = Lane) ->
    Lane#lane{gone = [Id | Gone], count = Count + 1}.

%% The pool is gone. Whoever has asked hears that from the monitor on this process, with the reason.
-spec ended(term(), #lane{}) -> no_return().
ended(Reason, #lane{pool = {_, Node}}) ->
    ok = krait_lanes:gone(self()),
    exit(case Reason of
             noconnection -> {nodedown, Node};
             _ -> Reason
         end).

%% --- sending --------------------------------------------------------------------------------------

-spec send(#lane{}) -> #lane{}.
send(#lane{count = 0} = Lane) ->
    Lane;
send(#lane{busy = Busy} = Lane) when Busy =/= false ->
    Lane;
send(#lane{calls = Calls, gone = [], count = Count} = Lane) when Count =< ?GATHERED ->
    send(lists:reverse(Calls), [], Lane#lane{calls = [], count = 0});
send(#lane{calls = Calls, gone = Gone} = Lane) ->
    %% Who was gone before his call was sent has not asked.
    Known = maps:from_keys(Gone, true),
    {Vain, Wanted} = lists:partition(fun({Id, _, _}) -> is_map_key(Id, Known) end, Calls),
    Left = maps:keys(maps:without([Id || {Id, _, _} <- Vain], Known)),
    send(lists:reverse(Wanted), Left, Lane#lane{calls = [], gone = [], count = 0}).

%% What does not fit into one message, or is not taken, stays.
-spec send([{id(), term(), pid()}], [id()], #lane{}) -> #lane{}.
send([], [], Lane) ->
    Lane;
send(Calls, Gone, #lane{pool = Pool} = Lane) ->
    {Now, Later} = case length(Calls) > ?GATHERED of
                       true -> lists:split(?GATHERED, Calls);
                       false -> {Calls, []}
                   end,
    case erlang:send(Pool, {krait_lane, self(), Now, Gone}, [nosuspend]) of
        nosuspend ->
            tick_later(Lane#lane{calls = lists:reverse(Calls), gone = Gone, busy = true,
                                 count = length(Calls) + length(Gone)});
        _ ->
            send(Later, [], Lane)
    end.

%% --- time -----------------------------------------------------------------------------------------

-spec tick_later(#lane{}) -> #lane{}.
tick_later(#lane{ticking = true} = Lane) ->
    Lane;
tick_later(Lane) ->
    _ = erlang:send_after(?TICK, self(), tick),
    Lane#lane{ticking = true}.

-spec tick(#lane{}) -> #lane{}.
tick(#lane{ids = Ids, elder = Elder, young = Young, busy = Busy} = Lane0) ->
    Lane = Lane0#lane{ids = lists:foldl(fun watch/2, Ids, Elder), elder = Young, young = [],
                      busy = Busy =:= unwatched andalso unwatched, ticking = false},
    case Young of
        [] -> Lane;
        _ -> tick_later(Lane)
    end.

%% The monitor's message is {Id, Monitor, process, Pid, Reason}.
-spec watch(id(), #{id() => waiting()}) -> #{id() => waiting()}.
watch(Id, Ids) ->
    case Ids of
        #{Id := {tag, Tag, Caller}} ->
            Monitor = erlang:monitor(process, Caller, [{tag, Id}]),
            Ids#{Id := {monitored, Tag, Caller, Monitor}};
        #{} -> Ids
    end.
