#!/usr/bin/env escript
%% seeds.escript - writes the first inputs of the fuzzers: seeds.escript TO_DIR  (from the repository's root)
%%
%% What real BEAMs sent (test/data/dist), terms as this BEAM writes them, and the sentences of the tests.
%% test/fuzz/corpus/ holds what libFuzzer made of them (`test/fuzz.sh corpus`), with the same coverage.

main([Dir]) ->
    lists:foreach(fun({Name, Inputs}) ->
        Path = filename:join(Dir, Name),
        ok = filelib:ensure_dir(filename:join(Path, "x")),
        lists:foreach(fun(Input) ->
            <<Hash:40, _/binary>> = crypto:hash(sha, Input),
            File = io_lib:format("seed-~10.16.0b", [Hash]),
            ok = file:write_file(filename:join(Path, File), Input)
        end, Inputs)
    end, [{"fuzz_dist", dist()}, {"fuzz_dist_connect", dist_connect()}, {"fuzz_term", encoded()},
          {"fuzz_transcode_in", transcode_in()}, {"fuzz_transcode_out", transcode_out()},
          {"fuzz_roundtrip", roundtrip()}, {"fuzz_frame", frame()}, {"fuzz_request", request()},
          {"fuzz_config", config()}, {"fuzz_config_file", config_file()}]).

%% ---- captured streams ----

captured(Name) ->
    {ok, Bytes} = file:read_file(filename:join("test/data/dist", Name ++ ".bin")),
    {Packets, Rest} = packets(Bytes, []),
    {Bytes, Packets, frames(Rest)}.

packets(<<Len:16, Packet:Len/binary, Rest/binary>>, Acc) ->
    case Packet of
        <<T, _/binary>> when T =:= $r; T =:= $a -> {lists:reverse([Packet | Acc]), Rest};
        _ -> packets(Rest, [Packet | Acc])
    end.

frames(<<Len:32, Frame:Len/binary, Rest/binary>>) -> [Frame | frames(Rest)];
frames(_) -> [].

streams() -> ["call", "signals", "spawn", "payload", "trace", "ticks"].

record(Bytes) -> record(0, Bytes).
record(_, Bytes) when byte_size(Bytes) > 4095 -> <<>>;
record(Flags, Bytes) -> <<(Flags bor byte_size(Bytes)):16, Bytes/binary>>.

records(List) -> iolist_to_binary([record(B) || B <- List]).

%% A frame of our own. 112, 131 and the length are put there by the fuzzer.
signal(Control) -> record(16#2000, tl_(term_to_binary(Control))).
signal(Control, Message) ->
    record(16#2000, <<(tl_(term_to_binary(Control)))/binary, (term_to_binary(Message))/binary>>).

tl_(<<131, Term/binary>>) -> Term.

signals() ->
    P = self(), Q = spawn(fun() -> ok end), R = make_ref(),
    [signal({1, P, Q}), signal({2, '', Q}, hello), signal({3, P, Q, normal}), signal({4, P, Q}),
     signal({6, P, '', default}, {call, 1}), signal({7, P, Q}), signal({8, P, Q, kill}),
     signal({12, '', Q, t}, hello), signal({13, P, Q, t, normal}), signal({16, P, '', rex, t}, hi),
     signal({18, P, Q, t, kill}), signal({19, P, Q, R}), signal({19, P, default, R}),
     signal({20, P, Q, R}), signal({20, P, default, R}), signal({21, P, Q, R, noproc}),
     signal({21, default, Q, R, noproc}), signal({22, P, Q}, hi), signal({23, P, Q, t}, hi),
     signal({24, P, Q}, bye), signal({25, P, Q, t}, bye), signal({26, P, Q}, bye),
     signal({27, P, Q, t}, bye), signal({28, P, Q, R}, bye), signal({28, default, Q, R}, bye),
     signal({29, R, P, P, {m, f, 1}, [monitor, link]}, [1]),
     signal({29, R, P, P, {krait, 'execute_call', 4}, [monitor, {reply, error_only}]}, [R, math, sqrt, [2]]),
     signal({29, R, P, P, {m, f, 0}, [{priority, low}]}, []), signal({29, R, P, P, {m, f, 1}, []}, x), signal({31, R, Q, 1, notsup}),
     signal({30, R, P, P, {m, f, 1}, [], t}, [1]), signal({31, R, Q, 0, P}),
     signal({32, R, Q, 0, P, t}), signal({33, P, R}, hi), signal({34, P, R, t}, hi),
     signal({35, 16#ffffffffffffffff, P, Q}), signal({35, 1, P, Q}), signal({36, 7, P, Q}),
     signal({5}), signal({99, 1, 2}, x), signal({35, 0, P, Q}), signal({19, P, 'é', R}),
     signal({1, P, 17}), signal({29, R, P, P, {m, f, 256}, []}, []),
     %% oversize: begins with the tuple's tag, 104: that many KiB more
     begin
         <<H:16, B/binary>> = signal({2, '', Q}, binary:copy(<<0>>, 300)),
         <<(H bor 16#4000):16, B/binary>>
     end,
     begin
         <<H2:16, B2/binary>> = signal({29, R, P, P, {m, f, 1}, [monitor]}, [binary:copy(<<0>>, 300)]),
         <<(H2 bor 16#4000):16, B2/binary>>
     end,
     record(16#8000, <<>>), record(16#1000, <<0, 0, 0, 0, 255, 255, 255, 255>>)].

proof(Tag, N) -> <<Tag, 0:N/unit:8>>.

%% The same with fragments (16#80): the first byte of a body says what stands before it; see fuzz_dist.h.
fragments() ->
    P = self(), Q = spawn(fun() -> ok end),
    Whole = fun(What, Control, Message) ->
        record(16#2000, <<What, (bare(Control))/binary, (bare(Message))/binary>>) end,
    First = fun(Sequence, Number, Bytes) ->
        record(16#2000, <<(Sequence * 16 + 2), Number, Bytes/binary>>) end,
    More = fun(Sequence, Number, Bytes) ->
        record(16#2000, <<(Sequence * 16 + 3), Number, Bytes/binary>>) end,
    Bytes = <<(bare({6, P, '', default}))/binary, (bare({call, math, sqrt, [2.0]}))/binary>>,
    <<A:50/binary, B:10/binary, C/binary>> = Bytes,
    Long = fun(What, Control) ->
        record(16#6000, <<What, (bare(Control))/binary, 109, (What * 1024):32>>) end,
    [Whole(1, {2, '', Q}, hello), Whole(1, {22, P, Q}, hello), First(1, 1, Bytes),
     <<(First(1, 3, A))/binary, (More(1, 2, B))/binary, (More(1, 1, C))/binary>>,
     <<(First(1, 3, A))/binary, (First(2, 2, <<A/binary, B/binary>>))/binary, (More(1, 2, B))/binary,
       (Whole(1, {22, P, Q}, hi))/binary, (More(2, 1, C))/binary, (More(1, 1, C))/binary>>,
     <<(First(1, 3, A))/binary, (More(1, 1, C))/binary>>, More(1, 1, C),
     <<(First(1, 2, A))/binary, (First(1, 2, A))/binary>>, First(1, 0, A),
     Long(16#41, {22, P, Q}),
     <<(Long(16#81, {22, P, Q}))/binary, (Whole(1, {22, P, Q}, hi))/binary,
       (Long(16#41, {22, Q, P}))/binary, (record(16#2000, <<1, (bare({1, P, Q}))/binary>>))/binary>>,
     <<(record(16#6000, <<16#f2, 2, (bare({22, P, Q}))/binary, 109, (16#f2 * 1024 + 20000):32>>))/binary,
       (record(16#6000, <<16#f3, 1>>))/binary>>].

bare(Term) -> tl_(term_to_binary(Term)).

fragmented() ->
    [<<Way, 5, 0, S/binary>> || S <- fragments(), Way <- [16#82, 16#92]].

dist() ->
    Captured = [captured(N) || N <- streams()],
    {Large, _, _} = captured("large"),
    {_, [Name | _], _} = hd(Captured),
    Ours = <<"beam@127.0.0.1">>,
    Flags = 16#d07df7fbd,
    New = <<$N, Flags:64, 77:32, (byte_size(Ours)):16, Ours/binary>>,
    Old = <<$n, 5:16, (Flags band 16#ffffffff):32, Ours/binary>>,
    Complement = <<$c, (Flags bsr 32):32, 77:32>>,
    Reply = proof($r, 20),
    fragmented() ++ [<<0, 0, 0, B/binary>> || {B, _, _} <- Captured] ++
    [<<0, 9, 0, (binary:part(Large, 0, 3000))/binary>>] ++
    [<<1, 5, 0, (records(P))/binary, (records(F))/binary>> || {_, P, F} <- Captured] ++
    [<<2, 3, 0, (record(F))/binary>> || {_, _, Fs} <- Captured, F <- lists:usort(Fs)] ++
    [<<16#12, 3, 0, S/binary>> || S <- signals()] ++
    [<<16#22, 3, 0, (iolist_to_binary(signals()))/binary>>] ++
    [<<(1 bor (Status bsl 2)), 1, 0, (records([New, Reply]))/binary>> || Status <- [0, 1, 2, 3]] ++
    [<<1, 0, 0, (records([Old, Complement, Reply]))/binary>>,
     <<9, 0, 0, (records([New, <<"strue">>, Reply]))/binary>>,
     <<9, 0, 0, (records([Old, <<"strue">>, Complement, Reply, <<>>]))/binary>>,
     <<9, 0, 0, (records([New, <<"sfalse">>]))/binary>>,
     <<1, 0, 0, (records([Name, <<$n, 0:48>>]))/binary>>,
     <<1, 0, 0, (records([<<$N, (1 bsl 33):64, 77:32, 0:16>>]))/binary>>,
     <<1, 0, 0, (records([<<$N, 0:64, 77:32, 3:16, "a@b">>]))/binary>>,
     <<1, 0, 0, (records([<<$N, Flags:64, 77:32, 15:16, "krait@127.0.0.1">>]))/binary>>,
     <<1, 0, 0, (records([<<"GET / HTTP/1.1", 255>>]))/binary>>,
     <<16#41, 0, 1, (records([New, Reply]))/binary>>,
     <<16#41, 0, 2, (records([New, Reply]))/binary>>].

dist_connect() ->
    {Dial, Packets, Frames} = captured("dial"),
    Captured = [captured(N) || N <- streams()],
    Challenge = lists:nth(2, Packets),
    Ack = proof($a, 16),
    [<<0, 0, 0, Dial/binary>>, <<1, 7, 0, (records(Packets))/binary, (records(Frames))/binary>>] ++
    [<<2, 3, 0, (records(Fs))/binary>> || {_, _, Fs} <- Captured] ++
    [<<2, 3, 0, S/binary>> || S <- signals()] ++ fragmented() ++
    [<<1, 0, 0, (records([Status, Challenge, Ack]))/binary>> ||
        Status <- [<<"sok">>, <<"sok_simultaneous">>, <<"snok">>, <<"salive">>, <<"snot_allowed">>,
                   <<"snamed:", 1:16, "x", 1:32>>, <<"swhat">>, <<"x", 255>>]] ++
    [<<1, 0, 0, (records([<<"sok">>, <<$N, 0:64, 1:32, 2:32, 14:16, "beam@127.0.0.1">>]))/binary>>,
     <<1, 0, 0, (records([<<"sok">>, <<$N, 0:64, 1:32, 2:32, 3:16, "a@b">>]))/binary>>,
     <<1, 0, 0, (records([<<"sok">>, Challenge, <<$a, 1, 2>>]))/binary>>,
     <<16#41, 0, 1, (records([<<"sok">>, Challenge, Ack]))/binary>>].

%% ---- terms ----

terms() ->
    Big = 1 bsl 2100,
    [1, -1, 255, 256, -32, -33, 65536, 1 bsl 31, -(1 bsl 31), -(1 bsl 31) - 1, 1 bsl 63, 1 bsl 64,
     -(1 bsl 63) - 1, Big, -Big, 1.5, -0.0, 1.0e300, true, false, nil, ok, '', 'é', nan, infinity,
     list_to_atom(lists:duplicate(255, 16#20ac)), <<>>, <<"text">>, <<"é€🐍"/utf8>>, <<255, 0>>,
     binary:copy(<<"a">>, 40), binary:copy(<<"b">>, 300), <<5:3>>, <<1, 2, 7:5>>, [], [1, 2, 300],
     "a list of bytes", [a | b], [1, [2, [3, []]]], {}, {a}, {bytes, <<"x">>}, [{bytes, <<"x">>}],
     list_to_tuple(lists:seq(1, 300)), #{}, #{a => 1, <<"b">> => [2]}, #{1 => a, 2.5 => b},
     #{{1, 2} => x, [1] => y, #{k => v} => z}, #{1 => a, 1.0 => b}, #{a => 1, <<"a">> => 2},
     #{0.0 => 1, true => 2}, #{[#{1 => 1, 1.0 => 2}] => 3}, #{"key" => 1, [[]] => 2},
     maps:from_list([{I, I * I} || I <- lists:seq(1, 20)]),
     maps:from_list([{list_to_binary(integer_to_list(I)), I} || I <- lists:seq(1, 12)]),
     self(), make_ref(), hd(erlang:ports()), fun lists:map/2, [true, false, nil, undefined],
     #{'__struct__' => 'Elixir.Date', year => 2024, month => 1, day => 2},
     a_date(), maps:merge(a_time(), #{'__struct__' => 'Elixir.Time'}),
     maps:merge(maps:merge(a_date(), a_time()), #{'__struct__' => 'Elixir.NaiveDateTime'}),
     maps:merge(maps:merge(a_date(), a_time()), #{'__struct__' => 'Elixir.DateTime', time_zone => <<"Europe/Berlin">>,
                                              zone_abbr => <<"CEST">>, utc_offset => 3600, std_offset => 3600}),
     #{'__struct__' => 'Elixir.Decimal', sign => -1, coef => 15, exp => -1},
     #{'__struct__' => 'Elixir.Decimal', sign => 1, coef => 1 bsl 100, exp => 7},
     #{'__struct__' => 'Elixir.Decimal', sign => 1, coef => 'NaN', exp => 0},
     #{'__struct__' => 'Elixir.MapSet', map => #{1 => [], [2] => [], a_date() => []}},
     #{'__struct__' => 'Elixir.MapSet', map => #{<<"x">> => []}, version => 2}, #{a_date() => a_date()},
     {krait_tensor, f32, {2, 1}, <<0:64>>}, {krait_tensor, <<"u8">>, [3], <<"abc">>}, {krait_tensor, f32, {1}, <<>>},
     lists:foldl(fun(_, T) -> [T] end, x, lists:seq(1, 300)),
     lists:foldl(fun(_, T) -> {T, 1} end, x, lists:seq(1, 6))].

a_date() -> #{'__struct__' => 'Elixir.Date', calendar => 'Elixir.Calendar.ISO', year => 2024, month => 2, day => 29}.
a_time() -> #{calendar => 'Elixir.Calendar.ISO', hour => 23, minute => 59, second => 1, microsecond => {120000, 2}}.

old_forms() ->
    Node = <<119, 6, "a@host">>, Latin1 = <<115, 1, 16#e9>>,
    [<<99, "1.50000000000000000000e+00", 0:40>>, <<100, 0, 2, "ok">>, Latin1, <<118, 0, 3, "€"/utf8>>,
     <<103, Node/binary, 1:32, 2:32, 3>>, <<88, Node/binary, 1:32, 2:32, 3:32>>,
     <<103, Latin1/binary, 1:32, 2:32, 3>>, <<102, Node/binary, 7:32, 1>>,
     <<89, Node/binary, 7:32, 99:32>>, <<120, Node/binary, 7:64, 99:32>>,
     <<114, 3:16, Node/binary, 1, 1:32, 2:32, 3:32>>,
     <<90, 5:16, Node/binary, 99:32, 1:32, 2:32, 3:32, 4:32, 5:32>>, <<105, 2:32, 97, 1, 106>>,
     <<107, 3:16, 1, 2, 255>>, <<108, 0:32, 106>>, <<108, 1:32, 97, 1, 108, 1:32, 97, 2, 106>>,
     <<108, 1:32, 97, 1, 107, 2:16, 3, 4>>, <<77, 2:32, 3, 255, 255>>, <<77, 2:32, 8, 255, 255>>,
     <<110, 1, 0, 5>>, <<110, 0, 1>>, <<111, 9:32, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0>>, <<98, 5:32>>,
     <<116, 2:32, 115, 1, 16#e9, 97, 1, 119, 2, 16#c3, 16#a9, 97, 2>>,
     local_fun(<<>>, 0), local_fun(<<116, 0:32, 97, 1>>, 2), local_fun(<<116, 2:32, 97, 1, 106, 97, 1, 106>>, 1),
     local_fun(local_fun(<<97, 1>>, 1), 1),
     <<116, 1:32, 107, 1:16, 5, 97, 1>>, <<116, 1:32, 108, 1:32, 97, 1, 97, 2, 97, 3>>].

%% One that is compiled: those of an escript carry their interpreter with them.
local_fun(Free, Count) ->
    Body = <<1, 7:128, 43:32, Count:32, 119, 8, "erl_eval", 97, 43, 98, 16#329b0d:32,
             88, 119, 6, "a@host", 9:32, 0:32, 0:32, Free/binary>>,
    <<112, (byte_size(Body) + 4):32, Body/binary>>.

encoded() -> [tl_(term_to_binary(T)) || T <- terms()] ++ old_forms().

transcode_in() ->
    [<<Choice, 3, (tl_(term_to_binary(T)))/binary>> ||
        Choice <- [0, 1, 2, 16#80], T <- [[{krait_input, self()}, 1], [{krait_input, x}], #{a => {krait_input, self()}}, [[{krait_input, self()}]]]] ++
    [<<(16#02), 0, T/binary>> || T <- encoded()] ++
    [<<(16#06), 0, T/binary>> || T <- [tl_(term_to_binary(X)) || X <- [<<"a">>, <<5:3>>, #{<<"a">> => 1}]]] ++
    [<<Choice, 3, (tl_(term_to_binary(T)))/binary>> ||
        Choice <- [0, 8, 16#20, 16#40, 16#80], T <- [[1, [2, {3}]], [{bytes, <<"x">>}, #{k => [v]}], "bytes"]] ++
    [<<Choice, 2, (tl_(term_to_binary(T)))/binary>> ||
        Choice <- [1, 9, 16#21, 16#81], T <- [#{a => 1}, #{<<"b">> => {bytes, <<"x">>}}, #{a => 1, <<"a">> => 2}, #{1 => 2}, []]].

roundtrip() ->
    [<<Strings, T/binary>> || Strings <- [0, 1], T <- encoded()] ++
    [<<2, Kind, (crypto:hash(sha512, <<Kind>>))/binary, (crypto:hash(sha512, <<Kind, 1>>))/binary>> ||
        Kind <- lists:seq(0, 23)].

%% ---- msgpack, as frame.h has it ----

pack(nil) -> <<16#c0>>;
pack(false) -> <<16#c2>>;
pack(true) -> <<16#c3>>;
pack(A) when is_atom(A) -> ext(1, atom_to_binary(A));
pack(I) when is_integer(I), I >= 0, I < 128 -> <<I>>;
pack(I) when is_integer(I), I >= 0, I < 1 bsl 16 -> <<16#cd, I:16>>;
pack(I) when is_integer(I), I >= 0, I < 1 bsl 64 -> <<16#cf, I:64>>;
pack(I) when is_integer(I), I < 0, I >= -32 -> <<I:8>>;
pack(I) when is_integer(I), I < 0, I >= -(1 bsl 31) -> <<16#d2, I:32>>;
pack(I) when is_integer(I), I < 0, I >= -(1 bsl 63) -> <<16#d3, I:64>>;
pack(I) when is_integer(I), I < 0 -> ext(3, <<1, (binary:encode_unsigned(-I, little))/binary>>);
pack(I) when is_integer(I) -> ext(3, <<0, (binary:encode_unsigned(I, little))/binary>>);
pack(F) when is_float(F) -> <<16#cb, F/float>>;
pack(B) when is_binary(B) ->
    case unicode:characters_to_list(B) of
        L when is_list(L), byte_size(B) < 32 -> <<(16#a0 bor byte_size(B)), B/binary>>;
        L when is_list(L) -> <<16#da, (byte_size(B)):16, B/binary>>;
        _ -> <<16#c4, (byte_size(B)), B/binary>>
    end;
pack(L) when is_list(L), length(L) < 16 -> <<(16#90 bor length(L)), (all(L))/binary>>;
pack(L) when is_list(L) -> <<16#dc, (length(L)):16, (all(L))/binary>>;
pack(T) when is_tuple(T) -> ext(2, pack(tuple_to_list(T)));
pack(M) when is_map(M) ->
    Pairs = iolist_to_binary([[key(K), pack(V)] || {K, V} <- maps:to_list(M)]),
    <<16#de, (map_size(M)):16, Pairs/binary>>;
pack(P) when is_pid(P) -> ext(4, tl_(term_to_binary(P)));
pack(R) when is_reference(R) -> ext(5, tl_(term_to_binary(R)));
pack(P) when is_port(P) -> ext(6, tl_(term_to_binary(P)));
pack(F) when is_function(F) -> ext(7, tl_(term_to_binary(F)));
pack(B) when is_bitstring(B) -> ext(8, tl_(term_to_binary(B))).

all(L) -> iolist_to_binary([pack(E) || E <- L]).

key(L) when is_list(L) -> ext(9, all_array(L));
key(M) when is_map(M) -> ext(10, all_array(lists:append([[K, V] || {K, V} <- maps:to_list(M)])));
key(K) -> pack(K).

all_array(L) -> <<16#dc, (length(L)):16, (iolist_to_binary([key(E) || E <- L]))/binary>>.

ext(Type, P) when byte_size(P) =:= 1 -> <<16#d4, Type, P/binary>>;
ext(Type, P) when byte_size(P) =:= 4 -> <<16#d6, Type, P/binary>>;
ext(Type, P) when byte_size(P) < 256 -> <<16#c7, (byte_size(P)), Type, P/binary>>;
ext(Type, P) -> <<16#c8, (byte_size(P)):16, Type, P/binary>>.

values() ->
    Packable = [T || T <- terms(), T =/= [a | b]],
    [pack(T) || T <- Packable] ++
    [ext(8, local_fun(<<97, 1>>, 1)), ext(8, local_fun(<<116, 2:32, 97, 1, 106, 97, 1, 106>>, 1))] ++
    [<<16#ca, 1.5:32/float>>, <<16#cb, 16#7ff8:16, 0:48>>, <<16#cb, 16#7ff0:16, 0:48>>,
     <<16#cb, 16#fff0:16, 0:48>>, <<16#cc, 200>>, <<16#ce, 70000:32>>, <<16#d0, 200>>, <<16#d1, 200, 1>>,
     <<16#d9, 3, "abc">>, <<16#db, 3:32, "abc">>, <<16#c5, 2:16, 1, 2>>, <<16#c6, 2:32, 1, 2>>,
     <<16#d5, 1, "ok">>, <<16#d7, 1, "abcdefgh">>, <<16#d8, 1, "abcdefghijklmnop">>, <<16#c9, 2:32, 1, "ok">>,
     <<16#dd, 2:32, 1, 2>>, <<16#df, 1:32, 1, 2>>, <<16#82, 1, 2, 1, 3>>, <<16#81, 16#90, 1>>,
     <<16#a2, 255, 255>>, <<16#d5, 1, 255, 255>>, <<16#c1>>, <<16#c7, 3, 2, 16#91, 1, 2>>,
     <<16#c7, 7, 12, 16#94, 1, 16#cd, 2024:16, 2, 29>>,
     <<16#c7, 11, 12, 16#96, 2, 23, 59, 1, 16#ce, 120000:32, 2>>, <<16#c7, 5, 12, 16#94, 5, 1, 16#fe, 15>>,
     <<16#c7, 29, 12, 16#9d, 4, 16#cd, 2024:16, 2, 29, 0, 0, 0, 0, 0, 16#cd, 3600:16, 0, 16#a3, "A/B", 16#a4, "CEST">>,
     <<16#c7, 8, 12, 16#94, 5, 1, 0, 16#a3, "NaN">>, <<16#c7, 5, 12, 16#94, 6, 0, 1, 2>>, <<16#c7, 4, 12, 16#93, 22, 2, 1>>,
     <<16#c7, 19, 13, 5, 1, 0:48, 3:64, "abc">>, <<16#c7, 1, 3, 1>>, <<16#c7, 2, 3, 2, 1>>, <<16#c7, 3, 99, 1, 2, 3>>, <<16#c7, 2, 4, 106, 1>>,
     <<16#dc, 255, 255>>, <<16#c7, 4, 10, 16#93, 1, 2, 3>>].

transcode_out() ->
    [<<0, 0, V/binary>> || V <- values()] ++
    [<<Choice, 3, (pack([1, {2, #{a => [3]}}, <<"text">>]))/binary>> || Choice <- [1, 2, 3, 4, 8, 12, 16#80, 16#81]] ++
    [<<16#80, N, (pack(maps:from_list([{I, {I}} || I <- lists:seq(1, 70)])))/binary>> || N <- [0, 1, 2, 3]].

%% ---- frames of a worker ----

framed(Elements) ->
    Body = pack(Elements),
    <<(byte_size(Body)):32, Body/binary>>.

frame() ->
    Hello = framed([1, 0, 4711, #{<<"python">> => <<"3.11">>, <<"msgpack">> => <<"1.0">>}]),
    Result = framed([2, 17, [1, {2}, <<"three">>]]),
    Error = framed([3, 18, <<"python">>, <<"ValueError">>, <<"builtins">>, <<"no">>, <<"Traceback ...">>, [1]]),
    Deep = framed([3, 19, <<"too_deep">>, 256]),
    Pong = framed([4, 20]),
    [<<Seed, Choice, F/binary>> || {Seed, Choice, F} <-
        [{0, 0, Hello}, {1, 0, Result}, {2, 0, Error}, {3, 0, Deep}, {4, 0, Pong}, {5, 1, <<Pong/binary, Result/binary>>},
         {6, 0, <<Hello/binary, Result/binary, Error/binary, Deep/binary, Pong/binary>>}, {7, 0, <<0:32>>},
         {7, 0, <<1:32, 16#90>>}, {7, 0, <<255, 255, 255, 255>>}, {8, 2, <<3:32, 1, 2, 3>>}, {9, 3, <<16#fffffff0:32, 1>>},
         {9, 0, framed([1, 1 bsl 63])}, {9, 0, <<7:32, 16#dc, 2:16, 16#cd, 1:16, 5>>}, {9, 0, <<2:32, 16#91, 1>>},
         {6, 0, framed([7, 21, 5, <<"call">>, self(), {req, 1}, nil])}, {6, 0, framed([7, 22, 5, <<"send">>, [<<"name">>, a@b], 1, 5000])},
         {6, 0, framed([8, 5, #{1 => [true, false, 1.5, <<255>>, 1 bsl 70]}])}, {6, 0, framed([6, 5, fun lists:map/2])}, {6, 0, framed([5, 5])},
         {0, 4, <<7:16, 5, 99:64, 2, 1, 3, 7, 4, 9, 3, 255, 5>>}, {0, 4, <<7:16, 3, 99:64, 4, 255, 3, 100, 4, 100>>}, {0, 4, <<7:16, 1, 99:64, 3, 255>>}, {0, 4, <<7:16, 1, 99:64, 4, 255>>},
         {0, 4, <<7:16, 5, 99:64, 0, 7:64, 1, 0, 255:64, 40, 2, 1, 3:16, "abc">>},
         {0, 4, <<65535:16, 3, (1 bsl 63):64, 1, 300:16, (binary:copy(<<"x">>, 300))/binary, 1, 40:16, "0123456789012345678901234567890123456789">>}]].

%% ---- requests ----

sentences() ->
    ["{call, math, sqrt, [2]}", "{call, <<\"math\">>, <<\"sqrt\">>, \"abc\"}", "{call, math, sqrt, []}", "{call, math, sqrt, [], []}",
     "{call, math, sqrt, [], [{timeout, 1}, {priority, high}]}",
     "{call, math, sqrt, [], #{timeout => infinity, queue_timeout => 0, kwargs => #{a => 1}, priority => low, "
     "retry => 3, strings => bytes, traceparent => <<\"00-ab\">>}}",
     "{call, math, sqrt, [], [{strings, utf8}, {retry, 101}]}", "{call, math, sqrt, [], [{colour, red}]}", "{call, math, sqrt, [], [{17, red}]}",
     "{call, math, sqrt, [4|5]}", "{call, '', sqrt, []}", "{call, math, sqrt, [], 1}", "{call, math, sqrt, [], [timeout]}",
     "{call, math, sqrt, [], [{traceparent, x}]}", "{call, math, sqrt, [], [{kwargs, []}]}",
     "{call, math, sqrt, [], [{timeout, 0}|x]}", "{call, math, sqrt, [], [{priority, urgent}]}",
     "{checkout, anonymous}", "{checkout, anonymous, [{queue_timeout, 0}]}", "{checkout, anonymous, #{kwargs => 1}}",
     "{checkout, {session, 1}}", "checkin", "{checkin}", "{checkin, 1}", "{give_away, nobody}", "ping", "{ping, worker}", "{ping, node}",
     "await_ready", "{await_ready, 3}", "{await_ready, -1}", "status", "workers", "stop", "nonsense", "{nonsense, 1}", "17", "{}", "[call]",
     "{stream, m, f, []}", "{krait_lane, self, [], []}", "{stream, m, f, [1], #{demand => 0, progress => {tag, 1}, retry => 2}}",
     "{stream, m, f, [], [{demand, 1000001}]}", "{stream, m, f}", "{batch, [{m, f, []}, {<<\"m\">>, f, [1]}]}",
     "{batch, [{m, f, []}], [{strings, bytes}, {progress, p}, {timeout, 5}]}", "{batch, []}", "{batch, [{m, f}]}", "{batch, [{m, f, []}|x]}",
     "{batch, [{m, f, []}], [{kwargs, #{}}]}", "{batch, [{m, f, []}], [{demand, 1}]}", "{batch, \"ab\"}",
     "{call, m, f, [], [{session, {user, 7}}, {session_mode, hint}]}", "{call, m, f, [], #{session => 1, session_mode => fail_fast}}",
     "{call, m, f, [], [{session, 1}, {session, 2}]}", "{call, m, f, [], [{session_mode, strict}]}", "{call, m, f, [], [{session_mode, loose}]}",
     "{call, m, f, [], [{session, 1}, {owner, me}]}", "{checkout, {session, x}, [{session_mode, strict}]}", "{checkout, {session, x, y}}",
     "{end_session, #{a => 1, b => 2}}", "end_session", "sessions", "{resize, 4}", "{resize, 0}", "{resize, {2, 8}}", "{resize, {8, 2}}", "{reload, config}", "pools", "peers", "requests", "{requests, 3}", "{requests, 0}", "{cancel, 17}", "{cancel, x}", "config", "{set, size, 4}", "{set, <<\"log_level\">>, debug}", "{set, 1, 2}", "{subscribe, log}", "{subscribe, [log, events]}", "{subscribe, [x]}", "unsubscribe", "pause", "resume", "drain", "reload", "{recycle, 7}", "{kill, 7}", "{kill, me}",
     "{m, f, []}", "{m, f, [1|2]}", "{'', f, []}"].

parsed(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

request() ->
    Long = binary:copy(<<"x">>, 1100),
    Terms = [parsed(S) || S <- sentences()] ++
        [{call, m, f, [], [{session, s}, {owner, self()}]}, {call, m, f, [], [{owner, self()}]}, {end_session, Long},
         {call, m, f, [], [{session, Long}]}, {call, m, f, [], [{progress, Long}]}, {batch, lists:duplicate(40, {m, f, []})}] ++
        [{give_away, self()}, {call, 'é', f, []}, {call, <<255>>, f, []}, {call, f, <<"a", 0>>, []}],
    R = make_ref(),
    Messages = [{'$gen_call', {self(), Tag}, ping} || Tag <- [R, [alias | R], [[alias | R] | x], tag, [a], [[alias | R], 1]]] ++
        [{'$gen_cast', ping}, {'$gen_call', from, ping}, {'$gen_call', {1, 2}, ping}, {'$gen_call', {}, ping}, {'$gen_cast', ping, 1}, hello],
    {_, _, Frames} = captured("call"),
    [<<Target, 255, 255, (tl_(term_to_binary({'$gen_call', {self(), [alias | R]}, T})))/binary>> || Target <- [0, 1, 2, 3], T <- Terms] ++
    [<<16#10, 255, 255, (tl_(term_to_binary(T)))/binary>> || T <- Terms] ++
    [<<4, 0, 60, (tl_(term_to_binary(M)))/binary>> || M <- Messages] ++
    [<<8, 255, 255, (tl_(term_to_binary({'$gen_cast', T})))/binary>> || T <- Terms] ++
    [<<0, 255, 255, M/binary>> || <<112, 131, F/binary>> <- Frames, M <- message_of(F)].

%% What follows the control message.
message_of(Frame) ->
    {_, Used} = binary_to_term(<<131, Frame/binary>>, [used]),
    case Frame of
        <<_:(Used - 1)/binary, 131, Message/binary>> -> [Message];
        _ -> []
    end.

%% ---- command lines ----

config() ->
    Lines = [[], ["--help"], ["-h"], ["--help-markdown"], ["--version"], ["--sname", "krait"], ["--name", "a"], ["--name", "@b"],
             ["--name", "a@b", "--sname", "c"], ["--colour", "red"], ["size"], ["--size"]] ++
        [["--name", "a@b" | More] || More <-
            [[], ["--size", "0"], ["--size", "1024"], ["--size=4x"], ["--size", "99999999999999999999"], ["--pool", "krait"], ["--pool="],
             ["--call_timeout=infinity", "--queue-timeout", "5"], ["--call-timeout", "never"], ["--abandon", "interrupt"], ["--abandon", "kil"],
             ["--allow", "math,my_app.*"], ["--allow", "*", "--allow", "a*b*c"], ["--allow", "_x,a._b"], ["--pythonpath", "/a:/b"], ["--preload", "a,,b"],
             ["--expose", "m=x"], ["--expose", "model=my_app:Model,x=y:z"], ["--stop-on-eof", "--start-method=spawn"], ["--log-level", "debug"],
             ["--cookie-file", "/x", "--listen", "::1", "--port", "4370", "--net-ticktime", "60", "--handshake-timeout", "100"],
             ["--max-peers", "3", "--max-output-bytes", "1048576", "--stop-timeout", "0", "--python", "/usr/bin/python3"],
             ["--interrupt-grace", "10", "--queue-limit", "0", "--queue-bytes", "10", "--strings", "bytes", "--max-depth", "400"],
             ["--max-request-bytes", "1024", "--max-result-bytes", "2146435072", "--start-timeout", "10", "--stop-grace", "5"],
             ["--breaker-threshold", "1", "--backoff-base", "1", "--backoff-max", "9", "--start-burst", "2", "--starts-per-second", "3"],
             ["--allow", string:join(lists:duplicate(65, "a"), ",")], ["--allow=" ++ string:join(lists:duplicate(63, "b"), ",")]]],
    [<<255, 255, (list_to_binary(lists:join(0, L)))/binary>> || L <- Lines] ++
    [<<200, N, (list_to_binary(lists:join(0, ["--name", "a@b", "--allow", "x,y", "--pool", "p"])))/binary>> || N <- lists:seq(0, 9)].

%% ---- files ----

config_file() ->
    Files = ["", "# nothing\n", "node { }", "pool a { }", "pool a { } pool b { }", "pool a { } pool a { }", "node { } node { }",
             "node { name = a@b port = 70 max-peers = 5 // x\n stop_timeout = '20s' }",
             "pool ml {\r\n size = 2..8 allow = { math, \"my_app.*\", } rpc = yes env = { \"A=\\\"1\\n\", 'B=\\'' } }",
             "pool a { cwd = \"${HOME}/x\" python = \"${NO_SUCH:-/y}\" }", "pool a { cwd = \"${NO_SUCH}\" }", "pool a { cwd = ${HOME} }",
             "pool a { call_timeout = infinity max_rss = 2GiB max_age = 1h queue_timeout = 5min cpu_max = 50% }",
             "pool a { size = 0 }", "pool a { size = 1 size = 2 }", "pool a { allow = b allow = c }", "pool a { allow = b, c }",
             "pool a { size = {1, 2} }", "pool a { size = }", "pool a { size 4 }", "pool a { size = 3", "pool a } ", "size = 4",
             "include(\"x\")", "pool {}", "pool = 3", "pool '' { }", "pool a { allow += b }", "node {} \"node|port\" = 3",
             "/* x */ pool a { /* y\n*/ order = fifo }", "/* x", "pool a { cwd = 'x }", "pool a { cwd = \"\\x41\" }",
             "pool a { slots = 3 abandon = kill }", "pool a { expose = { m=x } }", "pool a { expose = { \"m=x:y\" } }", "\xef\xbb\xbfnode { }",
             os:cmd("priv/krait --help-conf")],
    [<<255, (list_to_binary(F))/binary>> || F <- Files] ++
    [<<N, "node { name = a@b admin = { x, y } } pool a { cwd = x allow = { b, \"c,d\" } }">> || N <- lists:seq(0, 20)].
