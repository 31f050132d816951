#!/usr/bin/env bash
# The layer that the application's images share: a small Debian 12 with Python and PostgreSQL's client library.
#
#   base.sh path             where it is kept
#   base.sh build LAYER      makes it, once (debootstrap). Needs root.
set -euo pipefail

# Outside the checkout: shared by clones, kept by `make clean`. Everything in it is made anew when missing.
CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/tradingflow-maintenance"
PACKAGES=python3-minimal,python3-psycopg2

build_alone() { # LAYER FOLDER
  local root=${2:?}
  mount -t tmpfs -o size=80%,mode=755 tradingflow "$root"
  DEBIAN_FRONTEND=noninteractive debootstrap --variant=minbase --include="$PACKAGES" bookworm "$root" </dev/null >&2 || {
    tail -n 20 "$root/debootstrap/debootstrap.log" >&2
    return 1
  }
  # Those who run in it may not write, and to compile at each start takes seconds.
  chroot "$root" python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3.11 /usr/lib/python3 >&2
  # What only administers it: an image is not patched, it is replaced.
  rm -rf "${root:?}"/{boot,dev,home,media,mnt,opt,proc,run,srv,sys}/* "$root"/var/{cache,lib,log}/* "$root"/debootstrap
  rm -rf "$root"/usr/share/{bash-completion,bug,common-licenses,doc,i18n,info,keyrings,lintian,locale,man,perl5,zoneinfo}
  rm -rf "$root"/usr/lib/{apt,dpkg,locale,*/perl-base,*/gconv} "$root"/usr/bin/{apt*,dpkg*,perl*}
  rm -rf "$root"/usr/lib/python3.11/{distutils,ensurepip,idlelib,lib2to3,pydoc_data,test,turtledemo}
  echo 'tradingflow:x:10001:10001::/nonexistent:/usr/sbin/nologin' >>"$root/etc/passwd"
  echo 'tradingflow:x:10001:' >>"$root/etc/group"
  # It appears complete or not at all.
  tar -C "$root" --one-file-system --sort=name --numeric-owner --mtime=@0 -cf - . | tee >(sha256sum | cut -d' ' -f1 >"$1.partial-id") |
    zstd -q -3 -c >"$1.partial"
  while [[ ! -s $1.partial-id ]]; do sleep 0.1; done
  mv "$1.partial-id" "$1.id"
  mv "$1.partial" "$1"
}

case $1 in
  path)
    key=$(echo "$PACKAGES $(dpkg --print-architecture) 2" | sha256sum | cut -c1-16)
    echo "$CACHE/cluster-base-$key.tar.zst"
    ;;
  build) # one builder at a time
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock-cluster-base"
    flock 9
    if [[ ! -e $2 ]]; then
      folder=$(mktemp -d)
      trap 'rmdir "$folder"' EXIT
      unshare --mount --propagation private bash "$0" build_alone "$2" "$folder"
    fi
    touch "$2"
    find "$CACHE" -maxdepth 1 -name 'cluster-base-*' ! -name "$(basename "$2")*" -mtime +30 -delete
    ;;
  build_alone) "$@" ;;
  *) exit 2 ;;
esac
