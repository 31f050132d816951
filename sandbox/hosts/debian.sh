#!/usr/bin/env bash
# A Debian 12 with systemd, sshd, PostgreSQL 15 and pgBackRest, and Debian's own Python libraries: a managed host.
#
#   debian.sh archive                where the system is kept
#   debian.sh build ARCHIVE          makes it, once (debootstrap)
#   debian.sh unpack ARCHIVE FOLDER  unpacks it, for hosts that share it
#   debian.sh boot SOURCE FOLDER     boots it: an archive in memory, an unpacked one with what differs in memory.
#                                    FOLDER/files is put over it; FOLDER/log gets what systemd says, FOLDER/power
#                                    "on" or "off"
#
# It runs in namespaces of its own, for mounts, processes, names and control groups, and shares the network: what it
# listens on is loopback. Restarted, it boots again with its files; switched off, it is booted again by SIGUSR1. It ends,
# and nothing is left of it, when the process that booted it ends. Needs root.
set -euo pipefail

# Outside the checkout: shared by clones, kept by `make clean`. Everything in it is made anew when missing.
CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/tradingflow-maintenance"
# The hosts' one user is "maintenance", who may become root.
PACKAGES=ca-certificates,cron,dbus,gpgv,iproute2,logrotate,needrestart,openssh-server,pgbackrest,postgresql,procps,python3
PACKAGES+=,python3-apt,python3-boto3,python3-cffi-backend,python3-psycopg2,python3-zstandard,restic,sudo,systemd
PACKAGES+=,systemd-sysv,tzdata
# What the hosts are patched with is made of these; they are in /srv/debian of the image.
KEPT=(cron libpq5 procps tzdata)

build_alone() { # ARCHIVE
  local root name
  root=$(mktemp -d)
  mount -t tmpfs -o size=80%,mode=755 tradingflow "$root"
  DEBIAN_FRONTEND=noninteractive debootstrap --variant=minbase --include="$PACKAGES" bookworm "$root" </dev/null || {
    tail -n 20 "$root/debootstrap/debootstrap.log" >&2
    return 1
  }
  mkdir "$root/srv/debian"
  for name in "${KEPT[@]}"; do
    mv "$root/var/cache/apt/archives/${name}"_*.deb "$root/srv/debian"
  done
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
  rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id"
  touch "$root/etc/machine-id"
  chroot "$root" useradd --create-home --shell /bin/bash --groups systemd-journal maintenance
  echo 'maintenance ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/maintenance"
  # It appears complete or not at all.
  tar -C "$root" --one-file-system --sort=name -I 'zstd -T0 -3' -cf "$1.partial" .
  mv "$1.partial" "$1"
}

build() { # ARCHIVE: one builder at a time
  mkdir -p "$CACHE"
  exec 9>"$CACHE/lock-machine"
  flock 9
  [[ -e $1 ]] || unshare --mount --propagation private bash "$0" build_alone "$1"
  touch "$1"
  find "$CACHE" -maxdepth 1 -name 'bookworm-machine-*' -mtime +30 -delete
}

unpack() { # ARCHIVE FOLDER
  mkdir -p "$2"
  tar -C "$2" -I zstd -xf "$1"
}

boot() { # SOURCE FOLDER
  exec unshare --mount --propagation private bash "$0" supervise "$1" "$2" >>"$2/log" 2>&1 </dev/null
}

# Lays the disk out, and boots from it until it is ended.
supervise() { # SOURCE FOLDER
  local folder=$2 root=$2/root name number=0 status child=
  mkdir -p "$root" "$folder/disk" "$folder/groups"
  if [[ -d $1 ]]; then
    mount -t tmpfs -o size=50%,mode=755 tradingflow "$folder/disk"
    mkdir -m 755 "$folder/disk/upper" "$folder/disk/work"
    mount -t overlay -o "lowerdir=$1,upperdir=$folder/disk/upper,workdir=$folder/disk/work" tradingflow "$root"
  else
    mount -t tmpfs -o size=80%,mode=755 tradingflow "$root"
    unpack "$1" "$root"
  fi
  # Folders that are there keep their modes.
  tar -C "$folder/files" -cf - . | tar -C "$root" --no-overwrite-dir --no-same-owner -xpf -
  chroot "$root" chown -R maintenance: /home/maintenance
  mount -t tmpfs tradingflow "$folder/groups"
  name=$(basename "$folder")-$$
  # shellcheck disable=SC2064 # now
  trap 'kill -KILL $child 2>/dev/null; wait; remove_groups; exit 0' TERM
  # Not SIGHUP, which cannot be trapped by what was started below nohup.
  trap : USR1
  while true; do
    echo on >"$folder/power"
    make_groups "$((++number))"
    setpriv --pdeathsig KILL bash "$0" start "$folder" &
    child=$!
    status=0
    wait_for "$child" || status=$?
    remove_groups
    # By these signals the first process of the namespaces tells of a restart, and of being switched off.
    case $status in
      $((128 + 1))) echo "restarted" ;;
      $((128 + 2)))
        echo off >"$folder/power"
        sleep infinity &
        child=$!
        wait "$child" || true
        kill "$child" 2>/dev/null || true
        wait || true
        ;;
      *)
        echo "ended: $status"
        exit 1
        ;;
    esac
  done
}

# A signal ends the shell's own waiting, too.
wait_for() { # PID
  local status
  while true; do
    status=0
    wait "$1" || status=$?
    kill -0 "$1" 2>/dev/null || return "$status"
  done
}

# A control group of its own in each hierarchy that systemd uses: without, it would share those of every other host.
make_groups() { # NUMBER
  local controllers path place kind options
  : >"$folder/group-list"
  while IFS=: read -r _ controllers path; do
    place=$folder/groups/${controllers:-unified}
    case $controllers in
      '') kind=cgroup2 options=rw path=/ ;;
      name=systemd) kind=cgroup options=none,name=systemd path=/ ;;
      *pids* | *memory* | *devices* | *blkio* | *cpu | *cpuacct*) kind=cgroup options=$controllers ;;
      *) continue ;;
    esac
    if ! mountpoint -q "$place"; then
      mkdir -p "$place"
      mount -t "$kind" -o "$options" cgroup "$place" || continue
    fi
    place=$place/${path#/}/$name-$1
    mkdir "$place" && echo "$place" >>"$folder/group-list" || echo "no control group $place"
  done </proc/self/cgroup
}

# Removes them, once the kernel has done with their processes.
remove_groups() {
  local try place left
  for try in {1..100}; do
    left=
    while read -r place; do
      find "$place" -depth -type d -exec rmdir {} + 2>/dev/null || true
      if [[ -d $place ]]; then left=$place; fi
    done <"$folder/group-list"
    [[ -n $left ]] || return 0
    sleep 0.1
  done
  echo "$left is still in use after $try tries"
}

# The hierarchy of control groups that systemd takes: its own of version 1 where the kernel has these, else version 2.
mount_groups() { # PLACE
  mkdir -p "$1/systemd"
  if ! mount -t cgroup -o none,name=systemd cgroup "$1/systemd" 2>/dev/null; then
    rmdir "$1/systemd"
    mount -t cgroup2 cgroup "$1"
  fi
}

# Below its control groups is all that systemd sees.
start() { # FOLDER
  local place
  while read -r place; do
    echo $$ >"$place/cgroup.procs"
  done <"$1/group-list"
  exec unshare --mount --pid --ipc --uts --cgroup --fork --kill-child --propagation private bash "$0" within "$1"
}

# The first process of the namespaces.
within() { # FOLDER
  local root=$1/root name number
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
  # What it shares with others, read-only: lines of a folder and its place.
  if [[ -e $1/shared ]]; then
    while IFS=$'\t' read -r name number; do
      mkdir -p "$root/$number"
      mount --bind "$name" "$root/$number"
      mount -o remount,bind,ro "$root/$number"
    done <"$1/shared"
  fi
  hostname "$(cat "$root/etc/hostname")"
  mkdir -p "$root/.old"
  cd "$root"
  pivot_root . .old
  exec chroot . /bin/sh -c 'umount -l /.old && rmdir /.old &&
    exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=no'
}

case $1 in
  archive)
    key=$(echo "$PACKAGES ${KEPT[*]} $(dpkg --print-architecture) 2" | sha256sum | cut -c1-16)
    echo "$CACHE/bookworm-machine-$key.tar.zst"
    ;;
  build | build_alone | unpack | boot | supervise | start | within) "$@" ;;
  *) exit 2 ;;
esac
