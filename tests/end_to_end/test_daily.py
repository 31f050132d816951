"""``playbooks/daily.yml`` as operators run it, on a real sandbox, well and in trouble."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import COLLECTION, ROOT, Playbook, Sandbox, play_on, start_on

Play = Callable[..., Playbook]

FORMS = {"report.json", "report.html", "report.md", "report.xml", "report.prom"}


def ids(report: dict[str, Any], *statuses: str) -> set[str]:
    return {check["id"] for check in report["checks"] if check["status"] in statuses}


def assert_no_secret(platform: Sandbox, text: str) -> None:
    postgres, s3 = platform.state["postgres"], platform.state["s3"]
    for secret in (postgres["maintenance_password"], postgres["superuser_password"], s3["secret_key"]):
        assert secret not in text


def assert_no_secret_in_files(platform: Sandbox, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert_no_secret(platform, path.read_text(encoding="utf-8", errors="replace"))


def s3(platform: Sandbox) -> Any:
    from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage

    return storage.client(platform.storage)


def keys(platform: Sandbox, prefix: str) -> list[str]:
    listing = s3(platform).list_objects_v2(Bucket=platform.state["s3"]["bucket"], Prefix=prefix)
    return [item["Key"] for item in listing.get("Contents", [])]


def recovery_points(platform: Sandbox) -> list[str]:
    return [key for key in keys(platform, "backups/local/") if key.endswith("/recovery-point.json")]


def test_healthy_platform_is_green_and_leaves_everything(platform: Sandbox, play: Play) -> None:
    points, records = recovery_points(platform), keys(platform, "evidence/local/")
    done = play("daily")
    assert done.returncode == 0, done.output
    latest = done.artifacts / "daily" / "latest"
    assert {path.name for path in latest.iterdir()} >= FORMS
    report = done.report()
    assert report["worst_status"] == "ok"
    assert report["passed"] is True
    assert report["expected_missing"] == []
    assert {check["area"] for check in report["checks"]} == {
        "system",
        "logs",
        "application",
        "database",
        "trading",
        "backup",
        "backups",
        "retention",
    }
    assert len(recovery_points(platform)) == len(points) + 1
    # The run and its backup are in the ledger, and the ledger names this very report.
    record = json.loads((latest / "evidence.json").read_text())
    assert len(keys(platform, "evidence/local/")) == len(records) + 2
    envelope = s3(platform).get_object(Bucket=platform.state["s3"]["bucket"], Key=record["key"])["Body"].read()
    assert hashlib.sha256(envelope).hexdigest() == record["digest"]
    assert hashlib.sha256((latest / "report.json").read_bytes()).hexdigest() in json.dumps(statement(envelope))
    assert statement(envelope)["predicate"]["content"]["answered"] is True
    (kept,) = [key for key in keys(platform, "reports/local/daily/") if key.endswith(f"{report['run_id']}/report.json")]
    body = s3(platform).get_object(Bucket=platform.state["s3"]["bucket"], Key=kept)["Body"].read()
    assert body == (latest / "report.json").read_bytes()
    # What waits for its upload goes with the sandbox, and nothing of it waits any more.
    scratch = Path(platform.state["data_root"]) / "scratch"
    assert [path.name for path in scratch.iterdir()] == [f"tradingflow-backup-{os.geteuid()}"]
    assert not [path for path in scratch.rglob("*") if path.is_file() and path.stat().st_size > 4096]
    # Nothing left behind, quiet when all is well, and it says where the report is.
    assert str(latest.resolve() / "report.html") in done.output
    assert "TASK [" not in done.output
    assert len(done.output.splitlines()) < 60
    assert_no_secret(platform, done.output)
    assert not list((done.artifacts / "daily").glob(".*"))


def statement(envelope: bytes) -> dict[str, Any]:
    """What a record of the ledger states."""
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    return found


def statements(platform: Sandbox, last: int = 0) -> list[dict[str, Any]]:
    """What the ledger's records state, oldest first: all of them, or the last so many."""
    bucket, client = platform.state["s3"]["bucket"], s3(platform)
    found = sorted(key for key in keys(platform, "evidence/local/") if "/0" in key)
    return [statement(client.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in found[-last:]]


def test_check_mode_changes_nothing(platform: Sandbox, play: Play) -> None:
    before = keys(platform, "")
    done = play("daily", "--check")
    assert done.returncode == 0, done.output
    assert keys(platform, "") == before
    assert not (done.artifacts / "daily" / "latest").exists()
    (path,) = (done.artifacts / "daily").glob("*/report.json")
    report = json.loads(path.read_text())
    assert report["check_mode"] is True
    assert {action["status"] for action in report["actions"]} == {"planned"}


def areas(done: Playbook) -> set[str]:
    """Of a run's checks. Each tag chooses its own: every test below that narrows its run asks for them."""
    return {check["area"] for check in done.report()["checks"]}


@pytest.mark.parametrize("tag", ["logs", "database"])
def test_tags_choose_areas(play: Play, tag: str) -> None:
    done = play("daily", "--tags", tag)
    assert done.returncode == 0, done.output
    assert areas(done) == {tag}


@pytest.fixture
def inventory(tmp_path: Path) -> Callable[..., Path]:
    """A copy of inventories/local with changes: inventory(hosts=..., variables={...})."""

    def copy(hosts: dict[str, Any] | None = None, variables: dict[str, Any] | None = None) -> Path:
        folder = tmp_path / "inventory"
        shutil.copytree(ROOT / "inventories/local", folder)
        if hosts:
            (folder / "more.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
        if variables:
            (folder / "group_vars" / "all").mkdir()
            (folder / "group_vars" / "all.yml").rename(folder / "group_vars" / "all" / "1.yml")
            (folder / "group_vars" / "all" / "2.yml").write_text(yaml.safe_dump(variables), encoding="utf-8")
        return folder

    return copy


def database(**changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        key: "{{ local_sandbox.postgres." + source + " }}"
        for key, source in {
            "host": "host",
            "port": "port",
            "name": "database",
            "user": "maintenance_user",
            "password": "maintenance_password",
        }.items()
    }
    return {"tradingflow_database": {**options, "sslmode": "disable", "connect_timeout": 3, **changes}}


def storage(**changes: Any) -> dict[str, Any]:
    names = ("endpoint", "region", "bucket", "access_key", "secret_key", "ca_file")
    options: dict[str, Any] = {name: "{{ local_sandbox.s3." + name + " }}" for name in names}
    return {"tradingflow_storage": {**options, "addressing_style": "path", "max_attempts": 1, **changes}}


def test_several_hosts_one_of_them_unreachable(play: Play, inventory: Callable[..., Path]) -> None:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_timeout": 3}
    hosts = {"tradingflow_hosts": {"hosts": {"web1": local, "web2": local, "web3": dead}}}
    done = play("daily", "--tags", "health", inventory=inventory(hosts=hosts))
    report = done.report()
    assert done.returncode != 0
    assert areas(done) == {"system", "logs", "application", "database"}
    assert {check["host"] for check in report["checks"] if check["area"] == "system"} == {
        "localhost",
        "web1",
        "web2",
        "web3",
    }
    assert {check["status"] for check in report["checks"] if check["host"] == "web3"} == {"unknown"}
    assert all(check["status"] == "ok" for check in report["checks"] if check["host"] in ("web1", "web2"))
    assert report["passed"] is False


def test_limit_expects_only_what_is_within(play: Play, inventory: Callable[..., Path]) -> None:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"tradingflow_hosts": {"hosts": {"web1": local, "web2": local}}}
    done = play("daily", "--limit", "web1", inventory=inventory(hosts=hosts))
    assert done.returncode == 0, done.output
    report = done.report()
    assert {(check["area"], check["host"]) for check in report["checks"]} == {("system", "web1"), ("logs", "web1")}


def test_wrong_database_password(platform: Sandbox, play: Play, inventory: Callable[..., Path]) -> None:
    points = recovery_points(platform)
    wrong = "wr0ng 'pass\"word% ü"
    done = play("daily", "-vvv", inventory=inventory(variables=database(password=wrong)))
    report = done.report()
    assert done.returncode != 0
    assert "database.answers" in ids(report, "critical")
    assert not any(check["status"] == "ok" for check in report["checks"] if check["area"] in ("database", "trading"))
    assert recovery_points(platform) == points
    assert "password authentication failed" in done.output
    assert wrong not in done.output
    assert wrong not in json.dumps(report, ensure_ascii=False)


def test_database_down(platform: Sandbox, play: Play) -> None:
    platform("stop", "postgres")
    try:
        done = play("daily")
    finally:
        platform("start", "postgres")
    report = done.report()
    assert done.returncode != 0
    assert "database.answers" in ids(report, "critical")
    assert not any(
        check["status"] == "ok" for check in report["checks"] if check["area"] in ("database", "trading", "backup")
    )
    assert any(check["status"] == "ok" for check in report["checks"] if check["area"] == "system")


def test_store_down_still_gives_a_report(platform: Sandbox, play: Play) -> None:
    platform("stop", "s3")
    try:
        done = play("daily")
    finally:
        platform("start", "s3")
    report = done.report()
    assert done.returncode != 0
    bad = ids(report, "critical", "unknown")
    assert "evidence.recorded" in bad
    assert any(check.startswith("backup.") for check in bad)
    assert any(check.startswith("backups.") for check in bad)
    assert not any(
        check["status"] == "ok" for check in report["checks"] if check["area"] in ("backup", "backups", "evidence")
    )
    assert any(check["status"] == "ok" for check in report["checks"] if check["area"] == "database")
    assert "tradingflow_storage" in done.output


@pytest.mark.parametrize(
    ("change", "said"),
    [({"bucket": "no-such-bucket"}, "NoSuchBucket"), ({"secret_key": "wr0ngwr0ngwr0ng"}, "SignatureDoesNotMatch")],
)
def test_wrong_bucket_or_keys(play: Play, inventory: Callable[..., Path], change: dict[str, str], said: str) -> None:
    done = play("daily", "--tags", "backup", inventory=inventory(variables=storage(**change)))
    report = done.report()
    assert done.returncode != 0
    assert not ids(report, "ok")
    assert "evidence.recorded" in ids(report, "critical")
    assert said in done.output
    assert "wr0ngwr0ngwr0ng" not in done.output


def test_object_truncated_afterwards(platform: Sandbox, play: Play) -> None:
    made = play("daily", "--tags", "backup")
    assert made.returncode == 0, made.output
    assert areas(made) == {"backup", "backups"}
    newest = max(recovery_points(platform))
    bucket = platform.state["s3"]["bucket"]
    point = json.loads(s3(platform).get_object(Bucket=bucket, Key=newest)["Body"].read())
    victim = max(point["objects"], key=lambda item: item["size"])
    body = s3(platform).get_object(Bucket=bucket, Key=victim["key"])["Body"].read()
    s3(platform).put_object(Bucket=bucket, Key=victim["key"], Body=body[:-1])
    try:
        done = play("daily", "--tags", "verify")
    finally:
        s3(platform).put_object(Bucket=bucket, Key=victim["key"], Body=body)
    assert done.returncode != 0
    assert areas(done) == {"backups"}
    assert "backups.newest_intact" in ids(done.report(), "critical")
    assert victim["key"].rsplit("/", 1)[-1] in done.output


def wait_for(what: Callable[[], Any], seconds: float = 600) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError("did not happen in time")


def test_second_daily_is_locked_out_and_a_killed_one_is_not_in_the_way(
    platform: Sandbox, play: Play, tmp_path: Path
) -> None:
    artifacts = tmp_path / "artifacts"
    finished = {key.split("/")[2] for key in recovery_points(platform)}
    # Slow enough to be caught in the middle of its upload.
    first = start_on(platform, artifacts, "daily", "--tags", "backup", "-e", "backup_bandwidth_limit=100000")
    wait_for(lambda: {key.split("/")[2] for key in keys(platform, "backups/local/")} - finished)
    second = play("daily")
    assert second.returncode != 0
    assert str(first.pid) in second.output
    run_id = next(artifacts.glob("daily/*/run.json")).parent.name
    assert run_id in second.output
    # Killed half-way: the whole process group, as the kernel's OOM killer or a lost machine would.
    assert first.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    points = recovery_points(platform)
    third = play("daily", "--tags", "backup")
    assert third.returncode == 0, third.output
    assert len(recovery_points(platform)) == len(points) + 1
    bucket = platform.state["s3"]["bucket"]
    assert not s3(platform).list_multipart_uploads(Bucket=bucket, Prefix="backups/local/").get("Uploads")


def test_ledger_verifies_without_ansible(platform: Sandbox, play: Play) -> None:
    made = play("daily", "--tags", "trading")
    assert made.returncode == 0, made.output
    assert areas(made) == {"trading"}
    storage = platform.storage
    done = subprocess.run(
        [
            *(sys.executable, "-I", str(COLLECTION / "scripts/ledger_verify.py"), "--s3"),
            *("--bucket", storage["bucket"], "--endpoint", storage["endpoint"], "--ca-file", storage["ca_file"]),
            *("--environment", "local", "--public-key", platform.state["evidence"]["public_key_file"]),
        ],
        env={
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": storage["access_key"],
            "AWS_SECRET_ACCESS_KEY": storage["secret_key"],
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_whoever_reads_it_leaves(platform: Sandbox, tmp_path: Path) -> None:
    """As after ``| head`` or the end of a pager: the run goes on to its end, and gives its lock back."""
    running = start_on(platform, tmp_path, "daily", "--tags", "system")
    assert running.stdout
    assert running.stdout.readline().startswith("== Daily")
    running.stdout.close()
    assert running.wait(timeout=600) in (0, 2)
    assert Playbook(0, "", tmp_path).report()["checks"]
    assert not keys(platform, "locks/local/")


@pytest.fixture(scope="module")
def loud(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    """A whole run that says all it can."""
    return play_on(
        platform,
        tmp_path_factory.mktemp("loud"),
        "daily",
        *("-vvv", "-e", f"health_check_log_since={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"),
        environment={"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"},
    )


def test_secrets_stay_secret_at_vvv(platform: Sandbox, loud: Playbook) -> None:
    assert loud.returncode == 0, loud.output[-3000:]
    assert_no_secret(platform, loud.output)
    assert_no_secret_in_files(platform, loud.artifacts)


def test_missed_run_is_a_finding(loud: Playbook, play: Play, tmp_path: Path) -> None:
    due = ("--tags", "application", "-e", "tradingflow_daily_interval=93600")
    shutil.copytree(loud.artifacts, tmp_path / "artifacts", symlinks=True)
    second = play("daily", *due)
    assert second.report()["worst_status"] == "ok"
    assert "schedule.previous_run" in ids(second.report(), "ok")
    for path in (second.artifacts / "daily").glob("*/report.json"):
        report = json.loads(path.read_text())
        report["started_at"] = report["started_at"].replace(report["started_at"][:4], "2025")
        path.write_text(json.dumps(report))
    # However many partial runs came since: they are not what was due.
    third = play("daily", *due).report()
    assert ids(third, "warning") == {"schedule.previous_run"}
    # A controller that has never run it knows the earlier runs from the store.
    other = tmp_path / "other"
    done = play("daily", "--tags", "application", "-e", f"tradingflow_artifacts_dir={other}")
    fourth = Playbook(done.returncode, done.output, other).report()
    assert fourth["previous_run_id"] == third["run_id"]
    brought = json.loads((other / "daily" / third["run_id"] / "report.json").read_text())
    assert brought["started_at"] == third["started_at"]
