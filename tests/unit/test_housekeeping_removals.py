"""Journal, package cache and kernels: what may go, and that nothing else goes."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping import packages
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.images import Images
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.journal import Journal
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.options import JOURNAL
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.packages import (
    Archives,
    Kernels,
    _removals,
    protected,
    release_of,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.asked import Answer
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    HousekeepingError,
)

from tests.conftest import ROOT
from tests.journals import journal

DAY = 86400.0
MACHINE = "0123456789abcdef0123456789abcdef"


def cleaner(folder: Path, days: float = 100, retention: float = 92) -> Journal:
    options = {"days": days, "retention_days": retention, "folders": [str(folder), str(folder / "none")]}
    return Journal(options, time.time())


def archived(folder: Path, first: float, last: float, number: int = 1) -> Path:
    """A real file of the journal, as journald puts it aside.

    :param first: days before now of its first entry, as of its last
    """
    now = time.time()
    entries: list[dict[str, str | bytes | int]] = [
        {"at": str(now - days * DAY), "MESSAGE": "m"} for days in (first, last)
    ]
    name = f"system@{MACHINE}-{number:016x}-{round((now - first * DAY) * 1e6):016x}.journal"
    path = journal(folder / MACHINE / name, entries)
    os.utime(path, (now - last * DAY, now - last * DAY))
    return path


def applied(made: Any) -> dict[str, Any]:
    done: dict[str, Any] = made.apply([item["token"] for item in made.plan()["items"]])
    return done


def test_journal_goes_by_the_last_entry_of_a_file(tmp_path: Path) -> None:
    old = archived(tmp_path, 300, 200)
    # journalctl --vacuum-time would take this one: it goes by the first entry.
    spans = archived(tmp_path, 250, 50, 2)
    active = journal(tmp_path / MACHINE / "system.journal", [{"at": "1000000000", "MESSAGE": "m"}])
    os.utime(active, (1, 1))
    plan = cleaner(tmp_path).plan()
    assert [item["name"] for item in plan["items"]] == [str(old)]
    assert plan["strange"] == []
    assert old.exists()
    after = applied(cleaner(tmp_path))
    assert not old.exists()
    assert spans.exists()
    assert active.exists()
    assert after["done"]["freed"] == plan["bytes"] - after["bytes"] > 0
    assert after["items"] == []


def test_the_last_entry_counts_whatever_the_file_system_says(tmp_path: Path) -> None:
    path = archived(tmp_path, 300, 50)
    os.utime(path, (1, 1))
    assert cleaner(tmp_path).plan()["items"] == []


def test_a_file_that_is_no_journal_stays_and_is_told(tmp_path: Path) -> None:
    path = archived(tmp_path, 300, 200)
    path.write_bytes(b"\0" * 500)
    os.utime(path, (1, 1))
    plan = applied(cleaner(tmp_path))
    assert plan["strange"] == [str(path)]
    assert path.exists()


def test_journal_that_has_to_be_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is to be kept for 92 days"):
        cleaner(tmp_path, days=30)


def test_the_journal_of_the_last_quarter_is_there_until_it_was_collected(tmp_path: Path) -> None:
    """The audit of July to September, collected on the last day of October: its first day is 122 days ago."""
    retention = JOURNAL["retention_days"]["default"]
    with pytest.raises(ConfigurationError, match="is to be kept"):
        cleaner(tmp_path, days=122, retention=retention)
    assert cleaner(tmp_path, days=123, retention=retention).days == 123
    role = yaml.safe_load((ROOT / "roles/housekeeping/defaults/main.yml").read_text(encoding="utf-8"))
    assert role["housekeeping_journal_retention_days"] == retention


def test_journal_that_was_not_planned_stays(tmp_path: Path) -> None:
    planned = archived(tmp_path, 300, 200)
    made = cleaner(tmp_path)
    tokens = [item["token"] for item in made.plan()["items"]]
    other = archived(tmp_path, 290, 180, 2)
    assert len(made.apply(tokens)["done"]["removed"]) == 1
    assert not planned.exists()
    assert other.exists()


def archive(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * 5000)
    return path


def test_archives_of_packages(tmp_path: Path) -> None:
    gone = [archive(tmp_path, "a_1_all.deb"), archive(tmp_path, "partial/b_1_all.deb")]
    made = Archives(str(tmp_path))
    tokens = [item["token"] for item in made.plan()["items"]]
    later, other = archive(tmp_path, "c_1_all.deb"), archive(tmp_path, "notes.txt")
    (tmp_path / "link.deb").symlink_to("/etc/passwd")
    done = made.apply(tokens)["done"]
    assert [row["name"] for row in done["removed"]] == ["a_1_all.deb", "b_1_all.deb"]
    assert not any(path.exists() for path in gone)
    assert later.exists()
    assert other.exists()
    assert done["freed"] == 2 * 8192


def _hold(path: str, held: Any, enough: Any) -> None:
    with open(path, "w") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        held.set()
        enough.wait(60)


def test_archives_while_apt_is_at_work(tmp_path: Path) -> None:
    kept = archive(tmp_path, "a_1_all.deb")
    context = multiprocessing.get_context("fork")
    held, enough = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path / "lock"), held, enough))
    process.start()
    try:
        assert held.wait(60)
        with pytest.raises(HousekeepingError, match="apt is at work"):
            applied(Archives(str(tmp_path)))
    finally:
        enough.set()
        process.join()
    assert kept.exists()


SIMULATED = """Reading package lists...
The following packages will be REMOVED:
  linux-image-6.1.0-10-amd64* old-thing*
Remv linux-image-6.1.0-10-amd64 [6.1.38-1]
Purg old-thing:amd64 [1.0] [other:amd64 ]
"""


def test_what_apt_would_remove() -> None:
    assert _removals(SIMULATED) == {"linux-image-6.1.0-10-amd64", "old-thing"}


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("linux-image-6.1.0-10-amd64", "6.1.0-10-amd64"),
        ("linux-headers-6.1.0-10-common", "6.1.0-10-common"),
        ("linux-image-unsigned-6.5.0-14-generic", "6.5.0-14-generic"),
        ("linux-image-amd64", None),
        ("linux-libc-dev", None),
    ],
)
def test_releases_of_packages(name: str, release: str | None) -> None:
    assert release_of(name) == release


def test_kernels_that_stay() -> None:
    installed = [f"linux-image-6.1.0-{each}-amd64" for each in (9, 10, 21, 25, 30)]
    stay = protected(installed, "6.1.0-10-amd64", {"6.1.0-21-amd64"})
    assert stay == {f"6.1.0-{each}-amd64" for each in (10, 21, 25, 30)}
    # By numbers, not by letters.
    installed = [f"linux-image-6.{each}-amd64" for each in ("9.1", "10.1", "2.0")]
    assert protected(installed, "x", set()) == {"x", "6.10.1-amd64", "6.9.1-amd64"}


def test_links_of_the_boot_loader(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").symlink_to("boot/vmlinuz-6.1.0-21-amd64")
    assert Kernels("x", [str(tmp_path / "vmlinuz"), str(tmp_path / "none")])._linked() == {"6.1.0-21-amd64"}


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    """Programs of our own in place of apt's and dpkg's."""
    for name, text in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
    monkeypatch.setitem(packages._ENVIRONMENT, "PATH", f"{folder}:{os.environ['PATH']}")


OLD = "linux-image-6.1.0-9-amd64"
KNOWN = "\n".join(f"printf 'linux-image-6.1.0-{each}-amd64\\tii \\t1\\t10\\n'" for each in (9, 10, 21))


def test_a_dpkg_that_fails_is_not_one_without_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, apt_get="true", dpkg_query="echo 'dpkg-query: error: damaged' >&2; exit 2")
    with pytest.raises(HousekeepingError, match="damaged"):
        Kernels("x", []).plan()
    # As it ends when nothing goes by such a name.
    fake(tmp_path, monkeypatch, dpkg_query="echo 'dpkg-query: no packages found matching linux-*' >&2; exit 1")
    assert Kernels("x", []).plan()["items"] == []
    fake(tmp_path, monkeypatch, dpkg_query="echo 'dpkg-query: cannot read' >&2; exit 1")
    with pytest.raises(HousekeepingError, match="cannot read"):
        Kernels("x", []).plan()


def test_real_dpkg_without_such_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "status").touch()
    (tmp_path / "info").mkdir()
    monkeypatch.setitem(packages._ENVIRONMENT, "DPKG_ADMINDIR", str(tmp_path))
    assert Kernels("x", [])._installed() == {}


def test_a_purge_that_fails_tells_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """apt removes one of two kernels, and breaks off; dpkg then says what is there."""
    names = [f"linux-image-6.1.0-{each}-amd64" for each in (8, 9)]
    apt = f"""case "$*" in *-s*) printf 'Remv {names[0]} [1]\\nRemv {names[1]} [1]\\n';;
    *) touch {tmp_path}/purged; echo 'E: broken' >&2; exit 100;; esac"""
    here = f"""printf '{names[1]}\\tii \\t1\\t10\\n'; test -e {tmp_path}/purged || printf '{names[0]}\\tii \\t1\\t10\\n'
    {KNOWN.replace("0-9-", "0-7-")}"""
    fake(tmp_path, monkeypatch, apt_get=apt, dpkg_query=here)
    after = applied(Kernels("x", []))
    assert [row["name"] for row in after["done"]["removed"]] == [names[0]]
    (failed,) = after["done"]["failed"]
    assert failed["name"] == names[1]
    assert "broken" in failed["why"]
    assert after["done"]["freed"] == 10240


def test_when_nobody_knows_what_a_purge_left_nothing_counts_as_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = f"""case "$*" in *-s*) echo 'Remv {OLD} [1]';; *) touch {tmp_path}/purged; exit 100;; esac"""
    fake(tmp_path, monkeypatch, apt_get=apt, dpkg_query=f"test -e {tmp_path}/purged && exit 2\n{KNOWN}")
    after = applied(Kernels("x", []))
    assert after["done"]["removed"] == []
    assert "nobody knows what is left" in after["done"]["failed"][0]["why"]
    # Beside what was done, why it cannot be looked at again.
    assert "dpkg-query failed" in after["error"]["message"]


def breaks(made: Any, name: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a method raise from a call on: a disk that is gone, a service that has ended."""
    real, calls = getattr(made, name), 0

    def method(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > times:
            raise HousekeepingError("It broke.", "Mend it.")
        return real(*arguments)

    monkeypatch.setattr(made, name, method)


def test_what_was_removed_is_told_though_it_cannot_be_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(tmp_path, 300, 200)
    made = cleaner(tmp_path, days=150)
    tokens = [item["token"] for item in made.plan()["items"]]
    breaks(made, "_files", 1, monkeypatch)
    after = made.apply(tokens)
    assert len(after["done"]["removed"]) == 1
    assert after["done"]["freed"] == after["done"]["removed"][0]["bytes"]
    assert after["error"]["message"] == "It broke."

    archive(tmp_path, "a_1_all.deb")
    archives = Archives(str(tmp_path))
    tokens = [item["token"] for item in archives.plan()["items"]]
    breaks(archives, "_files", 1, monkeypatch)
    after = archives.apply(tokens)
    assert len(after["done"]["removed"]) == 1
    assert after["error"]["message"] == "It broke."


def test_images_that_were_removed_before_the_program_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Images("podman", ["1", "2"])
    rows = [{"name": id, "bytes": 5, "digest": id, "ids": {id}, "token": id} for id in ("1", "2")]
    monkeypatch.setattr(made, "_unused", lambda: rows)
    monkeypatch.setattr(made, "_asked", lambda *arguments: Answer(0, b"", b""))
    breaks(made, "_asked", 1, monkeypatch)
    breaks(made, "_unused", 1, monkeypatch)
    after = made.apply(["1", "2"])
    assert [row["name"] for row in after["done"]["removed"]] == ["1"]
    assert after["done"]["failed"] == [{"name": "2", "why": "It broke."}]
    assert after["error"]["message"] == "It broke."


PURGES = """
import sys
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping import packages
packages._ENVIRONMENT["PATH"] = sys.argv[1]
made = packages.Kernels("x", [])
made.apply([item["token"] for item in made.plan()["items"]])
"""


def test_a_purge_lives_on_when_the_module_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the connection is lost: dpkg with half of its work done is worse than one that was never asked."""
    apt = f"""case "$*" in *-s*) echo 'Remv {OLD} [1]'; exit;; esac
    touch {tmp_path}/begun; while ! test -e {tmp_path}/go; do sleep 0.05; done
    echo "Removing {OLD}" && echo "well" >&2 && touch {tmp_path}/ended"""
    fake(tmp_path, monkeypatch, apt_get=apt, dpkg_query=KNOWN)
    command = [sys.executable, "-c", PURGES, packages._ENVIRONMENT["PATH"]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as module:
        until(lambda: (tmp_path / "begun").exists(), module)
        os.killpg(module.pid, signal.SIGKILL)
    (tmp_path / "go").touch()
    until(lambda: (tmp_path / "ended").exists())


def until(there: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    for _round in range(600):
        if there():
            return
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("It never came.")


def test_a_purge_has_all_the_time_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit would kill dpkg amid its work. What it says of a failure is told."""
    limits: list[float] = []
    real: Callable[..., Any] = vars(packages)["asked"]

    def asked(arguments: list[str], environment: dict[str, str], timeout: float) -> Any:
        if "purge" in arguments and "-s" not in arguments:
            limits.append(timeout)
        return real(arguments, environment, timeout)

    monkeypatch.setattr(packages, "asked", asked)
    apt = f"""case "$*" in *-s*) echo 'Remv {OLD} [1]';; *) echo 'E: no lock' >&2; exit 100;; esac"""
    fake(tmp_path, monkeypatch, apt_get=apt, dpkg_query=KNOWN)
    after = applied(Kernels("x", []))
    assert limits == []
    assert "no lock" in after["done"]["failed"][0]["why"]
