"""Options of the trading checks that make no sense are said so, before anything is measured."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import trading
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError


@pytest.mark.parametrize(
    "options",
    [
        {"cash_tolerance": "-1"},
        {"cash_tolerance": "NaN"},
        {"cash_tolerance": "Infinity"},
        {"cash_tolerance": "one"},
        {"tolerances": [{"instrument": "x", "price": "-0.1"}]},
        {"tolerances": [{"instrument": "x"}, {"instrument": "x"}]},
        {"calendars": {"desk": {"timezone": "Mars/Olympus", "sessions": {"mon": ["09:00", "17:00"]}}}},
        {"calendars": {"desk": {}}},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        trading.parameters({}, options)


def test_what_the_statements_get() -> None:
    limit = {"venue_statements": {"warning": 1.5, "critical": float("inf")}}
    given = trading.parameters(limit, {"tolerances": [{"instrument": "x", "price": "0.1"}]})
    assert given["stale"] == 1.5
    assert given["tolerances"] == '[{"instrument": "x", "price": "0.1"}]'
