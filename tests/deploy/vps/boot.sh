#!/bin/sh
# A machine of its own in namespaces: real systemd as process 1, real sshd, its own /etc, /opt, /run, /tmp, /usr/local/sbin and /var.
# boot.sh DIRECTORY: a directory with etc/, opt/, sbin/, var/ and units/; ends when its process 1 is killed.
set -eu
machine=$1
if [ "${2:-}" != inside ]; then
    # Its own branch of the second control group hierarchy, which exists beside the first one wherever that is used.
    mkdir -p "$machine/cgroup"
    mount --make-rprivate /
    mount -t cgroup2 none "$machine/cgroup"
    mkdir -p "$machine/cgroup/$(basename "$machine")"
    echo 0 >"$machine/cgroup/$(basename "$machine")/cgroup.procs"
    umount "$machine/cgroup"
    exec unshare --mount --pid --fork --kill-child --mount-proc --uts --ipc --cgroup sh "$0" "$machine" inside
fi
mount --make-rprivate /
umount -l /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
for folder in etc opt root var/cache var/log; do mount --bind "$machine/$folder" "/$folder"; done
mount --bind "$machine/sbin" /usr/local/sbin
mount -t tmpfs tmpfs /var/lib
mount --bind "$machine/units" /usr/lib/systemd/system
# No generator makes units out of what this machine has: no LSB script, no mount.
mount -t tmpfs tmpfs /usr/lib/systemd/system-generators
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
# As a kernel's first process finds or makes it: what systemd mounts apart, such as credentials, has to come back here.
mount --make-rshared /
exec env -i container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --log-target=journal --unit=multi-user.target
