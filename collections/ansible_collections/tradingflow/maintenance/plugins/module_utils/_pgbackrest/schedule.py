# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled backups by pgBackRest itself: timers of systemd, or a file of cron."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Dict, List

from ..errors import ConfigurationError
from .info import TYPES
from .program import PgBackRest

SYSTEMD, CRON = Path("/etc/systemd/system"), Path("/etc/cron.d")

_SERVICE = """\
# Written by Ansible (tradingflow.maintenance).
[Unit]
Description=pgBackRest {type} backup of {stanza}
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
User={user}
ExecStart={command}
"""
_TIMER = """\
# Written by Ansible (tradingflow.maintenance).
[Unit]
Description=pgBackRest {type} backup of {stanza}

[Timer]
OnCalendar={when}
Persistent=true

[Install]
WantedBy=timers.target
"""


def files(options: Dict[str, Any], tool: PgBackRest, systemd: Path = SYSTEMD, cron: Path = CRON) -> Dict[Path, str]:
    """Files by path; a text that is empty means that there shall be none.

    :raises ConfigurationError: the schedule makes no sense
    """
    unknown = sorted(set(options["schedule"]) - set(TYPES))
    if unknown:
        raise ConfigurationError(
            f"There is no type of backup called {unknown[0]}.", "Use full, diff and incr in backup_pgbackrest_schedule."
        )
    result: Dict[Path, str] = {}
    lines: List[str] = []
    for kind in TYPES:
        when = options["schedule"].get(kind) or ""
        if re.search(r"[\r\n]", when):
            raise ConfigurationError("A schedule has a line break.", "Correct backup_pgbackrest_schedule.")
        command = tool.arguments("backup", f"--type={kind}")
        name = f"tradingflow-pgbackrest-{tool.stanza}-{kind}"
        timed = options["scheduler"] == "timer" and when
        about = {"type": kind, "stanza": tool.stanza, "user": tool.user.name, "when": when}
        quoted = " ".join(_quoted(word) for word in command)
        result[systemd / f"{name}.service"] = _SERVICE.format(**about, command=quoted) if timed else ""
        result[systemd / f"{name}.timer"] = _TIMER.format(**about) if timed else ""
        if options["scheduler"] == "cron" and when:
            if len(when.split()) != 5:
                raise ConfigurationError(
                    f"{when!r} is not a time of cron.",
                    "Give five fields, such as 0 2 * * 0, in backup_pgbackrest_schedule.",
                )
            line = " ".join(shlex.quote(word) for word in command).replace("%", r"\%")
            lines.append(f"{when} {tool.user.name} {line}")
    text = "# Written by Ansible (tradingflow.maintenance).\n" + "\n".join(lines) + "\n" if lines else ""
    # Cron skips files with dots in their names.
    result[cron / f"tradingflow-pgbackrest-{re.sub(r'[^A-Za-z0-9_-]', '_', tool.stanza)}"] = text
    return result


def _quoted(word: str) -> str:
    """A word of a command as systemd reads it (systemd.service(5), command lines)."""
    if re.fullmatch(r"[A-Za-z0-9_./=:,+-]+", word):
        return word
    return '"' + re.sub(r'([\\"])', r"\\\1", word).replace("%", "%%").replace("$", "$$") + '"'


def apply(changed: List[Path], contents: Dict[Path, str]) -> None:
    """Has systemd know of changed units.

    :raises ConfigurationError: it refuses
    """
    units = [path for path in changed if path.suffix in (".timer", ".service")]
    if not units:
        return
    _systemctl("daemon-reload")
    for path in units:
        if path.suffix == ".timer" and contents[path]:
            _systemctl("enable", "--now", path.name)
            _systemctl("restart", path.name)


def before_removal(path: Path) -> None:
    """Stops a timer whose unit is to go."""
    if path.suffix == ".timer":
        _systemctl("disable", "--now", path.name)


def _systemctl(*words: str) -> None:
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(
            f"systemctl does not run: {error}", "Set backup_pgbackrest_scheduler to cron or none."
        ) from None
    if done.returncode:
        raise ConfigurationError(
            f"systemctl {' '.join(words)} failed: {' '.join(done.stderr.split())[-300:]}",
            "Set backup_pgbackrest_scheduler to cron or none where systemd does not run.",
        )
