#!/bin/sh
# install.sh - puts what was built where it belongs, or takes it away again (`make install`, `make uninstall`).
#
#   packaging/install.sh install|uninstall|list BIN GENERATED
#
# BIN has the programs, GENERATED what packaging/generate.sh wrote. From the environment, with DESTDIR in
# front of each: PREFIX, SYSCONFDIR, UNITDIR. `list` prints what would be installed, without DESTDIR. Nothing
# below SYSCONFDIR is written or removed: that is the operator's.
set -eu
cd "$(dirname "$0")/.."

what=$1 bin=$2 generated=$3
: "${DESTDIR=}" "${PREFIX:=/usr/local}" "${UNITDIR:=$PREFIX/lib/systemd/system}"

# MODE SOURCE TARGET, one line a file.
files() {
	for program in krait kraitctl krait_stress; do
		echo "755 $bin/$program $PREFIX/bin/$program"
	done
	for module in python/krait/*.py python/krait/py.typed; do
		echo "644 $module $PREFIX/lib/krait/$module"
	done
	# for `krait_stress --spawn`: its streams and sessions are functions in Python
	echo "644 python/tests/krait_stress_py.py $PREFIX/lib/krait/python/tests/krait_stress_py.py"
	for page in krait.8 krait.conf.5 kraitctl.1 krait_stress.1; do
		echo "644 $generated/$page $PREFIX/share/man/man${page##*.}/$page"
	done
	for program in krait kraitctl krait_stress; do
		echo "644 $generated/$program.bash $PREFIX/share/bash-completion/completions/$program"
		echo "644 $generated/_$program $PREFIX/share/zsh/site-functions/_$program"
	done
	echo "644 $generated/krait.service $UNITDIR/krait.service"
	echo "644 $generated/krait@.service $UNITDIR/krait@.service"
	echo "644 $generated/krait.conf $PREFIX/share/doc/krait/krait.conf"
	echo "644 README.md $PREFIX/share/doc/krait/README.md"
	for page in docs/*.md docs/guides/*.md docs/*.svg; do
		[ ! -e "$page" ] || echo "644 $page $PREFIX/share/doc/krait/$page"
	done
}

case "$what" in
list)
	files | cut -d ' ' -f 3
	;;
install)
	files | while read -r mode source target; do
		install -D -m "$mode" "$source" "$DESTDIR$target"
	done
	;;
uninstall)
	files | while read -r mode source target; do
		rm -f "$DESTDIR$target"
	done
	# what Python has compiled, and directories that are nobody else's
	rm -rf "$DESTDIR$PREFIX/lib/krait/python/krait/__pycache__" \
		"$DESTDIR$PREFIX/lib/krait/python/tests/__pycache__"
	for directory in lib/krait share/doc/krait; do
		[ ! -d "$DESTDIR$PREFIX/$directory" ] || find "$DESTDIR$PREFIX/$directory" -type d -empty -delete
	done
	;;
*)
	echo "usage: packaging/install.sh install|uninstall|list BIN GENERATED" >&2
	exit 2
	;;
esac
