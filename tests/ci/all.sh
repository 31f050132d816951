#!/usr/bin/env bash
# Everything that proves the project. REQUIRE_ALL=1: what cannot run here is a failure, not a line.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH" PYTHONDONTWRITEBYTECODE="" ANSIBLE_CONFIG=ansible.cfg

step() {
  local name=$1 begin=$SECONDS
  shift
  "$@" || { echo "FAILED: $name"; exit 1; }
  echo "ok: $name ($((SECONDS - begin)) s)"
}

# The slow ones first have nothing to do with each other's files; the tests' own summary ends the output.
step "lint" bash tests/ci/lint.sh
step "ansible-test sanity" bash tests/ci/sanity.sh
step "newest ansible-core on Debian trixie" bash tests/ci/trixie.sh
python -m pytest tests/unit tests/integration tests/end_to_end -q -p no:cacheprovider "$@"
