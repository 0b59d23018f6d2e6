# shell.sh - what the shell tests share; sourced by bash. A failure ends the test and says what was seen.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
here=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/krait_test.XXXXXX")
started=()

at_end() { :; } # a test may have one of its own
finish() {
	local status=$? pid
	for pid in "${started[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	at_end
	[ "$status" = 0 ] || echo "${0##*/}: failed; the last step is above" >&2
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT

ok() { echo "  ok    $*"; }
skip() { echo "  skip  $*"; }
fail() {
	echo "  FAIL  $*" >&2
	exit 1
}

# expect WHAT COMMAND...: its output is kept in $output; it must succeed
expect() {
	local what=$1
	shift
	output=$("$@" 2>&1) || fail "$what: \`$*\` ended with $?: $output"
	ok "$what"
}

# like WHAT REGEX: of the last output
like() {
	grep -Eq -- "$2" <<<"$output" || fail "$1: expected /$2/, found: $output"
}
