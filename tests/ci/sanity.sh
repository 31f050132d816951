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

begin=$SECONDS log="$work/log"
if ! (cd "$copy" && HOME="$home" PATH="$path" LC_ALL=C.UTF-8 \
  ansible-test sanity --local --python default --color no "${skipped[@]}") >"$log" 2>&1 </dev/null; then
  grep -E '^(ERROR|FATAL|Traceback|>>>|See documentation)' -A 20 "$log" >&2
  exit 1
fi
echo "  $(grep -c '^Running sanity test' "$log") sanity tests ($((SECONDS - begin)) s); not pslint, there is no PowerShell"
