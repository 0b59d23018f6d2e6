%%% @doc The supervisor of {@link krait_lanes}.
-module(krait_sup).
-behaviour(supervisor).

-export([start_link/0, init/1]).

%% @private
-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @private
init([]) ->
    {ok, {#{strategy => one_for_one},
          [#{id => krait_lanes, start => {krait_lanes, start_link, []}}]}}.
