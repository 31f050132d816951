"""The ticks of a soak: what counts, what holds, what begins anew, and what has failed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import record, samples, soak
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.live import Live, _measure, kinds_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.samples import Pod, looked_at
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ClusterError, ReleaseError

from tests.unit.soak_fixtures import NEW, OLD, START, Soak, live, pod, release


def kinds(count: int, name: str = "abc") -> dict[str, dict[str, Any]]:
    return {name: {"level": "error", "count": count, "sample": "it broke"}}


def test_only_time_between_two_looks_counts() -> None:
    run = Soak()
    assert run.tick().outcome == soak.BEGUN
    assert run.counted == 0
    assert [run.tick().outcome for _ in range(3)] == [soak.COUNTED] * 3
    assert run.counted == 900
    assert run.release.soak["requests"] == 900
    assert [each["verdict"] for each in run.release.samples] == ["healthy"] * 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"template_hash": "other"}, "template was changed, or the Deployment restarted"),
        ({"configuration": {"ConfigMap/app": "2"}}, "ConfigMap/app has changed"),
        ({"configuration": {}}, "ConfigMap/app has changed"),
        ({"configuration": {"ConfigMap/app": "1", "Secret/x": "1"}}, "Secret/x has changed"),
        ({"replicas": 4}, "scaled from 3 to 4"),
        ({"replicas": 2}, "scaled from 3 to 2"),
    ],
)
def test_what_is_changed_by_hand_begins_it_anew_and_says_so(change: dict[str, Any], says: str) -> None:
    run = Soak()
    run.tick()
    run.tick()
    found = run.tick(seen=live(1300, **change))
    assert found.outcome == soak.RESET
    assert says in found.text
    assert run.counted == 0
    assert run.release.soak["resets"] == 1
    assert run.release.events[-1].kind == "reset"
    # The new stay is of what is there now.
    assert run.tick(seen=live(1400, **change)).outcome == soak.COUNTED
    assert run.counted == 300


def test_a_pod_that_was_replaced_begins_it_anew() -> None:
    run = Soak()
    run.tick()
    run.tick()
    seen = live(1300)
    seen.pods[1] = pod(7, 200)
    found = run.tick(seen=seen)
    assert found.outcome == soak.RESET
    assert "1 pod was replaced: app-1" in found.text


def test_another_image_is_not_this_release_until_it_is_back() -> None:
    run = Soak()
    run.tick()
    run.tick()
    other = live(1300, digest=OLD)
    assert run.tick(seen=other).outcome == soak.RESET
    assert run.tick(seen=other).outcome == soak.RESET
    assert run.counted == 0
    assert [each.kind for each in run.release.events].count("reset") == 1
    assert run.tick().outcome == soak.BEGUN
    assert run.release.soak["resets"] == 1


def test_a_tag_without_digest_is_not_this_release() -> None:
    run = Soak()
    found = run.tick(seen=live(digest=None))
    assert found.outcome == soak.RESET
    assert "no digest pins" in found.text


def test_a_stay_begins_when_the_rollout_is_settled() -> None:
    run = Soak()
    assert run.tick(seen=live(1000, unsettled="2 of 3 pods ready, 3 there.")).outcome == soak.HELD
    assert not run.release.soak.get("stay")
    assert run.tick().outcome == soak.BEGUN
    changing = live(1200, template_hash="other", unsettled="1 of 3 pods ready, 3 there.")
    assert run.tick(seen=changing).outcome == soak.RESET
    assert run.tick(seen=live(1300, template_hash="other")).outcome == soak.BEGUN


def test_a_pod_that_is_not_ready_holds() -> None:
    run = Soak()
    run.tick()
    run.tick()
    assert run.tick(seen=live(1300, unsettled="2 of 3 pods ready, 3 there.")).outcome == soak.HELD
    assert run.counted == 300
    assert run.tick().outcome == soak.COUNTED
    assert run.release.events[-1].kind == "resumed"


@pytest.mark.parametrize("ticks", [1, 1000])
def test_no_data_holds_for_ever(ticks: int) -> None:
    run = Soak()
    run.tick()
    run.tick()
    seen = live(0)
    for each in seen.pods:
        each.counters, each.problem = None, "its metrics could not be read"
    for _ in range(ticks):
        found = run.tick(seen=seen)
        assert found.outcome == soak.HELD
    assert run.counted == 300
    assert run.release.state == record.SOAKING
    # However long it lasts, it is one event and a bounded record.
    assert [each.kind for each in run.release.events].count("hold") == 1
    assert len(run.release.samples) <= samples.MOST_SAMPLES
    assert len(json.dumps(run.release.as_data())) < 400_000


def test_no_traffic_holds() -> None:
    run = Soak()
    run.tick()
    found = run.tick(requests=0)
    assert found.outcome == soak.HELD
    assert "No requests came" in found.text


def test_a_cluster_that_does_not_answer_holds_and_what_was_unseen_never_counts() -> None:
    run = Soak()
    run.tick()
    run.tick()
    assert run.tick(live=None, problem="The API does not answer").outcome == soak.HELD
    found = run.tick()
    assert found.outcome == soak.HELD
    assert "nothing could be seen" in found.text
    assert run.counted == 300
    assert run.tick().outcome == soak.COUNTED
    assert run.counted == 600


def test_a_gap_between_ticks_is_a_finding_and_does_not_count() -> None:
    run = Soak()
    run.tick()
    run.tick()
    found = run.tick(after=901)
    assert found.outcome == soak.GAP
    assert run.counted == 300
    assert run.release.events[-1].kind == "gap"
    assert run.tick(after=900).outcome == soak.COUNTED
    assert run.counted == 1200


def test_bad_within_a_gap_is_seen_all_the_same() -> None:
    run = Soak()
    run.tick()
    run.tick()
    assert run.tick(after=90_000, errors=50).failed


def test_a_tick_in_the_past_counts_nothing_and_takes_back_what_a_clock_ahead_had_counted() -> None:
    run = Soak()
    run.tick()
    run.tick(after=800)  # by a clock that is ahead
    assert run.counted == 800
    found = run.tick(after=-700)
    assert found.outcome == soak.CLOCK
    assert run.counted == 100
    assert run.tick(after=60).outcome == soak.COUNTED
    assert run.counted == 160


def test_a_clock_before_the_beginning_of_the_stay_leaves_nothing() -> None:
    run = Soak()
    run.tick()
    run.tick()
    assert run.tick(after=-3600).outcome == soak.CLOCK
    assert run.counted == 0
    assert run.tick().outcome == soak.COUNTED
    assert run.counted == 300


def test_a_clock_that_differs_from_the_stores_counts_nothing() -> None:
    run = Soak()
    run.tick()
    found = run.tick(reference=START + timedelta(hours=3))
    assert found.outcome == soak.CLOCK
    assert run.counted == 0
    # The next right one counts from the last right one.
    assert run.tick(reference=run.now + timedelta(seconds=301)).outcome == soak.COUNTED
    assert run.counted == 600


def test_a_wrong_clock_hides_no_failure() -> None:
    run = Soak()
    run.tick()
    assert run.tick(errors=50, reference=START - timedelta(days=1)).failed


def test_errors_fail_it_at_once() -> None:
    run = Soak()
    run.tick()
    found = run.tick(errors=10)
    assert found.failed
    assert run.release.state == record.FAILED
    assert run.release.phase == "undo"
    assert "10 % of 300 requests failed" in run.release.reason
    with pytest.raises(ReleaseError, match="nothing that soaks"):
        run.tick()


def test_what_was_bad_before_the_first_look_fails_it_too() -> None:
    run = Soak()
    run.errors = 500
    assert run.tick().failed


def test_a_slow_start_or_restart_before_the_first_look_does_not() -> None:
    run = Soak()
    seen = live(1000)
    for each in seen.pods:
        each.restarts = 2
        assert each.counters
        each.counters.buckets = [[0.1, 0.0], [0.25, 0.0], [1.0, 0.0], ["inf", 1000.0]]
    assert run.tick(seen=seen).outcome == soak.BEGUN


def test_memory_that_grows_fails_it() -> None:
    run = Soak()
    run.tick()
    seen = live(1200)
    assert seen.pods[2].counters
    seen.pods[2].counters.memory = 151e6
    found = run.tick(seen=seen)
    assert found.failed
    assert "151.0 MB resident, of at most 150.0 MB" in found.text


def test_a_restart_fails_it_and_says_why() -> None:
    run = Soak()
    run.tick()
    seen = live(1200)
    seen.pods[0] = replace(seen.pods[0], restarts=1, started_at="2026-11-30T12:04:00Z", ended="OOMKilled")
    found = run.tick(seen=seen)
    assert found.failed
    assert "app-0 was restarted (OOMKilled)" in found.text


def test_a_few_errors_each_time_fail_it_together() -> None:
    run = Soak()
    run.options["minimum"] = 10
    run.tick()
    # 3 of 30 each: too few to judge.
    assert run.tick(requests=10, errors=1).outcome == soak.HELD
    assert run.tick(requests=10, errors=1).failed


def test_new_kinds_of_errors_hold_until_somebody_accepts_them() -> None:
    run = Soak()
    run.tick()
    seen = live(1200)
    seen.pods[0].kinds = kinds(2)
    assert run.tick(seen=seen).outcome == soak.HELD
    # Not seen again: it does not pass by itself.
    found = run.tick()
    assert found.outcome == soak.HELD
    assert "known_errors" in found.text
    assert "abc" in found.text
    run.options["known_errors"] = ["abc"]
    assert run.tick().outcome == soak.COUNTED


def test_many_lines_of_a_new_kind_fail_it_also_a_few_at_a_time() -> None:
    run = Soak()
    run.tick()
    for number in range(4):
        seen = live(run.requests + 100)
        seen.pods[0].kinds = kinds(2)
        assert run.tick(seen=seen).outcome == soak.HELD, number
    seen = live(run.requests + 100)
    seen.pods[0].kinds = kinds(2)
    assert run.tick(seen=seen).failed


def test_what_the_previous_version_logged_is_not_new() -> None:
    run = Soak(release(baseline={**release().baseline, "kinds": kinds(1)}))
    run.tick()
    seen = live(1200)
    seen.pods[0].kinds = kinds(500)
    assert run.tick(seen=seen).outcome == soak.COUNTED


def test_market_minutes_are_counted_only_when_known_and_never_more_than_the_interval() -> None:
    run = Soak(market_minutes=10)
    run.tick()
    run.tick(market_seconds=None)
    run.tick(market_seconds=120)
    run.tick(market_seconds=9999)
    assert run.release.soak["market"] == 420


def test_nobody_shortens_a_soak_that_has_begun() -> None:
    run = Soak(hours=24)
    run.tick()
    run.wanted["hours"] = 0.001
    run.tick()
    assert run.release.soak["wanted"]["hours"] == 24


def test_counters_that_begin_again_are_counted_from_there() -> None:
    run = Soak()
    run.tick()
    seen = live(1200)
    assert seen.pods[0].counters
    # A worker that was replaced within its container: nobody says so but the counter.
    seen.pods[0].counters.requests = 30
    found = run.tick(seen=seen)
    assert found.summary
    assert found.summary.requests == 30 + 2 * 100


def test_a_long_soak_is_a_small_record_that_keeps_what_was_not_healthy() -> None:
    run = Soak(hours=24 * 30)
    run.tick()
    run.options["minimum"] = 1
    for number in range(2000):
        run.tick(requests=0 if number == 500 else 10)
    found = run.release.samples
    assert len(found) <= samples.MOST_SAMPLES
    assert [each["verdict"] for each in found].count("inconclusive") == 1
    assert sum(each["counted"] for each in found) == run.counted == 1999 * 300
    assert sum(each["requests"] for each in found) == run.release.soak["requests"]
    assert found == sorted(found, key=lambda each: each["since"])
    parsed = record.parsed(json.dumps(run.release.as_data()).encode())
    assert parsed == run.release


def test_the_log_of_a_pod_is_read_by_kinds() -> None:
    text = (
        '2026-11-30T12:00:01.5Z {"level": "error", "message": "order 17 was refused"}\n'
        '2026-11-30T12:00:02.5Z {"level": "error", "message": "order 18 was refused"}\n'
        "2026-11-30T12:00:03.5Z ERROR disk is full\n"
        "2026-11-30T12:00:04.5Z INFO all is well\n"
    )
    found = kinds_of(text.encode(), START)
    assert sorted(kind["count"] for kind in found.values()) == [1, 2]


def test_pods_that_run_different_images_are_not_this_release() -> None:
    run = Soak()
    seen: Live = live(1000)
    seen.pods[0] = replace(seen.pods[0], digest=OLD)
    assert run.tick(seen=seen).outcome == soak.RESET
    assert NEW != OLD


def test_ticks_in_quick_succession_count_no_second_twice() -> None:
    run = Soak()
    run.now += timedelta(microseconds=900_000)
    run.tick()
    for _ in range(100):
        run.tick(after=0.3, requests=10)
    assert run.counted == 30
    assert "clock" not in {each.kind for each in run.release.events}
    # Within a second of the last one, failures are seen and nothing else is.
    before = json.dumps(run.release.as_data())
    found = run.tick(after=0, requests=0)
    assert found.outcome == soak.COUNTED
    assert json.dumps(run.release.as_data()) == before
    assert run.tick(after=0, errors=90).failed


def test_what_is_to_be_undone_stays_so_until_it_is() -> None:
    made = release()
    made.becomes(record.FAILED, "It failed.", phase="undo")
    made.becomes(record.FAILED, "The undo did not come to its end.")
    assert made.phase == "undo"
    made.becomes(record.UNDONE, "It was undone.")
    assert made.phase == ""


def unread(requests: float) -> Live:
    seen = live(requests)
    for each in seen.pods:
        each.counters, each.problem = None, "its metrics could not be read"
    return seen


def test_what_came_while_metrics_could_not_be_read_is_neither_lost_nor_mixed_with_all_of_before() -> None:
    run = Soak()
    run.requests = 1_000_000.0
    run.tick()
    run.tick()
    assert run.tick(seen=unread(0)).outcome == soak.HELD
    # 60 of some 600 failed since the last look that saw anything; of a million since the start that would be nothing.
    found = run.tick(errors=20)
    assert found.summary
    assert found.summary.requests == 600
    assert found.failed, found.text


def test_a_process_whose_counters_were_never_read_before_says_nothing_of_an_interval() -> None:
    run = Soak(requests=5000)
    run.requests = 1_000_000.0
    run.tick(seen=unread(0))
    found = run.tick()
    assert found.outcome == soak.HELD
    assert "No data of errors" in found.text
    assert run.release.soak["requests"] == 0
    assert run.tick().outcome == soak.COUNTED
    assert run.release.soak["requests"] == 300


def test_within_a_second_of_a_tick_that_held_nothing_is_told_as_healthy() -> None:
    # Two ticks at once: the one that lost the race to write the record judges anew, in the same second.
    run = Soak()
    run.tick()
    run.tick()
    run.tick(requests=0)
    found = run.tick(after=0, requests=0)
    assert found.outcome == soak.HELD
    assert "No requests came" in found.text
    assert run.tick().outcome == soak.COUNTED
    assert run.tick(after=0, requests=0, hindered=["It was scaled."]).outcome == soak.HELD


def test_a_new_kind_of_error_is_not_forgotten_because_pods_were_replaced() -> None:
    run = Soak()
    run.tick()
    seen = live(1100)
    seen.pods[0].kinds = kinds(1)
    assert run.tick(seen=seen).outcome == soak.HELD
    # Somebody restarts it, and nobody has looked at the error: the log of then is gone with its pods.
    unsettled = live(1200, template_hash="another", unsettled="2 of 3 pods ready, 3 there.")
    assert run.tick(seen=unsettled).outcome == soak.RESET
    assert run.tick(seen=live(1300, template_hash="another")).outcome == soak.BEGUN
    found = run.tick(seen=live(1400, template_hash="another"))
    assert found.outcome == soak.HELD
    assert "Accept it by its fingerprint" in found.text


def test_a_log_is_read_on_from_its_own_last_line_whatever_clock_the_node_has() -> None:
    lines = (
        b'2026-11-30T12:00:01.500000000Z {"level": "error", "message": "order 17 was refused"}\n'
        b"2026-11-30T12:00:02.250000000Z ERROR disk is full\n"
    )
    asked: list[str] = []

    class Cluster:
        def proxied(self, *_args: Any) -> bytes:
            raise ClusterError("It does not answer", "")

        def logs(self, _namespace: str, _pod: str, _container: str, since: str, _most: int) -> bytes:
            asked.append(since)
            return lines

    def look(since: datetime, past: dict[str, Any]) -> Pod:
        found = pod(counters=None)
        _measure(cast(Any, Cluster()), "staging", "app", found, {"port": 1, "metrics_path": "/"}, since, True, past)
        return found

    first = look(START, {})
    assert len(first.kinds) == 2
    # By our clock five minutes later, and by the node's it is still the same second.
    later = START + timedelta(minutes=5)
    lines += b"2026-11-30T12:00:02.750000000Z ERROR memory is full\n"
    second = look(later, first.kept())
    assert asked == ["2026-11-30T12:00:00Z", "2026-11-30T12:00:02Z"]
    assert [kind["sample"] for kind in second.kinds.values()] == ["memory is full"]
    assert look(later, second.kept()).kinds == {}
    # What wrote nothing yet is read from where it was read before, and what could not be read from where it could.
    lines = b""
    silent = look(START, {})
    look(later, silent.kept())
    look(later, looked_at([pod(logs_problem="it does not answer")], {pod().uid: silent.kept()})[pod().uid])
    assert len(set(asked[-2:])) == 1
    assert asked[-1] <= "2026-11-30T12:00:00Z"
