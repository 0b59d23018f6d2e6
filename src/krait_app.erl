%%% @doc The application `krait': what its callers share. Nodes are started by {@link krait:start_link/1}, in
%%% the supervision trees of those who use them.
-module(krait_app).
-behaviour(application).

-export([start/2, stop/1]).

%% @private
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Arguments) ->
    krait_sup:start_link().

%% @private
-spec stop(term()) -> ok.
stop(_State) ->
    ok.
