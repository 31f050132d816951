"""A release, its Deployment and what its pods say, as plain data that tests change."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import measures, record, soak
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.live import Live
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.samples import Counters, Pod

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
START = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
BOUNDS = (0.1, 0.25, 1.0, float("inf"))


def defaults(spec: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Options as an action has them."""
    # It fills in what a spec has as a default.
    result = ArgumentSpecValidator(deepcopy(spec)).validate(given)
    assert not result.error_messages, result.error_messages
    return dict(result.validated_parameters)


def options(**given: Any) -> dict[str, Any]:
    return defaults(measures.SPEC, **given)


def wanted(**given: Any) -> dict[str, Any]:
    return defaults(soak.WANTED_SPEC, **given)


def buckets(*counts: float) -> list[list[Any]]:
    """A histogram of durations by bucket, not cumulative."""
    total, found = 0.0, []
    for bound, count in zip(BOUNDS, counts, strict=True):
        total += count
        found.append([bound if bound != float("inf") else "inf", total])
    return found


def pod(number: int = 0, requests: float = 0, errors: float = 0, **changed: Any) -> Pod:
    counters = Counters(requests, errors, buckets(requests, 0, 0, 0), 100e6)
    made = Pod(f"app-{number}", f"uid-{number}", NEW, True, 0, "2026-11-30T11:59:00Z", counters=counters)
    return replace(made, **changed)


def live(requests: float = 0, errors: float = 0, **changed: Any) -> Live:
    """Three pods that have answered so many requests each."""
    pods = [pod(number, requests, errors) for number in range(3)]
    return replace(Live(NEW, "template", {"ConfigMap/app": "1"}, 3, 7, pods), **changed)


BASELINE: dict[str, Any] = {
    "at": "2026-11-30T11:58:00Z",
    "pods": 3,
    "requests": 3000.0,
    "error_percent": 0.1,
    "p95": [0.0, 80.0, 100.0],
    "memory": 100e6,
    "kinds": {},
}


def release(**changed: Any) -> record.Release:
    """One that is verified and soaks."""
    made = record.new(
        "local", "app", "staging", "app", "app", tag="v2", image="registry/app", digest=NEW, previous=None,
        actor="ops", run_id="run", now=START - timedelta(minutes=1),
    )  # fmt: skip
    made.verified_at, made.baseline = record.text_of(START), dict(BASELINE)
    made.becomes(record.SOAKING, "It is verified.", at=made.verified_at)
    return replace(made, **changed)


class Soak:
    """A soak whose ticks come every so many seconds."""

    def __init__(self, made: record.Release | None = None, **needs: Any) -> None:
        self.release = made or release()
        self.now = START
        self.requests = 1000.0
        self.errors = 0.0
        self.wanted = wanted(**needs)
        self.options = options()

    def tick(
        self, after: float = 300, requests: float = 100, errors: float = 0, seen: Live | None = None, **how: Any
    ) -> soak.Tick:
        self.now += timedelta(seconds=after)
        self.requests, self.errors = self.requests + requests, self.errors + errors
        found = how.pop("live", seen or live(self.requests, self.errors))
        return soak.tick(self.release, found, self.now, self.wanted, self.options, **how)

    @property
    def counted(self) -> float:
        return float(self.release.soak["counted"])
