# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of a question to the gates, and the words it knows."""

from __future__ import annotations

from typing import Any, Dict, List

from .._ledger.spec import KEYS_SPEC
from ..database import DATABASE_SPEC
from ..errors import ConfigurationError
from ..ledger import SIGNING_SPEC
from ..storage import STORAGE_SPEC
from ..words import printable

#: What can hold a procedure.
GATES = ("market", "freeze", "trading_state", "backup", "findings", "error_budget")
#: Those that end by themselves at a known time.
TIMED = ("market", "freeze")

#: Orders that may rest at a venue while the platform is worked on.
RESTING = ("gtc", "gtd")

VENUE_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "calendar": {"type": "str"},
    "quiet": {"type": "dict"},
}
FREEZE_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "from": {"type": "raw", "required": True},
    "until": {"type": "raw"},
    "timezone": {"type": "str", "default": "UTC"},
    "reason": {"type": "str", "default": ""},
}
ACKNOWLEDGED_SPEC: Dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "host": {"type": "str"},
    "reason": {"type": "str", "required": True},
    "until": {"type": "raw", "required": True},
}

SPEC: Dict[str, Any] = {
    "procedure": {"type": "str", "required": True},
    "gates": {"type": "list", "elements": "str", "required": True, "choices": list(GATES)},
    "environment_name": {"type": "str", "required": True},
    "storage": {"type": "dict", "options": STORAGE_SPEC},
    "evidence": {"type": "dict", "options": SIGNING_SPEC},
    "database": {"type": "dict", "options": DATABASE_SPEC},
    "duration": {"type": "int", "default": 3600},
    "days": {"type": "int", "default": 14},
    "timezone": {"type": "str", "default": "UTC"},
    "venues": {"type": "list", "elements": "dict", "default": [], "options": VENUE_SPEC},
    "calendars": {"type": "dict", "default": {}},
    "before_open": {"type": "int", "default": 1800},
    "after_close": {"type": "int", "default": 900},
    "freezes": {"type": "list", "elements": "dict", "default": [], "options": FREEZE_SPEC},
    "resting_orders": {"type": "list", "elements": "str", "default": [], "choices": list(RESTING)},
    "pending_transactions": {"type": "bool", "default": False},
    "daily_age": {"type": "int", "default": 93600},
    "acknowledged": {"type": "list", "elements": "dict", "default": [], "options": ACKNOWLEDGED_SPEC},
    "backup_engines": {
        "type": "list",
        "elements": "str",
        "default": ["logical"],
        "choices": ["logical", "pgbackrest"],
    },
    "backup_age": {"type": "int", "default": 93600},
    "backup_proven_days": {"type": "float", "default": 8},
    "availability_objective": {"type": "float", "default": 99.9},
    "availability_days": {"type": "int", "default": 30},
    "availability_age": {"type": "int", "default": 172800},
    "downtime": {"type": "int", "default": 0},
    "clock_tolerance": {"type": "int", "default": 60},
    "override": {"type": "list", "elements": "str", "default": [], "choices": list(GATES)},
    "reason": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 60},
}


def settled(given: Dict[str, Any]) -> Dict[str, Any]:
    """The options with their defaults, for those who ask from Python.

    :raises ConfigurationError: an option makes no sense
    """
    extra = sorted(set(given) - set(SPEC))
    if extra:
        raise ConfigurationError(f"The gates have no option {', '.join(extra)}.", "Correct it.")
    options = {name: given.get(name, entry.get("default")) for name, entry in SPEC.items()}
    for name in ("gates", "override"):
        strange = [printable(each, 40) for each in options[name] or [] if each not in GATES]
        if strange:
            text = f"There is no gate {', '.join(strange)}."
            raise ConfigurationError(text, f"Use {', '.join(GATES)} (maintenance_window_{name}).")
    if options["override"] and not options["reason"].strip():
        raise ConfigurationError(
            f"Overriding {', '.join(options['override'])} needs a reason, which goes on the record.",
            "Set maintenance_window_reason to why it cannot wait.",
        )
    if options["override"] and not evidence_of(options):
        raise ConfigurationError(
            "A gate is overridden on the record only, and there is no ledger.", "Configure tradingflow_evidence."
        )
    at_least = {"duration": 1, "days": 1, "before_open": 0, "after_close": 0, "daily_age": 1, "backup_age": 1}
    at_least.update(downtime=0, availability_days=1, availability_age=1, clock_tolerance=1, timeout=1)
    for name, least in at_least.items():
        if options[name] < least:
            raise ConfigurationError(f"{name} is {options[name]}: at least {least} is needed.", "Correct it.")
    if options["days"] > 90:
        raise ConfigurationError("days is more than 90: no calendar is that sure.", "Lower it.")
    if not 0 < options["availability_objective"] < 100:
        text = f"The objective {options['availability_objective']} % is not between 0 and 100."
        raise ConfigurationError(text, "Correct maintenance_window_availability_objective.")
    return options


def evidence_of(options: Dict[str, Any]) -> Dict[str, Any]:
    """The keys of the ledger, empty when there is none."""
    given = {name: value for name, value in (options["evidence"] or {}).items() if value}
    return given if KEYS_SPEC.keys() & given.keys() else {}


def names(gates: List[str]) -> str:
    """Gates for people."""
    return ", ".join(gate.replace("_", " ") for gate in gates)
