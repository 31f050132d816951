# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Feature flags: of the environment, or of a flag server, each with its value and OpenFeature's reason for it."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Mapping
from typing import Any

#: What the code does when nobody says otherwise.
DEFAULTS: dict[str, Any] = {"newFeature": False, "riskModel": "v1"}
#: FEATURE_FLAGS is a JSON object; FEATURE_<name> is one flag, as JSON or a plain word.
WHOLE, ONE = "FEATURE_FLAGS", "FEATURE_"
#: The address of a flag server (OFREP). With one the environment is only what holds while it does not answer.
SERVER = "FEATURE_FLAG_SERVER"
_TIMEOUT = 1.0


def flags(environment: Mapping[str, str] = os.environ) -> dict[str, dict[str, Any]]:
    """All flags as name -> {value, reason} and, of reason ERROR, errorCode."""
    try:
        given = _given(environment)
    except ValueError:
        return {name: _error(value, "PARSE_ERROR") for name, value in DEFAULTS.items()}
    found = {name: {"value": value, "reason": "DEFAULT"} for name, value in DEFAULTS.items()}
    found |= {name: {"value": value, "reason": "STATIC"} for name, value in given.items()}
    if address := environment.get(SERVER):
        return _served(address, found)
    return found


def _given(environment: Mapping[str, str]) -> dict[str, Any]:
    whole = json.loads(environment.get(WHOLE) or "{}")
    if not isinstance(whole, dict):
        raise ValueError("FEATURE_FLAGS is no object")
    for name, text in environment.items():
        if name.startswith(ONE) and name not in (WHOLE, SERVER):
            try:
                whole[name.removeprefix(ONE)] = json.loads(text)
            except ValueError:
                whole[name.removeprefix(ONE)] = text
    return whole


def _served(address: str, local: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the server says. One that does not answer stops nothing: that is what makes it worth asking for."""
    request = urllib.request.Request(  # noqa: S310 - http, of the operator
        f"{address.rstrip('/')}/ofrep/v1/evaluate/flags",
        json.dumps({"context": {"targetingKey": "tradingflow"}}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            said = {each["key"]: each for each in json.load(answer)["flags"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {name: _error(each["value"], "PROVIDER_NOT_READY") for name, each in local.items()}
    return {
        name: {"value": said[name]["value"], "reason": said[name].get("reason", "UNKNOWN")}
        if "value" in said.get(name, {})
        else _error(each["value"], "FLAG_NOT_FOUND")
        for name, each in local.items()
    }


def _error(value: Any, code: str) -> dict[str, Any]:
    return {"value": value, "reason": "ERROR", "errorCode": code}
