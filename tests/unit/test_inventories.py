"""The examples in inventories/ are complete: groups the playbooks use, variables known, secrets named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger.keys import public_keys
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import EvidenceError

from tests.conftest import COLLECTION, ROOT
from tests.unit.ledger_fixtures import make_key

EXAMPLES = ("staging", "production")


def groups_of_playbooks() -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "playbooks").glob("*.yml"))
    return set(re.findall(r"\btradingflow_[a-z_]+", "\n".join(re.findall(r"(?:hosts:|groups\[).*", text))))


def role_variables() -> set[str]:
    names: set[str] = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            names |= set(entry.get("options") or {})
    return names


def shared_variables() -> set[str]:
    """tradingflow_*, as the roles' defaults read them."""
    text = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("roles/*/defaults/main.yml"))
    return set(re.findall(r"\btradingflow_[a-z_]+", text))


def suboptions(fragment: str, option: str) -> set[str]:
    text = (COLLECTION / f"plugins/{fragment}.py").read_text(encoding="utf-8")
    match = re.search(r'DOCUMENTATION = r"""\n(.*?)"""', text, re.DOTALL)
    assert match
    return set(yaml.safe_load(match[1])["options"][option]["suboptions"])


class Inventory:
    def __init__(self, name: str) -> None:
        self.folder = ROOT / "inventories" / name
        self.loader = DataLoader()
        self.manager = InventoryManager(loader=self.loader, sources=[str(self.folder)])
        self.variables = VariableManager(loader=self.loader, inventory=self.manager)
        self.vault = yaml.safe_load((self.folder / "group_vars/all/vault.yml.example").read_text(encoding="utf-8"))

    def of(self, host: str) -> dict[str, Any]:
        """A host's variables, those of the inventory only, with the vault's example filled in."""
        known = {**self.variables.get_vars(host=self.manager.get_host(host)), **self.vault}
        names = {
            name
            for name in known
            if re.match(
                r"(tradingflow|audit_collection|health_check|trading_check|backup|migration|data_update|patching|restore|run)_",
                name,
            )
        }
        templar = Templar(loader=self.loader, variables=known)
        return {name: templar.template(known[name]) for name in names}


@pytest.fixture(params=EXAMPLES)
def inventory(request: pytest.FixtureRequest) -> Inventory:
    return Inventory(request.param)


def test_has_every_group_that_playbooks_use(inventory: Inventory) -> None:
    assert groups_of_playbooks()
    for group in groups_of_playbooks():
        assert inventory.manager.groups[group].get_hosts(), group


def test_variables_are_known_and_resolve(inventory: Inventory) -> None:
    known = role_variables() | shared_variables()
    for host in inventory.manager.get_hosts():
        variables = inventory.of(host.name)
        assert not set(variables) - known
        assert variables["tradingflow_environment"] == inventory.folder.name


def test_options_are_the_modules(inventory: Inventory) -> None:
    for host in inventory.manager.get_hosts():
        variables = inventory.of(host.name)
        assert set(variables["tradingflow_database"]) <= suboptions("doc_fragments/database", "database")
        assert set(variables["tradingflow_storage"]) <= suboptions("doc_fragments/storage", "storage")
        assert set(variables["tradingflow_evidence"]) <= suboptions("doc_fragments/evidence", "evidence")


def test_secrets_come_from_the_vault_only(inventory: Inventory) -> None:
    variables = inventory.of("localhost")
    assert variables["tradingflow_database"]["password"] == "CHANGE-ME"
    assert variables["tradingflow_storage"]["secret_key"] == "CHANGE-ME"
    assert "CHANGE-ME" in variables["tradingflow_evidence"]["signing_key"]
    assert variables["tradingflow_database"]["sslmode"] == "verify-full"
    files = [path for path in inventory.folder.rglob("*.yml") if path.is_file()]
    assert not [path for path in files if "CHANGE-ME" in path.read_text(encoding="utf-8")]


def test_no_address_that_could_be_somebodys(inventory: Inventory) -> None:
    """Hosts are names that no one can own (RFC 2606)."""
    for host in inventory.manager.get_hosts():
        assert host.name == "localhost" or host.name.endswith(".example")


@pytest.mark.parametrize("name", EXAMPLES)
def test_public_keys_are_wherever_the_inventory_is(name: str, tmp_path: Path) -> None:
    """As AWX imports it: alone, elsewhere. A file of keys in it would be read as an inventory."""
    evidence = Inventory(name).of("localhost")["tradingflow_evidence"]
    (key,) = evidence["trusted_key_files"]
    assert "inventory_dir" not in (ROOT / f"inventories/{name}/group_vars/all/main.yml").read_text(encoding="utf-8")
    _private, public = make_key(tmp_path)
    begin, placeholder, end = key.splitlines()
    assert "docs/evidence.md" in placeholder
    assert len(public_keys(["\n".join([begin, *public.read_text().splitlines()[1:-1], end])])) == 1
    with pytest.raises(EvidenceError, match="given as text is not an Ed25519 public key"):
        public_keys([key])
