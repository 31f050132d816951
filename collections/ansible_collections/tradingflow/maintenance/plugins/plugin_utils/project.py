# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the project lies, whatever folder ansible-playbook was started in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: What a project has in its own folder.
MARK = "ansible.cfg"
#: The machine's, and no project.
_SYSTEM = Path("/etc")


def within(given: str | Path, task_vars: dict[str, Any]) -> Path:
    """A folder or file of the project's. Absolute paths stay; without a project, relative to the working directory."""
    path = Path(given).expanduser()
    return path if path.is_absolute() else root(task_vars) / path


def root(task_vars: dict[str, Any]) -> Path:
    """The nearest folder with an ansible.cfg, upwards from the playbook, the inventory or the working directory."""
    for start in _starts(task_vars):
        for folder in (start, *start.parents):
            if (folder / MARK).is_file() and _SYSTEM not in (folder, *folder.parents):
                return folder
    return Path.cwd()


def _starts(task_vars: dict[str, Any]) -> Iterator[Path]:
    for name in ("playbook_dir", "inventory_dir"):
        if isinstance(task_vars.get(name), str) and task_vars[name]:
            yield Path(task_vars[name]).absolute()
    yield Path.cwd()
