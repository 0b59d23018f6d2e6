#!/bin/sh
# fuzz.sh - runs the fuzzers (`make fuzz`, `make fuzz-replay`), from the root of the repository.
#
#   test/fuzz.sh run DIR [NAME ...]    those in DIR, linked with libFuzzer, FUZZ_SECONDS (60) each, JOBS (2) at a time
#   test/fuzz.sh replay DIR            those in DIR, linked with replay.c, over corpus/ and found/
#   test/fuzz.sh corpus DIR            makes corpus/ anew, of the seeds and of what the runs have found
#
# What a run finds interesting is kept in build/fuzz/corpus, for the next one. An input that breaks a promise
# goes to test/fuzz/found/NAME, to be fixed, and to stay there.
set -eu

what=$1 dir=$2
shift 2
[ $# -gt 0 ] || set -- test/fuzz/fuzz_*.c
seconds=${FUZZ_SECONDS:-60}
kept=build/fuzz/corpus

names() {
	for name in "$@"; do
		basename "$name" .c
	done
}

run_one() {
	name=$1
	log=build/fuzz/$name.log
	mkdir -p "$kept/$name" "test/fuzz/found/$name" "test/fuzz/corpus/$name"
	if nice -n 10 "$dir/$name" -max_total_time="$seconds" -max_len=8192 -timeout=20 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="test/fuzz/found/$name/" \
		"$kept/$name" "test/fuzz/corpus/$name" "test/fuzz/found/$name" >"$log" 2>&1; then
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		cover=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
		echo "$name: $seconds s, $runs runs, $cover, nothing found"
	elif grep -q 'run interrupted' "$log"; then
		echo "$name: interrupted by a signal, which says nothing; see $log"
		return 1
	else
		echo "$name: FOUND SOMETHING, see $log"
		grep -vE '^#[0-9]|Uses:|^NEW_FUNC' "$log" | tail -n 40
		return 1
	fi
}

case $what in
run)
	mkdir -p "$kept"
	names "$@" | xargs -P "${JOBS:-2}" -n 1 env FUZZ_SECONDS="$seconds" "$0" run-one "$dir"
	;;
run-one)
	run_one "$1"
	;;
replay)
	for name in $(names "$@"); do
		found=test/fuzz/found/$name
		[ -d "$found" ] || found=
		"$dir/$name" "test/fuzz/corpus/$name" ${found:+"$found"}
	done
	;;
corpus)
	seeds=build/fuzz/seeds
	rm -rf "$seeds"
	escript test/fuzz/seeds.escript "$seeds"
	for name in $(names "$@"); do
		mkdir -p "$kept/$name"
		rm -rf "test/fuzz/corpus/$name"
		mkdir -p "test/fuzz/corpus/$name"
		# edges only, without their counts: fewer and smaller files
		"$dir/$name" -set_cover_merge=1 -use_counters=0 -max_len=8192 "test/fuzz/corpus/$name" "$seeds/$name" \
			"$kept/$name" 2>&1 | tail -n 1
	done
	;;
*)
	sed -n '3,5p' "$0"
	exit 2
	;;
esac
