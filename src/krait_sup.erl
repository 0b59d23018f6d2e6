%%% @doc The supervisor of {@link krait_wire} and {@link krait_lanes}.
-module(krait_sup).
-behaviour(supervisor).

-export([start_link/0, init/1]).

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @private
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => one_for_one},
          [#{id => krait_wire, start => {krait_wire, start_link, []}},
           #{id => krait_lanes, start => {krait_lanes, start_link, []}}]}}.
