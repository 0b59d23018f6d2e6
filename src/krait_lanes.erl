%%% @doc Where the lanes are: starts them on demand and knows them by pool and scheduler. Also where the nodes are
%%% that are supervised here, so that a call need not ask the process of its node for the address.
%%%
%%% The table is public and named, so that a call costs one look-up. This process owns it, and lanes are
%%% linked to it: a lane that ends is forgotten, and the next call starts another.
-module(krait_lanes).
-behaviour(gen_server).

-export([start_link/0, find/1, ready/1, gone/1, target/1, know/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The lane of this scheduler to the pool; `none' where the application `krait' does not run.
-spec find({atom(), node()}) -> pid() | none.
find(Pool) ->
    Key = {Pool, erlang:system_info(scheduler_id)},
    try ets:lookup_element(?MODULE, Key, 2)
    catch error:badarg -> start(Key)
    end.

-spec start(term()) -> pid() | none.
start(Key) ->
    try gen_server:call(?MODULE, {start, Key})
    catch exit:_ -> none
    end.

%% @private Said by a lane that can be asked.
-spec ready(term()) -> ok.
ready(Key) ->
    true = ets:insert(?MODULE, {Key, self()}),
    true = ets:insert(?MODULE, {self(), Key}),
    ok.

%% @private Said by a lane that is about to end.
-spec gone(pid()) -> ok.
gone(Lane) ->
    case ets:take(?MODULE, Lane) of
        [{_, Key}] -> true = ets:delete_object(?MODULE, {Key, Lane});
        [] -> true
    end,
    ok.

%% @doc The pool's address of a node that is supervised here, by its process; `none': ask that.
-spec target(pid()) -> {atom(), node()} | none.
target(Instance) ->
    try ets:lookup_element(?MODULE, {target, Instance}, 2)
    catch error:badarg -> none
    end.

%% @private Said by the process of a node that was asked. It never changes, and is forgotten when that ends.
-spec know(pid(), {atom(), node()}) -> ok.
know(Instance, Target) ->
    gen_server:cast(?MODULE, {know, Instance, Target}).

%% @private
-spec init([]) -> {ok, nostate}.
init([]) ->
    _ = process_flag(trap_exit, true),
    ?MODULE = ets:new(?MODULE, [named_table, public, {read_concurrency, true}]),
    {ok, nostate}.

%% @private
-spec handle_call({start, {{atom(), node()}, pos_integer()}}, gen_server:from(), nostate) ->
          {reply, pid(), nostate}.
handle_call({start, {Pool, _} = Key}, _, State) ->
    case ets:lookup(?MODULE, Key) of
        [{_, Lane}] -> {reply, Lane, State};
        [] ->
            {_, Node} = Pool,
            ok = krait_wire:know(Node),
            {ok, Lane} = krait_lane:start_link(Key, Pool),
            {reply, Lane, State}
    end.

%% @private
-spec handle_cast(term(), nostate) -> {noreply, nostate}.
handle_cast({know, Instance, Target}, State) ->
    case ets:insert_new(?MODULE, {{target, Instance}, Target}) of
        true -> _ = erlang:monitor(process, Instance);
        false -> true
    end,
    {noreply, State};
handle_cast(_, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), nostate) -> {noreply, nostate}.
handle_info({'EXIT', Lane, _}, State) ->
    ok = gone(Lane),
    {noreply, State};
handle_info({'DOWN', _, process, Instance, _}, State) ->
    true = ets:delete(?MODULE, {target, Instance}),
    {noreply, State};
handle_info(_, State) ->
    {noreply, State}.
