#!/usr/bin/env bash
# Whatever can be found without running anything. A line for each kind when well, else what it found.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/ci/lib.sh
export PATH="$BIN:$PATH" ANSIBLE_CONFIG=ansible.cfg PYTHONDONTWRITEBYTECODE=1 NO_COLOR=1

COLLECTION=collections/ansible_collections/tradingflow/maintenance

names() { # FOLDER: of the plugins in it
  find "$COLLECTION/plugins/$1" -name '[!_]*.py' -printf 'tradingflow.maintenance.%f\n' | sed 's/\.py$//' | sort
}

# Python that travels to managed hosts, whose Python may be 3.9: its grammar and its annotations.
old_python() {
  ruff check --quiet --isolated --target-version py39 --select E9,F63,F7,FA102 \
    "$COLLECTION/plugins/modules" "$COLLECTION/plugins/module_utils"
}

documentation() {
  local kind
  for kind in modules callback; do
    names "$kind" | xargs ansible-doc -t "${kind%s}" >/dev/null
  done
  find roles -mindepth 1 -maxdepth 1 -type d -printf 'tradingflow.maintenance.%f\n' | sort |
    xargs ansible-doc -t role --playbook-dir . >/dev/null
}

changelog() {
  (cd "$COLLECTION" && antsibull-changelog lint)
}

quietly "ruff" ruff check --quiet .
quietly "ruff format" ruff format --check --quiet --exclude '*.md' .
quietly "python 3.9 where it travels to hosts" old_python
# A clean checkout starts from what the last one knew; mypy looks at the contents of each file.
quietly "mypy" mypy --cache-dir "$CACHE/mypy" sandbox tests collections/ansible_collections
quietly "yamllint" yamllint --strict .
quietly "changelog" changelog
if installed shellcheck shellcheck; then
  quietly "shellcheck" shellcheck --external-sources .ci/run tests/ci/*.sh sandbox/*/*.sh
else
  left_out "shellcheck" "apt-get install shellcheck"
fi
quietly "ansible-doc" documentation
# The syntax of playbooks and roles, too.
quietly "ansible-lint, profile production" python -m tests.ci.ansible_lint --nocolor -q
