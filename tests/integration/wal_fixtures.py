"""An empty sandbox whose server archives with pgBackRest, set up without a playbook, and the watchdog on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import backups as checks
from ansible_collections.tradingflow.maintenance.plugins.module_utils._wal import measure
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from sandbox.postgres import VARIABLE
from tests import places
from tests.conftest import sandbox
from tests.integration.pgbackrest_fixtures import Physical, configure, server

REPOSITORY = "pgbackrest/local"


class Archiving(Physical):
    """The sandbox, its store, and what the watchdog says."""

    @property
    def s3(self) -> Any:
        return s3_storage.client(self.sandbox.storage)

    @property
    def bucket(self) -> str:
        return str(self.sandbox.storage["bucket"])

    def keys(self, prefix: str) -> list[str]:
        """Keys below a prefix of the repository, in order."""
        listing = s3_storage.list_keys(self.s3, self.bucket, f"{REPOSITORY}/{prefix}")
        return [entry["Key"] for entry in listing]

    def segment(self, name: str) -> str:
        """The key of a segment."""
        (key,) = [each for each in self.keys("archive/") if each.rsplit("/", 1)[-1].startswith(f"{name}-")]
        return key

    @contextmanager
    def replaced(self, key: str, change: Callable[[bytes], bytes | None]) -> Iterator[None]:
        """An object is changed, or deleted when the change gives None, and put back at the end."""
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        other = change(body)
        if other is None:
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        else:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=other)
        try:
            yield
        finally:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def switched(self, wait: bool = True) -> str:
        """Writes something and ends the segment. Returns its name, when it was archived."""
        # The message is in the WAL at once, a transaction only with its end: else there may be nothing to switch yet.
        written = "SELECT pg_walfile_name(pg_logical_emit_message(false, 'tests', 'written') - 1)"
        name = self.sql(f"{written}, txid_current(), pg_switch_wal()")[0][0]
        if wait:
            self.until(lambda: (self.sql("SELECT last_archived_wal FROM pg_stat_archiver")[0][0] or "") >= name)
        return str(name)

    @staticmethod
    def until(true: Callable[[], bool], seconds: float = 300) -> None:
        """Waits until something is true."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    @contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """A setting of the server, until the context ends."""
        (before,) = self.sql(f"SELECT setting FROM pg_settings WHERE name = '{name}'")[0]
        self._set(name, value)
        try:
            yield
        finally:
            self._set(name, before)

    def _set(self, name: str, value: str) -> None:
        self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.sql("SELECT pg_reload_conf()")
        self.until(lambda: self.sql(f"SELECT setting FROM pg_settings WHERE name = '{name}'")[0][0] == value)

    def check_options(self, thresholds: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """Options of backup_checks."""
        given = {
            "storage": self.sandbox.storage,
            "environment_name": "local",
            "engines": ["pgbackrest"],
            "pgbackrest": {"stanza": "local", "repository_path": REPOSITORY},
            "database": self.sandbox.database,
            "thresholds": thresholds or {},
            **changes,
        }
        result = ArgumentSpecValidator(checks.CHECKS_SPEC).validate(given)
        assert not result.error_messages
        validated: dict[str, Any] = result.validated_parameters
        return validated

    def watched(self, thresholds: dict[str, Any] | None = None, **changes: Any) -> dict[str, Check]:
        """What the watchdog says."""
        found = measure.measure(self.check_options(thresholds, **changes))
        return {check.id.removeprefix("backups."): check for check in found}


@contextmanager
def archiving() -> Iterator[Archiving]:
    """A sandbox of its own."""
    with sandbox("empty", {VARIABLE: server()}, places.quick()) as up:
        made = Archiving(up)
        # One after the other: what is archived when is then known.
        configure(made, archive_async=False, wait_for_wal=60)
        yield made


@pytest.fixture(scope="module")
def source() -> Iterator[Archiving]:
    with archiving() as made:
        yield made


__all__ = ["Archiving", "archiving", "source"]
