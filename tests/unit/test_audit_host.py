"""All sources of a host in its staging folder: resumed, one at a time, and never over what is another's."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import (
    clock_history,
    containers,
    facts,
    findings,
    host,
    log_files,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import (
    COLLECTOR,
    Collected,
    Period,
    Source,
    decoded,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.packing import Scratch
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, LockedError

from tests.conftest import COLLECTION

PERIOD = {"from": "2025-10-01T00:00:00Z", "to": "2025-11-01T00:00:00Z"}
LINES = "2025-09-30T23:59:59Z a\n2025-10-01T00:00:00Z b\n2025-10-31T23:59:59Z c\n2025-11-01T00:00:00Z d\n"


def options(folder: Path, **given: Any) -> dict[str, Any]:
    defaults = {name: each.get("default") for name, each in host.SPEC.items()}
    logs = given.pop("logs", [{"name": "app", "path": str(folder / "app.log")}])
    log_defaults = {name: each.get("default") for name, each in host.LOG_SPEC.items()}
    (folder / "app.log").write_text(LINES)
    return {
        **defaults,
        "host": "app1",
        "period": PERIOD,
        "staging": str(folder / "staging"),
        "journal": False,
        "versions": False,
        "clock": False,
        "logs": [{**log_defaults, **log} for log in logs],
        **given,
    }


def test_what_is_collected_is_for_its_owner_alone_and_says_what_it_is(tmp_path: Path) -> None:
    result = host.collect(options(tmp_path))
    staging = tmp_path / "staging"
    assert result["files"] == ["collected.json", "logs/app/0001-app.log.gz"]
    collected = decoded((staging / "collected.json").read_bytes())
    assert collected.to_dict() == result["collected"]
    assert [(source.name, source.outcome, source.records) for source in collected.sources] == [("app", "complete", 2)]
    for path in staging.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert host.remove(str(staging), "")
    assert not staging.exists()
    assert not host.remove(str(staging), "")


def test_after_a_kill_what_was_complete_is_not_collected_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [{"name": "app", "path": str(tmp_path / "app.log")}, {"name": "other", "path": str(tmp_path / "app.log")}]
    plain, called = log_files.collect, []

    def killed(scratch: Scratch, period: Period, given: dict[str, Any]) -> Source:
        called.append(given["name"])
        if given["name"] == "other" and len(called) < 3:
            (tmp_path / "staging/logs/other").mkdir(parents=True)
            (tmp_path / "staging/logs/other/0001-app.log.gz.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        return plain(scratch, period, given)

    monkeypatch.setattr(log_files, "collect", killed)
    given = options(tmp_path, logs=logs, workers=1)
    with pytest.raises(KeyboardInterrupt):
        host.collect(given)
    result = host.collect(given)
    assert called == ["app", "other", "other"]
    assert [source["outcome"] for source in result["collected"]["sources"]] == ["complete"] * 2
    assert not list((tmp_path / "staging").rglob("*.partial"))
    # What somebody changed meanwhile is not taken for what was collected.
    (tmp_path / "staging/logs/app/0001-app.log.gz").write_bytes(b"changed")
    assert host.collect(given)["collected"] == result["collected"]
    assert called[3:] == ["app"]
    # Nor is another period's.
    other = {**given, "period": {"from": "2025-10-02T00:00:00Z", "to": "2025-11-01T00:00:00Z"}}
    assert [source["records"] for source in host.collect(other)["collected"]["sources"]] == [1, 1]


def test_an_error_leaves_its_own_source_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: Any) -> Source:
        raise ZeroDivisionError("password=hunter2 in it")

    monkeypatch.setattr(facts, "versions", broken)
    result = host.collect(options(tmp_path, versions=True))
    app, versions = result["collected"]["sources"]
    assert app["outcome"] == "complete"
    assert (versions["kind"], versions["outcome"]) == ("versions", "failed")
    assert versions["reason"] == "It could not be collected: password=*** in it."


def test_two_at_once_are_one_too_many(tmp_path: Path) -> None:
    given = options(tmp_path)
    with host._folder(given["staging"], None), pytest.raises(LockedError, match="Somebody else collects"):
        host.collect(given)


@pytest.mark.parametrize("made", ["file", "folder", "link", "link inside", "another's"])
def test_what_was_not_made_by_it_is_left_alone(tmp_path: Path, made: str) -> None:
    given = options(tmp_path)
    staging, precious = tmp_path / "staging", tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("data")
    if made == "file":
        staging.write_text("data")
    elif made == "folder":
        staging.mkdir()
        (staging / "data").write_text("data")
    elif made == "link":
        staging.symlink_to(precious)
    else:
        host.collect(given)
        if made == "link inside":
            (staging / "logs/app/0001-app.log.gz").unlink()
            (staging / "logs/app/0001-app.log.gz").symlink_to(precious / "data")
        else:
            if os.geteuid() != 0:
                pytest.skip("only root can give a file away")
            os.chown(staging / "collected.json", 12345, 12345)
    for act in (lambda: host.collect(given), lambda: host.remove(given["staging"], "")):
        with pytest.raises(ConfigurationError, match="not made by this module"):
            act()
    assert (precious / "data").read_text() == "data"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"period": {"from": PERIOD["from"], "to": "2999-01-01T00:00:00Z"}}, "has not ended"),
        ({"period": {"from": PERIOD["to"], "to": PERIOD["to"]}}, "not after its begin"),
        ({"period": {"from": "2025-10-01", "to": PERIOD["to"]}}, "is not a time"),
        ({"period": {"from": "2025-02-29T00:00:00Z", "to": PERIOD["to"]}}, "is not a time"),
        ({"staging": "relative"}, "cannot be the staging folder"),
        ({"staging": "/"}, "cannot be the staging folder"),
        ({"owner": "nobody-of-that-name"}, "There is no user"),
        ({"logs": [{"name": "journal", "path": "/a"}], "journal": True}, "cannot name a log"),
        ({"logs": [{"name": "../a", "path": "/a"}]}, "cannot name a log"),
        ({"logs": [{"name": "a", "path": "a.log"}]}, "no absolute path"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        host.collect(options(tmp_path, **change))


RUNTIME = r"""#!/bin/sh
[ "$1" = --version ] && { echo "fake 1.0"; exit 0; }
[ "$1" = logs ] || exit 9
[ -n "$BROKEN" ] && { echo "No such container: $BROKEN"; exit 1; }
for each in "$@"; do [ "${each#--since}" != "$each" ] && part=1; done
[ -n "$part" ] || echo "2025-09-30T23:59:59.999999999Z before"
echo "2025-10-01T00:00:00.000000000Z first"
echo "2025-10-31T23:59:59.999999999Z last" >&2
[ -n "$SHORT" ] && [ -n "$part" ] && exit 0
echo "2025-10-31T23:59:59.999999999Z very last"
echo "2025-11-01T00:00:00.000000000Z after"
"""


def test_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text(RUNTIME)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    period, scratch = Period(PERIOD["from"], PERIOD["to"]), Scratch(str(tmp_path), 1 << 30)
    given = {"name": "gateway", "container": "gw", "runtime": "docker", "timeout": 120}

    def collect(**change: Any) -> Source:
        return Source.from_dict(containers.collect(scratch, period, {**given, **change}).to_dict())

    source = collect()
    assert (source.outcome, source.reason, source.records, source.exit_status) == ("complete", "", 3, 0)
    assert (source.command, source.tool.version) == (["docker", "logs", "--timestamps", "gw"], "fake 1.0")
    monkeypatch.setenv("SHORT", "1")
    assert "gives out 2 lines for the period, 3 were selected" in collect().reason
    monkeypatch.setenv("BROKEN", "gw")
    assert (collect().outcome, collect().files) == ("failed", [])
    assert "No such container: gw" in collect().reason
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collect(runtime="podman").reason == "podman is not installed on this host."
    assert "is not a container's name" in collect(container="--help").reason
    assert "not there yet" in containers.kubernetes(given).reason


def test_kubernetes_is_never_complete(tmp_path: Path) -> None:
    """Also where nothing is declared as enough, and with a log file of its name."""
    given = {"name": "pods", "kind": "kubernetes", "empty_ok": True, "path": str(tmp_path / "app.log")}
    (source,) = host.collect(options(tmp_path, logs=[given]))["collected"]["sources"]
    assert (source["kind"], source["outcome"], source["files"]) == ("kubernetes", "failed", [])
    assert "not there yet" in source["reason"]
    (check,) = findings._sources({"sources": [{**source, "place": "app1", "host": "app1"}]})
    assert (check.status, check.value) == ("unknown", None)


def test_versions_are_counted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dpkg-query").write_text(
        "#!/bin/sh\n"
        "printf 'installed\\tcron\\t3.0\\tamd64\\nconfig-files\\told\\t1\\tall\\ninstalled\\ttz\\t1\\tall\\n'\n"
    )
    (tmp_path / "dpkg-query").chmod(0o755)
    status = tmp_path / "status"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(facts, "_DPKG_STATUS", str(status))
    monkeypatch.setattr(facts, "_PROGRAMS", ("sh",))
    period, scratch = Period(PERIOD["from"], PERIOD["to"]), Scratch(str(tmp_path), 1 << 30)
    status.write_text("Package: cron\nStatus: install ok installed\n\nPackage: tz\nStatus: hold ok installed\n")
    source = facts.versions(scratch, period, {"timeout": 120})
    assert Source.from_dict(source.to_dict()).outcome == "complete"
    status.write_text("Package: cron\nStatus: install ok installed\n\n" * 3)
    source = facts.versions(scratch, period, {"timeout": 120})
    assert source.reason == "2 packages are listed, the package database has 3."


def test_a_history_of_the_clock_has_something_of_each_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(clock_history, "said", lambda *_given: "")
    period, scratch = Period(PERIOD["from"], PERIOD["to"]), Scratch(str(tmp_path), 1 << 30)
    (tmp_path / "chrony").mkdir()
    given = {"timeout": 120, "chrony_folder": str(tmp_path / "chrony"), "journal_folders": []}

    def collect(*days: str, measured: tuple[str, ...] = ()) -> tuple[str, list[tuple[str, str, str]]]:
        rest = "12:00:00 10.0.0.1 3 -1.0 0.1 1e-6 N 1 1e-6 0 1e-3 1e-3 1e-3"
        (tmp_path / "chrony/tracking.log").write_text("".join(f"{day} {rest}\n" for day in days))
        found = clock_history.collect(scratch, period, {**given, "measured": list(measured)})
        source = Source.from_dict(found.to_dict())
        return source.outcome, [(gap.begin[5:10], gap.end[5:10], gap.reason[:20]) for gap in source.gaps]

    october = [f"2025-10-{day:02}" for day in range(1, 32)]
    assert collect("2025-09-30", *october) == ("complete", [])
    silent = "neither a time servi"
    # One line is no history, and what daily runs measured is one.
    assert collect("2025-09-30", "2025-10-10") == (
        "partial",
        [("10-01", "10-10", silent), ("10-11", "11-01", silent)],
    )
    assert collect("2025-09-30", "2025-10-10", measured=(*october[:9], *october[11:])) == (
        "partial",
        [("10-11", "10-12", silent)],
    )
    assert collect("2025-09-30", "2025-10-10", measured=tuple(october)) == ("complete", [])
    # What chrony wrote has to reach back all the same.
    assert collect(*october, measured=tuple(october)) == ("partial", [("10-01", "10-01", "the log begins late")])


def test_the_collector_is_of_the_collections_version() -> None:
    galaxy = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())
    assert (COLLECTOR.name, COLLECTOR.version) == (f"{galaxy['namespace']}.{galaxy['name']}", galaxy["version"])
    assert json.dumps(Collected("a", Period(PERIOD["from"], PERIOD["to"]), COLLECTOR).to_dict())


CRICTL = r"""#!/bin/sh
[ "$1" = --version ] && { echo "fake 1.0"; exit 0; }
[ "$1" = ps ] && { cat "$HOME/ids"; exit 0; }
for each in "$@"; do id=$each; done
[ "$1" = inspect ] && { cat "$HOME/$id.json"; exit $?; }
[ "$1" = logs ] || exit 9
cat "$HOME/$id.log"
"""


def test_containers_of_one_name_are_judged_each_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crictl").write_text(CRICTL)
    (tmp_path / "crictl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    period, scratch = Period(PERIOD["from"], PERIOD["to"]), Scratch(str(tmp_path), 1 << 30)

    def container(id: str, created: str, first: str, attempt: int, pod: str = "p1") -> None:
        status = {
            "createdAt": f"{created}.5Z",
            "metadata": {"attempt": attempt},
            "labels": {"io.kubernetes.pod.uid": pod},
        }
        (tmp_path / f"{id}.json").write_text(json.dumps({"status": status}) if created else "")
        text = f"{first}.25Z said\n" if first else ""
        (tmp_path / f"{id}.log").write_text(text + "2025-10-02T00:00:00.25Z said\n" * (id == "a0"))

    def collect(*ids: str, **change: Any) -> tuple[str, list[tuple[str, str, str]]]:
        (tmp_path / "ids").write_text("".join(f"{id}\n" for id in ids))
        given = {"name": "gateway", "container": "gw", "runtime": "crictl", "timeout": 120, **change}
        source = Source.from_dict(containers.collect(scratch, period, given).to_dict())
        return source.outcome, [(gap.begin[5:16], gap.end[5:16], gap.reason.partition(":")[0]) for gap in source.gaps]

    container("a0", "2025-09-01T00:00:00", "2025-09-01T00:00:09", 0)
    container("b1", "2025-10-10T00:00:00", "2025-10-10T00:00:09", 1)
    assert collect("a0", "b1") == ("complete", [])
    # The runtime threw the newer one's begin away, and the older one's log reaches back.
    container("b1", "2025-10-10T00:00:00", "2025-10-20T00:00:00", 1)
    late = ("10-10T00:00", "10-20T00:00", "the log of the container b1 begins late")
    assert collect("a0", "b1") == ("partial", [late])
    assert collect("a0", "b1", fresh_ok=True) == ("complete", [])
    # Nobody says when it was made.
    container("b1", "", "2025-10-20T00:00:00", 1)
    assert collect("a0", "b1") == ("partial", [("10-01T00:00", *late[1:])])
    # It says nothing at all.
    container("b1", "2025-10-10T00:00:00", "", 1)
    assert collect("a0", "b1") == ("partial", [("10-10T00:00", "11-01T00:00", late[2])])
    # Two starts between them are gone.
    container("b3", "2025-10-10T00:00:00", "2025-10-10T00:00:09", 3)
    gone = ("09-01T00:00", "10-10T00:00", "2 containers before b3 are gone, with their logs")
    assert collect("a0", "b3") == ("partial", [("10-01T00:00", *gone[1:])])
    # Another pod's first container is a pod's begin.
    container("c0", "2025-10-10T00:00:00", "2025-10-10T00:00:09", 0, pod="p2")
    assert collect("a0", "c0") == ("complete", [])


def test_what_may_still_be_written_is_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collected soon after the period has ended; then once more, when logs have settled."""
    end = Period(PERIOD["from"], PERIOD["to"]).epochs()[1]

    def collect(after: int, **given: Any) -> dict[str, Any]:
        monkeypatch.setattr(time, "time", lambda: end + after)
        (source,) = host.collect(options(tmp_path, **given))["collected"]["sources"]
        return dict(source)

    source = collect(600)
    assert (source["outcome"], source["records"]) == ("partial", 2)
    assert source["reason"] == (
        "the period ended 10 min ago, and logs may still be written: collect again after 2025-11-01T00:15:00Z."
    )
    assert collect(600, settle=600)["outcome"] == "complete"
    assert collect(900)["outcome"] == "complete"
    broken = collect(600, logs=[{"name": "app", "path": str(tmp_path / "none.log")}])
    assert broken["outcome"] == "failed"
    assert "is not there" in broken["reason"]
