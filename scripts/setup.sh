#!/bin/sh
# setup.sh - installs what is missing on Debian 12 (or what is close to it).
#
#   scripts/setup.sh demo    what `make demo` needs: compiler, libraries, Erlang, Elixir, Python
#   scripts/setup.sh test    that, and what the test suites need
#   scripts/setup.sh fuzz    that, and what `make fuzz` and a build with clang need
#   scripts/setup.sh proof   that, and what make valgrind, coverage, lint and fmt need
#
# Silent and quick (one dpkg-query) when nothing is missing. Otherwise it installs as root or through
# sudo; where neither is to be had it prints the list and stops with status 1.
# KRAIT_SKIP_SETUP=1 skips it all, for machines that have their tools from elsewhere.
set -eu

[ -z "${KRAIT_SKIP_SETUP:-}" ] || exit 0
exec </dev/null

# gcc, libc6-dev, make, pkg-config  the node is built from source
# libuv1-dev ... libmicrohttpd-dev  the libraries in it
# erlang-base                       the BEAM, epmd, erlc
# erlang-dev                        ei.h and libei, Erlang's own C library
# elixir                            brings the OTP applications it needs: crypto, inets, parsetools, ...
# python3-msgpack                   all that a worker needs beyond the standard library
demo="gcc libc6-dev make pkg-config
	libuv1-dev libmsgpack-dev libssl-dev uthash-dev libconfuse-dev libmicrohttpd-dev
	erlang-base erlang-dev elixir
	python3 python3-msgpack"
# check                    unit tests in C; AddressSanitizer and UBSan come with gcc
# python3-numpy            tensors; Krait does without
# chromium-headless-shell  shows the status page to its tests; fonts-dejavu-core is what it writes with
# rebar3                   builds the Erlang package, also when Mix asks for it; brings eunit, dialyzer
# mandoc, groff-base       what they say of the manual pages
# systemd                  verifies the unit, and runs it in namespaces of its own; nothing is started
# procps                   ps and pgrep, for the node as process 1
# iproute2                 hosts that are none: network namespaces for the tests of clusters
test="check iproute2 rebar3 python3-pytest python3-hypothesis python3-numpy
	chromium-headless-shell fonts-dejavu-core
	mandoc groff-base systemd procps"
# libclang-rt-dev          libFuzzer and clang's sanitizers
fuzz="clang libclang-rt-dev"
proof="valgrind gcovr cppcheck clang-tidy clang-format"

case "${1:-}" in
demo) wanted=$demo ;;
test) wanted="$demo $test" ;;
fuzz) wanted="$demo $test $fuzz" ;;
proof) wanted="$demo $test $fuzz $proof" ;;
*)
	echo "usage: scripts/setup.sh demo|test|fuzz|proof" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	# shellcheck disable=SC2086
	echo "setup: this is no Debian. Install what these packages are called here, then set" \
		"KRAIT_SKIP_SETUP=1:" $wanted >&2
	exit 1
fi

# One query for all. It says "package not found" on stderr and leaves such a one out.
# shellcheck disable=SC2016,SC2086
have=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $wanted 2>/dev/null |
	sed -n 's/^.i[^ ]* *//p' || true)
missing=
for package in $wanted; do
	case "
$have
" in
	*"
$package
"*) ;;
	*) missing="$missing $package" ;;
	esac
done

as_root=
find_root() {
	if [ "$(id -u)" = 0 ]; then
		as_root="env"
	elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || sudo -v 2>/dev/null; }; then
		as_root="sudo env"
	else
		return 1
	fi
}

apt() {
	# shellcheck disable=SC2086
	$as_root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -q -y \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o APT::Color=0 "$@" >>"$log" 2>&1
}

# promtool is in the package prometheus, which would run a server once it is installed: it is only taken out
# of there.
bring_promtool() {
	tools=$(dirname "$0")/../build/tools
	[ "$1" != demo ] || return 0
	if command -v promtool >/dev/null || [ -x "$tools/promtool" ]; then
		return 0
	fi
	echo "setup: fetching promtool"
	mkdir -p "$tools"
	(
		cd "$tools" && rm -f prometheus_*.deb &&
			{ apt-get -qq download prometheus || { find_root && apt update &&
				apt-get -qq download prometheus; }; } &&
			dpkg-deb --fsys-tarfile prometheus_*.deb |
			tar -x --strip-components=3 ./usr/bin/promtool && rm -f prometheus_*.deb
	) 2>>"$log" || {
		cat "$log" >&2
		echo "setup: no promtool: it checks what the node tells Prometheus" >&2
		exit 1
	}
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ -z "$missing" ]; then
	bring_promtool "$1"
	exit 0
fi

find_root || {
	echo "setup: these packages are missing, and this is neither root nor can it use sudo:" >&2
	echo "  apt-get install --no-install-recommends$missing" >&2
	exit 1
}
echo "setup: installing$missing"
apt update || echo "setup: apt-get update had errors; trying with the lists that are there" >&2
# shellcheck disable=SC2086
if ! apt install --no-install-recommends $missing; then
	cat "$log" >&2
	echo "setup: apt-get could not install:$missing" >&2
	exit 1
fi
bring_promtool "$1"
