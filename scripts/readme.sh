#!/bin/sh
# readme.sh - refreshes what the README quotes from elsewhere (`make readme`).
#
#   scripts/readme.sh                 the table of options, from `priv/krait --help-markdown`, and the example
#                                     of a file, from `priv/krait --help-conf`
#   scripts/readme.sh DIR/bench.md    that, and the measurements that `make bench` has written: tables, those of
#                                     docs/performance.md (DIR/bench-details.md), plots (DIR/bench-*.svg)
#
# What stands between <!-- NAME --> and <!-- /NAME --> is replaced, the markers stay.
set -eu
cd "$(dirname "$0")/.."

new=$(mktemp) block=$(mktemp)
trap 'rm -f "$new" "$block"' EXIT

replace() { # FILE NAME, the text in $block
	awk -v name="$2" -v block="$block" '
		$0 == "<!-- /" name " -->" { skip = 0; closed = 1 }
		!skip
		$0 == "<!-- " name " -->" {
			while ((getline line < block) > 0)
				print line
			skip = 1
		}
		END { exit !closed }
	' "$1" >"$new" || {
		echo "readme: $1 has no block $2" >&2
		exit 1
	}
	cmp -s "$new" "$1" || cat "$new" >"$1"
}

priv/krait --help-markdown >"$block"
replace README.md options
priv/krait --help-conf >share/krait.conf.example
if [ $# -gt 0 ]; then
	cat "$1" >"$block"
	replace README.md bench
	from=$(dirname "$1")
	cat "$from/bench-details.md" >"$block"
	replace docs/performance.md bench
	if [ -e "$from/bench-flame.md" ]; then # by make bench-flame
		cat "$from/bench-flame.md" >"$block"
		replace docs/performance.md flame
	fi
	cp "$from"/bench-*.svg docs/images/
fi
