%%% @doc The application `krait': what its callers share. Nodes are started by {@link krait:start_link/1}, in
%%% the supervision trees of those who use them.
-module(krait_app).
-behaviour(application).

-export([start/2, stop/1]).

%% @private
start(_Type, _Arguments) ->
    krait_sup:start_link().

%% @private
stop(_State) ->
    ok.
