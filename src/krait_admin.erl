%%% @doc What operators ask of a node, beyond {@link krait:resize/2} and its like: the requests under way
%%% and the end of one, peers, pools, the configuration and its change, events and log lines.
%%%
%%% A node is named as a pool is ({@link krait:pool()}). What concerns the node as a whole ({@link peers/1},
%%% {@link pools/1}, {@link config/1}, {@link reload_config/1}) goes to the node; the rest goes to the pool
%%% that was named, or to all pools of the node, where that is `{krait, Node}'. Failures are
%%% `{error, Reason}', as in {@link krait}; `{forbidden, Verb, Role}' where the node's options `admin' and
%%% `watch' do not let this BEAM.
-module(krait_admin).

-export([requests/1, requests/2, cancel/2, peers/1, pools/1]).
-export([config/1, set/3, reload_config/1, subscribe/2, unsubscribe/1]).
-export_type([topic/0]).

-type topic() :: log | events | all.

%% @equiv requests(Pool, 1000)
-spec requests(krait:pool()) -> {ok, [map()]} | {error, krait:reason()}.
requests(Pool) ->
    krait:request(Pool, requests, infinity).

%% @doc The requests that wait or run, the oldest first, at most `Max' (1 to 1000): `id', `pool', `verb',
%% `module', `function', `state', `age_ms', `caller', `worker', `priority' and more.
-spec requests(krait:pool(), pos_integer()) -> {ok, [map()]} | {error, krait:reason()}.
requests(Pool, Max) ->
    krait:request(Pool, {requests, Max}, infinity).

%% @doc Ends a request, by its id as in {@link requests/1}; its caller hears `{error, cancelled}'. What runs
%% is handled as the pool's `abandon' says. `{error, {no_request, Id}}' when it has ended by itself.
-spec cancel(krait:pool(), non_neg_integer()) -> ok | {error, krait:reason()}.
cancel(Pool, Id) ->
    krait:request(Pool, {cancel, Id}, infinity).

%% @doc The nodes that are connected.
-spec peers(krait:pool()) -> {ok, [map()]} | {error, krait:reason()}.
peers(Pool) ->
    to_node(Pool, peers).

%% @doc The names of the node's pools.
-spec pools(krait:pool()) -> {ok, [atom()]} | {error, krait:reason()}.
pools(Pool) ->
    to_node(Pool, pools).

%% @doc The configuration that is in force: `#{node => Options, pools => #{Pool => Options}}'.
-spec config(krait:pool()) -> {ok, map()} | {error, krait:reason()}.
config(Pool) ->
    to_node(Pool, config).

%% @doc Changes an option of a pool, or with `{krait, Node}' of the node: `{ok, {Old, New}}'.
%% `{error, {bad_option, Option, Expected}}'; `{error, {restart_needed, Option}}' for what cannot change
%% while the node runs. A reload of the configuration takes it back.
-spec set(krait:pool(), atom() | binary(), term()) -> {ok, {term(), term()}} | {error, krait:reason()}.
set(Pool, Option, Value) ->
    krait:request(Pool, {set, Option, Value}, infinity).

%% @doc Reads the configuration file again and changes what differs: `{ok, Difference}'. Workers are
%% replaced only where they must be. With a wrong file nothing changes: `{error, {bad_config, Text}}'.
-spec reload_config(krait:pool()) -> {ok, map()} | {error, krait:reason()}.
reload_config(Pool) ->
    to_node(Pool, {reload, config}).

%% @doc From now on the calling process gets `{krait_event, Node, Name, Measurements, Metadata}' for each
%% event and `{krait_log, Node, Map}' for each line that a worker prints or logs, whichever it asks for.
-spec subscribe(krait:pool(), topic() | [topic()]) -> ok | {error, krait:reason()}.
subscribe(Pool, Topics) ->
    krait:request(Pool, {subscribe, Topics}, infinity).

%% @doc No more of them.
-spec unsubscribe(krait:pool()) -> ok | {error, krait:reason()}.
unsubscribe(Pool) ->
    krait:request(Pool, unsubscribe, infinity).

-spec to_node(krait:pool(), term()) -> term().
to_node({_, Node}, Request) ->
    krait:request({krait, Node}, Request, infinity);
to_node(Lease, Request) when is_pid(Lease), node(Lease) =/= node() ->
    krait:request({krait, node(Lease)}, Request, infinity);
to_node(Pool, Request) ->
    case is_atom(Pool) andalso lists:member($@, atom_to_list(Pool)) of
        true -> krait:request({krait, Pool}, Request, infinity);
        false -> to_instance(Pool, Request)
    end.

-spec to_instance(krait:instance(), term()) -> term().
to_instance(Instance, Request) ->
    try krait:node_name(Instance) of
        Node -> krait:request({krait, Node}, Request, infinity)
    catch exit:{_, {gen_server, call, _}} -> {error, noproc}
    end.
