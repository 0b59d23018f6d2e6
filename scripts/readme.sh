#!/bin/sh
# readme.sh - refreshes what the README quotes from elsewhere (`make readme`).
#
#   scripts/readme.sh                 the table of options, from `priv/krait --help-markdown`, and the example
#                                     of a file, from `priv/krait --help-conf`
#   scripts/readme.sh BENCH.md        that, and the measurements that `make bench` has written
#
# What stands between <!-- NAME --> and <!-- /NAME --> is replaced, the markers stay.
set -eu
cd "$(dirname "$0")/.."

new=$(mktemp) old=$(mktemp) block=$(mktemp)
trap 'rm -f "$new" "$old" "$block"' EXIT
cp README.md "$new"

replace() { # NAME, the text in $block
	cp "$new" "$old"
	awk -v name="$1" -v block="$block" '
		$0 == "<!-- /" name " -->" { skip = 0; closed = 1 }
		!skip
		$0 == "<!-- " name " -->" {
			while ((getline line < block) > 0)
				print line
			skip = 1
		}
		END { exit !closed }
	' "$old" >"$new" || {
		echo "readme: README.md has no block $1" >&2
		exit 1
	}
}

priv/krait --help-markdown >"$block"
replace options
priv/krait --help-conf >share/krait.conf.example
if [ $# -gt 0 ]; then
	cat "$1" >"$block"
	replace bench
fi
cmp -s "$new" README.md || cat "$new" >README.md
