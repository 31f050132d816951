"""What runs old code, by needrestart's word, and what a host has no source of, on plain data."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import services
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.engine import restarted
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.findings import planned, well
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.solver import Solver
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    PatchingError,
)

from tests.unit.test_patching_judgement import RUNNING, ended, plan, statuses


@pytest.mark.parametrize(
    ("id", "status", "services"),
    [
        ("patching.services", "unknown", None),
        ("patching.services", "unknown", {"unknown": "needrestart is not installed"}),
        ("patching.services", "warning", {"asked": False}),
        ("patching.services", "warning", {"left": ["ssh.service"]}),
        ("patching.services", "warning", {"others": ["session root @ pts/0"]}),
        ("patching.reboot", "warning", {"newer_kernel": True}),
        ("patching.reboot", "warning", {"asked": False, "newer_kernel": None}),
        ("patching.reboot", "unknown", {"newer_kernel": None}),
        ("patching.restarted:cron.service", "critical", {"restarted": [{"service": "cron.service", "problem": "no"}]}),
    ],
)
def test_services_that_run_old_code(id: str, status: str, services: dict[str, Any] | None) -> None:
    given = None if services is None else {**ended()["services"], **services}
    assert statuses(ended(services=given))[id] == status


def test_what_cannot_be_known_of_services_is_unknown_in_the_plan() -> None:
    asked: dict[str, dict[str, Any]] = {
        "ok": {},
        "unknown": {"unknown": "needrestart is not installed."},
        "warning": {"asked": False},
    }
    for status, values in asked.items():
        checks, _ = planned(plan(running={**RUNNING, **values}), "2026-11-29T00:00:00Z")
        assert {check.status for check in checks if check.id == "patching.services"} == {status}


@pytest.mark.parametrize(
    ("id", "status", "running"),
    [
        ("patching.services", "warning", {"left": ["cron.service"]}),
        ("patching.services", "warning", {"others": ["process agent=7"]}),
        ("patching.services", "unknown", {"unknown": "needrestart failed (1).", "newer_kernel": None}),
        ("patching.reboot", "warning", {"newer_kernel": True}),
        ("patching.reboot", "unknown", {"newer_kernel": None}),
    ],
)
def test_old_code_and_an_old_kernel_are_seen_again_when_nothing_is_to_do(
    id: str, status: str, running: dict[str, Any]
) -> None:
    nothing = plan(packages=[], wanted=False, running={**RUNNING, **running})
    checks, _ = planned(nothing, "2026-11-29T00:00:00Z")
    assert {check.id: check.status for check in checks}[id] == status
    assert statuses(ended(**nothing, before={}, after={}, changed=False, services=None))[id] == status


def test_what_was_restarted_is_said_also_when_needrestart_fails_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([{"services": ["a.service", "b.service"], "others": [], "newer_kernel": False}])

    def asked() -> dict[str, Any]:
        for answer in answers:
            return answer
        raise PatchingError("needrestart failed (1)")

    problems = {"a.service": None, "b.service": "systemctl failed (1): b"}
    monkeypatch.setattr(services, "asked", asked)
    monkeypatch.setattr(
        services, "restarted", lambda names: [{"service": name, "problem": problems[name]} for name in names]
    )
    done = restarted({"needrestart": True, "restart": ["?.service"]})
    result = ended(services=done)
    said = statuses(result)
    assert said["patching.restarted:a.service"] == "ok"
    assert said["patching.restarted:b.service"] == "critical"
    assert said["patching.services"] == "unknown"
    assert not well(result)


def test_what_needrestart_goes_on_naming_is_restarted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """sshd with lingering sessions on an old libc is named again and again (liske/needrestart#340)."""
    done: list[str] = []

    def restart(names: list[str]) -> list[dict[str, Any]]:
        done.extend(names)
        return [{"service": name, "problem": None} for name in names]

    answer = {"services": ["ssh.service"], "others": ["session root @ pts/0"], "newer_kernel": False}
    monkeypatch.setattr(services, "asked", lambda: answer)
    monkeypatch.setattr(services, "restarted", restart)
    said = restarted({"needrestart": True, "restart": ["ssh.service"]})
    assert done == ["ssh.service"]
    assert statuses(ended(services=said))["patching.services"] == "warning"


def test_needrestart_is_understood_as_a_whole_or_not_at_all() -> None:
    text = "NEEDRESTART-VER: 3.6\nNEEDRESTART-KCUR: 6.1.0\nNEEDRESTART-KEXP: 6.1.0-9\n"
    text += "NEEDRESTART-KSTA: 3\nNEEDRESTART-SVC: b.service\n"
    more = "NEEDRESTART-SVC: a.service\nNEEDRESTART-SESS: root @ pts/0\n"
    more += "NEEDRESTART-PID: agent=7\nNEEDRESTART-CONT: LXC x\n"
    assert services.parsed(text + more) == {
        "services": ["a.service", "b.service"],
        "others": ["container LXC x", "process agent=7", "session root @ pts/0"],
        "newer_kernel": True,
        "expected_kernel": "6.1.0-9",
    }
    assert services.parsed("NEEDRESTART-VER: 3.6\nNEEDRESTART-KSTA: 0\n")["newer_kernel"] is None
    for wrong in ("", "NEEDRESTART-SVC: a.service\n", text + "Scanning processes...\n", text + "NEEDRESTART-NEW: 1\n"):
        with pytest.raises(PatchingError):
            services.parsed(wrong)
    with pytest.raises(PatchingError):
        services.parsed("NEEDRESTART-VER: 3.6\nNEEDRESTART-KSTA: 9\n")


def test_only_named_services_are_restarted() -> None:
    assert services.chosen(["cron.service", "ssh.service"], ["cron.*"]) == ["cron.service"]
    assert services.chosen(["cron.service"], []) == []


@pytest.mark.parametrize("pattern", ["*", "**", "?*", "*.service", "*.*", "[!a]*"])
def test_not_every_service_may_be_restarted(pattern: str) -> None:
    services.check(["cron.*", "exim4.service", "systemd-*", "*-agent.service"])
    with pytest.raises(ConfigurationError, match="every service"):
        services.check(["cron.service", pattern])


def sourced(*, lists: list[Any], **options: Any) -> Solver:
    """A host with openssl installed, dpkg's own notes as apt's cache has them, and lists of packages."""
    solver = object.__new__(Solver)
    notes = SimpleNamespace(origin="Debian", label="Debian-Security", archive="now", codename="", not_source=True)
    packages = [
        SimpleNamespace(name="openssl", architecture="amd64", current_ver=SimpleNamespace(ver_str="3.0.15-1")),
        SimpleNamespace(name="removed", architecture="amd64", current_ver=None),
    ]
    solver.cache = SimpleNamespace(file_list=[notes, *lists], packages=packages)
    origins = [{"origin": "Debian", "label": "Debian-Security"}]
    solver.options = {"scope": "security", "packages": [], "security_origins": origins, **options}
    return solver


SECURE = SimpleNamespace(
    origin="Debian", label="Debian-Security", archive="stable-security", codename="", site="", not_source=False
)
MAIN = SimpleNamespace(origin="Debian", label="Debian", archive="stable", codename="", site="", not_source=False)


def test_nothing_newer_is_not_said_without_a_source_of_security_updates() -> None:
    sourced(lists=[MAIN, SECURE]).check()
    sourced(lists=[MAIN], scope="all").check()
    with pytest.raises(PatchingError, match=r"gives security updates\. It has: Debian stable\."):
        sourced(lists=[MAIN]).check()
    with pytest.raises(PatchingError, match="It has: none"):
        sourced(lists=[]).check()
    with pytest.raises(PatchingError):
        sourced(lists=[SECURE], security_origins=[]).check()


def test_nothing_newer_is_not_said_of_a_package_that_is_not_installed() -> None:
    sourced(lists=[SECURE], packages=["openssl"]).check()
    for scope in ("security", "all"):
        with pytest.raises(PatchingError, match="Not installed on this host: opensl, removed"):
            sourced(lists=[SECURE], packages=["removed", "openssl", "opensl"], scope=scope).check()
