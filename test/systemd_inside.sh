#!/bin/bash
# systemd_inside.sh - what test/systemd.sh does once systemd runs; writes /run/out/result and /run/out/log.
set -u
prefix=$1 etc=$1/etc/krait
exec >>/run/out/result 2>>/run/out/log
set -x

ok() { echo "  ok    $*"; }
fail() {
	echo "  FAIL  $*"
	systemctl status --no-pager -l krait.service
	journalctl --no-pager -n 40 -u 'krait*'
	exit 1
} 2>&1
ctl() { HOME=/root timeout 30 "$prefix/bin/kraitctl" --cookie-file "$etc/cookie" --node "${node:-krait@127.0.0.1}" "$@" 2>&1; }
py() { ctl --json call builtins eval "\"$1\""; }
main_pid() { systemctl show -p MainPID --value krait.service; }
# is WHAT EXPECTED FOUND
is() {
	[[ $3 == *"$2"* ]] || fail "$1: expected $2, found $3"
	ok "$1"
}

umask 077
mkdir -p "$etc"
head -c 20 /dev/urandom | base64 | tr -d '/+=\n' >"$etc/cookie"
chmod 400 "$etc/cookie"
cat >"$etc/krait.conf" <<CONF
node {
	name = "krait@127.0.0.1"
}
pool default {
	size = 2
}
CONF
sed 's/krait@/blue@/' "$etc/krait.conf" >"$etc/blue.conf"
chmod 755 "$prefix" "$prefix/etc" "$etc" && chmod 644 "$etc"/*.conf

# ---- the start ----
systemctl start krait.service || fail "systemctl start"
is "systemd hears READY" active "$(systemctl is-active krait.service)"
is "workers serve" ready "$(ctl await_ready)"
is "a call" 1.4142135 "$(ctl call math sqrt 2.0)"
for _ in $(seq 100); do
	status=$(systemctl show -p StatusText --value krait.service)
	[[ $status == *"2 of 2"* ]] && break
	sleep 0.1
done
is "systemd hears the status" "krait@127.0.0.1 serving; default: 2 of 2 workers ready" "$status"
is "epmd is not ours" epmd.service "$(cat /proc/"$(pgrep -x epmd)"/cgroup)"

# ---- the sandbox, as a worker sees it ----
os="__import__('os')"
is "a worker is nobody special" true "$(py "$os.getuid() > 60000 and $os.getuid() == $os.geteuid()")"
status=$(py "open('/proc/self/status').read()")
is "it has no capability" 'CapEff:\t0000000000000000' "$status"
is "nor will it get one" 'NoNewPrivs:\t1' "$status"
is "its system calls are filtered" 'Seccomp:\t2' "$status"
is "the system is read-only" 'Read-only file system' "$(py "open('$prefix/x', 'w')")"
is "homes are hidden" 'Permission denied' "$(py "$os.listdir('/root')")"
is "root's copy of the cookie is root's" 'Permission denied' "$(py "open('$etc/cookie').read()")"
is "its home can be written" 2 "$(py "open('/var/lib/krait/x', 'w').write('hi')")"
is "it has a /tmp of its own" 2 "$(py "open('/tmp/krait_x', 'w').write('hi')")"
[ ! -e /tmp/krait_x ] || fail "/tmp is everybody's"
is "raw sockets are refused" 'not supported' "$(py "__import__('socket').socket(17, 3)")"
is "namespaces are refused" '-1' "$(py "__import__('ctypes').CDLL(None).unshare(0x10000000)")"
is "no disk is to be seen" true "$(py "not [d for d in $os.listdir('/dev') if d[:2] in ('sd', 'vd', 'nv')]")"
is "ctypes calls back" '[1,2,3]' "$(py "(lambda c, a: (c.CDLL(None).qsort(a, 3, 4, c.CFUNCTYPE(c.c_int, c.POINTER(c.c_int), c.POINTER(c.c_int))(lambda x, y: x[0] - y[0])), list(a))[1])(__import__('ctypes'), (__import__('ctypes').c_int * 3)(3, 1, 2))" | tr -d ' ')"
is "numpy computes" 30 "$(py "int((__import__('numpy').arange(5) ** 2).sum())")"
is "its subprocesses run" hello "$(py "__import__('subprocess').check_output(['echo', 'hello']).decode()")"
group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/"$(main_pid)"/cgroup)
is "its cgroup is its own" true "$(py "$os.access('$group', $os.W_OK)")"

# ---- reload, watchdog, stop ----
sed -i 's/size = 2/size = 3/' "$etc/krait.conf"
systemctl reload krait.service || fail "systemctl reload"
for _ in $(seq 100); do
	size=$(ctl --json pools | tr -d ' \n' | grep -o '"size":3' || true)
	[ -z "$size" ] || break
	sleep 0.1
done
is "a reload reads krait.conf again" '"size":3' "$size"
is "and systemd knows it active" active "$(systemctl is-active krait.service)"

mkdir -p /run/systemd/system/krait.service.d
printf '[Service]\nWatchdogSec=3\nMemoryDenyWriteExecute=yes\n' >/run/systemd/system/krait.service.d/test.conf
systemctl daemon-reload
systemctl restart krait.service || fail "systemctl restart"
is "after a restart workers serve" ready "$(ctl await_ready)"
is "ctypes and numpy live without writable code" 30 "$(py "(__import__('ctypes').CDLL(None).getpid(), int((__import__('numpy').arange(5) ** 2).sum()))[1]")"
sleep 4 # more than the watchdog's time: a node that serves must not be taken for dead
is "a node that lives is left alone" 0 "$(systemctl show -p NRestarts --value krait.service)"
kill -STOP "$(main_pid)"
for _ in $(seq 150); do
	[ "$(systemctl show -p NRestarts --value krait.service)" = 0 ] || break
	sleep 0.1
done
is "a node that stands still is replaced" 1 "$(systemctl show -p NRestarts --value krait.service)"
for _ in $(seq 100); do
	[[ $(ctl ping) == *pong* ]] && break
	sleep 0.1
done
is "by one that serves" 1.4142135 "$(ctl call math sqrt 2.0)"

systemctl start krait@blue.service || fail "systemctl start krait@blue"
node=blue@127.0.0.1
is "a second one, of the template" 1.4142135 "$(ctl call math sqrt 2.0)"
node=krait@127.0.0.1
systemctl stop krait.service krait@blue.service || fail "systemctl stop"
is "it stops" inactive "$(systemctl is-active krait.service)"
is "as asked" success "$(systemctl show -p Result --value krait.service)"
[ -z "$(pgrep -f _start.py)" ] || fail "Python processes are left"
ok "no Python process is left"
is "journald knows lines' priorities" 'listens on' "$(journalctl --no-pager -p info -u krait.service)"
echo "not a line of it" >>"$etc/krait.conf"
systemctl start krait.service && fail "it started with a bad krait.conf"
sleep 1.5 # longer than RestartSec: a second start would have come
is "a bad krait.conf is not tried again and again" 'failed' "$(systemctl show -p ActiveState --value krait.service)"
echo "  ok    all is well under a real systemd $(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')"
