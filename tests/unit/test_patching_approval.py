"""What an approval covers, and that the ledger's record has all of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import state
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.findings import intent
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.judgement import refusals

from tests.unit.test_patching_judgement import plan, row

OTHERS = ["0" * 64]


def refused(**values: Any) -> list[str]:
    """What forbids a plan while other plans are approved."""
    return [each["name"] for each in refusals(plan(packages=[], **values), OTHERS)]


@pytest.mark.parametrize("mode", ["when_needed", "always"])
def test_a_restart_that_the_run_before_was_not_to_make_needs_an_approval(mode: str) -> None:
    """A host that an earlier run left halted is proven and started without; that is no leave to restart it."""
    waits = {"open": True, "reboot_mode": mode, "reboot_pending": ["libc6"]}
    assert refused(**waits, reboot_before="never") == ["approved"]
    # As an earlier version kept it, nobody knows what was approved.
    assert refused(**waits, reboot_before=None) == ["approved"]
    # That run was to restart it, and is only ended.
    assert refused(**waits, reboot_before=mode) == []
    assert refused(open=True, reboot_mode="never", reboot_pending=["libc6"], reboot_before="never") == []


def test_always_restarts_also_a_host_that_asks_for_nothing() -> None:
    assert refused(open=True, reboot_mode="always", reboot_before="when_needed") == ["approved"]
    assert refused(open=True, reboot_mode="always", reboot_before="always") == []
    assert refused(open=True, reboot_mode="when_needed", reboot_before="never") == []
    # Nothing is to be done on it, and so it is not restarted either.
    assert refused(open=False, reboot_mode="always") == []


def test_the_host_keeps_how_it_was_to_be_restarted() -> None:
    before = {"identity": {"boot_id": "1", "started": "1"}}
    made = state.begun(None, plan(reboot_mode="when_needed"), before, {})
    assert made["reboot"] == "when_needed"
    # The next run goes on with it, and neither takes a restart back nor adds one by itself.
    assert state.begun(made, plan(open=True, reboot_mode="never"), before, {})["reboot"] == "never"


def test_the_order_in_which_units_are_halted_is_approved_too() -> None:
    one, other = ["feed.service", "strategies.service"], ["strategies.service", "feed.service"]
    assert plan(units=one)["digest"] != plan(units=other)["digest"]


def test_the_record_has_all_that_the_digest_is_of() -> None:
    """An auditor works it out from the record, without the host and without the report."""
    made = plan(
        packages=[row(conffiles_changed=["/etc/ssl/openssl.cnf"])],
        configure=["tzdata"],
        restart=["b.service", "a.service"],
        units=["feed.service"],
        reboot_mode="when_needed",
        reboot_pending=["libc6"],
    )
    record = intent(made, "app1")
    packages = [{name: value for name, value in each.items() if name != "reason"} for each in record["packages"]]
    names = ("version", "configure", "restart", "conffiles", "units", "reboot", "rollback", "open", "due")
    content = {**{name: record[name] for name in names}, "packages": packages}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    assert hashlib.sha256(text.encode("ascii")).hexdigest() == record["digest"] == made["digest"]
    assert [each["reason"] for each in record["packages"]] == ["security"]
