#!/bin/bash
# install.sh - what `make install` installs works from where it was put (`make installcheck`).
#
#   test/install.sh BIN
#
# It is installed below a directory of the test's; the installed node is called through the installed
# kraitctl; manual pages are linted, completions asked; and after `make uninstall` nothing is left.
. "$(dirname "$0")/shell.sh"
bin=$1 root=$work/root prefix=/opt/krait at=$work/root/opt/krait

run_make() { make -s --no-print-directory -C "$here" BIN="$bin" DESTDIR="$root" PREFIX=$prefix SYSCONFDIR=/etc "$@"; }

echo "install:"
expect "make install" run_make install
(cd "$root" && find . -type f | sed 's/^\.//' | sort) >"$work/found"
PREFIX=$prefix packaging/install.sh list "$bin" build/packaging | sort >"$work/wanted"
cmp -s "$work/found" "$work/wanted" ||
	fail "installed files: $(diff "$work/wanted" "$work/found" | tr '\n' ' ')"
grep -q "^ExecStart=$prefix/bin/krait " "$at/lib/systemd/system/krait.service" ||
	fail "the unit does not run $prefix/bin/krait"
! grep -rn '@[A-Z]*@' "$at/lib/systemd" "$at/share/man" || fail "a template's name was not replaced"
ok "all files are where they belong, and nothing else"

# ---- the installed node, away from its sources ----
name=krait_install_$$@127.0.0.1
mkfifo "$work/out"
export KRAIT_COOKIE=install_$$_$RANDOM
(cd / && exec env -u PYTHONPATH "$at/bin/krait" --name "$name" --size 1 --python "$(command -v /usr/bin/python3)" \
	>"$work/out" 2>"$work/log") &
started+=($!)
node=$!
IFS= read -r -t 60 line <"$work/out" || fail "the installed node did not start: $(cat "$work/log")"
case $line in "ready $name "*) ;; *) fail "expected ready, found $line" ;; esac
ok "the installed node starts"
expect "a call through the installed kraitctl" "$at/bin/kraitctl" --node "$name" call math sqrt 2.0
like "its answer" '1\.4142135'
expect "the Python package is the installed one" "$at/bin/kraitctl" --node "$name" call builtins eval \
	'"__import__(\"krait\").__file__"'
like "its place" "$at/lib/krait/python/krait/__init__.py"
kill -TERM "$node"
wait "$node" || fail "the installed node ended with $?: $(cat "$work/log")"
ok "it stops"
expect "the sample of krait.conf is read" "$at/bin/krait" check "$at/share/doc/krait/krait.conf"

# ---- manual pages ----
if command -v mandoc >/dev/null && command -v groff >/dev/null; then
	for page in "$at"/share/man/man*/*; do
		mandoc -T lint -W warning "$page" || fail "mandoc has a word to say about $page"
		found=$(groff -man -ww -z "$page" 2>&1)
		[ -z "$found" ] || fail "groff: $found"
	done
	ok "manual pages without warnings of mandoc and groff"
else
	skip "what mandoc and groff say of the manual pages: they are not installed"
fi
for option in $("$at/bin/krait" --help-words | cut -f 1); do
	grep -qF -- "$(sed 's/-/\\-/g' <<<"$option")" "$at/share/man/man8/krait.8" ||
		fail "krait(8) does not tell $option"
done
for verb in $("$at/bin/kraitctl" --completion-words | awk '$1 == "verb" { print $2 }'); do
	grep -q "^\\\\fB$verb\\\\fR" "$at/share/man/man1/kraitctl.1" || fail "kraitctl(1) does not tell $verb"
done
ok "all options and verbs are told there"

# ---- completion ----
export PATH="$at/bin:$PATH"
# complete WORD...: what bash offers for the last of them
complete_words() {
	bash --norc -c '
		program=$1
		. "$2/share/bash-completion/completions/$program"
		shift 2
		COMP_WORDS=("$program" "$@") COMP_CWORD=$#
		"_$program" "$program"
		echo "${COMPREPLY[*]}"' - "$1" "$at" "${@:2}"
}
completes() { # EXPECTED PROGRAM WORD...
	found=$(complete_words "${@:2}")
	[ "$found" = "$1" ] || fail "completion of \`${*:2}\`: expected \"$1\", found \"$found\""
}
completes "--queue-timeout --queue-limit --queue-bytes" krait --queue
completes "debug" krait --log-level d
completes "kill interrupt finish" krait --size 4 --abandon ""
completes "finish" krait --abandon = f
completes "" krait --size ""
completes "check" krait ch
completes "doctor" krait do
touch "$work/blue.conf"
completes "$work/blue.conf" krait check "$work/bl"
completes "$work/blue.conf" krait --config "$work/bl"
completes "workers" kraitctl wo
completes "status" kraitctl --node krait@127.0.0.1 stat
completes "worker" kraitctl ping w
completes "config" kraitctl reload c
completes "grow_after" kraitctl set grow
completes "" kraitctl set nam # a name cannot change while the node runs
completes "" kraitctl --node ""
completes "--peer-drops" krait_stress --peer-
ok "completion in bash"
if command -v zsh >/dev/null; then
	# As zsh's own functions would be called, and what they are told.
	zsh_words() {
		zsh -f -c '
			program=$1 at=$2
			shift 2
			fpath=($at/share/zsh/site-functions $fpath)
			_describe() { print -rl -- "${(@P)@[-1]}" }
			_call_program() { shift; "$@" }
			_files() { print files }
			_message() { print -r -- "message $1" }
			compadd() { shift; print -rl -- "$@" }
			words=("$program" "$@") CURRENT=$(( $# + 1 ))
			autoload -Uz "_$program"
			"_$program"' - "$1" "$at" "${@:2}"
	}
	offers() { # REGEX PROGRAM WORD...
		found=$(zsh_words "${@:2}" 2>&1)
		grep -Eq -- "$1" <<<"$found" || fail "zsh, \`${*:2}\`: expected /$1/, found: $found"
	}
	offers '^--queue-limit:requests that may wait' krait --
	offers '^interrupt$' krait --abandon ""
	offers '^files$' krait --config ""
	offers '^workers:the workers' kraitctl ""
	offers '^worker$' kraitctl ping ""
	offers '^--hostile:' krait_stress --
	ok "completion in zsh"
else
	skip "completion in zsh, which is not installed"
fi

# ---- and away again ----
mkdir -p "$root/etc/krait" && echo mine >"$root/etc/krait/krait.conf"
expect "make uninstall" run_make uninstall
found=$(cd "$root" && find . -type f)
[ "$found" = ./etc/krait/krait.conf ] || fail "left after make uninstall: $found"
[ ! -e "$at/lib/krait" ] || fail "lib/krait is left"
ok "nothing is left but what is the operator's"
