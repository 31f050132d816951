"""A mistyped variable shows itself, and no secret: every typed variable of every role, each on a host of its own."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ansible_runner
import pytest
import yaml

from tests import warm
from tests.conftest import ROOT
from tests.unit.test_docs import MODULES, Options, documented, from_documentation

SPECS = {
    path.parent.parent.name: yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml"))
}

#: What must never be seen; each of another shape, as none may be masked by its form.
SECRETS = {
    "database": "planted-Db-p4ssw0rd",
    "storage": "planted/S3+secret=key",
    "token": "planted.session.token",
    "files": "planted restic passphrase of words",
    "key": "PLANTEDPRIVATEKEYMC4CAQAwBQYDK2VwBCIEIA",
    "cipher": "planted-cipher-pass",
    # Not a dictionary, and yet full of what one would hold.
    "string": "planted:url@secret",
    "option": "planted-option-of-a-module",
}
VARIABLES: dict[str, Any] = {
    "tradingflow_environment": "planted",
    "tradingflow_database": {"host": "localhost", "name": "x", "user": "x", "password": SECRETS["database"]},
    "tradingflow_storage": {
        "endpoint": "https://localhost:1",
        "bucket": "b",
        "access_key": "a",
        "secret_key": SECRETS["storage"],
        "session_token": SECRETS["token"],
    },
    "tradingflow_files_password": SECRETS["files"],
    "tradingflow_evidence": {
        "signing_key": f"-----BEGIN PRIVATE KEY-----\n{SECRETS['key']}\n-----END PRIVATE KEY-----\n",
        "trusted_key_files": [],
    },
    "backup_pgbackrest_repositories": [{"path": "/p", "bucket": "b", "cipher_pass": SECRETS["cipher"]}],
}


def apart(option: dict[str, Any]) -> bool:
    """Whether an option may hold secrets: what is said of another one is looked at with these in place."""
    return not option.get("choices") and (option["type"] == "dict" or option.get("elements") == "dict")


def broken(name: str, option: dict[str, Any]) -> Iterator[Any]:
    """Values that an option's type forbids: a word, and what an empty answer of a survey comes as.

    Those with a secret are each another one, as one that is masked would be masked in all.
    """
    kind, elements = option["type"], option.get("elements")
    if option.get("choices"):
        yield from ([["critcal"], {"a": 1}] if kind == "list" else ["critcal", ""])
    elif kind in ("int", "float"):
        yield from ["two", "", [1]]
    elif kind == "bool":
        yield from ["perhaps", ""]
    elif kind == "dict":
        yield from [f"postgresql://x:{SECRETS['string']} {name}", 7]
    elif kind == "list":
        yield from [[f"{SECRETS['string']} {name}"], {"a": 1}] if elements == "dict" else [{"a": 1}]


@dataclass
class Case:
    """Variables of a role that are given wrong values at once, which are refused all at once."""

    role: str
    entry: str
    given: dict[str, Any]


def cases() -> Iterator[Case]:
    """All variables and all values that each must refuse. Entry points share their options.

    Of those that may hold secrets every other one at a time, so that half of them are in place.
    """
    for role, entries in SPECS.items():
        seen: set[str] = set()
        for entry, spec in entries.items():
            together: dict[tuple[int, int], Case] = {}
            may_hold = 0
            for name, option in (spec.get("options") or {}).items():
                if name in seen:
                    continue
                seen.add(name)
                may_hold += apart(option)
                part = may_hold % 2 if apart(option) else 2
                for number, value in enumerate(broken(name, option)):
                    together.setdefault((part, number), Case(role, entry, {})).given[name] = value
            yield from together.values()


#: Options that are secrets, by the end of their names.
HIDDEN = ("password", "secret_key", "session_token", "signing_key", "cipher_pass")


def mistyped(options: Options) -> dict[str, Any]:
    """A module's options with all its secrets, and a word for each of its numbers."""
    given: dict[str, Any] = {}
    for name, option in options.items():
        if option["options"]:
            inner = mistyped(option["options"])
            given[name] = [inner] if option["type"] == "list" else inner
        elif option["type"] == "int":
            given[name] = "two"
        elif option["type"] == "str" and not option["choices"]:
            given[name] = SECRETS["option"] if name.endswith(HIDDEN) else "x"
    return given


Refused = tuple[dict[str, tuple[Case, dict[str, Any]]], str]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Refused:
    """All cases in one run of ansible-runner at -vvv: what was said of each host, and all that was written."""
    folder = tmp_path_factory.mktemp("options")
    members: dict[tuple[str, str], list[str]] = {}
    hosts = {f"host-{number}": case for number, case in enumerate(cases())}
    for host, case in hosts.items():
        members.setdefault((case.role, case.entry), []).append(host)
    plays: list[dict[str, Any]] = [
        # One without a fault in each: a play that loses all its hosts ends the playbook.
        {
            "hosts": ":".join([*those, "well"]),
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.import_role": {"name": f"tradingflow.maintenance.{role}", "tasks_from": entry}}
            ],
        }
        for (role, entry), those in members.items()
    ]
    called = [
        {
            f"tradingflow.maintenance.{name}": {**mistyped(from_documentation(documented(name))), "none": 1},
            "tags": "always",
            "ignore_errors": True,
        }
        for name in MODULES
    ]
    plays.append({"hosts": "well", "gather_facts": False, "tasks": called})
    (folder / "project").mkdir()
    given = {host: case.given for host, case in hosts.items()}
    (folder / "inventory.json").write_text(
        json.dumps({"all": {"hosts": {**given, "well": {}}, "vars": {**VARIABLES, "ansible_connection": "local"}}}),
        encoding="utf-8",
    )
    (folder / "project/options.yml").write_text(json.dumps(plays), encoding="utf-8")
    warm.shim(folder / "bin")
    finished = ansible_runner.run(
        private_data_dir=str(folder),
        playbook="options.yml",
        inventory=str(folder / "inventory.json"),
        # The validation of roles runs whatever the tags, and nothing else of them.
        tags="none",
        verbosity=3,
        envvars={
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "PATH": os.pathsep.join((str(folder / "bin"), f"{sys.prefix}/bin", os.environ["PATH"])),
        },
        quiet=True,
    )
    results = [event["event_data"] for event in finished.events if event["event"] == "runner_on_failed"]
    failed = {result["host"]: result["res"] for result in results}
    assert len([result for result in results if result["ignore_errors"]]) == len(MODULES), "a module took its options"
    events = [path.read_text(encoding="utf-8") for path in sorted((folder / "artifacts").rglob("*")) if path.is_file()]
    return {host: (case, failed.get(host, {})) for host, case in hosts.items()}, "".join(events)


def test_every_mistyped_variable_is_refused_by_name(refused: Refused) -> None:
    said, _everything = refused
    assert sum(len(case.given) for case, _result in said.values()) > 150
    silent = [
        (name, value)
        for case, result in said.values()
        for name, value in case.given.items()
        if not re.search(rf"(?<!\w){name}(?!\w)", result.get("msg", ""))
    ]
    assert silent == []


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_mistyped_variable_shows_a_secret(refused: Refused, secret: str) -> None:
    _said, everything = refused
    assert secret not in everything
    assert json.dumps(secret)[1:-1] not in everything
