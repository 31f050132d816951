"""What proves a release besides its pods: flags, results of tests, and the Jobs that they are run by."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes import jobs
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import (
    Cluster,
    Missing,
    Unanswered,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.jobs import Ended, judge
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    flags,
    kept,
    leftovers,
    promotion,
    proof,
    tests_job,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.options import SPEC, checked
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import LastGood, Release
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.results import Results, results
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Session
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.verified import verified
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import CRITICAL, OK, UNKNOWN
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from tests.unit.release_fixtures import NAME, NEW, condition, template
from tests.unit.soak_fixtures import defaults

NOW = datetime(2026, 11, 30, 12, 0, 10, tzinfo=UTC)


def said(value: Any, reason: Any = "STATIC", **more: Any) -> dict[str, Any]:
    return {"flags": {"newFeature": {"value": value, "reason": reason, **more}}}


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (said(True), OK),
        (said(True, "DEFAULT"), OK),
        (said(True, "TARGETING_MATCH"), OK),
        (said(True, "CACHED"), OK),
        (said(True, "DISABLED"), OK),
        (said(False), CRITICAL),
        (said(1), CRITICAL),
        (said("true"), CRITICAL),
        (said(None), CRITICAL),
        ({"flags": {}}, CRITICAL),
        # Its value is what the code falls back to: nobody decided it.
        (said(True, "ERROR", errorCode="PROVIDER_NOT_READY"), CRITICAL),
        (said(True, "STALE"), UNKNOWN),
        (said(True, "SPLIT"), UNKNOWN),
        (said(True, "UNKNOWN"), UNKNOWN),
        (said(True, "static"), UNKNOWN),
        (said(True, "MAGIC"), UNKNOWN),
        (said(True, None), UNKNOWN),
        (said(True, ["STATIC"]), UNKNOWN),
        ({"flags": {"newFeature": True}}, UNKNOWN),
        ({"flags": {"newFeature": {"reason": "STATIC"}}}, UNKNOWN),
        ({"flags": [1]}, UNKNOWN),
        ({}, UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_a_flag_is_its_value_and_the_reason_for_it(answer: Any, status: str) -> None:
    assert flags.judged(answer, {"newFeature": True})[0] == status


def test_values_are_compared_with_their_types() -> None:
    assert flags.same({"a": [1, {"b": False}]}, {"a": [1.0, {"b": False}]})
    assert not flags.same({"a": [0]}, {"a": [False]})
    assert not flags.same([1], [1, 2])


class Pods:
    """Answers of pods, each as often as it is asked."""

    def __init__(self, answers: dict[str, list[bytes | Exception]]) -> None:
        self.answers = answers

    def proxied(self, _namespace: str, pod: str, *_more: Any) -> bytes:
        found = self.answers[pod].pop(0) if len(self.answers[pod]) > 1 else self.answers[pod][0]
        if isinstance(found, Exception):
            raise found
        return found


def read_back(**answers: list[bytes | Exception]) -> Any:
    pods = [{"metadata": {"name": name}} for name in answers]
    return flags.read_back(
        cast(Cluster, Pods(answers)),
        "staging",
        pods,
        {"newFeature": True},
        port=3000,
        path="/flags",
        pause=lambda _seconds: None,
    )


def test_every_pod_must_say_so_and_is_asked_again() -> None:
    good, bad = json.dumps(said(True)).encode(), json.dumps(said(False)).encode()
    assert read_back(a=[good], b=[bad, Unanswered("late"), good]).status == OK
    found = read_back(a=[good], b=[bad])
    assert (found.status, found.value) == (CRITICAL, 1)
    assert "b: newFeature is false, not true." in found.message
    assert read_back(a=[good], b=[Unanswered("away")]).status == UNKNOWN
    assert read_back(a=[b"<html>"]).status == UNKNOWN
    assert read_back().status == UNKNOWN


def gone_by(**answers: list[bytes | Exception]) -> dict[str, Any]:
    pods = [{"metadata": {"name": name}} for name in answers]
    return flags.gone_by(cast(Cluster, Pods(answers)), "staging", pods, ["newFeature"], port=3000, path="/flags")


def test_an_undo_goes_back_to_flags_that_all_pods_had_for_a_reason() -> None:
    good, other = json.dumps(said(False)).encode(), json.dumps(said(True)).encode()
    none = b'{"flags": {}}'
    assert gone_by(a=[good], b=[good]) == {"values": {"newFeature": False}, "unknown": {}}
    # A version that came before the flag, or before all flags, has nothing to go back to.
    for answer in (none, Missing("no such page", "")):
        assert gone_by(a=[answer], b=[answer]) == {"values": {}, "unknown": {}}
    failed = json.dumps(said(False, "ERROR")).encode()
    bare = b'{"flags": {"newFeature": true}}'
    odd: Any = (other, none, failed, bare, Unanswered("away"), b"<html>", b"[]", b'{"flags": []}')
    for answer in odd:
        found = gone_by(a=[good], b=[answer])
        assert (found["values"], list(found["unknown"])) == ({}, ["newFeature"])
    assert gone_by()["unknown"] == {"newFeature": "No pod is there."}


@pytest.mark.parametrize(
    ("before", "now", "status"),
    [
        ({}, b"", None),
        ({"values": {}, "unknown": {}}, b"", None),
        ({"values": {"newFeature": False}}, json.dumps(said(False)).encode(), OK),
        ({"values": {"newFeature": False}}, json.dumps(said(True)).encode(), CRITICAL),
        ({"values": {"newFeature": False}}, b"", UNKNOWN),
        ({"values": {"newFeature": False}, "unknown": {"b": "late"}}, json.dumps(said(False)).encode(), UNKNOWN),
        ({"values": {"newFeature": False}, "unknown": {"b": "late"}}, json.dumps(said(True)).encode(), CRITICAL),
        ({"unknown": {"b": "late"}}, b"", UNKNOWN),
    ],
)
def test_flags_after_an_undo_are_told(
    before: dict[str, Any], now: bytes, status: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{verified.__module__}._PAUSE", 0.0)
    session: Any = SimpleNamespace(cluster=Pods({"a": [now]}), namespace="staging")
    seen: Any = SimpleNamespace(current=lambda: None, pods_of=lambda _one: [{"metadata": {"name": "a"}}])
    previous: Any = SimpleNamespace(more={"flags": {**before, "port": 3000, "path": "/flags"}} if before else {})
    found = proof.flags_back(session, previous, seen)
    assert [(each.id, each.status) for each in found] == ([("release.undone:flags", status)] if status else [])
    assert "late" not in repr(before) or "What b was is not known: late" in found[0].message


@pytest.mark.parametrize(
    ("health", "status"),
    [
        (b"ok", OK),
        (b'{"status": "ok"}', OK),
        (b'{"uptime": 7}', OK),
        (b'{"status": true}', OK),
        (b'{"status": "degraded"}', CRITICAL),
        (b'{"status": false}', UNKNOWN),
        (b'{"status": 503}', UNKNOWN),
        (b'{"status": {"database": "down"}}', UNKNOWN),
        (b'{"status": ""}', UNKNOWN),
        (b'{"status": null}', UNKNOWN),
    ],
)
def test_health_that_is_said_in_a_way_that_nobody_knows_is_not_good(health: bytes, status: str) -> None:
    class Cluster:
        def proxied(self, _namespace: str, _pod: str, _port: int, path: str) -> bytes:
            return health if path == "/health" else b'{"version": "v2"}'

    found = verified(
        cast(Any, Cluster()), "staging", [{"metadata": {"name": "a"}}], port=3000, health_path="/health",
        version_path="/version", version="v2", tries=1,
    )  # fmt: skip
    assert found.status == status


def whole(total: int, passed: int, failures: int = 0, skipped: int = 0) -> tuple[int, int, int, int, bool]:
    return total, passed, failures, skipped, True


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        ("TAP version 14\n1..2\nok 1 - a\nok 2 - b\n", whole(2, 2)),
        ("> app@1 test:e2e\n> run\n\nTAP version 13\nok 1\nnot ok 2 - b\n1..2\n# tests 2\n", whole(2, 1, 1)),
        ("1..1\r\nok\r\n", whole(1, 1)),
        ("TAP version 14\n1..3\nok 1\nok 2 # SKIP no database\nnot ok 3 # TODO later\n", whole(3, 1, 0, 2)),
        ("TAP version 14\n1..1\n    1..2\n    ok 1\n    not ok 2\nnot ok 1 - sub\n", whole(1, 0, 1)),
        ("TAP version 14\n1..1\nok 1\n  ---\n  not ok: 1\n  ...\n", whole(1, 1)),
        ("TAP version 14\n1..0 # SKIP nothing\n", whole(0, 0)),
        # Suites one after the other.
        ("TAP version 14\n1..1\nok 1\nTAP version 14\n1..1\nnot ok 1\n", whole(2, 1, 1)),
        # Not whole: one is missing, twice, or there is no plan.
        ("TAP version 14\n1..3\nok 1\nok 2\n", (3, 2, 0, 0, False)),
        ("TAP version 14\n1..2\nok 1\nok 1\n", (2, 2, 0, 0, False)),
        ("TAP version 14\nok 1\nok 2\n", (0, 2, 0, 0, False)),
        ("TAP version 14\n1..1\n1..1\nok 1\n", (0, 1, 0, 0, False)),
        ("TAP version 14\n1..2\nok 1\nBail out! no database\n", (2, 1, 1, 0, False)),
        ("TAP version 14\n1..2\nok 1\nok 2\nok then, bye\n", (2, 3, 0, 0, False)),
        ('<testsuite tests="2" failures="0"><testcase name="a"/><testcase name="b"/></testsuite>', whole(2, 2)),
        (
            'noise\n<?xml version="1.0"?>\n<testsuites><testsuite tests="3" failures="1" errors="0">\n'
            '<testcase classname="c" name="a"><failure/></testcase><testcase name="b"><skipped/></testcase>'
            "<testcase name='d'/></testsuite></testsuites>\nbye",
            whole(3, 1, 1, 1),
        ),
        ("<testsuite/>", whole(0, 0)),
        # What only looks like a directive is part of the name.
        ("TAP version 14\n1..2\nok 1\nnot ok 2 - C# skip lists\n", whole(2, 1, 1)),
        ("TAP version 14\n1..2\nok 1\nnot ok 2 - removes #todo items\n", whole(2, 1, 1)),
        ("TAP version 14\n1..1\nok 1\nbail out! no database\n", (1, 1, 1, 0, False)),
        # A suite that says no version, and then one that does.
        ("1..1\nnot ok 1\nTAP version 14\n1..1\nok 1\n", whole(2, 1, 1)),
        # A whole suite, and one that was cut off.
        (
            '<testsuite tests="1"><testcase name="a"/></testsuite>\n<testsuite tests="1"><testcase name="b"><fail',
            (0, 0, 0, 0, False),
        ),
        # Two that tell in different ways.
        (
            'TAP version 14\n1..1\nnot ok 1\n<testsuite tests="1"><testcase name="a"/></testsuite>\n',
            whole(2, 1, 1),
        ),
        ('<testsuite><testcase name="a"><system-out>TAP version 14\n</system-out></testcase></testsuite>', whole(1, 1)),
        # What broke outside of a test, and tests that say by a word how they ended.
        ('<testsuite><error message="no database"/><testcase name="a"/></testsuite>', whole(1, 1, 1)),
        ('<testsuite><testcase name="a" status="run" result="completed"/></testsuite>', whole(1, 1)),
        ('<testsuite><testcase name="a" status="notrun" result="suppressed"/></testsuite>', whole(1, 0, 0, 1)),
        ('<testsuite><testcase name="a" status="failed"/></testsuite>', whole(1, 0, 1)),
        ('<testsuite><testcase name="a" status="odd"/></testsuite>', (1, 0, 0, 0, False)),
        # Sums that are not those of what is there, an end that is not there, and what is not read.
        ('<testsuite tests="3"><testcase name="a"/></testsuite>', (1, 1, 0, 0, False)),
        ('<testsuite failures="1"><testcase name="a"/></testsuite>', (1, 1, 0, 0, False)),
        ('<testsuite tests="2"><testcase name="a"/>', (0, 0, 0, 0, False)),
        ('<!DOCTYPE a [<!ENTITY b "c">]><testsuite><testcase name="&b;"/></testsuite>', (0, 0, 0, 0, False)),
        ('<testsuite><!DOCTYPE a><testcase name="b"/></testsuite>', (0, 0, 0, 0, False)),
    ],
)
def test_results_are_counted_by_their_grammar(log: str, wanted: tuple[int, int, int, int, bool]) -> None:
    found = results(log)
    assert found is not None
    assert (found.total, found.passed, found.failures, found.skipped, not found.problem) == wanted


def test_declarations_never_reach_the_parser() -> None:
    found = results('<testsuite><!DOCTYPE a [<!ENTITY b "c">]><testcase name="b"/></testsuite>')
    assert found is not None
    assert "declarations" in found.problem


@pytest.mark.parametrize("piece", ["<!--", "<![CDATA[", "<?xml ", "<testsuite>"])
def test_a_log_that_is_made_to_keep_us_busy_does_not(piece: str) -> None:
    # What looks for the end of each piece anew would be at it for hours.
    found = results("<testsuite>" + piece * (1_000_000 // len(piece)) + "</testsuite>")
    assert found is not None
    assert found.problem


def test_suites_within_suites_are_counted_up_to_where_nobody_nests_them() -> None:
    for depth, problem in ((20, False), (2000, True)):
        found = results("<testsuite>" * depth + '<testcase name="a"/>' + "</testsuite>" * depth)
        assert found is not None
        assert bool(found.problem) == problem


@pytest.mark.parametrize("log", ["", "5 passing (2s)\n", "ok\n", "All tests passed.", "not ok 1\n"])
def test_words_are_no_results(log: str) -> None:
    assert results(log) is None


def test_what_failed_is_named_with_the_reason_right_after_it() -> None:
    found = results("TAP version 14\n1..2\nnot ok 1 - prices\n# AssertionError: none\n# more\nok 2\n# a note\n")
    assert found is not None
    assert found.failed == ["1 prices (AssertionError: none)"]


def job(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "t", "uid": "u", "creationTimestamp": "2026-11-30T12:00:00Z"}, "status": status}


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "t-1"}, "status": {"phase": "Pending", **status}}


def waits(reason: str) -> dict[str, Any]:
    return pod(containerStatuses=[{"name": "tests", "state": {"waiting": {"reason": reason}}}])


RUNS = pod(phase="Running", containerStatuses=[{"state": {"running": {}}}])


@pytest.mark.parametrize(
    ("seen", "pods", "state"),
    [
        (job(conditions=[condition("Complete", "True")]), [], jobs.COMPLETE),
        (job(conditions=[condition("Failed", "True", "BackoffLimitExceeded")]), [], jobs.FAILED),
        (job(conditions=[condition("Failed", "True", "DeadlineExceeded")]), [], jobs.FAILED),
        (job(conditions=[condition("Failed", "True", "Somehow")]), [], jobs.UNKNOWN),
        (job(conditions=[condition("Complete", "False")]), [RUNS], jobs.RUNNING),
        (job(conditions=[condition("SuccessCriteriaMet", "True")]), [RUNS], jobs.RUNNING),
        (job(conditions=[condition("Suspended", "True")]), [], jobs.UNKNOWN),
        (job(conditions=[condition("Strange", "True"), condition("Complete", "True")]), [], jobs.UNKNOWN),
        (job(), [], jobs.RUNNING),
        (job(), [RUNS], jobs.RUNNING),
        (job(), [waits("ContainerCreating")], jobs.RUNNING),
        (job(), [waits("ImagePullBackOff")], jobs.STUCK),
        (job(), [waits("CreateContainerConfigError")], jobs.STUCK),
        (job(), [waits("Resting")], jobs.UNKNOWN),
        (job(), [waits("")], jobs.UNKNOWN),
        (job(), [pod(phase="Unknown")], jobs.UNKNOWN),
        (job(), [pod(conditions=[condition("PodScheduled", "False", "Unschedulable")])], jobs.STUCK),
        (job(), [pod(conditions=[condition("PodScheduled", "False", "Tired")])], jobs.UNKNOWN),
    ],
)
def test_a_job_is_good_only_when_it_is_known_to_be(seen: Any, pods: list[Any], state: str) -> None:
    assert judge(seen, pods, NOW).state == state


def test_a_job_without_a_pod_is_not_waited_for_for_ever() -> None:
    assert judge(job(), [], NOW.replace(minute=2)).state == jobs.STUCK


def test_a_deleted_job_is_unknown() -> None:
    seen = job()
    seen["metadata"]["deletionTimestamp"] = "2026-11-30T12:00:05Z"
    assert judge(seen, [RUNS], NOW).state == jobs.UNKNOWN


def ended(state: str, code: int = 0) -> Ended:
    finished = {"containerStatuses": [{"state": {"terminated": {"exitCode": code}}}]}
    return Ended(state, "r", "So it was.", 2.0, pod(**finished))


GOOD, BAD = Results(2, 2), Results(2, 1, 1, failed=["2 b"])


@pytest.mark.parametrize(
    ("how", "found", "status"),
    [
        (ended(jobs.COMPLETE), GOOD, OK),
        (ended(jobs.COMPLETE), BAD, CRITICAL),
        (ended(jobs.FAILED, 1), BAD, CRITICAL),
        # It says of itself that it failed.
        (ended(jobs.FAILED, 1), GOOD, CRITICAL),
        # Failed for whatever reason: a test that failed did so.
        (ended(jobs.UNKNOWN), BAD, CRITICAL),
        (ended(jobs.COMPLETE), None, UNKNOWN),
        (ended(jobs.FAILED, 127), None, UNKNOWN),
        (ended(jobs.UNKNOWN), GOOD, UNKNOWN),
        (ended(jobs.COMPLETE), Results(0, 0), UNKNOWN),
        (ended(jobs.COMPLETE), Results(2, 0, 0, 2), UNKNOWN),
        (ended(jobs.COMPLETE), Results(3, 2, problem="2 of 3"), UNKNOWN),
    ],
)
def test_tests_are_good_only_when_all_that_were_to_run_say_so(how: Ended, found: Results | None, status: str) -> None:
    assert tests_job.judged("e2e", how, found).status == status


def test_an_exit_code_is_told_where_nothing_else_is() -> None:
    assert "ended with 127" in tests_job.judged("e2e", ended(jobs.FAILED, 127), None).message


@pytest.mark.parametrize("problem", [False, True])
def test_a_log_that_was_not_read_to_its_end_proves_nothing(problem: bool) -> None:
    begin = b"2026-11-30T12:00:00Z TAP version 14\n2026-11-30T12:00:00Z 1..1\n2026-11-30T12:00:00Z ok 1\n"
    log = begin + b"2026-11-30T12:00:01Z " + (b"x" * (tests_job.MOST_LOG - len(begin) - 21) if problem else b"bye")
    cluster = SimpleNamespace(logs=lambda *_args: log)
    given = cast(Session, SimpleNamespace(cluster=cluster, namespace="staging", stop=lambda: None, options={}))
    whose = {"metadata": {"name": "t-1", "creationTimestamp": "2026-11-30T12:00:00Z"}}
    found = tests_job._results(given, Ended(jobs.COMPLETE, "", "", 1.0, whose))
    assert found
    assert found.passed == 1
    assert bool(found.problem) == problem, found.problem


def made(test: dict[str, Any]) -> dict[str, Any]:
    session = SimpleNamespace(options={"flags": {"newFeature": True}}, container=NAME)
    release = Release("20261130T120000Z-ab12cd34", "local", "tradingflow", "staging", NAME, NAME, "v2", "r/a", NEW)
    whole = {"name": "e2e", "command": ["npm", "run", "test:e2e"], "image": None, "env": {}, "deadline": 60, **test}
    return tests_job.manifest(cast(Session, session), release, template(NEW), "r/a:v2@x", whole)


def test_a_job_has_what_configures_the_application_and_serves_nobody() -> None:
    found = made({"env": {"RELEASE_VERSION": "v3"}})
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == template(NEW)["spec"]["containers"][0]["envFrom"]
    assert not {"ports", "readinessProbe", "lifecycle", "args"} & set(container)
    assert {"name": "RELEASE_FLAGS", "value": '{"newFeature": true}'} in container["env"]
    assert [each["value"] for each in container["env"] if each["name"] == "RELEASE_VERSION"] == ["v3"]
    assert (found["spec"]["backoffLimit"], found["spec"]["activeDeadlineSeconds"]) == (0, 60)
    assert "app" not in found["spec"]["template"]["metadata"]["labels"]
    assert found["metadata"]["name"] == "test-e2e-20261130t120000z-ab12cd34"
    assert container["image"] == "r/a:v2@x"


def test_another_image_gets_no_password() -> None:
    found = made({"image": "r/tests:1"})
    assert "secretRef" not in json.dumps(found)
    assert "volumes" not in found["spec"]["template"]["spec"]


def test_other_commands_are_another_job() -> None:
    digests = {
        made(each)["metadata"]["annotations"][tests_job.HASH]
        for each in ({}, {"command": ["x"]}, {"deadline": 61}, {"env": {"A": 1}}, {"image": "b"})
    }
    assert len(digests) == 5


@pytest.mark.parametrize(
    "wrong", [{"name": "E2E"}, {"name": "a" * 31}, {"command": []}, {"deadline": 0}, {"env": {"a-b": "c"}}]
)
def test_what_cannot_be_run_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        tests_job.checked([{"name": "e2e", "command": ["x"], "deadline": 1, "env": {}, **wrong}])


def test_tests_are_not_left_out_in_silence() -> None:
    given: dict[str, Any] = {"namespace": "production", "deployment": NAME, "container": NAME, "version": "v2"}
    given.update(manifest="a.j2", strategy="gradual", environment_name="local", application="tradingflow")
    # Named, as what is left out would be written into the default of the specification itself.
    options = defaults(SPEC, **given, storage={"bucket": "b"}, kubernetes={})
    checked(options)
    with pytest.raises(ConfigurationError, match="not run in the stages"):
        checked({**options, "tests": [{"name": "e2e", "command": ["x"], "deadline": 1, "env": {}}]})


def test_what_soaked_as_a_major_update_is_promoted_as_one() -> None:
    release = Release("20261130T120000Z-ab12cd34", "local", "tradingflow", "staging", NAME, NAME, "v2", "r/a", NEW)
    minor = {"kind": "minor", "flags": {"b": 2}}
    assert promotion._as_soaked(minor, release) == minor
    asked = {"wanted": {"kind": "major", "flags": {"a": True, "b": 1}}}
    release.previous = LastGood(NEW, "r/a", {}, {}, 3, more=asked)
    assert promotion._as_soaked(minor, release) == {"kind": "major", "flags": {"a": True, "b": 2}}


def test_two_of_one_name_are_refused() -> None:
    one = {"name": "e2e", "command": ["x"], "deadline": 1, "env": {}}
    with pytest.raises(ConfigurationError):
        tests_job.checked([one, one])


def copy(of: str, digest: str, day: int) -> tuple[str, str, dict[str, Any]]:
    metadata = {"name": digest, "creationTimestamp": f"2026-11-{day:02d}T12:00:00Z", "annotations": {kept.HASH: digest}}
    return "ConfigMap", of, {"metadata": metadata}


def test_copies_go_only_when_they_are_old_and_nobody_needs_them() -> None:
    copies = [copy("ConfigMap/a", f"a{day}", day) for day in range(1, 9)] + [copy("ConfigMap/b", "b1", 1)]
    gone = leftovers.spared(copies, {("ConfigMap/a", "a2")}, {"ConfigMap/a": "a3"}, NOW)
    # a6 to a8 are the newest, a2 is needed, a3 is what is there now; of b there is but one.
    assert [each[2]["metadata"]["name"] for each in gone] == ["a1", "a4", "a5"]
    young = [copy("ConfigMap/a", f"a{day}", 30) for day in range(8)]
    assert leftovers.spared(young, set(), {}, NOW) == []
