"""Options of the monitoring's configuration, as an inventory of three hosts gives them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.monitoring import complete


def options(folder: Path, **more: Any) -> dict[str, Any]:
    """What the module is given, with its defaults."""
    given: dict[str, Any] = {
        "environment_name": "test",
        "rules_file": str(folder / "rules" / "tradingflow.yml"),
        "targets": [
            {"name": "app1.example"},
            {"name": "app2.example"},
            {
                "name": "db1.example",
                "thresholds": {"disk_space": {"warning": 70}},
                "mounts": [{"path": "/srv", "disk_space": {"critical": 90}}, {"path": "/mnt", "ignore": True}],
            },
        ],
        **deepcopy(more),
    }
    result = ArgumentSpecValidator(SPEC).validate(given)
    assert not result.error_messages, result.error_messages
    return complete(dict(result.validated_parameters))
