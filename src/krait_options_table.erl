%%% @doc The options of the node that {@link krait:start_link/1} takes: one row for each, its key, its type
%%% and its flag on the command line.
%%%
%%% What a value means, and whether it is one that the node likes, is the node's to say; here it is only
%%% checked as far as is needed for a clear word before anything is started.
-module(krait_options_table).

-export([node/0, pool/0]).
-export_type([row/0, type/0]).

-type row() :: {atom(), type(), string()}.

-type type() :: flag | name | names | text | directories | exposed | pairs | size
              | {timeout, 0 | 1} | {limit, 0 | 1}
              | {from, integer()} | {between, integer(), integer()} | {one_of, [atom()]}.

%% @doc What concerns the node as a whole. `name' is not here: it is always given.
-spec node() -> [row()].
node() ->
    [{config,              text,                                    "--config"},
     {cookie_file,         text,                                    "--cookie-file"},
     {listen,              text,                                    "--listen"},
     {port,                {between, 0, 65535},                     "--port"},
     {net_ticktime,        {from, 1},                               "--net-ticktime"},
     {handshake_timeout,   {from, 10},                              "--handshake-timeout"},
     {max_peers,           {from, 1},                               "--max-peers"},
     {max_output_bytes,    {from, 1},                               "--max-output-bytes"},
     {stop_timeout,        {from, 0},                               "--stop-timeout"},
     {busy_poll,           {between, 0, 1000},                      "--busy-poll"},
     {log_level,           {one_of, [error, warning, info, debug]}, "--log-level"},
     {log_format,          {one_of, [text, json, journald]},        "--log-format"},
     {metrics,             text,                                    "--metrics"},
     {metrics_host,        names,                                   "--metrics-host"},
     {admin,               names,                                   "--admin"},
     {watch,               names,                                   "--watch"},
     {admin_users,         names,                                   "--admin-users"}].

%% @doc What each pool has of its own.
-spec pool() -> [row()].
pool() ->
    [{size,                size,                                    "--size"},
     {grow_after,          {from, 0},                               "--grow-after"},
     {idle_ttl,            {from, 10},                              "--idle-ttl"},
     {order,               {one_of, [lifo, fifo]},                  "--order"},
     {python,              text,                                    "--python"},
     {pythonpath,          directories,                             "--pythonpath"},
     {preload,             names,                                   "--preload"},
     {allow,               names,                                   "--allow"},
     {expose,              exposed,                                 "--expose"},
     {rpc,                 flag,                                    "--rpc"},
     {start_method,        {one_of, [fork, spawn]},                 "--start-method"},
     {slots,               {between, 1, 64},                        "--slots"},
     {ahead,               {between, 0, 16},                        "--ahead"},
     {abandon,             {one_of, [kill, interrupt, finish]},     "--abandon"},
     {interrupt_grace,     {from, 1},                               "--interrupt-grace"},
     {call_timeout,        {timeout, 1},                            "--call-timeout"},
     {queue_timeout,       {timeout, 0},                            "--queue-timeout"},
     {queue_limit,         {from, 0},                               "--queue-limit"},
     {queue_bytes,         {from, 0},                               "--queue-bytes"},
     {session_mode,        {one_of, [strict, hint, fail_fast]},     "--session-mode"},
     {session_ttl,         {timeout, 1},                            "--session-ttl"},
     {max_sessions,        {from, 0},                               "--max-sessions"},
     {strings,             {one_of, [utf8, bytes]},                 "--strings"},
     {max_depth,           {from, 1},                               "--max-depth"},
     {max_request_bytes,   {from, 1},                               "--max-request-bytes"},
     {max_result_bytes,    {from, 1},                               "--max-result-bytes"},
     {start_timeout,       {from, 1},                               "--start-timeout"},
     {stop_grace,          {from, 1},                               "--stop-grace"},
     {breaker_threshold,   {from, 1},                               "--breaker-threshold"},
     {backoff_base,        {from, 1},                               "--backoff-base"},
     {backoff_max,         {from, 1},                               "--backoff-max"},
     {start_burst,         {from, 1},                               "--start-burst"},
     {starts_per_second,   {from, 1},                               "--starts-per-second"},
     {health_interval,     {timeout, 1},                            "--health-interval"},
     {health_timeout,      {from, 1},                               "--health-timeout"},
     {max_calls,           {from, 0},                               "--max-calls"},
     {max_age,             {timeout, 1},                            "--max-age"},
     {max_rss,             {from, 0},                               "--max-rss"},
     {recycle_jitter,      {between, 0, 100},                       "--recycle-jitter"},
     {worker_env,          pairs,                                   "--env"},
     {cwd,                 text,                                    "--cwd"},
     {threads,             {from, 0},                               "--threads"},
     {nice,                {between, 0, 19},                        "--nice"},
     {oom_score_adj,       {between, 0, 1000},                      "--oom-score-adj"},
     {rlimit_as,           {limit, 1},                              "--rlimit-as"},
     {rlimit_cpu,          {limit, 1},                              "--rlimit-cpu"},
     {rlimit_nofile,       {limit, 1},                              "--rlimit-nofile"},
     {rlimit_core,         {limit, 0},                              "--rlimit-core"},
     {memory_max,          {from, 0},                               "--memory-max"},
     {cpu_max,             {from, 0},                               "--cpu-max"},
     {log_rate,            {from, 1},                               "--log-rate"}].
