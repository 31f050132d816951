"""What must have been done before a migration: by what stands in ledgers, and never by what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import required
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, StorageError

HERE = {"name": "tradingflow", "system_identifier": "7"}
PENDING = [
    {"revision": "a1", "digest": "1", "digest_of": "sql"},
    {"revision": "b2", "digest": "2", "digest_of": "source"},
]
LOCK = {"on": "public.orders", "mode": "AccessExclusiveLock", "seconds": 1.5}


def plan() -> dict[str, Any]:
    return {"database": dict(HERE), "pending": [dict(each) for each in PENDING], "refusals": []}


def options(**others: Any) -> dict[str, Any]:
    return {
        "environment_name": "production",
        "storage": {"bucket": "production"},
        "evidence": {"trusted_key_files": ["ours.pub"]},
        "requires": {
            "rehearsal": True,
            "environment": {"name": "staging", "storage": {"bucket": "staging"}, "trusted_key_files": ["theirs.pub"]},
        },
        "overrides": [],
        "reason": None,
        **others,
    }


def migration(done: list[str], revisions: list[dict[str, Any]] = PENDING, **others: Any) -> dict[str, Any]:
    return {
        "state": "ended",
        "from": ["a0"],
        "problem": None,
        "refused": [],
        "worst_status": "ok",
        "revisions": revisions,
        "done": [{"revision": name} for name in done],
        **others,
    }


def rehearsal(**others: Any) -> dict[str, Any]:
    budget = {"done": True, "seconds": 2.0, "locks": [LOCK]}
    revisions = [{**each, **budget} for each in PENDING]
    return {"database": HERE, "revisions": revisions, "blocked_seconds": 0.5, "recovery_point": "p", **others}


ALL = migration(["a1", "b2"])


class Ledgers:
    """Contents by environment, newest first; None for a record that does not verify."""

    def __init__(self, **contents: list[dict[str, Any] | None]) -> None:
        self.contents: dict[str, Any] = dict(contents)
        self.asked: list[tuple[str, Any, Any]] = []

    def backwards(self, store: Any, keys: Any, environment: str, most: int) -> Iterator[tuple[int, Any]]:
        self.asked.append((environment, store.bucket, keys))
        if environment not in self.contents:
            raise StorageError("The store does not answer.")
        for number, content in enumerate(self.contents[environment]):
            kind = "migration" if environment == "staging" else "rehearsal"
            record = SimpleNamespace(
                predicate={"kind": kind, "content": content, "recorded_at": f"2026-11-2{9 - number}T10:00:00Z"}
            )
            yield 9 - number, record if content is not None else None


@pytest.fixture
def ledgers(monkeypatch: pytest.MonkeyPatch) -> Ledgers:
    """Both ledgers say that all was done."""
    made = Ledgers(staging=[ALL], production=[rehearsal()])
    monkeypatch.setattr(required, "backwards", made.backwards)
    monkeypatch.setattr(required, "trusted", lambda evidence: evidence["trusted_key_files"])
    monkeypatch.setattr(required, "Store", lambda storage, environment, pool: SimpleNamespace(bucket=storage["bucket"]))
    return made


def judged(**others: Any) -> tuple[dict[str, str], dict[str, Any], dict[str, str]]:
    """Statuses by id, the plan, and messages by id."""
    given = plan()
    checks = required.judged(given, options(**others))
    return {check.id: check.status for check in checks}, given, {check.id: check.message for check in checks}


def test_all_is_on_record(ledgers: Ledgers) -> None:
    statuses, given, messages = judged()
    assert statuses == {"migration.required:rehearsal": "ok", "migration.required:environment": "ok"}
    assert (given["refusals"], given["overridden"]) == ([], [])
    # Each ledger in its own store and by its own keys.
    assert sorted(ledgers.asked) == [
        ("production", "production", ["ours.pub"]),
        ("staging", "staging", ["theirs.pub"]),
    ]
    message = messages["migration.required:rehearsal"]
    assert "4 s for 2 revisions" in message.replace("\xa0", " ")
    assert "AccessExclusiveLock on public.orders" in message


@pytest.mark.parametrize(
    ("staging", "words"),
    [
        ([], "staging has no migration on record"),
        ([migration(["a1"])], "has not carried out b2 with this SQL"),
        ([migration(["a1", "b2"], [PENDING[0], {**PENDING[1], "digest": "3"}])], "has not carried out b2"),
        ([migration(["a1", "b2"], [PENDING[0], {**PENDING[1], "digest_of": "sql"}])], "has not carried out b2"),
        ([migration(["a1", "b2"], problem="It broke.")], "did not end well"),
        ([migration(["a1", "b2"], refused=["heads"])], "did not end well"),
        ([migration(["a1", "b2"], worst_status="unknown")], "did not end well"),
        ([migration(["a1", "b2"], worst_status="critical")], "did not end well"),
        ([migration(["a1", "b2"], worst_status="fine")], "did not end well"),
        ([{"state": "begun", "revisions": PENDING, "from": ["a0"]}, ALL], "did not end well"),
        # What the record said that does not verify, nobody knows; also where the next one says what is wanted.
        ([None, ALL], "is not known: Record 9 of staging's ledger"),
        (None, "is not known: The store does not answer."),
    ],
)
def test_what_staging_has_not_done_well_is_refused(
    ledgers: Ledgers, staging: list[dict[str, Any] | None] | None, words: str
) -> None:
    ledgers.contents = {"production": [rehearsal()]} | ({} if staging is None else {"staging": staging})
    statuses, given, messages = judged()
    assert statuses["migration.required:environment"] == "critical"
    assert words in messages["migration.required:environment"]
    assert [refusal["name"] for refusal in given["refusals"]] == ["required_environment"]
    assert "Migrate staging first" in given["refusals"][0]["remedy"]


def test_one_revision_at_a_time_and_after_a_kill(ledgers: Ledgers) -> None:
    one, other = [PENDING[0]], [PENDING[1]]
    ledgers.contents["staging"] = [migration(["b2"], other), migration(["a1"], one)]
    assert judged()[0]["migration.required:environment"] == "ok"
    # What is older than what is looked for is nobody's business.
    ledgers.contents["staging"] = [ALL, None]
    assert judged()[0]["migration.required:environment"] == "ok"
    # A failure in between that was put right since, and what it had carried out before counts.
    ledgers.contents["staging"] = [migration(["b2"], other), migration(["a1"], PENDING, problem="It broke.")]
    assert judged()[0]["migration.required:environment"] == "ok"
    # A killed one got as far as the next one found it, and no further.
    killed = {"state": "begun", "revisions": PENDING, "from": ["a0"]}
    ledgers.contents["staging"] = [migration(["b2"], other, **{"from": ["a1"]}), killed]
    assert judged()[0]["migration.required:environment"] == "ok"
    ledgers.contents["staging"] = [migration(["b2"], other, **{"from": ["elsewhere"]}), killed]
    assert judged()[0]["migration.required:environment"] == "critical"
    ledgers.contents["staging"] = [migration([], [], **{"from": ["b2"]}), killed]
    assert judged()[0]["migration.required:environment"] == "ok"


def test_an_environment_does_not_go_before_itself(ledgers: Ledgers) -> None:
    asked = options()["requires"]
    asked["environment"]["name"] = "production"
    assert judged(requires=asked)[0]["migration.required:environment"] == "critical"


@pytest.mark.parametrize(
    ("production", "words", "elsewhere"),
    [
        # Where nobody asks for one, having none is no trouble: a warning that is always there is read by nobody.
        ([], "Not rehearsed with this SQL: a1, b2", "ok"),
        ([rehearsal(database={**HERE, "system_identifier": "8"})], "Not rehearsed with this SQL", "ok"),
        ([rehearsal(revisions=[{**PENDING[0], "done": True, "seconds": 1.0}])], "with this SQL: b2", "ok"),
        (
            [rehearsal(revisions=[{**each, "done": False} for each in PENDING]), rehearsal()],
            "rehearsal failed: a1, b2",
            "warning",
        ),
        # It failed before it came to b2.
        ([rehearsal(revisions=[{**PENDING[0], "done": False}])], "rehearsal failed: a1", "warning"),
        ([None, rehearsal()], "is not known", "warning"),
        (None, "is not known", "warning"),
    ],
)
def test_without_a_rehearsal_it_is_refused_where_one_is_required(
    ledgers: Ledgers, production: list[dict[str, Any] | None] | None, words: str, elsewhere: str
) -> None:
    ledgers.contents = {"staging": [ALL]} | ({} if production is None else {"production": production})
    statuses, given, messages = judged()
    assert statuses["migration.required:rehearsal"] == "critical"
    assert words in messages["migration.required:rehearsal"]
    assert [refusal["name"] for refusal in given["refusals"]] == ["required_rehearsal"]
    statuses, given, messages = judged(requires=None)
    assert statuses == {"migration.required:rehearsal": elsewhere}
    assert words in messages["migration.required:rehearsal"]
    assert ("None is required here" in messages["migration.required:rehearsal"]) is (elsewhere == "ok")
    assert given["refusals"] == []


@pytest.mark.parametrize(
    ("others", "passes"),
    [
        ({"overrides": ["environment"], "reason": "venue moves"}, True),
        ({"overrides": ["environment"], "reason": " "}, False),
        ({"overrides": ["environment"], "reason": None}, False),
        # Another one's override, and one that nobody could put on record.
        ({"overrides": ["rehearsal"], "reason": "venue moves"}, False),
        ({"overrides": ["environment"], "reason": "venue moves", "evidence": {}}, False),
    ],
)
def test_break_glass_takes_a_reason_and_a_ledger(ledgers: Ledgers, others: dict[str, Any], passes: bool) -> None:
    ledgers.contents["staging"] = []
    statuses, given, messages = judged(**others)
    refused = "required_environment" in {refusal["name"] for refusal in given["refusals"]}
    assert refused is not passes
    assert given["overridden"] == (["environment"] if passes else [])
    if passes:
        assert statuses["gate.overridden:required_environment"] == "warning"
        assert "venue moves" in messages["gate.overridden:required_environment"]


def test_nothing_is_asked_when_nothing_is_pending(ledgers: Ledgers) -> None:
    given = {**plan(), "pending": []}
    assert required.judged(given, options()) == []
    assert (given["overridden"], ledgers.asked) == ([], [])


@pytest.mark.parametrize("others", [{}, {"requires": None, "overrides": ["environment"]}])
def test_what_is_required_is_not_silently_left_out(others: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="in check mode only"):
        required.must_be_planned(options(**others))
    required.must_be_planned(options(requires=None))


def done(*seconds: float) -> dict[str, Any]:
    """A migration that took so long for each revision, and waited besides."""
    rows = [
        {"revision": each["revision"], "ended": "done", "seconds": took + 60.0, "waited": 60.0}
        for each, took in zip(PENDING, seconds, strict=False)
    ]
    failed = {"revision": "a1", "ended": "failed", "seconds": 99.0, "waited": 0}
    return {**plan(), "done": [{"revision": row["revision"]} for row in rows], "timeline": [*rows, failed]}


@pytest.mark.parametrize(
    ("took", "status", "words"),
    [
        # Waits are others' fault, and what failed was done again.
        ((2.0, 3.0), "ok", "5 s, in the rehearsal for 5 s"),
        ((2.0, 8.0), "ok", "b2: 8 s and 3 s"),
        ((2.0, 8.1), "warning", "b2: 8.1 s and 3 s"),
        ((2.0,), "ok", "2 s, in the rehearsal for 2 s."),
    ],
)
def test_against_the_rehearsal(ledgers: Ledgers, took: tuple[float, ...], status: str, words: str) -> None:
    budget = [{**each, "done": True, "seconds": 9.0, "work_seconds": 2.0 + n} for n, each in enumerate(PENDING)]
    ledgers.contents["production"] = [rehearsal(revisions=budget)]
    (check,) = required.within(done(*took), options())
    assert (check.status, check.id) == (status, "migration.budget")
    assert words in check.message.replace("\xa0", " ")


def test_against_no_rehearsal_nothing_is_said(ledgers: Ledgers) -> None:
    # One from before there was a number to compare with, none, and nothing that was done.
    assert required.within(done(1.0), options()) == []
    assert required.within(done(), options()) == []
    ledgers.contents["production"] = []
    assert required.within(done(1.0), options()) == []


@pytest.mark.parametrize(
    ("recorded", "same"),
    [
        (HERE, True),
        ({**HERE, "system_identifier": 7}, True),
        ({**HERE, "system_identifier": None}, True),
        ({**HERE, "system_identifier": "8"}, False),
        ({**HERE, "name": "other"}, False),
        (None, False),
    ],
)
def test_whose_rehearsal_it_is(ledgers: Ledgers, recorded: Any, same: bool) -> None:
    ledgers.contents["production"] = [rehearsal(database=recorded)]
    assert required.rehearsal_done(plan(), options()).met is same
