"""Area system on recorded and broken /proc trees."""

from __future__ import annotations

import ast
import os
import sys
import threading
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import clock, mounts, system
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check, limits
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from ansible_collections.tradingflow.maintenance.plugins.module_utils.words import printable

from tests.conftest import COLLECTION

MOUNTINFO = """\
21 28 0:20 / /proc rw,nosuid - proc proc rw
22 28 0:21 / /sys rw - sysfs sysfs rw
24 28 0:22 / /dev/shm rw - tmpfs tmpfs rw
28 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw,errors=remount-ro
30 28 254:16 / /srv/market\\040data rw - xfs /dev/vdb rw
31 28 254:16 /sub /mnt/bind rw - xfs /dev/vdb rw
32 28 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
33 28 7:2 / /mnt/image rw - ext4 /dev/loop2 rw
34 28 0:44 / /var/lib/docker/overlay2/ab/merged rw - overlay overlay rw
35 28 11:0 / /media/cdrom ro - iso9660 /dev/sr0 ro
36 28 254:0 /etc/hosts /run/container/hosts rw - ext4 /dev/vda1 rw
37 28 0:50 / /mnt/nfs rw - nfs4 server:/export rw
"""
FILES = {
    "proc/self/mountinfo": MOUNTINFO,
    "proc/meminfo": "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 400 kB\nSwapTotal: 200 kB\nSwapFree: 150 kB\n"
    "HugePages_Total: 0\n",
    "proc/loadavg": "9.00 1.00 0.10 1/100 4711\n",
    "proc/stat": "cpu  10 20 30 100 0 0 0 5 0 0\ncpu0 1 2 3\ncpu1 1 2 3\nbtime 1000\n",
    "proc/sys/kernel/osrelease": "6.1.0-1-amd64\n",
    "proc/vmstat": "nr_free_pages 1\noom_kill 3\n",
    "proc/1/stat": "1 (init) S 0 1 1\n",
    "proc/4711/stat": "4711 (odd ) Z (name) R 1 1 1\n",
    "proc/pressure/cpu": "some avg10=99.00 avg60=99.00 avg300=1.50 total=1\nfull avg10=0 avg60=0 avg300=99.00\n",
    "proc/uptime": "86400.55 1.00\n",
    "etc/fstab": "/dev/vda1 / ext4 errors=remount-ro 0 1\n# /dev/vdb /srv xfs ro 0 0\n",
}


def usage(used: float = 40, inodes: float = 30, size: int = 1000) -> SimpleNamespace:
    """What statvfs says; used and inodes in %, 5 % reserved for root."""
    free, spare = round(size * (1 - used / 100)), round(1000 * (1 - inodes / 100))
    return SimpleNamespace(
        f_blocks=size, f_bfree=free, f_bavail=max(0, free), f_frsize=4096, f_files=1000, f_ffree=spare, f_favail=spare
    )


class Host:
    """A fake root with the files above. ``usage`` maps mount points to what statvfs says there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.usage: dict[str, Any] = {}
        self.units: str | OSError = ""
        self.later = "20 20 40 170 0 0 0 15"
        for path, text in FILES.items():
            self.write(path, text)
        for folder in ("srv/market data", "mnt/bind", "mnt/image", "mnt/nfs", "run/container", "media/cdrom"):
            (root / folder).mkdir(parents=True)
        self.write("run/container/hosts", "")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8", errors="surrogateescape")

    def statvfs(self, path: str) -> Any:
        answer = self.usage.get("/" + os.path.relpath(path, self.root).removeprefix("."), usage())
        return answer() if callable(answer) else answer

    def run(self, arguments: list[str]) -> str:
        assert arguments[0] == "systemctl"
        if isinstance(self.units, OSError):
            raise self.units
        return self.units

    def sleep(self, seconds: float) -> None:
        text = (self.root / "proc/stat").read_text(errors="surrogateescape")
        self.write("proc/stat", text.replace("10 20 30 100 0 0 0 5", self.later))

    def __call__(self, **options: Any) -> dict[str, Check]:
        checks = system.measure(
            validated(**options), root=str(self.root), statvfs=self.statvfs, run=self.run, sleep=self.sleep
        )
        found = {check.id: check for check in checks}
        assert len(found) == len(checks), "two checks with one id"
        return found


def validated(**options: Any) -> dict[str, Any]:
    """Options as Ansible hands them on."""
    result = ArgumentSpecValidator(system.SYSTEM_SPEC).validate(options)
    assert not result.error_messages
    parameters: dict[str, Any] = result.validated_parameters
    return parameters


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_healthy_host_is_green(host: Host) -> None:
    found = host()
    assert {check.status for check in found.values()} == {"ok"}
    assert found["system.memory_available"].value == 40.0
    assert found["system.swap_used"].value == 25.0
    assert found["system.load"].value == 0.5
    assert found["system.uptime"].value == 86401


def test_only_mounts_that_hold_data_are_looked_at(host: Host) -> None:
    disks = {id.partition(":")[2] for id in host() if id.startswith("system.disk_space")}
    assert disks == {"/", "/srv/market data", "/mnt/nfs"}


@pytest.mark.parametrize(
    ("used", "status"), [(84, "ok"), (85, "warning"), (94.9, "warning"), (95, "critical"), (100, "critical")]
)
def test_disk_space(host: Host, used: float, status: str) -> None:
    host.usage["/srv/market data"] = usage(used)
    found = host()
    assert found["system.disk_space:/srv/market data"].status == status
    assert found["system.disk_space:/"].status == "ok"


def test_disk_space_is_what_df_says_with_blocks_reserved_for_root(host: Host) -> None:
    host.usage["/"] = SimpleNamespace(**{**vars(usage(90)), "f_bavail": 0})
    assert host()["system.disk_space:/"].value == 100.0


def test_inodes_run_out_apart_from_space(host: Host) -> None:
    host.usage["/"] = usage(10, inodes=99)
    found = host()
    assert found["system.inodes:/"].status == "critical"
    assert found["system.disk_space:/"].status == "ok"


def test_file_system_without_a_limit_of_inodes_has_no_such_check(host: Host) -> None:
    host.usage["/"] = SimpleNamespace(**{**vars(usage()), "f_files": 0, "f_ffree": 0, "f_favail": 0})
    assert "system.inodes:/" not in host()


def test_thresholds_of_one_mount(host: Host) -> None:
    host.usage |= {"/": usage(60), "/srv/market data": usage(60)}
    named = [{"path": "/srv/market data", "disk_space": {"critical": 50}}, {"path": "/mnt/nfs", "ignore": True}]
    found = host(mounts=named)
    assert found["system.disk_space:/srv/market data"].status == "critical"
    assert found["system.disk_space:/srv/market data"].warning == 85
    assert found["system.disk_space:/"].status == "ok"
    assert "system.disk_space:/mnt/nfs" not in found


def test_general_threshold_can_be_set_in_part_and_taken_away(host: Host) -> None:
    host.usage["/"] = usage(99)
    assert host(thresholds={"disk_space": {"warning": 10}})["system.disk_space:/"].critical == 95
    found = host(thresholds={"disk_space": {"warning": float("inf"), "critical": float("inf")}})["system.disk_space:/"]
    assert (found.status, found.value) == ("ok", 99.0)


def test_threshold_that_is_no_number_is_refused(host: Host) -> None:
    with pytest.raises(ConfigurationError, match=r"load\.critical"):
        host(thresholds={"load": {"critical": float("nan")}})


def test_named_mount_is_checked_whatever_its_kind_and_unknown_when_missing(host: Host) -> None:
    host.usage["/mnt/image"] = usage(99)
    found = host(mounts=[{"path": "/mnt/image"}, {"path": "/mnt/gone"}])
    assert found["system.disk_space:/mnt/image"].status == "critical"
    assert found["system.disk_space:/mnt/gone"].status == "unknown"
    assert "Nothing is mounted" in found["system.disk_space:/mnt/gone"].message


def test_mount_that_fails_or_hangs_is_unknown_and_the_others_go_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "STATVFS_TIMEOUT", 0.05)
    never = threading.Event()

    def fail() -> None:
        raise OSError(5, "Input/output error")

    host.usage |= {"/mnt/nfs": lambda: never.wait(10) or usage(), "/srv/market data": fail}
    found = host()
    never.set()
    assert found["system.disk_space:/mnt/nfs"].status == "unknown"
    assert "no answer" in found["system.disk_space:/mnt/nfs"].message
    assert "Input/output error" in found["system.disk_space:/srv/market data"].message
    assert found["system.disk_space:/"].status == "ok"


@pytest.mark.parametrize(
    "name", ["tab\\011and\\012newline", "back\\134slash", "quote\"'%s{{x}}", "größe-日本", "\udcff"]
)
def test_names_of_mounts(host: Host, name: str) -> None:
    host.write("proc/self/mountinfo", MOUNTINFO + f"40 28 254:32 / /mnt/{name} rw - ext4 /dev/vdc rw\n")
    ids = [id for id in host() if id.startswith("system.disk_space:/mnt/") and "nfs" not in id]
    assert len(ids) == 1
    assert ids[0].isprintable()
    assert ids[0].encode()


def test_later_mount_hides_the_earlier_one_in_its_place(host: Host) -> None:
    host.write("proc/self/mountinfo", MOUNTINFO + "40 28 254:48 / /mnt/nfs rw - ext4 /dev/vdd rw\n")
    assert host()["system.disk_space:/mnt/nfs"].details["type"] == "ext4"


@pytest.mark.parametrize("field", ["rw,relatime - ext4 /dev/vda1 ro", "ro,relatime - ext4 /dev/vda1 rw"])
def test_file_system_that_became_read_only_is_critical(host: Host, field: str) -> None:
    text = MOUNTINFO.replace("rw,relatime - ext4 /dev/vda1 rw,errors=remount-ro", field)
    assert text != MOUNTINFO
    host.write("proc/self/mountinfo", text)
    check = host()["system.read_only_mounts"]
    assert (check.status, check.details["mounts"]) == ("critical", ["/"])


def test_read_only_on_purpose_is_fine(host: Host) -> None:
    host.write("proc/self/mountinfo", MOUNTINFO.replace("/mnt/nfs rw", "/mnt/nfs ro").replace("data rw", "data ro"))
    host.write("etc/fstab", FILES["etc/fstab"] + "/dev/vdb /srv/market\\040data xfs noatime,ro 0 0\n")
    assert host()["system.read_only_mounts"].details["mounts"] == ["/mnt/nfs"]
    found = host(mounts=[{"path": "/mnt/nfs", "read_only": True}])
    assert (found["system.read_only_mounts"].status, found["system.read_only_mounts"].value) == ("ok", 0)


def test_host_without_fstab(host: Host) -> None:
    (host.root / "etc/fstab").unlink()
    assert host()["system.read_only_mounts"].status == "ok"


@pytest.mark.parametrize(("available", "status"), [(101, "ok"), (100, "warning"), (50, "critical"), (0, "critical")])
def test_memory(host: Host, available: int, status: str) -> None:
    host.write("proc/meminfo", FILES["proc/meminfo"].replace("MemAvailable: 400", f"MemAvailable: {available}"))
    assert host()["system.memory_available"].status == status


def test_kernel_that_does_not_say_what_memory_is_available(host: Host) -> None:
    host.write("proc/meminfo", FILES["proc/meminfo"].replace("MemAvailable", "Other"))
    found = host()
    assert found["system.memory_available"].status == "unknown"
    assert found["system.swap_used"].status == "ok"


def test_host_without_swap(host: Host) -> None:
    host.write("proc/meminfo", FILES["proc/meminfo"].replace("200 kB", "0 kB").replace("150 kB", "0 kB"))
    assert (host()["system.swap_used"].status, host()["system.swap_used"].value) == ("ok", 0)


@pytest.mark.parametrize(("average", "status"), [("7.98", "ok"), ("8.00", "warning"), ("16.00", "critical")])
def test_load_is_per_core_over_five_minutes(host: Host, average: str, status: str) -> None:
    host.write("proc/loadavg", f"99.0 {average} 99.0 1/1 1\n")
    assert host()["system.load"].status == status


def test_recent_start_is_reported_and_judged_only_when_asked(host: Host) -> None:
    host.write("proc/uptime", "59.9 1\n")
    assert host()["system.uptime"].status == "ok"
    assert host(thresholds={"uptime": {"warning": 600}})["system.uptime"].status == "warning"


BROKEN = {
    "proc/self/mountinfo": "system.disk_space",
    "proc/meminfo": "system.memory_available",
    "proc/loadavg": "system.load",
    "proc/stat": "system.load",
    "proc/uptime": "system.uptime",
}


@pytest.mark.parametrize("text", [None, "", "garbage\n", "\udcff\udcfe\n"])
@pytest.mark.parametrize("path", BROKEN)
def test_what_cannot_be_read_is_unknown_and_the_others_go_on(host: Host, path: str, text: str | None) -> None:
    if text is None:
        (host.root / path).unlink()
    else:
        host.write(path, text)
    found = host()
    assert found[BROKEN[path]].status == "unknown"
    assert found[BROKEN[path]].remedy
    assert len([check for check in found.values() if check.status == "ok"]) >= 2


@pytest.mark.parametrize(
    ("clock_there", "status", "skew"),
    [
        (101, "ok", 0),
        (99, "ok", 1),
        (97.9, "warning", 2.1),
        (105, "warning", 3),
        (50, "critical", 50),
        (1e9, "critical", None),
    ],
)
def test_clock_skew(clock_there: float, status: str, skew: float | None) -> None:
    check = system.clock_skew(validated()["thresholds"], clock_there, 100, 102)
    assert check.status == status
    assert skew is None or check.value == pytest.approx(skew)


def test_clock_of_a_host_that_took_too_long_is_unknown_but_a_surely_wrong_one_is_not() -> None:
    thresholds = validated()["thresholds"]
    assert system.clock_skew(thresholds, 105, 100, 120).status == "unknown"
    assert system.clock_skew(thresholds, 200, 100, 120).status == "critical"


def test_slow_answers_of_a_busy_runner_do_not_make_clocks_unknown() -> None:
    thresholds = validated()["thresholds"]
    slow = (thresholds, 105, 100, 115)
    # Another answer came faster: it agrees, or shows what the slow one hid.
    assert system.clock_skew(*slow, more=[(-0.2, 0.3)]).status == "ok"
    assert system.clock_skew(*slow, more=[(4.0, 4.5)]).status == "warning"
    # The host's kernel says that a time service keeps its clock.
    kept = {"synchronised": True, "error": 0.05}
    check = system.clock_skew(*slow, held=kept)
    assert (check.status, "keeps the clock within 0.05 s" in check.message) == ("ok", True)
    assert system.clock_skew(thresholds, 200, 100, 115, held=kept).status == "critical"
    for other in ({**kept, "synchronised": False}, {**kept, "error": 30.0}, {**kept, "error": "x"}, {}, None, "yes"):
        assert system.clock_skew(*slow, held=other).status == "unknown"


def test_what_the_host_was_busy_with_is_no_delay() -> None:
    assert clock.bounds(115, 100, 116, began=100.5) == (-1, 0.5)
    assert clock.narrowed([(-15, 1), (-1, 5)]) == (-1, 1)
    assert clock.narrowed([(-1, 1), (3, 4)]) == (3, 4)


def test_kernel_of_this_machine() -> None:
    found = clock.kernel()
    assert not found or (isinstance(found["synchronised"], bool) and found["error"] >= 0)


def test_limits_show_whole_numbers_as_such() -> None:
    assert str(limits({"x": {"warning": 85.0, "critical": 97.5}}, "x")["warning"]) == "85"


@pytest.mark.parametrize(("name", "shown"), [("", "(blank)"), ("  ", "(blank)"), ("a\nb", "a\\nb"), ("x" * 200, 120)])
def test_printable(name: str, shown: str | int) -> None:
    text = printable(name)
    assert text == shown or len(text) == shown


def test_use_of_processors_is_measured_between_two_looks(host: Host) -> None:
    found = host(thresholds={"cpu_steal": {"warning": 10}})
    assert found["system.cpu_used"].value == 20.0
    assert (found["system.cpu_steal"].value, found["system.cpu_steal"].status) == (10.0, "warning")


@pytest.mark.parametrize("later", ["10 20 30 100 0 0 0 5", "1 1 1 1 1 1 1 1", "10"])
def test_counters_that_stand_still_or_go_back_are_unknown(host: Host, later: str) -> None:
    host.later = later
    assert host()["system.cpu_used"].status == "unknown"


def test_pressure_is_that_of_five_minutes(host: Host) -> None:
    host.write("proc/pressure/io", "some avg10=0.00 avg60=0.00 avg300=61.00 total=1\n")
    found = host()
    assert (found["system.cpu_pressure"].value, found["system.cpu_pressure"].status) == (1.5, "ok")
    assert found["system.io_pressure"].status == "warning"
    assert "system.memory_pressure" not in found, "a kernel that does not measure it"
    host.write("proc/pressure/io", "garbage")
    found = host()
    assert (found["system.io_pressure"].status, found["system.cpu_pressure"].status) == ("unknown", "ok")


def test_zombies_are_told_by_state_and_not_by_name(host: Host) -> None:
    assert host()["system.zombies"].value == 0
    for pid in range(100, 120):
        host.write(f"proc/{pid}/stat", f"{pid} (a) b) Z 1 1\n")
    check = host()["system.zombies"]
    assert (check.status, check.value, check.details["names"]) == ("warning", 20, ["a) b"])


def test_kills_for_lack_of_memory_are_reported_and_judged_only_when_asked(host: Host) -> None:
    assert (host()["system.oom_kills"].value, host()["system.oom_kills"].status) == (3, "ok")
    assert host(thresholds={"oom_kills": {"critical": 1}})["system.oom_kills"].status == "critical"
    host.write("proc/vmstat", "nr_free_pages 1\n")
    assert host()["system.oom_kills"].status == "unknown"


def test_failed_units(host: Host) -> None:
    assert "system.failed_units" not in host(), "no systemd, nothing to say"
    host.write("run/systemd/system/x", "")
    assert host()["system.failed_units"].value == 0
    host.units = "tradingflow.service loaded failed failed TradingFlow\nx@1.service loaded failed failed X\n"
    check = host()["system.failed_units"]
    assert (check.status, check.details["units"]) == ("warning", ["tradingflow.service", "x@1.service"])
    host.units = OSError("systemctl failed: no bus")
    assert host()["system.failed_units"].status == "unknown"


def test_restart_needed(host: Host) -> None:
    assert "system.reboot_needed" not in host(), "no kernel of its own, and nobody asks"
    host.write("run/reboot-required", "")
    assert host()["system.reboot_needed"].status == "warning"
    (host.root / "run/reboot-required").unlink()
    host.write("boot/vmlinuz-6.1.0-1-amd64", "")
    assert host()["system.reboot_needed"].value == 0
    host.write("boot/vmlinuz-6.1.0-2-amd64", "")
    assert host()["system.reboot_needed"].value == 1
    # Installed before the host was started: chosen not to be used.
    host.write("proc/stat", FILES["proc/stat"].replace("btime 1000", "btime 99999999999"))
    assert host()["system.reboot_needed"].value == 0


def test_what_travels_to_hosts_needs_only_the_standard_library_of_python_3_9() -> None:
    utils = COLLECTION / "plugins/module_utils"
    files = [
        COLLECTION / "plugins/modules/host_checks.py",
        *(utils / f"{name}.py" for name in ("checks", "errors", "masking", "words")),
    ]
    files += [
        utils / f"_checks/{name}.py" for name in ("__init__", "system", "host", "mounts", "activity", "guard", "clock")
    ]
    local = {path.stem for path in files} | {"_checks", "_checks.system", "_checks.clock"}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.module is None or node.module.removeprefix("module_utils.") in local, (path, node.module)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names]
                assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | {"ansible"}, path
    # It is sent to every host anew, packed.
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) < 28 * 1024
