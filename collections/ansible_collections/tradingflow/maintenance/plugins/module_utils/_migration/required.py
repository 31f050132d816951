# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must have been done before: another environment's migration, and a rehearsal, of the very same SQL."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from .._ledger.places import Store
from .._ledger.points import trusted
from .._ledger.record import Record
from .._ledger.spec import KEYS_SPEC
from .._ledger.walk import backwards
from ..checks import CRITICAL, OK, WARNING, Check
from ..errors import ConfigurationError, EvidenceError, MaintenanceError
from ..words import plural, span
from .rehearsed import locks_told
from .timeline import at_work

ENVIRONMENT, REHEARSAL = "environment", "rehearsal"
#: So much longer than rehearsed, and so many seconds more, is worth a warning.
_OVER, _MORE = 2.0, 2.0
#: Records that are looked at: a daily writes two or three.
_MOST = 2000
_REMEDY = {
    ENVIRONMENT: "Migrate {name} first, or break the glass: migration_overrides: [environment], migration_reason.",
    REHEARSAL: "Rehearse it (playbooks/rehearse.yml), or break the glass: migration_overrides: [rehearsal],"
    " migration_reason.",
}

#: A revision, the digest of what it runs, and of what that is one.
Key = Tuple[str, str, str]


class Answer(NamedTuple):
    """Whether something was done before.

    :param met: whether all of it is on record; what could not be read is not
    :param text: what was found, or what is missing
    :param never: it was read, and nobody has done it: where nobody asks for it, that is no trouble
    """

    met: bool
    text: str
    details: Dict[str, Any]
    never: bool = False


def _key(entry: Dict[str, Any]) -> Key:
    return (str(entry.get("revision")), str(entry.get("digest")), str(entry.get("digest_of")))


def _records(storage: Dict[str, Any], environment: str, evidence: Dict[str, Any]) -> Iterator[Record]:
    """Records of a ledger, newest first.

    :raises MaintenanceError: it cannot be read, or one of them does not verify: what it said, nobody knows
    """
    if not any(evidence.get(key) for key in KEYS_SPEC):
        raise ConfigurationError("There are no keys to read the ledger by.", "Set migration_evidence.")
    for number, record in backwards(Store(storage, environment, pool=16), trusted(evidence), environment, _MOST):
        if record is None:
            raise EvidenceError(f"Record {number} of {environment}'s ledger is missing or does not verify.")
        yield record


def environment_done(plan: Dict[str, Any], args: Dict[str, Any]) -> Answer:
    """Whether the environment that goes first has carried out all that is pending here, and well.

    :param args: of the module: requires, storage, evidence, environment_name
    """
    required = args["requires"]["environment"]
    name = required["name"]
    keys = {"trusted_key_files": required["trusted_key_files"]} if required["trusted_key_files"] else args["evidence"]
    try:
        if name == args["environment_name"]:
            raise ConfigurationError(f"migration_requires.environment is {name} itself.")
        records = (each.predicate for each in _records(required["storage"] or args["storage"], name, keys or {}))
        wanted = {_key(entry) for entry in plan["pending"]}
        done, newest = carried_out((each for each in records if each["kind"] == "migration"), wanted)
    except MaintenanceError as error:
        return Answer(False, f"Whether {name} had it first is not known: {error.message}", {})
    missing = [entry["revision"] for entry in plan["pending"] if _key(entry) not in done]
    if newest is None:
        return Answer(False, f"{name} has no migration on record.", {})
    if not newest[1]:
        return Answer(False, f"The newest migration of {name}, of {newest[0]}, did not end well.", {})
    if missing:
        return Answer(False, f"{name} has not carried out {', '.join(missing)} with this SQL.", {"missing": missing})
    return Answer(True, f"{name} carried all of it out, with the same SQL; its newest migration is of {newest[0]}.", {})


def carried_out(predicates: Iterable[Dict[str, Any]], wanted: Set[Key]) -> Tuple[Set[Key], Optional[Tuple[str, bool]]]:
    """Revisions that are whole by a ledger's migrations, and when the newest was recorded and whether it ended well.

    :param predicates: of the records, newest first; older ones than are needed for what is wanted are not looked at
    """
    done: Set[Key] = set()
    newest: Optional[Tuple[str, bool]] = None
    later: List[str] = []
    for predicate in predicates:
        content = predicate["content"]
        if newest is None:
            newest = (str(predicate["recorded_at"]), _well(content))
        listed = [each for each in content.get("revisions") or [] if isinstance(each, dict)]
        if content.get("state") == "ended":
            whole = {each.get("revision") for each in content.get("done") or [] if isinstance(each, dict)}
        else:
            # It was killed: the next one began where it had come to.
            names = [each.get("revision") for each in listed]
            last = max((names.index(each) for each in later if each in names), default=-1)
            whole = set(names[: last + 1])
        done |= {_key(each) for each in listed if each.get("revision") in whole}
        if wanted <= done:
            break
        later = [str(each) for each in content.get("from") or []]
    return done, newest


def _well(content: Dict[str, Any]) -> bool:
    return (
        content.get("state") == "ended"
        and content.get("problem") is None
        and not content.get("refused")
        and content.get("worst_status") in (OK, WARNING)
    )


def rehearsal_done(plan: Dict[str, Any], args: Dict[str, Any]) -> Answer:
    """Whether all that is pending was rehearsed on a copy of this database, and what it took there."""
    wanted = {_key(entry): entry["revision"] for entry in plan["pending"]}
    found: Dict[Key, Dict[str, Any]] = {}
    try:
        for record in _records(args["storage"], args["environment_name"], args["evidence"] or {}):
            content = record.predicate["content"]
            if record.predicate["kind"] == "rehearsal" and _same(content.get("database"), plan["database"]):
                _learn(found, wanted, record.predicate)
            if len(found) == len(wanted):
                break
    except MaintenanceError as error:
        return Answer(False, f"Whether it was rehearsed is not known: {error.message}", {})
    missing = [name for key, name in wanted.items() if key not in found]
    if missing:
        # What was rehearsed of it and failed is trouble, whatever is missing besides.
        failed = [each for each in found.values() if each.get("done") is not True]
        if failed:
            return _budget(failed)
        return Answer(False, f"Not rehearsed with this SQL: {', '.join(missing)}.", {"missing": missing}, never=True)
    return _budget(list(found.values()))


def _same(recorded: Any, database: Dict[str, Any]) -> bool:
    """Whether it is the same database, as far as both say: not everybody may read the identifier."""
    if not isinstance(recorded, dict) or recorded.get("name") != database["name"]:
        return False
    return None in (recorded.get("system_identifier"), database["system_identifier"]) or (
        str(recorded["system_identifier"]) == str(database["system_identifier"])
    )


def _learn(found: Dict[Key, Dict[str, Any]], wanted: Dict[Key, str], predicate: Dict[str, Any]) -> None:
    content = predicate["content"]
    for each in content.get("revisions") or []:
        # The newest counts; one that failed since then says that it fails now.
        if isinstance(each, dict) and _key(each) in wanted and _key(each) not in found:
            found[_key(each)] = {
                **each,
                "recorded_at": predicate["recorded_at"],
                "recovery_point": content.get("recovery_point"),
                "blocked_seconds": content.get("blocked_seconds"),
            }


def _budget(found: List[Dict[str, Any]]) -> Answer:
    failed = [str(each["revision"]) for each in found if each.get("done") is not True]
    if failed:
        return Answer(False, f"Its newest rehearsal failed: {', '.join(failed)}.", {"missing": failed})
    seconds = round(sum(float(each["seconds"]) for each in found), 3)
    locks = [lock for each in found for lock in each.get("locks") or []]
    oldest = min(str(each["recorded_at"]) for each in found)
    text = f"Rehearsed on {oldest}: {span(seconds)} for {plural(len(found), 'revision')}; {locks_told(locks)}."
    stopped = max(float(each["blocked_seconds"] or 0.0) for each in found)
    text += f" Others were stopped for {span(stopped)} there." if stopped else " Nobody was seen stopped there."
    names = (
        *("revision", "seconds", "work_seconds", "locks", "wal_bytes", "rewritten_bytes", "statements", "recorded_at"),
        "downgrade",
    )
    kept = [{name: each.get(name) for name in names} for each in found]
    return Answer(True, text, {"seconds": seconds, "stopped_seconds": stopped, "revisions": kept[:50]})


def must_be_planned(args: Dict[str, Any]) -> None:
    """Raises ConfigurationError when something is required of a migration that is not only planned.

    The ledgers are looked at when it is planned: not to look, and begin all the same, would be worse than to refuse.
    """
    if args["requires"] or args["overrides"]:
        raise ConfigurationError(
            "What is required is looked for in check mode only.",
            "Plan it with requires in check mode, then carry it out with expected_digest and without requires, as the"
            " role migration does.",
        )


def within(result: Dict[str, Any], args: Dict[str, Any]) -> List[Check]:
    """Whether what was carried out kept to what was rehearsed; nothing when nothing was.

    :param result: of engine.run
    """
    answer = rehearsal_done(result, args) if result["done"] else None
    if answer is None or not answer.met:
        return []
    rehearsed = {each["revision"]: each.get("work_seconds") for each in answer.details["revisions"]}
    took = {each["revision"]: at_work(result["timeline"], each["revision"]) for each in result["done"]}
    known = {name: float(rehearsed[name]) for name in took if isinstance(rehearsed.get(name), (int, float))}
    if not known:
        return []
    worst = max(known, key=lambda name: took[name] - known[name])
    total, expected = sum(took[name] for name in known), sum(known.values())
    text = f"Its statements were at work for {span(total)}, in the rehearsal for {span(expected)}"
    text += f"; {worst}: {span(took[worst])} and {span(known[worst])}." if len(known) > 1 else "."
    over = took[worst] > known[worst] * _OVER + _MORE
    remedy = "See in the timeline which: more rows, a busier or slower machine? Rehearse the next one on a newer copy."
    details = {"revisions": {name: {"seconds": took[name], "rehearsed_seconds": known[name]} for name in known}}
    return [
        Check(
            "migration.budget",
            "Against the rehearsal",
            WARNING if over else OK,
            round(total, 3),
            "s",
            message=text,
            remedy=remedy if over else "",
            details=details,
        )
    ]


def judged(plan: Dict[str, Any], args: Dict[str, Any]) -> List[Check]:
    """Checks of what must have been done before; what forbids the migration becomes a refusal of the plan.

    plan["overridden"] has what somebody passes by.
    """
    required = args["requires"] or {}
    plan["overridden"] = []
    if not plan["pending"]:
        return []
    answer = rehearsal_done(plan, args)
    must = bool(required.get("rehearsal"))
    checks = [_check(plan, args, REHEARSAL, "Rehearsal", answer, must)]
    if required.get("environment"):
        answer = environment_done(plan, args)
        checks.append(_check(plan, args, ENVIRONMENT, "Carried out elsewhere first", answer, True))
    return checks


def _check(plan: Dict[str, Any], args: Dict[str, Any], name: str, title: str, answer: Answer, must: bool) -> Check:
    id, reason = f"migration.required:{name}", (args["reason"] or "").strip()
    if answer.met:
        value = answer.details.get("seconds", True)
        unit = "s" if "seconds" in answer.details else ""
        return Check(id, title, OK, value, unit, message=answer.text, details=answer.details)
    first = ((args["requires"] or {}).get("environment") or {}).get("name", "")
    remedy = _REMEDY[name].replace("{name}", first)
    if not must and answer.never:
        text = f"None is required here (migration_requires). {answer.text} What it takes and locks is not known."
        return Check(id, title, OK, False, message=text, details={**answer.details, "required": False})
    if not must:
        text = f"{answer.text} What it takes and locks here is not known."
        return Check(id, title, WARNING, False, message=text, remedy=remedy, details=answer.details)
    if name in args["overrides"]:
        evidence = args["evidence"] or {}
        if reason and any(evidence.get(key) for key in KEYS_SPEC):
            plan["overridden"].append(name)
            text = f"Passed by: {answer.text} The reason: {reason}"
            held = {"reason": reason, "held": [answer.text]}
            # As the report shows a gate that is passed by: in red, wherever it is seen.
            return Check(f"gate.overridden:required_{name}", title, WARNING, False, message=text, details=held)
        remedy = "To break the glass takes a reason (migration_reason) and a ledger (migration_evidence)."
    plan["refusals"].append({"name": f"required_{name}", "message": answer.text, "remedy": remedy})
    return Check(id, title, CRITICAL, False, message=answer.text, remedy=remedy, details=answer.details)
