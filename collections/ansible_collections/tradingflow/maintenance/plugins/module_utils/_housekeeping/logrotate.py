# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""logrotate: what it is asked, and what its configuration says."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from .._work.asked import asked
from ..errors import ConfigurationError, HousekeepingError
from ..words import printable

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_PERIODS = {"hourly": 1 / 24, "weekly": 7.0, "monthly": 31.0, "yearly": 366.0, "daily": 1.0}
_SCRIPTS = ("postrotate", "prerotate", "firstaction", "lastaction", "preremove")
#: Names that logrotate leaves out of a folder of its configuration (tabooext of logrotate.conf(5)).
_TABOO = re.compile(
    r"(?:,v|\.(?:bak|cfsaved|disabled|dpkg-(?:bak|del|dist|new|old|tmp)|rpm(?:new|orig|save)|swp|ucf-(?:dist|new|old)))$|~$"
)
_COPIES = {"copytruncate": True, "nocopytruncate": False}
#: What begins a path, and the words of a line.
_PATHS = ("/", "~", '"', "'")
_TOKEN = re.compile(r"""#.*|"[^"]*"?|'[^']*'?|[{}]|[^\s{}="']+""")
_FREQUENCIES = ("hourly", "daily", "weekly", "monthly")
_WORD = re.compile(r"[A-Za-z0-9_.-]+")
#: In a path of the configuration these would be more than a path.
_NO_PATH = re.compile(r"[\s{}\"'#\\]")


class Told(NamedTuple):
    """What logrotate says of its configuration without doing anything.

    :param periods: log to days between rotations; None where it goes by size
    :param errors: what it complains of. Its exit status is 0 also after an option that it does not know.
    """

    periods: Dict[str, Any]
    errors: List[str]


def told(program: str, config: str, state: str, environment: Dict[str, str]) -> Told:
    """Has logrotate read a configuration.

    :raises HousekeepingError: it cannot be run
    """
    try:
        answer = asked([program, "-d", "-s", state, config], {**_ENVIRONMENT, **environment}, 300)
    except (OSError, TimeoutError) as error:
        raise HousekeepingError(
            f"logrotate cannot be asked: {error}.",
            "Install logrotate; where others rotate, set housekeeping_rotation and housekeeping_rotated to [].",
        ) from None
    periods: Dict[str, Any] = {}
    errors: List[str] = []
    period = None
    for line in (answer.output + answer.messages).decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("rotating pattern: "):
            period = _period(line)
        elif line.startswith("considering log "):
            periods[line[len("considering log ") :]] = period
        elif line.startswith("error: "):
            errors.append(printable(line[len("error: ") :], 300))
    if answer.status and not errors:
        errors.append(f"it ended with status {answer.status}")
    return Told(periods, errors)


def _period(line: str) -> Any:
    match = re.search(r"\s(?:after (\d+) days|(hourly|daily|weekly|monthly|yearly))\b[^/]*$", line)
    if not match:
        return None
    return float(match[1]) if match[1] else _PERIODS[match[2]]


def files(config: str) -> Iterator[Tuple[str, str]]:
    """The files of a configuration with their text.

    :raises OSError: one cannot be read
    """
    waiting, seen = [config], set()
    while waiting:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
        yield path, text
        for word in re.findall(r"^\s*include\s+(\S+)", text, re.MULTILINE):
            if os.path.isdir(word):
                inside = [os.path.join(word, each) for each in sorted(os.listdir(word)) if not _TABOO.search(each)]
                waiting += [each for each in inside if os.path.isfile(each)]
            elif os.path.isfile(word):
                waiting.append(word)


def copied(path: str, text: str) -> List[str]:
    """Where a file has logs copied and cut off instead of renamed: what is written in between is lost.

    Blocks may stand on one line, and begin with what was said for all logs before them.
    """
    found: List[str] = []
    head: List[str] = []
    every = mine = inside = script = everywhere = False
    for line in text.splitlines():
        if script:
            script = line.split()[:1] != ["endscript"]
            continue
        words = _TOKEN.findall(line)
        # Arguments of an option may look like paths.
        paths = not inside and bool(words) and words[0].startswith(_PATHS)
        for word in words:
            if word.startswith("#"):
                break
            if word == "{":
                inside, paths, mine = True, False, every
            elif word == "}":
                if mine and not everywhere:
                    found.append(f"{path}: {' '.join(head)}")
                inside, head = False, []
            elif paths:
                head.append(word)
            elif word in _SCRIPTS:
                script = True
            elif word in _COPIES and inside:
                mine = _COPIES[word]
            elif word in _COPIES:
                every = _COPIES[word]
            # For all logs that come after it, those of other files among them.
            everywhere = everywhere or (every and (inside or word == "include"))
    return [f"{path}: all logs", *found] if everywhere or every else found


def text_of(config: Dict[str, Any]) -> str:
    """A configuration that this collection manages, for one group of logs.

    :raises ConfigurationError: it would be another one than was meant
    """
    name, paths = config["name"], config["paths"]
    if not _WORD.fullmatch(name) or _TABOO.search(name) or name.startswith("."):
        raise _wrong(f"{printable(name)} is no name of a file for logrotate.")
    for path in paths:
        if not path.startswith("/") or _NO_PATH.search(path):
            raise _wrong(f"{printable(path)} is no path that logrotate understands as it is.")
    if not paths or config["frequency"] not in _FREQUENCIES or config["keep"] < 1:
        raise _wrong(f"{name}: paths, frequency and keep are needed.")
    create = " ".join(config["create"].split())
    if not re.fullmatch(r"0[0-7]{3} [A-Za-z0-9_.-]+ [A-Za-z0-9_.-]+", create):
        raise _wrong(f"{name}: create is a mode, a user and a group, such as 0640 www-data adm.")
    lines = [
        "# Managed by TradingFlow Maintenance (role housekeeping); changes here are undone.",
        *paths,
        "{",
        f"    {config['frequency']}",
        f"    rotate {config['keep']}",
        "    missingok",
        "    notifempty",
        "    compress",
        # The program may write to the old file until it has opened the new one.
        "    delaycompress",
        "    nocopytruncate",
        f"    create {create}",
        "    sharedscripts",
    ]
    if config.get("maximum_size"):
        if not re.fullmatch(r"\d+[kMG]?", config["maximum_size"]):
            raise ConfigurationError(f"{name}: maximum_size is such as 100M.")
        lines.append(f"    maxsize {config['maximum_size']}")
    if config.get("su"):
        if not re.fullmatch(r"[A-Za-z0-9_.-]+ [A-Za-z0-9_.-]+", config["su"]):
            raise _wrong(f"{name}: su is a user and a group.")
        lines.append(f"    su {config['su']}")
    reopen = config["reopen"].strip()
    if not reopen or "endscript" in reopen:
        raise ConfigurationError(
            f"{name}: reopen is needed, a command that makes the program open the new file.",
            "Correct housekeeping_rotation.",
        )
    lines += ["    postrotate", *(f"        {line.strip()}" for line in reopen.splitlines()), "    endscript", "}", ""]
    return "\n".join(lines)


def _wrong(message: str) -> ConfigurationError:
    return ConfigurationError(message, "Correct housekeeping_rotation.")
