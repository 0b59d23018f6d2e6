#!/bin/sh
# valgrind.sh - the Check suites and one node under valgrind (`make valgrind`).
#
#   test/valgrind.sh checks SUITE ...    each whole, in one process, in its quick form (test/quick.h)
#   test/valgrind.sh node KRAIT          starts KRAIT, a hundred calls (test/hundred_calls.escript), SIGTERM
#
# Fails on an invalid access, on a use of uninitialised memory, on bytes that are definitely lost, and, for the
# node, on a descriptor that is still open at its end. Python and the guard run without valgrind.
set -eu

what=$1
shift
memcheck="valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect
	--errors-for-leak-kinds=definite --error-exitcode=99"

checks() {
	export KRAIT_QUICK=1 KRAIT_MODEL_EVENTS="${KRAIT_MODEL_EVENTS:-10000}" CK_FORK=no CK_DEFAULT_TIMEOUT=0
	failed=0
	for suite in "$@"; do
		echo "valgrind $suite"
		# shellcheck disable=SC2086
		$memcheck "$suite" || failed=1
	done
	return $failed
}

node() {
	dir=$(mktemp -d)
	name="valgrind_$$@127.0.0.1"
	export KRAIT_COOKIE="valgrind_$$" HOME="$dir"
	# shellcheck disable=SC2086,SC2064
	trap "kill -9 \$pid 2>/dev/null; rm -rf '$dir'" EXIT
	# no -q: it would hide the descriptors
	valgrind --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite \
		--error-exitcode=99 --child-silent-after-fork=yes --track-fds=yes --log-file="$dir/valgrind" \
		"$1" --name "$name" --size 2 --start-timeout 300000 --handshake-timeout 60000 2>"$dir/log" </dev/null &
	pid=$!
	status=0
	escript "$(dirname "$0")/hundred_calls.escript" "$name" "$KRAIT_COOKIE" || status=1
	kill -TERM "$pid" 2>/dev/null || status=1
	code=0
	wait "$pid" || code=$?
	if [ "$code" != 0 ]; then
		echo "the node's exit status is $code"
		status=1
	fi
	# each descriptor that is open at the end is followed by where it was opened, or by "inherited"
	if awk '/Open .*descriptor|Open .*socket/ { getline next_line; if (next_line !~ /inherited/) { print; print next_line; found = 1 } }
		END { exit !found }' "$dir/valgrind"; then
		echo "descriptors are open at the end"
		status=1
	fi
	if [ $status != 0 ]; then
		cat "$dir/valgrind"
		tail -n 40 "$dir/log"
	else
		grep -E 'FILE DESCRIPTORS|definitely lost|All heap blocks|ERROR SUMMARY' "$dir/valgrind"
	fi
	return $status
}

"$what" "$@"
