#!/usr/bin/env bash
# Everything that proves the project. REQUIRE_ALL=1: what cannot run here is a failure, not a line.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH" PYTHONDONTWRITEBYTECODE="" ANSIBLE_CONFIG=ansible.cfg

failed=()
timing=$(mktemp)
times=()
step() {
  local name=$1 passed=0 clock user system TIMEFORMAT='%0R %0U %0S'
  shift
  { time "$@" 2>&3; } 3>&2 2>"$timing" || passed=$?
  read -r clock user system <"$timing"
  times+=("$(printf '%11d  %7d  %s' "$((user + system))" "$clock" "$name")")
  if ((passed == 0)); then
    echo "ok: $name ($clock s)"
  else
    echo "FAILED: $name"
    failed+=("$name")
  fi
}

output=$(mktemp)
tests=
finish() {
  # Interrupted, the tests still take their sandboxes down.
  if [[ -n $tests ]]; then
    kill -INT -- "-$tests" 2>/dev/null || true
    wait "$tests" || true
  fi
  rm -f "$output" "$timing"
}
trap finish EXIT
of_tests() { # OPTIONS...
  env --default-signal=INT TRADINGFLOW_TEST_TIMES="${TRADINGFLOW_TEST_TIMES:-10}" python -m pytest \
    tests/end_to_end tests/integration tests/unit -q -p no:cacheprovider \
    --ignore=tests/integration/test_pgbackrest_upgrade.py "$@"
}
trap 'exit 130' INT
trap 'exit 143' TERM

# The tests run beside the other steps, on files of their own, in more workers than there are processors: they wait for
# programs and services most of the time.
# Their own summary ends the output. Long files come first (tests/times.py); a file's tests share the sandbox of one
# worker.
# A major upgrade is tried in the Debian trixie, which has two versions that its pgBackRest knows.
# With job control they are a group of their own, which can be interrupted even where the caller ignores that.
set -m
{
  # Once, as far as it is not done yet: pytest compiles the tests with their assertions, and each worker would, of all.
  collected=$(of_tests --collect-only -q 2>&1) || { printf '%s\n' "$collected" && exit 1; }
  of_tests -n 6 --dist loadfile --no-loadscope-reorder "$@"
} >"$output" 2>&1 </dev/null &
tests=$!
set +m

step "lint" bash tests/ci/lint.sh
step "ansible-test sanity" bash tests/ci/sanity.sh
step "newest ansible-core on Debian trixie" bash tests/ci/trixie.sh
passed=0
wait "$tests" || passed=$?
tests=
if ((${#failed[@]})); then
  printf 'FAILED, see above: %s\n' "${failed[@]}"
fi
printf '%s\n' "processor s  clock s  step, beside the tests" "${times[@]}"
cat "$output"
((passed == 0 && ${#failed[@]} == 0))
