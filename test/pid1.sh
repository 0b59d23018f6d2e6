#!/bin/bash
# pid1.sh - the node as process 1, as in a container without an init (`make installcheck`).
#
#   test/pid1.sh BIN
#
# In a namespace of processes: orphans and strangers that end are waited for, and a signal ends the node, which
# for process 1 the kernel does not do by itself. Where we may not have such a namespace that is said.
. "$(dirname "$0")/shell.sh"
bin=$(cd "$1" && pwd)
name=krait_pid1_$$@127.0.0.1
export KRAIT_COOKIE=pid1_$$_$RANDOM
alone=(unshare --pid --fork --mount-proc --kill-child=KILL)

echo "process 1:"
if ! "${alone[@]}" true 2>/dev/null; then
	skip "a namespace of processes takes rights that we do not have"
	exit 0
fi

# start ARGUMENT...: $outer is unshare, $node what is process 1 inside
start() {
	rm -f "$work/out"
	mkfifo "$work/out"
	"${alone[@]}" "$bin/krait" --name "$name" --size 1 "$@" >"$work/out" 2>"$work/log" &
	outer=$!
	started+=("$outer")
	exec 3<"$work/out"
	for _ in $(seq 200); do
		node=$(pgrep -P "$outer" || true)
		[ -z "$node" ] || [ "$(cat "/proc/$node/comm" 2>/dev/null)" != krait ] || return 0
		sleep 0.02
	done
	fail "it did not start: $(cat "$work/log")"
}
ends() { # WHAT STATUS: within ten seconds
	timeout 10 tail --pid="$outer" -f /dev/null || fail "$1: it did not end"
	local status=0
	wait "$outer" || status=$?
	[ "$status" = "$2" ] || fail "$1: expected status $2, found $status: $(cat "$work/log")"
	ok "$1"
}
ctl() { "$bin/kraitctl" --node "$name" --json "$@"; }

start --python /usr/bin/python3
IFS= read -r -t 60 line <&3 || fail "it did not start: $(cat "$work/log")"
[[ $line == "ready $name "*" 1" ]] || fail "expected ready as process 1, found $line"
ok "the node is process 1"

# The states of all processes that are not the node's own, as it sees them: sleepers and zombies.
strangers() {
	ps -o stat=,args= --ppid "$node" | grep -E '^Z|krait_stranger' || true
}
none_left() { # WHAT
	for _ in $(seq 500); do
		[ -n "$(strangers)" ] || {
			ok "$1"
			return 0
		}
		sleep 0.02
	done
	fail "$1: $(strangers | sort | uniq -c)"
}
# Two hundred children of a child that does not wait for them.
orphans='"[__import__(\"subprocess\").run([\"sh\", \"-c\", \"for i in 1 2 3 4 5 6 7 8 9 10; do sh -c \\\": krait_stranger; sleep 0.$i\\\" & done\"]) for _ in range(20)] and 200"'
expect "workers leave orphans" ctl call builtins eval "$orphans"
[ -n "$(strangers)" ] || fail "no orphan came to the node: $output"
none_left "all are waited for when they end"
# Somebody whose parent is outside: `docker exec` is that.
nsenter --target "$node" --pid --mount sh -c '(sh -c ": krait_stranger; sleep 0.3"; exit 3) & (exit 4) & exit 0'
none_left "so are strangers"
expect "it serves" ctl call math sqrt 2.0
kill -TERM "$node"
ends "SIGTERM ends it, with status 0" 0
! pgrep -f "KRAIT_MARK=$name" >/dev/null || fail "its guard is left"

# An interpreter that says nothing: the node is still looking at it.
printf '#!/bin/sh\nexec sleep 30\n' >"$work/python"
chmod +x "$work/python"
start --python "$work/python"
for _ in $(seq 200); do
	[ -z "$(pgrep -P "$node" sleep || true)" ] || break
	sleep 0.02
done
kill -TERM "$node"
ends "so it does while it starts" 143
