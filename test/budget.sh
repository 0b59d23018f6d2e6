#!/bin/sh
# budget.sh - what one small call costs the node, in instructions, against a recorded budget (`make budget`).
#
#   test/budget.sh KRAIT LOAD CLOCK [BUDGET]    LOAD is test/budget_load.c, CLOCK test/budget_clock.c,
#                                               BUDGET test/budget.txt
#
# KRAIT runs under callgrind, and by a clock that is as slow as that makes it, with four workers, which run
# without it. LOAD says calls in lock step, so that
# what the node reads at a time, and how often its loop turns, is the same in every run. For each line of
# BUDGET ("FORM WIDTH ROUNDS INSTRUCTIONS TOLERANCE%") the counters are set to zero when nothing is under way,
# the rounds are run, and the counters are read: neither starts nor ends count. Then the same rounds
# once more without callgrind, as often as it takes for a second of CPU time: what an instruction costs here.
#
# Exit status 1: a line is over its budget by more than its tolerance. Counts are of user space alone, and
# those of one compiler and one C library: BUDGET says which. Profiles stay in build/budget/.
set -eu

krait=$1 load=$2 clock=$3 budget=${4:-$(dirname "$0")/budget.txt}
here=$(cd "$(dirname "$0")/.." && pwd)
out=$here/build/budget
dir=$(mktemp -d)
node_pid="" load_pid=""
export KRAIT_COOKIE="budget_$$" PYTHONPATH="$here/mix_harness/bench"

end_all() {
	[ -z "$load_pid" ] || kill "$load_pid" 2>/dev/null || true
	[ -z "$node_pid" ] || kill -TERM "$node_pid" 2>/dev/null || true
	wait
	rm -rf "$dir"
}
trap end_all EXIT
trap 'exit 1' INT TERM HUP

command -v valgrind >/dev/null || {
	echo "budget: no valgrind: scripts/setup.sh proof installs it" >&2
	exit 1
}
rm -rf "$out"
mkdir -p "$out"
mkfifo "$dir/ready" "$dir/say" "$dir/hear"

# Starts the node behind the words given, and the load; both are ready.
start() {
	name="budget_$$_$1@127.0.0.1"
	shift
	"$@" "$krait" --name "$name" --size 4 --log-level error --start-timeout 300000 \
		--handshake-timeout 60000 --net-ticktime 86400 >"$dir/ready" 2>"$dir/log" </dev/null &
	node_pid=$!
	read -r _ _ port _ <"$dir/ready" || {
		cat "$dir/log" >&2
		exit 1
	}
	"$load" "$name" "$port" "$KRAIT_COOKIE" <"$dir/say" >"$dir/hear" &
	load_pid=$!
	exec 3>"$dir/say" 4<"$dir/hear"
	read -r _ <&4
	calls call 4 200
	calls lane 16 50
}

stop() {
	exec 3>&- 4<&-
	wait "$load_pid" || true
	kill -TERM "$node_pid"
	wait "$node_pid" || true
	node_pid="" load_pid=""
}

# FORM WIDTH ROUNDS: says them and waits until they are answered; `said` is how many calls.
calls() {
	echo "$1 $2 $3" >&3
	read -r _ said <&4 || {
		echo "budget: the load has ended" >&2
		exit 1
	}
}

lines() {
	grep -v '^#' "$budget"
}

# What each function of a dump costs by itself. Format: "Callgrind Format" of the valgrind manual.
functions() {
	awk -v calls="$2" '
		function id(line) {
			match(line, /\([0-9]+\)/)
			key = substr(line, RSTART, RLENGTH)
			rest = substr(line, RSTART + RLENGTH + 1)
			return key
		}
		/^ob=/ { object = id($0); if (rest != "") file[object] = rest; next }
		/^fn=/ { at = id($0); if (rest != "") name[at] = rest; of[at] = object; next }
		/^cfn=/ { callee = id($0); if (rest != "") name[callee] = rest; next }
		/^cob=/ { called = id($0); if (rest != "") file[called] = rest; next }
		/^calls=/ { split($1, n, "="); times[callee] += n[2]; inclusive = 1; next }
		/^[0-9+*-]/ { if (inclusive) inclusive = 0; else cost[at] += $2 }
		END {
			for (at in cost) {
				shown = name[at]
				if (shown ~ /^0x/) { # no symbol: where it is
					object = file[of[at]]
					sub(/.*\//, "", object)
					sub(/^0x0*/, "+0x", shown)
					shown = object shown
				}
				printf "%10.0f %8.1f  %s\n", cost[at] / calls, times[at] / calls, shown
			}
		}' "$1" | sort -rn
}

# CPU time, proc(5): the first field of schedstat is exact, in ns; how much of it is of the user are ticks.
cpu_ns() {
	cut -d ' ' -f 1 "/proc/$1/schedstat"
}

ticks() { # user, system
	sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 12,13
}

start callgrind env LD_PRELOAD="$clock" valgrind --quiet --tool=callgrind --callgrind-out-file="$dir/dump" --trace-children=no
dump=0
lines | while read -r form width rounds limit tolerance; do
	calls "$form" "$width" $((rounds / 10 + 1)) # whatever has grown has its size
	vgdb --pid="$node_pid" zero >/dev/null 2>&1
	calls "$form" "$width" "$rounds"
	vgdb --pid="$node_pid" dump >/dev/null 2>&1
	dump=$((dump + 1))
	spent=$(awk '/^summary:/ { print $2 }' "$dir/dump.$dump")
	mv "$dir/dump.$dump" "$out/$form.$width"
	functions "$out/$form.$width" "$said" >"$out/$form.$width.txt"
	echo "$form $width $((spent / said)) $limit ${tolerance%\%}" >>"$dir/spent"
	echo
	echo "$form, $width at a time: $((spent / said)) instructions a call; of them, with how often it is called:"
	head -n 10 "$out/$form.$width.txt"
done
stop

echo
start native env
lines | while read -r form width rounds _ _; do
	calls "$form" "$width" "$rounds"
	before=$(cpu_ns "$node_pid") total=0 after=0
	were=$(ticks "$node_pid")
	while [ "$total" -lt 1000000 ] && [ "$after" -lt $((before + 1000000000)) ]; do
		calls "$form" "$width" "$rounds"
		total=$((total + said))
		after=$(cpu_ns "$node_pid")
	done
	echo "$(((after - before) / total)) $were $(ticks "$node_pid")" >>"$dir/ns"
done
stop

paste -d ' ' "$dir/spent" "$dir/ns" | awk '
	BEGIN { printf "%-5s %5s %13s %8s %9s %11s\n", "form", "width", "instructions", "budget", "user, us", "system, us" }
	{
		over = $3 > $4 * (1 + $5 / 100)
		under = $3 < $4 * (1 - $5 / 100)
		wrong += over
		in_user = $9 - $7
		in_system = $10 - $8
		user = $6 / 1000 * in_user / (in_user + in_system)
		rate = user > 0 ? $3 / user : 0
		most = rate > most ? rate : most
		least = NR == 1 || rate < least ? rate : least
		printf "%-5s %5d %13d %8d %9.1f %11.1f   %s\n", $1, $2, $3, $4, user, $6 / 1000 - user,
			over ? "OVER its budget" : under ? "under its budget: record it" : ""
	}
	END {
		printf "%.0f to %.0f instructions a microsecond here, as busy as this machine is\n", least, most
		exit wrong > 0
	}'
