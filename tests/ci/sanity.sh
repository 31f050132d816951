#!/usr/bin/env bash
# ansible-test sanity on the collection. Without containers: its tools go into environments of its own in the cache.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/ci/lib.sh

# Managed hosts run modules with this Python and newer.
OLDEST=3.9

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy="$work/ansible_collections/tradingflow/maintenance"
bash tests/ci/copy_collection.sh "$copy"
# ansible-test asks git for the files.
git -C "$copy" init --quiet
git -C "$copy" add --all

# What ansible-test installs for itself stays there.
home="$CACHE/ansible-test"
"$BIN/python" tests/ci/sanity_home.py "$home"

# It tries every Python it sees; version managers' shims that only look like one would break it.
path="$BIN:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
if oldest=$(python_folder "$OLDEST"); then
  path="$path:$oldest"
else
  left_out "modules under Python $OLDEST" "there is no python$OLDEST on this machine"
fi
# pslint looks at PowerShell, of which there is none, and needs its interpreter.
skipped=(--skip-test pslint)
if ! installed shellcheck shellcheck; then
  left_out "ansible-test shellcheck" "apt-get install shellcheck"
  skipped+=(--skip-test shellcheck)
fi

# Each file is imported anew with all that it imports, which costs most of all tests here. Modules on the oldest Python,
# where they travel to, and what runs where Ansible does on Ansible's. That modules can be imported there as well, with
# no warning, says tests/unit/test_imports.py, which the Debian trixie runs on a newer one.
runs=("${skipped[*]}")
if [[ -n $oldest ]]; then
  newest=$("$BIN/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  there=$(cd "$copy" && find plugins -mindepth 1 -maxdepth 1 -type d ! -name 'module*' -printf '%p/ ')
  runs=("${skipped[*]} --skip-test import" "--test import --python $OLDEST" "--test import --python $newest $there")
fi

begin=$SECONDS log="$work/log"
for run in "${runs[@]}"; do
  read -ra arguments <<<"$run"
  [[ $run == *--python* ]] || arguments+=(--python default)
  if ! (cd "$copy" && HOME="$home" PATH="$path" LC_ALL=C.UTF-8 \
    ansible-test sanity --local --color no "${arguments[@]}") >>"$log" 2>&1 </dev/null; then
    grep -E '^(ERROR|FATAL|Traceback|>>>|See documentation)' -A 20 "$log" >&2
    exit 1
  fi
done
echo "  $(grep -c '^Running sanity test' "$log") sanity tests ($((SECONDS - begin)) s); not pslint, there is no PowerShell"
