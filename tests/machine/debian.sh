#!/usr/bin/env bash
# A Debian 12 with systemd, sshd, PostgreSQL 15 and pgBackRest, and Debian's own Python libraries: a managed host.
#
#   debian.sh build ARCHIVE         makes the system, once (debootstrap)
#   debian.sh boot ARCHIVE FOLDER   boots it in memory; FOLDER/files is put over it, FOLDER/log gets what systemd says
#
# It runs in namespaces of its own, for mounts, processes, names and control groups, and shares the network: what it
# listens on is loopback. It ends, and nothing is left of it, when the process that booted it ends. Needs root.
set -euo pipefail
. "$(dirname "$0")/../ci/lib.sh"

# The machines' one user is "maintenance", who may become root.
PACKAGES=ca-certificates,cron,dbus,iproute2,openssh-server,pgbackrest,postgresql,procps,python3,python3-apt
PACKAGES+=,python3-boto3,python3-cffi-backend,python3-psycopg2,python3-zstandard,restic,sudo,systemd,systemd-sysv,tzdata

build() { # ARCHIVE
  local root
  root=$(mktemp -d)
  mount -t tmpfs -o size=80%,mode=755 tradingflow "$root"
  DEBIAN_FRONTEND=noninteractive debootstrap --variant=minbase --include="$PACKAGES" bookworm "$root" </dev/null || {
    tail -n 20 "$root/debootstrap/debootstrap.log" >&2
    return 1
  }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
  rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id"
  touch "$root/etc/machine-id"
  chroot "$root" useradd --create-home --shell /bin/bash --groups systemd-journal maintenance
  echo 'maintenance ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/maintenance"
  keep "$root" "$1" .
}

# The first process of the namespaces, with an empty root in memory.
within() { # ARCHIVE FOLDER
  local root=$2/root name number
  mount -t tmpfs -o size=80%,mode=755 tradingflow "$root"
  tar -C "$root" -I zstd -xf "$1"
  # Folders that are there keep their modes.
  tar -C "$2/files" -cf - . | tar -C "$root" --no-overwrite-dir --no-same-owner -xpf -
  chroot "$root" chown -R maintenance: /home/maintenance
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t tmpfs -o mode=755 tradingflow "$root/sys/fs/cgroup"
  mount_groups "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 tradingflow "$root/dev"
  while read -r name number; do
    # shellcheck disable=SC2086 # major and minor
    mknod -m 666 "$root/dev/$name" c $number
  done <<<$'null 1 3\nzero 1 5\nfull 1 7\nrandom 1 8\nurandom 1 9\ntty 5 0'
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 tradingflow "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  mount -t tmpfs -o mode=755 tradingflow "$root/run"
  hostname "$(cat "$root/etc/hostname")"
  mkdir "$root/.old"
  cd "$root"
  pivot_root . .old
  exec chroot . /bin/sh -c 'umount -l /.old && rmdir /.old &&
    exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=no'
}

# The hierarchy of control groups that systemd takes: its own of version 1 where the kernel has these, else version 2.
mount_groups() { # PLACE
  mkdir -p "$1/systemd"
  if ! mount -t cgroup -o none,name=systemd cgroup "$1/systemd" 2>/dev/null; then
    rmdir "$1/systemd"
    mount -t cgroup2 cgroup "$1"
  fi
}

# A control group of its own, below which is all that systemd sees.
join() { # ARCHIVE FOLDER
  local place=$2/groups group
  mkdir "$place" "$2/root"
  mount -t tmpfs tradingflow "$place"
  mount_groups "$place"
  group=$place
  [[ -d $place/systemd ]] && group=$place/systemd
  mkdir "$group/$(basename "$2")"
  echo $$ >"$group/$(basename "$2")/cgroup.procs"
  umount -R "$place"
  exec unshare --mount --pid --ipc --uts --cgroup --fork --kill-child --propagation private \
    bash "$0" within "$1" "$2"
}

boot() { # ARCHIVE FOLDER
  exec setpriv --pdeathsig KILL unshare --mount --propagation private bash "$0" join "$1" "$2" \
    >"$2/log" 2>&1 </dev/null
}

case $1 in
  archive) echo "$CACHE/bookworm-machine-$(digest <<<"$PACKAGES $(dpkg --print-architecture) 1").tar.zst" ;;
  build) # one builder at a time
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock-machine"
    flock 9
    [[ -e $2 ]] || unshare --mount --propagation private bash "$0" build_alone "$2"
    touch "$2"
    find "$CACHE" -maxdepth 1 -name 'bookworm-machine-*' -mtime +30 -delete
    ;;
  build_alone) build "$2" ;;
  boot | join | within) "$@" ;;
  *) exit 2 ;;
esac
