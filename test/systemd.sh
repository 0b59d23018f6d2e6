#!/bin/bash
# systemd.sh - the unit, under a systemd that boots for this test alone (`make installcheck`).
#
#   test/systemd.sh BIN
#
# First systemd-analyze verifies the units and scores their sandbox. Then, where we may (root, and a kernel that
# lets us have namespaces and a cgroup), a real systemd boots as process 1 of namespaces of its own (processes,
# mounts, network, cgroups; nothing of the machine's is touched) and runs the installed unit;
# test/systemd_inside.sh is what happens there. Where we may not, that is said and passed over.
. "$(dirname "$0")/shell.sh"
bin=$1 root=$work/root prefix=/opt/krait

command -v systemd-analyze >/dev/null || {
	skip "systemd: it is not installed"
	exit 0
}
make_install() {
	make -s --no-print-directory BIN="$bin" DESTDIR="$1" PREFIX="$2" SYSCONFDIR="$2/etc" install
}

echo "systemd:"
expect "the unit is installed where it will run" make_install "" "$work/prefix"
units=$work/prefix/lib/systemd/system
# Manual pages are not where man looks for them; the version of here has no say about the rest.
output=$(systemd-analyze verify --man=no --recursive-errors=no "$units/krait.service" "$units/krait@.service" 2>&1) ||
	fail "systemd-analyze verify: $output"
[ -z "$output" ] || fail "systemd-analyze verify: $output"
ok "systemd-analyze verify has nothing to say"
# 0 is best and 100 worst; what keeps it from less is told in the unit.
expect "systemd-analyze security" systemd-analyze security --no-pager --offline=true --threshold=20 "$units/krait.service"
ok "$(tail -1 <<<"$output" | sed 's/^[^A-Za-z]*//')"

# ---- a real one ----
hierarchy=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
cgroup=$hierarchy/krait_test_$$
namespaces=(--pid --mount --cgroup --ipc --uts --net --fork --kill-child=KILL)
may_boot() {
	[ "$(id -u)" = 0 ] && [ -n "$hierarchy" ] && [ -x /lib/systemd/systemd ] && mkdir "$cgroup" 2>/dev/null &&
		(echo "$BASHPID" >"$cgroup/cgroup.procs") 2>/dev/null &&
		unshare "${namespaces[@]}" sh -c 'mount -t tmpfs tmpfs /run && mount -t cgroup2 cgroup2 /run' 2>/dev/null
}
at_end() { # what finish() of shell.sh calls
	[ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
}
if ! may_boot; then
	skip "the unit under a real systemd: that takes root, namespaces and a cgroup of our own"
	exit 0
fi

expect "the unit is installed for a systemd of its own" make_install "$root" $prefix
mkdir -p "$root$prefix/etc/krait" "$work/out"
cp test/systemd_inside.sh "$work/out/"
cat >"$work/boot.sh" <<'BOOT'
#!/bin/sh
# What systemd finds: everything that it might write to is its own, what belongs to the machine cannot be written.
set -e
work=$1 prefix=$2
mount --make-rprivate /
mount -t tmpfs tmpfs /opt
mkdir -p "$prefix"
mount --bind "$work/root$prefix" "$prefix"
mount -t tmpfs tmpfs /run
mkdir -p /run/out /run/systemd/system
mount --bind "$work/out" /run/out
for directory in /var/lib /var/cache /var/log /var/tmp /tmp; do
	mount -t tmpfs -o mode=1777 tmpfs "$directory"
done
umount -l /sys 2>/dev/null || true
mount -t sysfs -o ro sysfs /sys 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
mkdir /run/dev
mount -t tmpfs -o mode=755 tmpfs /run/dev
for node in null zero full random urandom tty; do
	touch "/run/dev/$node"
	mount --bind "/dev/$node" "/run/dev/$node"
done
mkdir /run/dev/shm /run/dev/pts /run/dev/mqueue /run/dev/hugepages
mount -t tmpfs -o mode=1777 tmpfs /run/dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts /run/dev/pts
ln -s pts/ptmx /run/dev/ptmx
mount --rbind /run/dev /dev
ln -s /dev/null /run/systemd/system/timers.target
for unit in systemd-udevd systemd-udev-trigger systemd-modules-load systemd-sysctl systemd-random-seed \
	systemd-remount-fs systemd-firstboot kmod-static-nodes systemd-timesyncd; do
	ln -s /dev/null "/run/systemd/system/$unit.service"
done
cp "$prefix"/lib/systemd/system/* /run/systemd/system/
cat >/run/systemd/system/krait-test.service <<UNIT
[Unit]
After=basic.target
Requires=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash /run/out/systemd_inside.sh $prefix
ExecStopPost=/bin/sh -c 'touch /run/out/ended; systemctl --force --force exit 0 || kill -KILL -1'
UNIT
mount --make-rshared / # among ourselves: credentials reach a unit by propagation
export container=krait-test SYSTEMD_FSTAB=/dev/null
exec /lib/systemd/systemd --system --unit=krait-test.service --log-target=journal --show-status=no
BOOT
chmod +x "$work/boot.sh"
(
	echo "$BASHPID" >"$cgroup/cgroup.procs"
	exec timeout -s KILL 120 unshare "${namespaces[@]}" "$work/boot.sh" "$work" "$prefix"
) >"$work/boot.log" 2>&1 </dev/null || true
if [ ! -e "$work/out/result" ]; then # before a word of the unit was said
	skip "the unit under a real systemd, which does not boot here: $(tail -n 3 "$work/boot.log" | tr '\n' ' ')"
	exit 0
fi
cat "$work/out/result"
tail -n 1 "$work/out/result" | grep -q "all is well" || fail "the last step is above: $(cat "$work/out/log")"
