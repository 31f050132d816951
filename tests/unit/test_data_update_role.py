"""What the role data_update makes of its variables."""

from __future__ import annotations

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.conftest import ROOT

OMITTED = "nobody asks for it"


@pytest.mark.parametrize(
    ("named", "check_mode", "action", "wanted"),
    [
        ("", False, "run", "none"),
        ("", False, "undo", "none"),
        ("", True, "run", OMITTED),
        ("a" * 64, False, "run", "a" * 64),
        ("a" * 64, True, "run", "a" * 64),
        ("planned", False, "run", OMITTED),
        ("", False, "purge", OMITTED),
    ],
)
def test_a_run_names_its_plan_or_does_nothing(named: str, check_mode: bool, action: str, wanted: str) -> None:
    variables = yaml.safe_load((ROOT / "roles/data_update/vars/main.yml").read_text(encoding="utf-8"))
    known = {
        "data_update_expected_digest": named,
        "data_update_action": action,
        "ansible_check_mode": check_mode,
        "omit": OMITTED,
    }
    templar = Templar(loader=DataLoader(), variables=known)
    assert templar.template(trust_as_template(variables["__data_update_digest"])) == wanted
