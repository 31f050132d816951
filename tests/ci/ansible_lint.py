"""ansible-lint with one start of Ansible for the syntax of everything: ``python -m tests.ci.ansible_lint``.

ansible-lint itself starts it for each playbook and role, which is half of its time. Where the one start finds anything,
each is checked by itself, so that the message names it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from ansiblelint.__main__ import main
from ansiblelint.runner import Runner

#: These are not for others to use. Where they are gone, this fails at once instead of leaving the check out.
_one_by_one = Runner._run_syntax_check_phase
_files = Runner._collect_syntax_check_files


def _at_once(runner: Any, matches: list[Any]) -> list[Any]:
    """Instead of ansible-lint's own: adds what it finds to the matches.

    :returns: what was checked
    """
    files = _files(runner)
    return files if _well(files, runner.app.runtime.environ) else _one_by_one(runner, matches)


def _well(files: list[Any], environment: dict[str, str]) -> bool:
    """Whether Ansible takes them all."""
    playbooks = [str(file.path.expanduser()) for file in files if file.kind == "playbook"]
    roles = [str(file.path.expanduser()) for file in files if file.kind == "role"]
    plays = [{"hosts": "localhost", "tasks": [{"ansible.builtin.import_role": {"name": role}}]} for role in roles]
    with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as of_roles:
        json.dump(plays, of_roles)
        of_roles.flush()
        # As ansible-lint does, but for the details of errors.
        ended = subprocess.run(
            ["ansible-playbook", "--syntax-check", *([of_roles.name] if roles else []), *playbooks],
            env={**environment, "PYTHONWARNINGS": "ignore", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "False"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    return ended.returncode == 0


if __name__ == "__main__":
    Runner._run_syntax_check_phase = _at_once  # type: ignore[assignment, method-assign]
    sys.exit(main(["ansible-lint", *sys.argv[1:]]))
