"""``playbooks/patch.yml`` on a real Debian, with an apt repository of its own.

The tests go on from one another.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ready
from tests.conftest import ROOT, Playbook, Sandbox, left_out, play_on
from tests.end_to_end.test_daily import ids, keys, s3, statement
from tests.machine import Machine, inventory, machine
from tests.machine.packages import Package, repository

#: The same path on both machines, and no other run's.
CA_FILE = f"/var/tmp/tradingflow-patched-{os.getpid()}-ca.crt"
ENVIRONMENT = "patched"
GROUP = "tradingflow_patching"
#: What a package does that does not know of anybody who trades.
RESTARTS = "deb-systemd-invoke restart cron.service || true"
SSHD = "systemctl show -p MainPID -p ActiveEnterTimestampMonotonic ssh"
#: Begins, waits, and fails, as long as it is not told otherwise.
FAILS = "touch /run/began; while test -e /run/wait; do sleep 0.1; done; test -e /run/may"
CONF = {"etc/tf-agent.conf": "level = 1\n"}
NEWER = [
    Package("tf-agent", "1.1", "tf-agent-data (>= 1.1)", {"etc/tf-agent.conf": "level = 2\n"}, RESTARTS),
    Package("tf-agent-data", "1.1"),
    Package("tf-held", "1.1"),
    Package("tf-half", "1.1"),
]
OLDER = [Package("tf-agent", "1.0", "", CONF), Package("tf-held", "1.0"), Package("tf-tool", "1.0")]
#: More than a small disk has.
BIG = [Package("tf-big", "1.0"), Package("tf-big", "1.1", "", {"usr/share/tf-big/data": "0123456789abcdef" * 20000})]
#: The same version, and not the same in it.
TWINS = [Package("tf-twin", "1.1", "", {"usr/share/tf-twin/whose": whose}) for whose in ("ours\n", "theirs\n")]
#: Goes only with the newer one.
NEEDS = Package("tf-needs", "1.0", "tf-tool (>= 1.1)")
#: In needrestart's words, which is not in the image: cron until its process is another one, and ssh.
NEEDRESTART = """#!/bin/sh
test -z "$NEEDRESTART_SUSPEND" && test "$*" = "-b -r l" || exit 1
echo "NEEDRESTART-VER: 3.6"
echo "NEEDRESTART-KSTA: 1"
test "$(systemctl show -P MainPID cron)" != "$(cat /run/cron-before)" || echo "NEEDRESTART-SVC: cron.service"
echo "NEEDRESTART-SVC: ssh.service"
"""
#: What trades: it says when it starts and ends, on which versions.
TRADER = """[Service]
ExecStart=/bin/sleep infinity
ExecStartPre=/bin/sh -c 'echo started >>/run/trader; cat /usr/share/tf-agent/version >>/run/trader'
ExecStopPost=/bin/sh -c 'echo stopped >>/run/trader'
[Install]
WantedBy=multi-user.target
"""
#: All that may show that somebody changed something.
STATE = (
    "find /etc /usr /opt /boot /var/lib/apt /var/lib/dpkg /var/cache /var/log/apt /srv -printf '%p %T@ %s\\n' | sort"
)


class Host:
    """The machine with older packages on it, and the playbook against it."""

    def __init__(self, made: Machine, platform: Sandbox, folder: Path) -> None:
        self.machine, self.platform = made, platform
        self.artifacts, self.inventory = folder / "artifacts", folder / "hosts.json"
        text = inventory(
            made,
            platform.state,
            CA_FILE,
            tradingflow_environment=ENVIRONMENT,
            maintenance_window_gates={"patch": ["freeze"]},
            patching_restart=["cron.*"],
            patching_units=["tf-trader.service"],
            # Its load and memory are this machine's; what health does is shown on the sandbox's hosts.
            patching_health=[],
            # This machine's memory is what it has for a disk.
            patching_minimum_free=1048576,
        )
        self.inventory.write_text(text, encoding="utf-8")
        repository(folder / "srv/security", "Debian", "Debian-Security", "bookworm-security", NEWER)
        main = [*OLDER, NEEDS, Package("tf-tool", "1.1", postinst=FAILS), *BIG, TWINS[0]]
        repository(folder / "srv/main", "Debian", "Debian", "bookworm", main)
        repository(folder / "srv/other", "Other", "Other", "other", [Package("tf-twin", "1.0"), TWINS[1]])
        packed = subprocess.run(["tar", "-cC", folder, "srv"], check=True, capture_output=True).stdout
        made.run("base64 -d | tar --no-same-owner -C / -xf - && chmod -R a+rX /srv", text=b64encode(packed).decode())
        made.run("cat >/usr/sbin/needrestart && chmod 755 /usr/sbin/needrestart", text=NEEDRESTART)
        made.run("cat >/etc/systemd/system/tf-trader.service", text=TRADER)
        # Debian's own daily work of apt and others would be taken for ours.
        made.run("systemctl stop '*.timer'")
        older = " ".join(f"/srv/main/{package.file}" for package in OLDER)
        made.run(
            f"dpkg -i {older}; dpkg --unpack /srv/security/tf-half_1.1_all.deb; apt-mark hold tf-held;"
            "apt-mark auto tf-agent; echo 'level = 7' >/etc/tf-agent.conf;"
            "systemctl show -P MainPID cron >/run/cron-before; systemctl enable --now tf-trader; : >/run/trader"
        )

    def play(self, *arguments: str, inventory: Path | None = None, **variables: Any) -> Playbook:
        how = ["-b", "-e", json.dumps(variables), *arguments]
        return play_on(self.platform, self.artifacts, "patch", *how, inventory=inventory or self.inventory)

    def two(self) -> Path:
        """The same machine under a second name: an inventory whose first host is the canary of the other."""
        known = json.loads(self.inventory.read_text(encoding="utf-8"))
        group = known["all"]["children"]["tradingflow_patching"]["hosts"]
        group["db2"] = self.machine.variables
        path = self.inventory.with_name("two.json")
        path.write_text(json.dumps(known), encoding="utf-8")
        return path

    def versions(self) -> dict[str, str]:
        """Of our packages, with their state."""
        text = self.machine.run("dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' 'tf-*'")
        return {name: f"{version} {state}" for name, version, state in map(str.split, text.splitlines())}

    def records(self) -> list[dict[str, Any]]:
        """Predicates of the ledger's records of patches, oldest first."""
        client, bucket = s3(self.platform), self.platform.state["s3"]["bucket"]
        found = sorted(key for key in keys(self.platform, f"evidence/{ENVIRONMENT}/") if "/0" in key)
        stated = [statement(client.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in found]
        return [each["predicate"] for each in stated if each["predicate"]["kind"] == "patch"]


BEFORE = {
    "tf-agent": "1.0 installed",
    "tf-half": "1.1 unpacked",
    "tf-held": "1.0 installed",
    "tf-tool": "1.0 installed",
}
AFTER = {
    **BEFORE,
    "tf-agent": "1.1 installed",
    "tf-agent-data": "1.1 installed",
    "tf-half": "1.1 installed",
}


@pytest.fixture(scope="module")
def host(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    if not shutil.which("dpkg-deb"):
        left_out("packages of Debian need dpkg-deb: apt-get install dpkg")
    sources = "".join(f"deb [trusted=yes] file:/srv/{name} ./\n" for name in ("security", "main"))
    ca = Path(CA_FILE)
    text = Path(platform.state["s3"]["ca_file"]).read_text(encoding="utf-8")
    ca.write_text(text, encoding="utf-8")
    try:
        with machine({CA_FILE.lstrip("/"): text, "etc/apt/sources.list": sources}) as made:
            yield Host(made, platform, tmp_path_factory.mktemp("host"))
    finally:
        ca.unlink()


@pytest.fixture(scope="module")
def planned(host: Host) -> dict[str, Any]:
    """The plan, as the report has it, made with --check: nothing on the host is another after it."""
    before = host.machine.run(STATE)
    done = host.play("--check")
    assert done.returncode == 0, done.output
    assert host.machine.run(STATE) == before
    assert host.versions() == BEFORE
    assert host.records() == []
    actions = {each["id"]: each for each in done.report("patch")["actions"]}
    action = actions["patching.patch"]
    assert action["status"] == "planned"
    # Who goes first, and what to say to have just this done.
    order = actions["patching.rollout"]["message"]
    assert "First db1, as canary." in order
    assert action["details"]["digest"] in order
    details: dict[str, Any] = action["details"]
    return details


def test_plan_says_what_is_taken_and_why(planned: dict[str, Any]) -> None:
    rows = {row["package"]: row for row in planned["packages"]}
    assert {name: (row["from"], row["to"], row["reason"]) for name, row in rows.items()} == {
        "tf-agent": ("1.0", "1.1", "security"),
        "tf-agent-data": (None, "1.1", "dependency"),
    }
    assert rows["tf-agent"]["conffiles_changed"] == ["/etc/tf-agent.conf"]
    assert {each["package"]: each["reason"] for each in planned["kept"]} == {
        "tf-held": "hold",
        "tf-tool": "not security",
    }
    assert (planned["configure"], planned["back"]) == (["tf-half"], [])
    assert planned["download_bytes"] > 0


def test_a_plan_that_is_not_approved_is_not_carried_out(host: Host, planned: dict[str, Any]) -> None:
    done = host.play(patching_approved=["0" * 64])
    assert done.returncode == 2, done.output
    assert ids(done.report("patch"), "critical") == {"patching.refused:approved"}
    assert host.versions() == BEFORE
    assert host.records() == []


def asked(host: Host, arguments: tuple[str, ...], name: str = "host_patching", **options: Any) -> list[str]:
    """Arguments of ansible for a module itself, outside a run."""
    what = json.dumps({"needrestart": True, **options})
    return ["-b", "-i", str(host.inventory), GROUP, "-m", f"tradingflow.maintenance.{name}", "-a", what, *arguments]


def adhoc(host: Host, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Starts the module."""
    return subprocess.Popen(
        [sys.executable, "-m", "ansible", "adhoc", *asked(host, arguments, **options)],
        cwd=ROOT,
        env=host.platform.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def module(host: Host, *arguments: str, **options: Any) -> dict[str, Any]:
    """What the module itself says."""
    said = ready.run("adhoc", asked(host, arguments, **options), host.platform.environment).stdout
    assert "=> " in said, said
    result: dict[str, Any] = json.JSONDecoder().raw_decode(said.partition("=> ")[2])[0]
    return result


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in result["checks"]}


def test_a_plan_that_is_another_by_now_is_not_carried_out(host: Host, planned: dict[str, Any]) -> None:
    """Right before anything is touched, whatever was approved."""
    done = module(host, expected_digest=planned["digest"], packages=["tf-half"])
    assert statuses(done)["patching.refused:digest"] == "critical"
    assert "something changed since" in done["msg"]
    assert done["changed"] is False
    assert host.versions() == BEFORE
    assert "policy-rc.d" not in host.machine.run("ls /usr/sbin")


def test_the_approved_plan_is_carried_out_and_nothing_else(host: Host, planned: dict[str, Any]) -> None:
    # needrestart names it, too, and nothing here restarts it.
    sshd = host.machine.run(SSHD)
    done = host.play(patching_approved=[planned["digest"]], patching_approved_by="The Head of Trading")
    assert done.returncode == 0, done.output
    report = done.report("patch")
    assert ids(report, "unknown", "critical") == set()
    assert host.versions() == AFTER
    # The held one stays, the file that was changed too, and what was there for others only still is.
    assert host.machine.run("cat /etc/tf-agent.conf; ls /etc/tf-agent.conf.dpkg-dist").split("\n")[0] == "level = 7"
    assert set(host.machine.run("apt-mark showauto").split()) >= {"tf-agent", "tf-agent-data"}
    # The package itself restarted nothing, and afterwards cron was, of the two that needrestart named.
    assert "patching.restarted:cron.service" in ids(report, "ok")
    # A security update that is held is a hole, whoever decided it.
    assert ids(report, "warning") == {"patching.services", "patching.kept"}
    starts = host.machine.run("journalctl -b -u cron.service -o cat --grep '^Started' | grep -c Started")
    assert starts.strip() == "2"
    assert "policy-rc.d" not in host.machine.run("ls /usr/sbin")
    # What trades was halted before the first package, and started after the proof.
    assert host.machine.run("cat /run/trader").split() == ["stopped", "started", "1.1"]
    assert host.machine.run(SSHD) == sshd
    assert {"patching.connection", "patching.proven:system", "patching.proven:units"} <= ids(report, "ok")
    assert {"patching.proven:versions", "patching.proven:clock", "patching.resumed:tf-trader.service"} <= ids(
        report, "ok"
    )
    begun, ended = host.records()
    assert (begun["content"]["state"], ended["content"]["state"]) == ("begun", "ended")
    assert begun["content"]["digest"] == ended["content"]["digest"] == planned["digest"]
    assert begun["run_id"] == ended["run_id"] == report["run_id"]
    assert begun["content"]["host"] == ended["content"]["host"]
    assert {name.split(":")[0]: state["version"] for name, state in ended["content"]["after"].items()} == {
        "tf-agent": "1.1",
        "tf-agent-data": "1.1",
    }
    assert ended["content"]["restarted"] == ["cron.service"]
    assert ended["content"]["proof"]["proven"] is True
    assert {each["content"]["approved_by"] for each in (begun, ended)} == {"The Head of Trading"}


def test_killed_while_a_package_is_put_in_place(host: Host) -> None:
    """The run and the module are gone, apt-get ends by itself, in a failure; it is gone on from there."""
    options: dict[str, Any] = {"scope": "all", "minimum_free": 1048576}
    plan = module(host, "--check", **options)["plan"]
    # Of what was put in place before, nothing is left to do.
    assert [(row["package"], row["to"], row["reason"]) for row in plan["packages"]] == [("tf-tool", "1.1", "update")]
    host.machine.run("touch /run/wait; rm -f /run/began")
    with adhoc(host, **options, expected_digest=plan["digest"]) as run:
        host.machine.run("while ! test -e /run/began; do sleep 0.1; done")
        os.killpg(run.pid, signal.SIGKILL)
    # What is left of it on the host, but not apt-get.
    host.machine.run("above=$(ps -o ppid= -p $(pgrep -xo apt-get)); test $above -eq 1 || kill -9 $above")
    busy = module(host, "--check", **options)
    assert statuses(busy)["patching.refused:lock"] == "critical"
    assert "apt-get" in busy["msg"]
    host.machine.run("rm /run/wait; while pgrep -x apt-get; do sleep 0.1; done")
    assert host.versions()["tf-tool"] == "1.1 half-configured"
    plan = module(host, "--check", **options)["plan"]
    assert (plan["configure"], plan["packages"], plan["policy"]) == (["tf-tool"], [], "ours")

    failed = module(host, **options, expected_digest=plan["digest"])
    assert {"patching.failed": "critical", "patching.versions": "critical"}.items() <= statuses(failed).items()
    assert (failed["patched"], failed["changed"], failed["patching"]["restarted"]) == (False, True, [])
    assert "policy-rc.d" not in host.machine.run("ls /usr/sbin")

    host.machine.run("touch /run/may")
    done = module(host, **options, expected_digest=plan["digest"])
    assert done["patched"] is True, done
    assert host.versions()["tf-tool"] == "1.1 installed"
    assert "tf-tool" not in host.machine.run("apt-mark showauto").split()


def test_the_way_back_removes_nothing(host: Host) -> None:
    """tf-tool was put in place above, by runs that were killed and failed; what was there before is kept."""
    options: dict[str, Any] = {"minimum_free": 1048576, "rollback": True}
    host.machine.run(f"dpkg -i /srv/main/{NEEDS.file}")
    refused = module(host, "--check", **options)
    assert statuses(refused)["patching.rollback_refused:back"] == "critical"
    assert "tf-needs" in refused["msg"]
    host.machine.run("dpkg -P tf-needs")
    plan = module(host, "--check", **options)["plan"]
    assert [(row["package"], row["from"], row["to"]) for row in plan["packages"]] == [("tf-tool", "1.1", "1.0")]
    done = module(host, **options, expected_digest=plan["digest"])
    assert done["patched"] is True, done
    assert host.versions()["tf-tool"] == "1.0 installed"
    proof = module(host, name="host_patching_proof")
    assert proof["proven"] is True, proof
    # Nothing is left to prove, and that is not the same as proven.
    assert statuses(module(host, name="host_patching_proof")) == {"patching.proven": "unknown"}


def finished(done: Playbook) -> dict[str, str]:
    """What ended the patching, by host."""
    return {
        check["host"]: check["message"]
        for check in done.report("patch")["checks"]
        if check["id"] == "patching.finished"
    }


def test_a_canary_that_fails_goes_back_and_stops_the_others(host: Host) -> None:
    host.machine.run("rm -f /run/may; : >/run/trader")
    done = host.play(patching_scope="all", patching_rollback_on_failure=True, inventory=host.two())
    assert done.returncode == 2, done.output
    said = finished(done)
    assert "Patching failed. The host is back at the versions of before, and proven." in said["db1"]
    assert "the canary is not proven: db1" in said["db2"]
    assert {"patching.failed", "patching.isolated"} <= ids(done.report("patch"), "critical")
    assert {"patching.rollback_versions", "patching.rollback_resumed:tf-trader.service"} <= ids(
        done.report("patch"), "ok"
    )
    assert host.versions()["tf-tool"] == "1.0 installed"
    # Halted all the time in between, and started once.
    assert host.machine.run("cat /run/trader").split() == ["stopped", "started", "1.1"]
    begun, ended = host.records()[-2:]
    assert (begun["content"]["host"], ended["content"]["host"]) == ("db1", "db1")
    assert ended["content"]["well"] is False
    assert ended["content"]["proof"]["proven"] is True
    assert ended["content"]["rollback"]["worst_status"] in ("ok", "warning")


def test_the_market_opens_between_two_batches(host: Host, tmp_path: Path) -> None:
    hook = tmp_path / "after.yml"
    hook.write_text(
        """
- name: The market opens
  ansible.builtin.set_fact:
    maintenance_window_freezes: [{name: open, from: "2020-01-01", until: "2099-01-01", reason: trading}]
  delegate_to: db2
  delegate_facts: true
""",
        encoding="utf-8",
    )
    host.machine.run("touch /run/may")
    done = host.play(patching_scope="all", patching_after_host=str(hook), inventory=host.two())
    assert done.returncode == 2, done.output
    # What was begun is ended, and nothing else begins.
    assert host.versions()["tf-tool"] == "1.1 installed"
    assert host.records()[-1]["content"]["well"] is True
    assert finished(done).keys() == {"db2"}
    assert "the gates do not allow it" in finished(done)["db2"]
    assert {record["content"]["host"] for record in host.records()} == {"db1"}


def test_a_restart_that_does_not_come_leaves_the_host_halted_until_it_is_proven(host: Host) -> None:
    """The next run goes on from there: it proves the host, and starts what was halted."""
    host.machine.run("touch /run/reboot-required; systemctl mask reboot.target; : >/run/trader")
    done = host.play(patching_reboot="when_needed", patching_reboot_timeout=5)
    assert done.returncode == 2, done.output
    assert "Restart the host: Reboot command failed" in finished(done)["db1"]
    assert "Left halted: tf-trader.service." in finished(done)["db1"]
    # Nobody starts it meanwhile.
    state = "systemctl start tf-trader 2>/dev/null || true; systemctl show -p ActiveState --value tf-trader"
    assert host.machine.run(state).strip() == "inactive"
    assert (host.records()[-1]["content"]["well"], host.records()[-1]["content"]["halted"]) == (
        False,
        ["tf-trader.service"],
    )
    host.machine.run("rm /run/reboot-required; systemctl unmask reboot.target")
    done = host.play()
    assert done.returncode == 0, done.output
    assert "patching.resumed:tf-trader.service" in ids(done.report("patch"), "ok")
    assert host.machine.run("cat /run/trader").split() == ["stopped", "started", "1.1"]
    assert host.machine.run("find /etc/systemd/system -name '90-tradingflow-*'") == ""


def test_the_disk_is_full_in_the_middle(host: Host) -> None:
    """What was not put in place is by the next run; what trades is not halted before all of it is there."""
    options: dict[str, Any] = {"scope": "all", "packages": ["tf-big"], "minimum_free": 1048576}
    options["units"] = ["tf-trader.service"]
    host.machine.run(
        "dpkg -i /srv/main/tf-big_1.0_all.deb; mount -t tmpfs -o size=64k tradingflow /usr/share/tf-big;"
        "echo 1.0 >/usr/share/tf-big/version"
    )
    plan = module(host, "--check", **options)["plan"]
    assert [row["package"] for row in plan["packages"]] == ["tf-big"]
    host.machine.run(": >/run/trader; mv /srv/main/tf-big_1.1_all.deb /srv/away")
    missed = module(host, **options, expected_digest=plan["digest"])
    assert "could not be downloaded, and nothing was touched" in missed["msg"]
    assert (missed["changed"], missed["patched"], missed["patching"]["halted"]) == (False, False, [])
    assert host.machine.run("cat /run/trader; mv /srv/away /srv/main/tf-big_1.1_all.deb") == ""
    failed = module(host, **options, expected_digest=plan["digest"])
    assert statuses(failed)["patching.failed"] == "critical"
    assert "No space left on device" in failed["msg"]
    assert failed["patched"] is False
    host.machine.run("umount /usr/share/tf-big")
    plan = module(host, "--check", **options)["plan"]
    assert module(host, **options, expected_digest=plan["digest"])["patched"] is True
    assert host.versions()["tf-big"] == "1.1 installed"
    assert module(host, name="host_patching_proof")["proven"] is True
    assert host.machine.run("cat /run/trader").split() == ["stopped", "started", "1.1"]


def test_a_version_of_which_there_are_two_archives_is_not_put_in_place(host: Host) -> None:
    """Which of the two it would be is apt-get's to choose, and the plan has the digest of one."""
    more = "/etc/apt/sources.list.d/other.list"
    host.machine.run(
        f"dpkg -i /srv/other/tf-twin_1.0_all.deb; cat >{more}", text="deb [trusted=yes] file:/srv/other ./\n"
    )
    done = module(host, "--check", scope="all", packages=["tf-twin"], minimum_free=1048576)
    host.machine.run(f"rm {more}; dpkg -P tf-twin")
    assert statuses(done)["patching.refused:archives"] == "critical"
    assert "tf-twin 1.1 (Debian bookworm, Other other)" in done["msg"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"packages": ["tf-agent", "tf-agnt"]}, "Not installed on this host: tf-agnt."),
        ({"security_origins": [{"label": "Nobody"}]}, "It has: Debian bookworm, Debian-Security bookworm-security."),
    ],
)
def test_what_cannot_be_found_is_not_called_up_to_date(host: Host, options: dict[str, Any], said: str) -> None:
    done = module(host, "--check", **options)
    assert statuses(done) == {"patching.planned": "unknown"}
    assert said in done["msg"]


def test_without_all_lists_nothing_is_planned(host: Host) -> None:
    """apt-get itself calls a mirror that does not answer a warning, and a success."""
    more = "/etc/apt/sources.list.d/silent.list"
    host.machine.run(f"cat >{more}", text="deb [trusted=yes] http://127.0.0.1:1/ ./\n")
    done = module(host, "--check")
    host.machine.run(f"rm {more}")
    assert statuses(done) == {"patching.planned": "unknown"}
    assert "127.0.0.1" in done["msg"]
    assert "plan" not in done
