#!/bin/sh
# coverage.sh - how much of the node its suites run (`make coverage`): line coverage, by gcov.
#
#   test/coverage.sh pure BUILD PURE.c ...     after the Check suites: those files, at least 95 %
#   test/coverage.sh node BUILD PURE.c ...     after ExUnit, too: all files but those, at least 85 %
#
# BUILD was made with --coverage. Prints a table with the lines that were never run. A process that is killed
# writes no counters; those that end by themselves are enough.
set -eu

what=$1 build=$2
shift 2
command -v gcovr >/dev/null || {
	echo "coverage.sh: gcovr is missing (apt-get install gcovr)" >&2
	exit 2
}

filters=
for file in c_src/*.c; do
	case " $* " in
	*" $file "*) is=pure ;;
	*) is=node ;;
	esac
	[ $is != "$what" ] || filters="$filters --filter $file\$"
done
least=95
[ "$what" = pure ] || least=85
echo "$what: at least $least %"
# shellcheck disable=SC2086
exec gcovr -r . --object-directory "$build" --fail-under-line $least --sort-percentage $filters "$build/c_src"
