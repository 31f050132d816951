"""What AWX offers of this project, by its own rule: files are told by their names, modes and lines.

The rule (AWX 24, awx/main/utils/ansible.py and models/projects.py): no links to folders are followed
(AWX_SHOW_PLAYBOOK_LINKS is off), and nothing below dot folders, roles, tasks, group_vars and host_vars counts. A
playbook is any .yml or .yaml with a line that begins with hosts:, include: or import_playbook:, however indented, or
one that is encrypted. An inventory is called hosts or inventory, ends in .ini, may be executed, or has no extension and
ten first lines that each begin with a letter, digit, underscore, point, equals sign or bracket.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PLAY = re.compile(r"\s*-?\s*(hosts|include|import_playbook):")
ENTRY = re.compile(r"[a-zA-Z0-9_.=\[\]]")
SKIPPED = {"roles", "tasks", "group_vars", "host_vars"}


def files() -> Iterator[Path]:
    """The files that AWX looks at, as of a checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        folders = Path(name).parts[:-1]
        path = ROOT / name
        if path.is_file() and not SKIPPED & set(folders) and not any(part.startswith(".") for part in folders):
            yield path


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="ignore").splitlines()


def could_be_playbook(path: Path) -> bool:
    text = lines(path) if path.suffix in (".yml", ".yaml") else []
    return any(PLAY.match(line) for line in text) or bool(text and text[0].startswith("$ANSIBLE_VAULT;"))


def could_be_inventory(path: Path) -> bool:
    if path.name in ("hosts", "inventory") or path.suffix == ".ini" or os.access(path, os.X_OK):
        return True
    return not path.suffix and not path.name.startswith(".") and all(ENTRY.match(line) for line in lines(path)[:10])


def test_only_playbooks_are_offered_as_playbooks() -> None:
    offered = {path.relative_to(ROOT).as_posix() for path in files() if could_be_playbook(path)}
    assert offered == {f"playbooks/{path.name}" for path in (ROOT / "playbooks").glob("*.yml")}


def test_only_inventories_are_offered_as_inventories() -> None:
    offered = {path.relative_to(ROOT).as_posix() for path in files() if could_be_inventory(path)}
    assert offered == {f"inventories/{path.parent.name}/hosts" for path in (ROOT / "inventories").glob("*/hosts")}
    assert len(offered) == 3
