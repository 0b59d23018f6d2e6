#!/bin/sh
# floors.sh - proves that includes only go down (`make floors`).
#
#   test/floors.sh [DIR]     DIR holds include/ and c_src/; default: the repository
#
# Every file belongs to a module, and every module has a floor:
#
#   dist.h, dist.c, dist_private.h, dist_handshake.c ... -> module dist (the longest name that fits)
#
# The rules:
#   1. a file includes headers of its own module, of lower floors, or, on the pure floors 0 to 3, of a
#      neighbour; never of a higher floor; and modules never include each other in a circle
#   2. floors 0 to 3 know no loop: no uv.h
#   3. modules of floor 4 include neither each other nor pool.h; they report upwards by callbacks
#   4. X_private.h is for the files of module X
#   5. every module that exists has a floor in the table below
set -eu

cd "${1:-$(dirname "$0")/..}"

floors="
0 list buf share mem large slab table log heap notify utf8 splitmix hash spin
1 term frame parcel histogram breaker lines children cookie json prom
2 dist transcode config event
3 pool request deadlock
4 peer worker forkserver cgroup epmd guard interpreter metrics
5 node start
6 main doctor
"

# shellcheck disable=SC2046
awk -v floors="$floors" '
BEGIN {
	lines = split(floors, line, "\n")
	for (i = 1; i <= lines; i++) {
		words = split(line[i], word, " ")
		for (k = 2; k <= words; k++)
			floor[word[k]] = word[1]
	}
}

# The module of a file name: "dist" of "include/dist_private.h"; "" if the table has none.
function module(path,    name) {
	name = path
	sub(/.*\//, "", name)
	sub(/\.[ch]$/, "", name)
	while (!(name in floor) && sub(/_[^_]*$/, "", name))
		;
	return name in floor ? name : ""
}

function wrong(text) {
	printf "%s:%d: %s\n", FILENAME, FNR, text
	faults++
}

# Whether `to` can be reached from `from` over includes between modules.
function reaches(from, to, seen,    next_one) {
	if (from == to)
		return 1
	if (from in seen)
		return 0
	seen[from] = 1
	for (next_one in floor)
		if ((from, next_one) in edge && reaches(next_one, to, seen))
			return 1
	return 0
}

FNR == 1 {
	me = module(FILENAME)
	files++
	if (me == "")
		wrong("belongs to no module that has a floor: add it to the table in test/floors.sh")
}

me != "" && /^[ \t]*#[ \t]*include[ \t]*[<"]/ {
	name = $0
	sub(/^[^<"]*[<"]/, "", name)
	sub(/[>"].*$/, "", name)

	if (name == "uv.h" || name ~ /^uv\//) {
		if (floor[me] <= 3)
			wrong(me " (floor " floor[me] ") may not include " name)
		next
	}
	if ($0 !~ /"/)
		next
	you = module(name)
	if (you == "") {
		wrong(name " belongs to no module that has a floor")
		next
	}
	includes++
	if (name ~ /_private\.h$/ && you != me)
		wrong(name " is private to " you)
	if (you == me)
		next
	if (floor[you] > floor[me])
		wrong(me " (floor " floor[me] ") includes " name " (floor " floor[you] ")")
	if (floor[me] == 4 && (floor[you] == 4 || you == "pool"))
		wrong(me " (floor 4) includes " name ": report upwards by a callback")
	if (!((me, you) in edge)) {
		edge[me, you] = 1
		at[me, you] = FILENAME ":" FNR
	}
}

END {
	for (pair in edge) {
		split(pair, m, SUBSEP)
		split("", seen)
		if (reaches(m[2], m[1], seen)) {
			printf "%s: %s and %s include each other in a circle\n", at[pair], m[1], m[2]
			faults++
		}
	}
	if (faults) {
		printf "floors: %d wrong\n", faults
		exit 1
	}
	printf "floors: %d includes in %d files only go down\n", includes, files
}
' $(find include c_src -path c_src/tools -prune -o -name '*.[ch]' -print | sort)
