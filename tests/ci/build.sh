#!/usr/bin/env bash
# build.sh [FOLDER]: the collection as an archive to install anywhere, in build/ or FOLDER. It carries modules, roles
# and playbooks. The same checkout gives the same contents.
set -euo pipefail
output=$(mkdir -p "${1:-$(dirname "$0")/../../build}" && cd "${1:-$(dirname "$0")/../../build}" && pwd)
cd "$(dirname "$0")/../.."
. tests/ci/lib.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bash tests/ci/copy_collection.sh "$work/collection"
: >"$work/ansible.cfg"
(cd "$work" && ANSIBLE_CONFIG="$work/ansible.cfg" "$BIN/ansible-galaxy" collection build --force \
  --output-path "$output" "$work/collection") >"$work/log" 2>&1 || {
  cat "$work/log" >&2
  exit 1
}
sed -n 's/^Created collection for .* at //p' "$work/log"
