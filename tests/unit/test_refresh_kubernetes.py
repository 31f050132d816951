"""The Job for a cluster is one that the API knows: each key, each type and what is required, by its own description.

Its description is what the official client was made of. No cluster has run it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from tests.conftest import left_out
from tests.unit.refresh_fixtures import LEAVES, Prices, given, walls, written

IMAGE = "registry.example/engine@sha256:" + "a" * 64
ASKED = {"namespace": "backtests", "claim": "handover", "parallelism": 2, "max_failed": 1}


def fits(value: Any, kind: str, where: str) -> None:
    """:raises AssertionError: the value is not what the API has in this place"""
    import kubernetes.client as api

    if inner := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        assert isinstance(value, list), where
        for number, each in enumerate(value):
            fits(each, inner[1], f"{where}[{number}]")
    elif inner := re.fullmatch(r"[Dd]ict[\[(]str, (.+)[\])]", kind):
        assert isinstance(value, dict), where
        for key, each in value.items():
            fits(each, inner[1], f"{where}.{key}")
    elif kind in ("str", "int", "bool", "object"):
        wanted = {"str": str, "int": int, "bool": bool, "object": (str, int)}[kind]
        assert isinstance(value, wanted), where  # type: ignore[arg-type]
        assert kind == "bool" or not isinstance(value, bool), where
    else:
        model = getattr(api, kind)
        names = {json_name: name for name, json_name in model.attribute_map.items()}
        assert set(value) <= set(names), f"{where}: {set(value) - set(names)}"
        for key, each in value.items():
            fits(each, model.openapi_types[names[key]], f"{where}.{key}")
        # What is required is refused when it is not there.
        model(**{names[key]: each for key, each in value.items()})


def rendered(folder: Path, **more: Any) -> dict[str, Any]:
    first = {**written(folder / "code", LEAVES), "image": IMAGE}
    strategies = [first, {**first, "strategy": "two"}, {**first, "strategy": "three", "command": ["/bin/other"]}]
    engine.refresh(given(folder, strategies, kubernetes={**ASKED, **more}), sys.executable, Prices())
    manifests: dict[str, Any] = json.loads((folder / "store/kubernetes.json").read_text(encoding="utf-8"))
    return manifests


def test_the_job_is_one_that_the_api_knows(tmp_path: Path) -> None:
    try:
        import kubernetes.client  # noqa: F401
    except ImportError:
        left_out("the Job against the API's description: pip install kubernetes")
    walls()
    manifests = rendered(tmp_path)
    kinds = {"Job": "V1Job", "NetworkPolicy": "V1NetworkPolicy"}
    for item in manifests["items"]:
        fits(item, kinds[item["kind"]], item["kind"])
    # It would be seen.
    for wrong in ("completionMode", "template"):
        (job, *_rest) = (item for item in manifests["items"] if item["kind"] == "Job")
        broken = {**job, "spec": {f"{key}s" if key == wrong else key: value for key, value in job["spec"].items()}}
        with pytest.raises((AssertionError, ValueError)):
            fits(broken, "V1Job", "Job")
    deny = manifests["items"][0]["spec"]
    assert set(deny) == {"podSelector", "policyTypes"}
    jobs = [item for item in manifests["items"] if item["kind"] == "Job"]
    assert [job["spec"]["completions"] for job in jobs] == [2, 1]
    for job in jobs:
        spec, pod = job["spec"], job["spec"]["template"]["spec"]
        assert spec["template"]["metadata"]["labels"] == deny["podSelector"]["matchLabels"]
        assert spec["maxFailedIndexes"] <= spec["completions"]
        assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [42]
        # A policy on failures goes with pods that are never restarted in place.
        assert (pod["restartPolicy"], spec["podReplacementPolicy"]) == ("Never", "Failed")
        assert pod["automountServiceAccountToken"] is False
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["containers"][0]["image"] == IMAGE
        mounted = tmp_path / "store/handover" / job["metadata"]["name"]
        for index in range(spec["completions"]):
            request = json.loads((mounted / str(index) / "in/request.json").read_text(encoding="utf-8"))
            assert request["strategy"] == json.loads((mounted / "index.json").read_text())[index][0]
            assert (mounted / str(index) / "in/manifest.json").is_file()
    assert "password" not in json.dumps(manifests)


def test_an_image_has_to_be_named_by_its_digest(tmp_path: Path) -> None:
    one = {**written(tmp_path / "code", LEAVES), "image": "registry.example/engine:latest"}
    with pytest.raises(ConfigurationError, match="not named by its digest"):
        options.checked(given(tmp_path, [one], kubernetes=ASKED), sys.executable)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"capital": "0"}, "not a number above 0"),
        ({"capital": "NaN"}, "not a number above 0"),
        ({"from": "2026-13-01"}, "is no day"),
        ({"command": []}, "has no command"),
        ({"instruments": []}, "has no instrument"),
        ({"costs": {"fee_bps": "much"}}, "is no number"),
        ({"costs": {"fee_bps": True}}, "is no number"),
        ({"warm_up_days": -1}, "make no sense"),
        ({"trials": 0}, "make no sense"),
        ({"strategy": "a\nb"}, "is no name"),
        (
            {"instruments": [{"instrument": "A", "from": "2020-01-01"}, {"instrument": "A", "from": "2021-01-01"}]},
            "twice for the same days",
        ),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    one = {**written(tmp_path / "code", LEAVES), **changes}
    with pytest.raises(ConfigurationError, match=why):
        options.checked(given(tmp_path, [one]), sys.executable)


@pytest.mark.parametrize("name", ["cuts", "seconds", "memory_mb", "scratch_mb", "processes", "minimum_sessions"])
def test_options_below_their_least(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"The option {name} is below"):
        options.checked(given(tmp_path, [], **{name: 0}), sys.executable)


def test_a_strategy_that_is_there_twice(tmp_path: Path) -> None:
    one = written(tmp_path / "code", LEAVES)
    with pytest.raises(ConfigurationError, match="is there twice"):
        options.checked(given(tmp_path, [one, one]), sys.executable)
