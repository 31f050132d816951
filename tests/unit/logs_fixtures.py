"""What the tests of area logs share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.logs import LOGS_SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.reading import read

#: When the tests' runs read: noon of a day without any event.
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


def options(*sources: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The module's options with their defaults."""
    result = ArgumentSpecValidator(LOGS_SPEC).validate({"sources": list(sources), **given})
    assert not result.error_messages
    validated: dict[str, Any] = result.validated_parameters
    return validated


def source(**given: Any) -> dict[str, Any]:
    """A source with its defaults; times without a zone are UTC."""
    only: dict[str, Any] = options({"name": "app", "time_zone": "UTC", **given})["sources"][0]
    return only


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def entry(at: float, level: str = "INFO", text: str = "all well") -> str:
    return f"{stamp(at)} {level} {text}\n"


def write(path: Path, content: bytes | str | Iterable[str], changed: float = NOON) -> Path:
    """Writes a log as it would be at noon."""
    import os

    data = content if isinstance(content, bytes) else "".join(content).encode()
    path.write_bytes(data)
    os.utime(path, (changed, changed))
    return path


def reading(path: Path | str, *, since: float = 24 * HOUR, until: float = NOON, **given: Any) -> dict[str, Any]:
    """What is read of a file's window, by default the day up to noon, of a log that may have begun in it."""
    return read(source(path=str(path), **{"fresh_ok": True, **given}), str(since), until)


def counted(found: dict[str, Any]) -> dict[str, int]:
    """The counts without zeros."""
    assert found["problem"] == "", found["problem"]
    return {level: count for level, count in found["counts"].items() if count}
