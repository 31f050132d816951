"""``make hosts-up`` and ``make patch``: hosts of the sandbox, patched while the application on two of them answers.

The tests go on from one another.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.hosts.fleet import HELD, PATCHED, ROLES
from sandbox.hosts.machine import Machine, missing
from sandbox.hosts.repository import NEWER
from sandbox.processes import MARK, alive, start_time
from tests.conftest import ROOT, Playbook, Sandbox, left_out, play_on, start_on
from tests.end_to_end.test_daily import ids, keys, s3, statement
from tests.machine import waited

TAKEN = set(PATCHED) - {HELD}
APPLICATION = [name for name, role in ROLES.items() if role == "application"]


class Fleet:
    """The hosts of a sandbox that is up, and the playbook against them."""

    def __init__(self, platform: Sandbox, folder: Path) -> None:
        self.platform = platform
        self.artifacts = folder / "artifacts"
        self.inventory = Path(platform("path", "--hosts").stdout.strip())

    @property
    def sections(self) -> dict[str, Any]:
        """What the sandbox has written down of them."""
        hosts: dict[str, Any] = self.platform.current["hosts"]
        return hosts

    def machine(self, name: str) -> Machine:
        root = Path(self.platform.current["data_root"])
        return Machine(name, root / "hosts" / name, self.sections[name]["ports"])

    def run(self, name: str, command: str) -> str:
        done = self.machine(name).ssh(command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def patch(self, *arguments: str) -> Playbook:
        """As ``make patch`` does."""
        return play_on(self.platform, self.artifacts, "patch", "-i", str(self.inventory), *arguments, timeout=600)

    def versions(self, name: str) -> dict[str, str]:
        text = self.run(name, f"dpkg-query -W -f '${{Package}} ${{Version}}\\n' {' '.join(PATCHED)}")
        return dict(line.split() for line in text.splitlines())

    def born(self, name: str) -> int:
        """When the host's first process started: the boot id is the machine's, and no other after a restart."""
        return int(self.run(name, "cat /proc/1/stat").rpartition(")")[2].split()[19])

    def application(self, name: str) -> str:
        return self.run(name, "systemctl show -P MainPID tradingflow.service")


@pytest.fixture(scope="module")
def fleet(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if (why := missing()) is not None:
        left_out(why)
    try:
        done = platform("hosts-up", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Fleet(platform, tmp_path_factory.mktemp("fleet"))
    finally:
        platform("hosts-down", check=False)


class Client(threading.Thread):
    """Asks for prices all the time, of the one host or else of the other."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(daemon=True)
        self.ports = ports
        self.answered = dict.fromkeys(ports, 0)
        self.turned_away = 0
        self.failed: list[str] = []
        self.enough = threading.Event()
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def run(self) -> None:
        while not self.enough.wait(0.02):
            self.ports.reverse()
            problems = []
            for port in self.ports:
                try:
                    with self.opener.open(f"http://127.0.0.1:{port}/ready", timeout=60) as answer:
                        assert json.load(answer)["status"] == "ready"
                    self.answered[port] += 1
                    break
                except (OSError, ValueError) as problem:
                    problems.append(str(problem))
                    self.turned_away += 1
            else:
                self.failed.append("; ".join(problems))


def test_hosts_are_as_hosts_are(fleet: Fleet) -> None:
    assert {name: section["ports"].keys() >= {"ssh"} for name, section in fleet.sections.items()} == dict.fromkeys(
        ROLES, True
    )
    for name in ROLES:
        made = fleet.machine(name)
        assert made.key.stat().st_mode & 0o777 == 0o600
        assert fleet.run(name, "systemctl is-system-running") == "running"
        assert fleet.run(name, "apt-mark showhold") == HELD
    # Theirs are the groups of the playbook; the runner's inventory knows nothing of them.
    groups = json.loads(fleet.inventory.read_text(encoding="utf-8"))["all"]["children"]
    assert set(groups["tradingflow_patching"]["hosts"]) == set(ROLES)
    assert set(groups["tradingflow_application_hosts"]["hosts"]) == {"app1", "app2"}
    assert "app1" not in (ROOT / "inventories/local/hosts").read_text(encoding="utf-8")
    assert fleet.inventory.stat().st_mode & 0o777 == 0o600
    again = fleet.platform("hosts-up")
    assert again.stdout == "The hosts are up.\n"


#: On app1: what may go, what may not, and two old kernels with what keeps a third one.
UNTIDY = r"""set -eu
cd /tmp; mkdir -p old/deep; echo x >old/deep/file; echo x >young; echo x >"$(printf 'new\nline')"
mkdir -p old-mount/inner; echo x >/srv/precious; mkdir -p /srv/bound; cp /srv/precious /srv/bound
mount --bind /srv/bound old-mount/inner
echo x >old-held; systemd-run --quiet --unit=holds sh -c 'exec sleep 600 </tmp/old-held'
ln -s / old-link; mkfifo old-pipe
echo junk >>/var/lib/logrotate/status
echo x >/var/log/alone.log
echo x >/var/cache/apt/archives/cron_1_all.deb
cat >/etc/logrotate.d/copies <<'.'
/var/log/copied.log {
  copytruncate
  missingok
}
.
for number in 1 2 3 4 5; do
  mkdir -p /srv/kernels/$number/DEBIAN
  printf 'Package: linux-image-6.1.0-%s-amd64\nVersion: 6.1.%s\n' $number $number >/srv/kernels/$number/DEBIAN/control
  printf 'Architecture: all\nMaintainer: x <x@x>\nDescription: x\n' >>/srv/kernels/$number/DEBIAN/control
  dpkg-deb --build /srv/kernels/$number /srv/kernels/$number.deb >/dev/null
done
dpkg -i /srv/kernels/*.deb >/dev/null
apt-mark auto '?name(^linux-image-6)' >/dev/null
ln -sfn boot/vmlinuz-6.1.0-2-amd64 /vmlinuz
"""


TIDY = """systemctl stop holds.service; umount /tmp/old-mount/inner; rm /vmlinuz /etc/logrotate.d/copies
dpkg --purge $(dpkg-query -W -f '${Package}\\n' 'linux-image-6*')
"""


def test_hosts_are_cleaned_and_their_logs_rotated(fleet: Fleet, tmp_path: Path) -> None:
    """What --check lists goes, and nothing else; apt, dpkg, logrotate and the processes are Debian's own."""
    fleet.run("app1", f"sudo sh -c {shlex.quote(UNTIDY)}")
    # No clock goes on by ten days in a test: what is younger than two seconds is young.
    options: dict[str, Any] = {
        "housekeeping_found": str(tmp_path),
        "housekeeping_temporary": [
            {"path": "/tmp", "days": 2 / 86400, "names": ["old*", "new*"]},
            {"path": "/vmlinuz", "days": 1},
        ],
        "housekeeping_rotation": [
            {
                "name": "tradingflow-access",
                "paths": ["/var/log/tradingflow/*.log"],
                "create": "0640 maintenance maintenance",
                "su": "maintenance maintenance",
                "reopen": "true",
            }
        ],
    }
    inventory = ("-i", str(fleet.inventory), "--limit", "app1", "-e", json.dumps(options))
    # Under its own name it would be offered as a playbook by AWX.
    shutil.copy(ROOT / "tests/end_to_end/housekeeping.play", tmp_path / "housekeeping.yml")
    play = os.path.relpath(tmp_path / "housekeeping", ROOT / "playbooks")
    listing = (
        r"find /tmp /var/cache/apt /var/lib/logrotate /etc/logrotate.d -xdev -mindepth 1 -printf '%p %T@\n' | sort"
    )
    before = fleet.run("app1", f"sudo {listing}")
    time.sleep(3)

    def found() -> dict[str, Any]:
        told: dict[str, Any] = json.loads((tmp_path / "app1.json").read_text(encoding="utf-8"))
        return told

    done = play_on(fleet.platform, fleet.artifacts, play, *inventory, "--check")
    # /vmlinuz is a link: that is told, and leaves the rest.
    assert done.returncode == 2, done.output
    assert fleet.run("app1", f"sudo {listing}") == before
    plan = found()["plan"]["plan"]
    checks = {check["id"]: check for check in found()["plan"]["checks"]}
    temporary, refused = plan["classes"]["temporary"]
    assert [item["name"] for item in temporary["items"]] == ["new\\nline", "old", "old-link"]
    held = fleet.run("app1", "systemctl show -P MainPID holds.service")
    assert {
        why: each["names"] for why, each in temporary["kept"].items() if "name" not in why and "kept" not in why
    } == {
        "mount point": ["old-mount"],
        f"in use by process {held}": ["old-held"],
        "socket, pipe or device": ["old-pipe"],
    }
    assert "is a link" in refused["error"]["message"]
    assert checks["housekeeping.temporary:/vmlinuz"]["status"] == "unknown"
    # The two newest stay, and what /vmlinuz names.
    going = [item["name"] for item in plan["classes"]["kernels"][0]["items"]]
    assert going == ["linux-image-6.1.0-1-amd64", "linux-image-6.1.0-3-amd64"]
    assert [item["name"] for item in plan["classes"]["packages"][0]["items"]] == ["cron_1_all.deb"]
    assert checks["housekeeping.rotation_state"]["status"] == "critical"
    assert "/etc/logrotate.d/copies: /var/log/copied.log" in checks["housekeeping.rotation_copies"]["message"]
    assert "/var/log/alone.log is rotated by nobody" in str(checks["housekeeping.rotation"]["details"])

    done = play_on(fleet.platform, fleet.artifacts, play, *inventory)
    assert done.returncode == 2, done.output
    after = found()["done"]
    assert after["changed"]
    checks = {check["id"]: check for check in after["checks"]}
    assert checks["housekeeping.rotation_state"]["status"] == "warning"
    gone = {
        row["name"] for part in after["plan"]["classes"]["temporary"] for row in part.get("done", {}).get("removed", [])
    }
    assert gone == {item["name"] for item in temporary["items"]}
    assert set(fleet.run("app1", "ls -A /tmp").split()) >= {"young", "old-held", "old-pipe", "old-mount"}
    assert fleet.run(
        "app1", "cat /srv/bound/precious; ls /etc/os-release /var/cache/apt/archives/*.deb || true"
    ).startswith("x")
    kernels = fleet.run(
        "app1", "dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n' 'linux-image-6*' | grep ^ii || true"
    )
    assert [line.rpartition("-image-")[2] for line in kernels.split("\n")] == [f"6.1.0-{n}-amd64" for n in (2, 4, 5)]
    # The service that Debian runs every day: it goes on from the repaired state, and rotates the managed log.
    rotated = "logrotate -f /etc/logrotate.d/tradingflow-access; logrotate /etc/logrotate.conf; ls /var/log/tradingflow"
    assert "app.log.1" in fleet.run("app1", f"sudo sh -c {shlex.quote(rotated)}").split()
    fleet.run("app1", f"sudo sh -c {shlex.quote(TIDY)}")


@contextmanager
def asked_all_the_time(fleet: Fleet) -> Iterator[None]:
    """A client asks meanwhile, of both hosts, and is answered always: by either, and not always by both."""
    client = Client([fleet.sections[name]["ports"]["app"] for name in APPLICATION])
    client.start()
    try:
        yield
    finally:
        client.enough.set()
        client.join(120)
    assert client.failed == []
    assert client.turned_away > 0
    assert min(client.answered.values()) > 0


def test_application_answers_while_its_hosts_are_patched(fleet: Fleet) -> None:
    before = fleet.versions("app1")
    running = {name: fleet.application(name) for name in APPLICATION}
    with asked_all_the_time(fleet):
        done = fleet.patch()
    assert done.returncode == 0, done.output
    wanted = {name: version + (NEWER if name in TAKEN else "") for name, version in before.items()}
    assert {name: fleet.versions(name) for name in ROLES} == dict.fromkeys(ROLES, wanted)
    report = done.report("patch")
    planned = [each for each in report["actions"] if each["id"] == "patching.patch"]
    assert sorted(each["host"] for each in planned) == sorted(ROLES)
    for each in planned:
        rows = {row["package"]: row["to"] for row in each["details"]["packages"]}
        assert rows == {name: before[name] + NEWER for name in TAKEN}
        assert {row["package"]: row["reason"] for row in each["details"]["kept"]} == {HELD: "hold"}
        # Debian's own version is in the repository, too.
        assert each["details"]["back"] == []
    # What is held is a security update, and nothing else is worth a warning.
    assert ids(report, "warning") == {"patching.kept"}
    assert ids(report, "critical", "unknown") == set()
    # libpq is the application's, and real needrestart says so: it runs the new one now.
    assert "patching.restarted:tradingflow.service" in ids(report, "ok")
    # Also of the platform, once for each batch.
    healthy = {check["id"] for check in report["checks"] if check["id"].startswith("patching.health:")}
    assert healthy == {f"patching.health:{area}" for area in ("system", "application", "trading")}
    assert all(fleet.application(name) != process for name, process in running.items())


def test_killed_between_two_hosts_it_goes_on_with_the_others_at_once(fleet: Fleet, tmp_path: Path) -> None:
    """Restarted are all, each once: the canary before its run is killed, the two others by the next one."""
    born = {name: fleet.born(name) for name in ROLES}
    for name in ROLES:
        fleet.run(name, "touch /run/reboot-required")
    flag, hook = tmp_path / "proven", tmp_path / "after.yml"
    hook.write_text(
        f"""
- name: Tell that the host is proven
  ansible.builtin.file: {{path: {flag}, state: touch, mode: "0600"}}
  delegate_to: localhost
  become: false
# Not a pause, whose process would wait for its killed parent's answer for ever.
- name: Wait until the run is killed
  ansible.builtin.wait_for: {{timeout: 300}}
  delegate_to: localhost
  become: false
""",
        encoding="utf-8",
    )
    # The platform's health is what the run above compared.
    options: dict[str, Any] = {"patching_reboot": "when_needed", "patching_health": ["system"]}
    options.update(patching_canary=["db1"], patching_after_host=str(hook))
    inventory = ("-i", str(fleet.inventory))
    killed = start_on(fleet.platform, fleet.artifacts, "patch", *inventory, "-e", json.dumps(options))
    try:
        waited(lambda: flag.exists() or killed.poll() is not None, 600)
        assert killed.poll() is None, killed.communicate()[0]
    finally:
        if killed.poll() is None:
            os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
    first = {name: fleet.born(name) for name in ROLES}
    assert {name for name in ROLES if first[name] != born[name]} == {"db1"}

    options = {**options, "patching_canary": [], "patching_batch": 2, "patching_after_host": ""}
    done = fleet.patch("-e", json.dumps(options))
    assert done.returncode == 0, done.output
    last = {name: fleet.born(name) for name in ROLES}
    assert {name for name in ROLES if last[name] != first[name]} == {"app1", "app2"}
    report = done.report("patch")
    proven = {check["host"] for check in report["checks"] if check["id"] == "patching.proven:rebooted"}
    assert proven == {"app1", "app2"}
    assert {"patching.proven:rebooted", "patching.proven:units", "patching.connection"} <= ids(report, "ok")
    assert ids(report, "critical", "unknown") == set()
    # The two of a batch go together: both are begun before one of them is ended.
    client, bucket = s3(fleet.platform), fleet.platform.state["s3"]["bucket"]
    found = sorted(key for key in keys(fleet.platform, f"evidence/{report['environment']}/") if "/0" in key)
    stated = [statement(client.get_object(Bucket=bucket, Key=key)["Body"].read())["predicate"] for key in found[-12:]]
    mine = [each for each in stated if each["run_id"] == report["run_id"] and each["kind"] == "patch"]
    # Three: what came after db1 had not ended when its run was killed, so it is proven again.
    assert [each["content"]["state"] for each in mine] == ["begun", "begun", "ended", "ended", "begun", "ended"]
    assert {each["content"]["host"] for each in mine[:2]} == {each["content"]["host"] for each in mine[2:4]}
    assert {each["content"]["host"] for each in mine} == set(ROLES)


def test_back_with_restarts_of_which_one_is_the_last(fleet: Fleet) -> None:
    """All go back and restart, one after the other; one of them does not come back, and the budget allows that."""
    born = {name: fleet.born(name) for name in ROLES}
    boot = fleet.run("app1", "cat /proc/sys/kernel/random/boot_id")
    fleet.run(
        "db1", "ln -s /lib/systemd/system/poweroff.target /etc/systemd/system/reboot.target; systemctl daemon-reload"
    )
    with asked_all_the_time(fleet):
        done = fleet.patch(
            "-e",
            json.dumps(
                {
                    "patching_rollback": True,
                    "patching_reboot": "always",
                    "patching_health": ["system"],
                    "patching_reboot_timeout": "{{ 5 if inventory_hostname == 'db1' else 600 }}",
                    "patching_failures_allowed": 1,
                    # Hosts are in the order in which they came up; a canary that fails would stop the others.
                    "patching_canary": ["app1"],
                }
            ),
        )
    assert done.returncode == 2, done.output
    report = done.report("patch")
    assert {check["host"] for check in report["checks"] if check["status"] == "critical"} == {"db1"}, done.output
    proven = {check["host"] for check in report["checks"] if check["id"] == "patching.proven:rebooted"}
    assert proven == set(APPLICATION)
    for name in APPLICATION:
        assert fleet.born(name) != born[name]
        assert not [version for version in fleet.versions(name).values() if version.endswith(NEWER)]
    # Shared, and so no proof of a restart.
    assert fleet.run("app1", "cat /proc/sys/kernel/random/boot_id") == boot


def test_switched_off_it_stays_off_and_keeps_its_files(fleet: Fleet) -> None:
    process = fleet.sections["db1"]["pid"]
    assert fleet.machine("db1").off
    assert not fleet.machine("db1").up()
    assert "db1 switched on again" in fleet.platform("hosts-up").stdout
    assert fleet.sections["db1"]["pid"] == process
    # What was done on it before is done.
    assert not fleet.versions("db1")["cron"].endswith(NEWER)
    assert fleet.run("db1", "readlink /etc/systemd/system/reboot.target").endswith("poweroff.target")


def test_a_host_whose_health_turned_bad_stays_halted_and_stops_the_others(fleet: Fleet) -> None:
    """All that is to be proven of its packages is: they filled a disk."""
    before = {name: fleet.versions(name) for name in ROLES}
    small = "/run/tf-small"
    fleet.run("app1", f"mkdir {small}; mount -t tmpfs -o size=1m tradingflow {small}")
    fills = f"head -c 1000000 /dev/zero >{small}/filled; true"
    fleet.run("app1", f"echo 'DPkg::Post-Invoke {{\"{fills}\";}};' >/etc/apt/apt.conf.d/99filled")
    options: dict[str, Any] = {"patching_packages": ["tzdata"], "patching_units": ["cron.service"]}
    options.update(patching_canary=["app1"], patching_health=["system"], patching_health_wait=0)
    options["health_check_mounts"] = "{{ [{'path': '" + small + "'}] if inventory_hostname == 'app1' else [] }}"
    done = fleet.patch("-e", json.dumps(options))
    assert done.returncode == 2, done.output
    report = done.report("patch")
    said = {check["host"]: check["message"] for check in report["checks"] if check["id"] == "patching.finished"}
    assert said.keys() == {"app2", "db1"}
    assert all("the canary is not proven: app1" in text for text in said.values())
    mine = {check["id"]: check for check in report["checks"] if check["host"] == "app1"}
    assert {id for id, check in mine.items() if check["status"] == "critical"} == {
        "patching.health:system",
        "patching.isolated",
    }
    assert f"system.disk_space:{small}: critical" in mine["patching.health:system"]["message"]
    assert mine["patching.proven:versions"]["status"] == "ok"
    assert {name: fleet.versions(name) for name in ROLES if name != "app1"} == {
        name: versions for name, versions in before.items() if name != "app1"
    }
    assert fleet.run("app1", "systemctl show -P ActiveState cron.service") == "inactive"


def test_a_host_that_was_killed_is_made_anew(fleet: Fleet) -> None:
    born = fleet.born("app1")
    fleet.run("app2", "touch /root/kept")
    process = fleet.sections["app2"]["pid"]
    os.kill(process, signal.SIGKILL)
    waited(lambda: start_time(process) is None)
    done = fleet.platform("hosts-up")
    assert "app2: 127.0.0.1:" in done.stdout
    assert "app1" not in done.stdout
    assert fleet.run("app2", "ls -A /root").split().count("kept") == 0
    assert list(Path("/sys/fs/cgroup").rglob(f"app2-{process}-*")) == []
    assert fleet.born("app1") == born


def test_down_ends_these_and_nothing_else(fleet: Fleet) -> None:
    """A state file that names a process of somebody else ends nobody's, and says whose it is."""
    sections = fleet.sections
    services = {name: fleet.platform.current[name]["pid"] for name in ("postgres", "s3", "app")}
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], environment)
    try:
        state = fleet.platform.current
        state["hosts"]["stranger"] = {"ports": {"ssh": 1}, "pid": pid, "pid_started": start_time(pid)}
        assert fleet.platform.file
        fleet.platform.file.write_text(json.dumps(state), encoding="utf-8")
        done = fleet.platform("hosts-down", check=False)
        assert done.returncode == 1
        assert f"stranger (process {pid})" in done.stderr
        assert start_time(pid) is not None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert fleet.platform("hosts-down").stdout == "The hosts are gone.\n"
    assert not any(alive(section) for section in sections.values())
    groups = {path.name for path in Path("/sys/fs/cgroup").glob("*/*") if path.is_dir()}
    assert not any(f"-{section['pid']}-" in name for section in sections.values() for name in groups)
    assert not fleet.inventory.exists()
    assert not (Path(fleet.platform.current["data_root"]) / "hosts").exists()
    assert all(alive(fleet.platform.current[name]) for name in services)
    assert fleet.platform("hosts-down").stdout == "There are no hosts.\n"
