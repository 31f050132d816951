# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of retention."""

from __future__ import annotations

from typing import Any, Dict

from ..errors import ConfigurationError
from ..ledger import SIGNING_SPEC
from ..storage import STORAGE_SPEC
from .rules import PROVEN, RULES, VERIFIED, effective

ENGINES = ("logical", "pgbackrest")

#: Where pgBackRest's backups are, in the same bucket.
REPOSITORY_SPEC: Dict[str, Any] = {
    "stanza": {"type": "str", "required": True},
    "repository_path": {"type": "str", "required": True},
}

#: Argument spec of the module recovery_point_retention, without "run".
SPEC: Dict[str, Any] = {
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "environment_name": {"type": "str", "required": True},
    "evidence": {"type": "dict", "options": SIGNING_SPEC},
    "rules": {"type": "dict", "default": {}, "options": {name: {"type": "int"} for name in RULES}},
    "rules_by_engine": {
        "type": "dict",
        "options": {
            engine: {"type": "dict", "options": {name: {"type": "int"} for name in RULES}} for engine in ENGINES
        },
    },
    "repository": {"type": "dict", "options": REPOSITORY_SPEC},
    "require": {"type": "str", "default": PROVEN, "choices": [PROVEN, VERIFIED]},
    "hold": {"type": "list", "elements": "str", "default": []},
    "unfinished_days": {"type": "int", "default": 7},
    "keep_versions": {"type": "bool", "default": False},
    "files_password": {"type": "str", "no_log": True},
    "files_repository": {"type": "str"},
    "artifacts_dir": {"type": "path", "default": "artifacts"},
}


def check(options: Dict[str, Any]) -> None:
    """Whether the options make sense.

    :raises ConfigurationError: one does not
    """
    given = [options["rules"], *filter(None, (options["rules_by_engine"] or {}).values())]
    for name, value in (pair for rules in given for pair in rules.items()):
        if value is not None and not 0 <= value <= 36500:
            raise ConfigurationError(
                f"The retention rule {name} is {value}.",
                "Set a whole number, or leave the rule out (backup_retention).",
            )
    if options["unfinished_days"] < 1:
        raise ConfigurationError(
            f"backup_retention_unfinished_days is {options['unfinished_days']}: a backup under way would be deleted.",
            "Set it to 1 or more.",
        )


def by_engine(options: Dict[str, Any]) -> Dict[str, Any]:
    """Rules of the engines that have their own."""
    return {engine: rules for engine, rules in (options["rules_by_engine"] or {}).items() if rules is not None}


def effective_rules(options: Dict[str, Any]) -> Dict[str, Any]:
    """All rules that keep something, for people and for the ledger; empty when there are none."""
    own = {engine: effective(rules) for engine, rules in sorted(by_engine(options).items())}
    return {**effective(options["rules"]), **{engine: rules for engine, rules in own.items() if rules}}
