"""Which bundles are asked for their locks when there are very many: none is left out for long, and it is said."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import findings, locks


@pytest.mark.parametrize("newest", [1, 120, 121, 600])
def test_each_bundle_is_asked_every_time(newest: int) -> None:
    assert locks.chosen(newest) == list(range(newest, 0, -1))


@pytest.mark.parametrize("newest", [601, 900, 901, 5000])
def test_of_very_many_older_ones_each_has_its_turn(newest: int) -> None:
    each = [locks.chosen(number) for number in range(newest, newest + 40)]
    for number, found in enumerate(each, newest):
        assert found[:600] == list(range(number, number - 600, -1))
        assert len(found) == len(set(found)) <= 901
    assert {*range(1, newest + 1)} <= {number for found in each for number in found}


@pytest.mark.parametrize(("looked_at", "says"), [(900, "900 bundles, each"), (700, "700 of 900 bundles, each locked")])
def test_what_was_not_asked_is_said(looked_at: int, says: str) -> None:
    told: dict[str, Any] = {"looked_at": looked_at, "bundles": 900, "lost": [], "lifted": [], "untold": []}
    (check,) = findings._locked({"locks": told})
    assert (check.status, says in check.message) == ("ok", True)
