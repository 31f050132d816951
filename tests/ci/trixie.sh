#!/usr/bin/env bash
# The tests on the newest ansible-core: in a Debian trixie of its own (Python 3.13), without a network.
#
# The system (debootstrap) and its environment (the lock, for its Python) are made once and kept as archives in the
# cache, keyed by what went into them. Each run unpacks them into memory, in namespaces of its own: mounts, processes
# and memory are gone when it ends, however it ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/ci/lib.sh

WHAT="newest ansible-core (Debian trixie)"
# A newer server and pgBackRest than the machine's own, too.
PACKAGES=ca-certificates,git,iproute2,lz4,make,pgbackrest,postgresql,procps,python3,python3-venv,restic,zstd
# Of the machine's environment only what says how to reach packages.
KEPT='^(https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY|UV_[A-Z_]+|PIP_INDEX_URL|PIP_EXTRA_INDEX_URL)='

# They end with whoever started them, also when that is killed.
own_namespaces() {
  setpriv --pdeathsig KILL unshare --mount --pid --ipc --fork --kill-child --propagation private "$@"
}

# In namespaces of its own: an empty root in memory at $1.
memory_root() {
  mount -t tmpfs -o size=80%,mode=755 tradingflow "$1"
}

# What programs in the root at $1 expect of a running system.
mount_system() {
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  mount -t tmpfs -o mode=1777 tradingflow "$1/dev/shm"
}

within() { # ROOT ENVIRONMENT... -- COMMAND...
  local root=$1 settings=()
  shift
  while [[ $1 != -- ]]; do settings+=("$1") && shift; done
  shift
  chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 \
    "${settings[@]}" "$@"
}

build_system() { # ROOT ARCHIVE
  memory_root "$1"
  debootstrap --variant=minbase --include="$PACKAGES" trixie "$1"
  rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale}/*
  keep "$1" "$2" .
}

build_environment() { # ROOT SYSTEM ARCHIVE
  memory_root "$1"
  tar -C "$1" -I zstd -xf "$2"
  mount_system "$1"
  local settings=(UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy) bundle
  mapfile -t -O "${#settings[@]}" settings < <(env | grep -E "$KEPT" || true)
  # The machine's own way to trust and to find registries, not the image's.
  cp -L /etc/resolv.conf "$1/etc/resolv.conf"
  bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
  if [[ -e $bundle ]]; then
    cp -L "$bundle" "$1/tmp/ca.crt"
    settings+=(SSL_CERT_FILE=/tmp/ca.crt)
  fi
  cp -L "$BIN/uv" "$1/tmp/uv"
  mkdir -p "$1/var/cache/uv" "$1/srv/checkout" "$CACHE/uv"
  mount --bind "$CACHE/uv" "$1/var/cache/uv"
  cp requirements/dev.lock "$1/tmp/"
  within "$1" -- python3 -m venv /srv/checkout/.venv
  within "$1" "${settings[@]}" -- /tmp/uv pip install --quiet --python /srv/checkout/.venv/bin/python \
    --require-hashes -r /tmp/dev.lock
  # The environment of `make` has it, too.
  within "$1" "${settings[@]}" -- /tmp/uv pip install --quiet --python /srv/checkout/.venv/bin/python \
    "$(sed -n 's/^UV = "\(.*\)"$/\1/p' requirements/install.py)"
  # Compiled once here instead of in every run.
  within "$1" -- /srv/checkout/.venv/bin/python -m compileall -q -j 0 /srv/checkout/.venv/lib || true
  keep "$1" "$3" srv/checkout/.venv
}

run_tests() { # ROOT SYSTEM ENVIRONMENT
  memory_root "$1"
  tar -C "$1" -I zstd -xf "$2"
  tar -C "$1" -I zstd -xf "$3"
  mount_system "$1"
  checkout_files | tar --null -T - -cf - | tar -C "$1/srv/checkout" --no-same-owner -xf -
  # Tests ask git which files are the project's.
  within "$1" -- git -C /srv/checkout init --quiet
  within "$1" -- git -C /srv/checkout add --all --force -- . ':!.venv'
  # make takes the environment as it is: nothing is to be fetched.
  touch "$1"/srv/checkout/.venv/{sandbox,dev}.stamp
  local name
  name=$(within "$1" -- /srv/checkout/.venv/bin/python -c 'import platform
from ansible.release import __version__
print(f"ansible-core {__version__}, Python {platform.python_version()}")')
  echo "  $name"
  within "$1" -- ip link set lo up
  within "$1" REQUIRE_ALL="${REQUIRE_ALL:-}" TRADINGFLOW_TEST_TIMES="${TRADINGFLOW_TEST_TIMES:-10}" -- bash -euo pipefail -c '
    cd /srv/checkout
    # A small one, which make finds up.
    .venv/bin/python -m sandbox up --size small
    make daily
    make sandbox-down
    # Compiled once, with their assertions, and not by each worker.
    .venv/bin/python -m pytest --collect-only -q -p no:cacheprovider "$@" >/tmp/collected || { cat /tmp/collected; exit 1; }
    .venv/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist loadfile --no-loadscope-reorder "$@"
  ' tests "${TESTS[@]}"
}

# What meets other versions here, each file in one of two workers: ansible-core and Python with a daily run and all that
# is small; then PostgreSQL 17, pgBackRest 2.55, and a major upgrade from 17 to the 18 of the sandbox. What is our own
# logic on any version, as how a killed run is gone on with, is tried on the machine itself; so is what compares the texts
# of the checkout.
DAILY=tests/end_to_end/test_daily.py
DRILL=tests/integration/test_drill_physical.py
PGBACKREST=tests/integration/test_pgbackrest.py
RECOVERY=tests/integration/test_restore_point_in_time.py
WATCH=tests/integration/test_wal_watchdog.py
TIMELINES=tests/integration/test_restore_timelines.py
TESTS=(
  tests/integration/test_pgbackrest_upgrade.py
  "$RECOVERY::"test_{playbook_brings_a_destroyed_database_back_to_a_second,restore_point_with_all_its_digests}
  "$TIMELINES::test_five_restores_in_a_row[wheel]"
  "$DAILY::"test_{healthy_platform_is_green_and_leaves_everything,check_mode_changes_nothing,whoever_reads_it_leaves}
  "$DAILY::"test_{secrets_stay_secret_at_vvv,several_hosts_one_of_them_unreachable,ledger_verifies_without_ansible}
  "$DRILL::"test_{good_drill,damage_that_the_listing_does_not_show,timeline_and_settings_that_changed_since}
  "$PGBACKREST::"test_{set_up_is_idempotent_and_keeps_secrets,full_and_incremental_restore_exactly}
  "$PGBACKREST::test_incremental_holds_what_changed"
  "$WATCH::"test_{all_is_well,names_are_postgresqls_own,a_gap_is_named,archiving_fails,a_new_timeline}
  tests/unit
  --ignore=tests/unit/test_{awx,changed,docs,manual,rooms}.py
  # What is about amounts, or runs one small program again and again.
  --deselect=tests/unit/test_audit_selection.py::test_a_large_log_takes_little_memory
  --deselect=tests/unit/test_logs_files.py::test_two_hundred_thousand_lines
  --deselect=tests/unit/test_logs_files.py::test_{memory_does_not_grow_with_the_log,time_that_goes_back_within_a_large_file}
  --deselect=tests/unit/test_logs_files.py::test_{of_a_large_file_only_the_end_is_read,more_than_may_be_read_is_said}
  --deselect=tests/unit/test_logs_files.py::test_old_bytes_do_not_count_against_the_limit
  --deselect=tests/unit/test_audit_log_files.py::test_{files_that_move_while_they_are_read,the_disk_and_the_limit}
  --deselect=tests/unit/test_refresh_probes.py::test_{each_fault_is_told,restated_prices_and_changed_code_are_told_apart}
  --deselect=tests/unit/test_refresh_probes.py::test_{a_changed_engine_and_what_was_lost,the_other_samples_are_caught}
  --deselect=tests/unit/test_refresh_probes.py::test_history_too_short_for_the_longer_warm_up
  --deselect=tests/unit/test_refresh_trouble.py::test_code_that_changes_meanwhile
  --deselect=tests/unit/test_review_faults.py::test_the_digest_has_every_input
  --ignore=tests/unit/test_retention_rules.py
  # What needs programs of a managed host (logrotate, systemd-journal-remote), loop devices, or these namespaces' own.
  --ignore=tests/unit/test_housekeeping_{findings,inodes,removals,rotation,strays,temporary}.py
  # What needs Pango, a package registry, or namespaces within these namespaces.
  --deselect=tests/unit/test_compliance_report.py::test_{a_pdf_is_made_and_nothing_is_fetched_for_it,oscal_is_of_the_form_of_its_official_models}
  --deselect=tests/unit/test_stakeholders.py::test_the_same_page_gives_the_same_pdf
  --deselect=tests/unit/test_refresh_trouble.py::test_a_user_without_rights_has_the_same_walls
)

case ${1:-} in
  build_system | build_environment | run_tests)
    "$@"
    exit
    ;;
esac

if [[ $(id -u) != 0 ]]; then
  left_out "$WHAT" "debootstrap and chroot need root"
elif ! own_namespaces --net true 2>/dev/null; then
  left_out "$WHAT" "this machine gives no namespaces"
elif ! installed debootstrap debootstrap || ! installed zstd zstd; then
  left_out "$WHAT" "apt-get install debootstrap zstd"
else
  mkdir -p "$CACHE/root"
  # One builder at a time; what an earlier one left half-way is nobody's.
  exec 9>"$CACHE/lock"
  flock 9
  rm -f "$CACHE"/trixie-*.partial
  architecture=$(dpkg --print-architecture 2>/dev/null || uname -m)
  system="$CACHE/trixie-system-$(digest <<<"$PACKAGES $architecture").tar.zst"
  environment="$CACHE/trixie-environment-$(digest - requirements/dev.lock requirements/install.py <<<"$system").tar.zst"
  [[ -e $system ]] || quietly "debootstrap trixie, once" own_namespaces bash "$0" build_system "$CACHE/root" "$system"
  [[ -e $environment ]] || quietly "environment of the lock, once" \
    own_namespaces bash "$0" build_environment "$CACHE/root" "$system" "$environment"
  touch "$system" "$environment"
  find "$CACHE" -maxdepth 1 -name 'trixie-*.tar.zst' -mtime +30 -delete
  flock -u 9
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if ! own_namespaces --net bash "$0" run_tests "$CACHE/root" "$system" "$environment" >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    exit 1
  fi
  sed -n '1p;$p' "$log"
fi
