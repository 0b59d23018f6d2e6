#!/bin/sh
# generate.sh - writes what is made from the programs' own tables, and from templates here.
#
#   packaging/generate.sh BIN OUT     PREFIX and SYSCONFDIR from the environment
#
# Manual pages: packaging/man/NAME.in, in which a line @TABLE@ is replaced by what the table of that program
# says. Units: packaging/krait.service.in. Completion: packaging/completion. krait.conf: `krait --help-conf`.
set -eu
cd "$(dirname "$0")/.."

bin=$1 out=$2
: "${PREFIX:=/usr/local}" "${SYSCONFDIR:=/etc}"
version=$(cat VERSION)
mkdir -p "$out"

# Text to roff, `code` in bold; for awk.
roff='
function roff(text) {
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	gsub(/~/, "\\(ti", text)
	while (match(text, /`[^`]*`/))
		text = substr(text, 1, RSTART - 1) "\\fB" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" \
			substr(text, RSTART + RLENGTH)
	return text ~ /^[.'"'"']/ ? "\\&" text : text
}
# One entry, its sentence folded at words.
function entry(name, value, text,    words, n, i, line) {
	printf ".TP\n\\fB%s\\fR%s\n", roff(name), value == "" ? "" : " \\fI" roff(value) "\\fR"
	n = split(roff(text) ".", words, " ")
	line = words[1]
	for (i = 2; i <= n; i++) {
		if (length(line) + length(words[i]) > 75) {
			print line
			line = words[i] ~ /^[.'"'"']/ ? "\\&" words[i] : words[i]
		} else {
			line = line " " words[i]
		}
	}
	print line
}'

# The page NAME, its line @TABLE@ and @TABLE2@ replaced by the files given.
page() {
	awk -v table="${2:-}" -v table2="${3:-}" -v version="$version" '
	function copy(file,    line) {
		while ((getline line < file) > 0)
			print line
	}
	# Text at most 80 wide, as mandoc wants it; no line of it may begin as a macro does.
	function fold(line,    at) {
		while (line !~ /^[.]/ && length(line) > 80) {
			for (at = 80; at > 1 && (substr(line, at, 1) != " " || substr(line, at + 1, 1) ~ /[ .\047]/); at--)
				;
			if (at == 1)
				break
			print substr(line, 1, at - 1)
			line = substr(line, at + 1)
		}
		print line
	}
	$0 == "@TABLE@" { copy(table); next }
	$0 == "@TABLE2@" { copy(table2); next }
	{ gsub(/@VERSION@/, version); fold($0) }' "packaging/man/$1.in" >"$out/$1"
}

"$bin/krait" --help-man >"$out/table"
page krait.8 "$out/table"
"$bin/krait" --help-man-conf >"$out/table"
page krait.conf.5 "$out/table"
"$bin/kraitctl" --completion-words >"$out/words"
awk -F '\t' "$roff"'
$1 == "verb" { entry($2, $4, $5 " (" $3 ")") }' "$out/words" >"$out/table"
awk -F '\t' "$roff"'
$1 == "option" { entry($2, $3, $4) }' "$out/words" >"$out/table2"
page kraitctl.1 "$out/table" "$out/table2"
"$bin/krait_stress" --help | awk "$roff"'
/^  --/ {
	line = substr($0, 3)
	match(line, /  +/)
	head = RSTART > 0 ? substr(line, 1, RSTART - 1) : line
	text = RSTART > 0 ? substr(line, RSTART + RLENGTH) : "prints a short form of this page"
	value = head
	sub(/^[^ ]* ?/, "", value)
	sub(/ .*/, "", head)
	if (match(text, / \[[^\]]*\]$/))
		text = substr(text, 1, RSTART - 1) "; default: `" substr(text, RSTART + 2, RLENGTH - 3) "`"
	entry(head, value, text)
}' >"$out/table"
page krait_stress.1 "$out/table"
rm -f "$out/table" "$out/table2" "$out/words"

sed -e "s|@BINDIR@|$PREFIX/bin|g" -e "s|/etc/krait|$SYSCONFDIR/krait|g" packaging/krait.service.in \
	>"$out/krait.service"
# One instance for each configuration: krait@blue reads blue.conf, and is told about by its name.
sed -e "s|^# krait.service - a Krait node|# krait@.service - one of several Krait nodes, each with its own krait/NAME.conf,|" \
	-e "s|krait/krait\.conf|krait/%i.conf|g" -e "s|^\(Description=.*\)|\1 (%i)|" \
	-e "s|^User=krait|User=krait-%i|" -e "s|Directory=krait$|Directory=krait-%i|" \
	-e "s|/var/lib/krait|/var/lib/krait-%i|g; s|/var/cache/krait|/var/cache/krait-%i|g" \
	-e "s|systemctl edit krait|systemctl edit krait@NAME|" "$out/krait.service" >"$out/krait@.service"

"$bin/krait" --help-conf >"$out/krait.conf"
for program in krait kraitctl krait_stress; do
	cp "packaging/completion/$program.bash" "$out/$program.bash"
	cp "packaging/completion/_$program" "$out/_$program"
done
