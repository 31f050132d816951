"""Ours in processes of its own: python -m tests.bench.tuning_contender WHAT FILE."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.temporary import Cleaner
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning import apply, engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.options import SPEC


def _options(path: str, **more: Any) -> dict[str, Any]:
    given = {**json.loads(Path(path).read_text(encoding="utf-8")), **more}
    found = ArgumentSpecValidator(SPEC).validate(given)
    if found.error_messages:
        raise RuntimeError(str(found.error_messages))
    options: dict[str, Any] = found.validated_parameters
    return options


def analyse(path: str) -> None:
    """A whole analysis."""
    checks = {check.id: check for check in engine.analyse(_options(path), lambda id: {}).checks}
    for name in ("unused_indexes", "duplicate_indexes"):
        if "advice" not in checks[f"tuning.{name}"].details:
            raise RuntimeError(checks[f"tuning.{name}"].message)


def plan(path: str) -> None:
    """The plan that is to be approved; its digest beside it."""
    options = _options(path)
    made = engine.analyse(options, lambda id: {}).plan
    kinds = [(one["kind"], one["name"]) for one in made["operations"]]
    if kinds != [("reindex", "heap_n")]:
        raise RuntimeError(f"It plans {kinds}.")
    (Path(options["plans"]) / "newest").write_text(made["digest"], encoding="utf-8")


def rebuild(path: str) -> None:
    """What was approved."""
    outcome = apply.carry_out(_options(path, action="apply"))
    if [one["state"] for one in outcome.results] != ["done"]:
        raise RuntimeError(str(outcome.results))


def _cleaner(folder: str) -> Cleaner:
    given = {"days": 10, "quarantine_days": 0, "owners": [], "names": ["*"], "keep": [], "reads": True}
    # A ctime cannot be set: it is made eleven days later.
    return Cleaner({"path": folder, **given}, 5000, 2000000, lambda: time.time() + 11 * 86400)


def clean(folder: str) -> None:
    """Listed, and taken away."""
    made = _cleaner(folder)
    done = made.apply([item["token"] for item in made.plan()["items"]])["done"]
    if len(done["removed"]) != 1000:
        raise RuntimeError(str({name: rows[:3] for name, rows in done.items() if isinstance(rows, list)}))


def listed(folder: str) -> None:
    """Only listed."""
    if len(_cleaner(folder).plan()["items"]) != 1000:
        raise RuntimeError("It lists another number.")


if __name__ == "__main__":
    {"analyse": analyse, "plan": plan, "rebuild": rebuild, "clean": clean, "list": listed}[sys.argv[1]](sys.argv[2])
