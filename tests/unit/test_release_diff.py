"""What --diff shows of a release."""

from __future__ import annotations

from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Outcome

from tests.unit.release_fixtures import NAME, OLD, template


def test_secrets_that_stand_in_a_pod_template_or_a_configmap_are_not_shown() -> None:
    def made(text: str) -> dict[str, Any]:
        pods = template(OLD)
        env = [{"name": "API_TOKEN", "value": text}, {"name": "DEBUG", "value": "1"}, {"name": "X", "valueFrom": {}}]
        pods["spec"]["containers"][0]["env"] = env
        flags = {"kind": "ConfigMap", "data": {"BROKER_SECRET": text, "LEVEL": "info"}}
        return {"template": pods, "objects": {"ConfigMap/app": flags}}

    shown = findings.diff(Outcome(before=made("k3pt1"), after=made("k3pt2")), NAME)
    for side in ("before", "after"):
        assert "k3pt" not in shown[side]
        assert '"info"' in shown[side]
        assert '"value": "1"' in shown[side]
