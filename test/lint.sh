#!/bin/sh
# lint.sh - clang-tidy and cppcheck over the node, its tools and the fuzzers (`make lint`).
#
#   test/lint.sh [FILE.c ...]     default: c_src, c_src/tools, test/fuzz
#
# Fails on any finding. What is not looked for, and why: .clang-tidy and test/cppcheck.suppress.
set -eu

cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- c_src/*.c c_src/tools/*.c test/fuzz/*.c

ei=$(ls -d /usr/lib/erlang/usr/include /usr/local/lib/erlang/usr/include 2>/dev/null | head -n 1)
defines='-Iinclude -D_GNU_SOURCE -DKRAIT_VERSION="0"'
failed=0

# shellcheck disable=SC2086
for file in "$@"; do
	printf '%s\n' "$file"
done | xargs -P "$(nproc)" -I{} sh -c '
	out=$(clang-tidy --quiet "$1" -- -std=c11 '"$defines"' -isystem "$2" 2>/dev/null) || {
		printf "%s\n" "$out"
		exit 1
	}' - {} "$ei" || failed=1

# shellcheck disable=SC2086
cppcheck --std=c11 --enable=warning,style,performance,portability --inline-suppr --quiet -j "$(nproc)" \
	--suppressions-list=test/cppcheck.suppress --error-exitcode=1 $defines \
	--template='{file}:{line}: {severity}: {id}: {message}' "$@" || failed=1

[ $failed = 0 ] && echo "lint: $# files, nothing found"
exit $failed
