"""Documentation that cannot rot: what is written equals what is accepted, for action plugins and roles."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import COLLECTION, ROOT

PACKAGE = "ansible_collections.tradingflow.maintenance.plugins"
ACTIONS = sorted(path.stem for path in (COLLECTION / "plugins/action").glob("[!_]*.py"))
MODULES = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("[!_]*.py"))
ROLES = sorted(path.parent.parent.name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))

Options = dict[str, dict[str, Any]]


def literal(path: Path, name: str) -> Any:
    """The YAML in a module-level (or class-level) string of a Python file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == name for target in node.targets):
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{path} has no {name}")


def documented(name: str) -> Options:
    """Options of a module with its fragments expanded."""
    documentation = literal(COLLECTION / f"plugins/modules/{name}.py", "DOCUMENTATION")
    assert documentation["module"] == name
    fragments = documentation.get("extends_documentation_fragment", [])
    options: Options = {}
    for fragment in [fragments] if isinstance(fragments, str) else fragments:
        assert fragment.startswith("tradingflow.maintenance."), fragment
        path = COLLECTION / f"plugins/doc_fragments/{fragment.split('.')[2]}.py"
        options |= literal(path, "DOCUMENTATION").get("options", {})
    for name_of, option in documentation.get("options", {}).items():
        # As Ansible merges: what the module says wins, the rest comes from the fragment.
        options[name_of] = {**options.get(name_of, {}), **option}
    return options


def from_documentation(options: Options) -> Options:
    """Options in one form, whether from documentation or from a role's argument spec."""
    result: Options = {}
    for name, option in options.items():
        assert option.get("description"), f"{name} has no description"
        inner = option.get("suboptions", option.get("options"))
        result[name] = entry(option, inner and from_documentation(inner))
    return result


def from_spec(spec: Options) -> Options:
    """The same form from an argument spec in Python."""
    return {name: entry(option, inner(option)) for name, option in spec.items()}


def inner(option: dict[str, Any]) -> Options | None:
    return from_spec(option["options"]) if option.get("options") else None


def entry(option: dict[str, Any], options: Options | None) -> dict[str, Any]:
    return {
        "type": option.get("type", "str"),
        "elements": option.get("elements"),
        "required": bool(option.get("required", False)),
        # false and 0, 1 and 1.0 are equal to Python, and different to a reader.
        "default": json.dumps(option.get("default")),
        "choices": sorted(map(str, option.get("choices") or [])),
        "aliases": sorted(option.get("aliases", [])),
        "options": options,
    }


def action(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.action.{name}").ActionModule


@pytest.mark.parametrize("name", ACTIONS)
def test_documentation_of_an_action_is_what_it_accepts(name: str) -> None:
    plugin = action(name)
    assert hasattr(plugin, "spec"), f"action/{name}.py has no attribute spec"
    area = importlib.import_module(f"{PACKAGE}.plugin_utils.area")
    spec = {**plugin.spec, **(area.RUN_SPEC if issubclass(plugin, area.AreaAction) else {})}
    assert from_documentation(documented(name)) == from_spec(spec)


@pytest.mark.parametrize("name", MODULES)
def test_options_never_contradict_themselves(name: str) -> None:
    def walk(options: Options, where: str) -> None:
        for key, option in options.items():
            assert not (option["required"] and option["default"] != "null"), f"{where}{key}: required and a default"
            assert option["type"] != "list" or option["elements"], f"{where}{key}: a list of what?"
            walk(option["options"] or {}, f"{where}{key}.")

    walk(from_documentation(documented(name)), f"{name}: ")


@pytest.mark.parametrize("name", MODULES)
def test_examples_use_options_that_exist(name: str) -> None:
    options = documented(name)
    tasks = literal(COLLECTION / f"plugins/modules/{name}.py", "EXAMPLES")
    # Connections may come from module_defaults.
    used = [task[f"tradingflow.maintenance.{name}"] for task in tasks if f"tradingflow.maintenance.{name}" in task]
    assert used, "no example shows the module"
    for arguments in used:
        assert arguments.keys() <= options.keys()
        assert {key for key, option in options.items() if option.get("required")} <= {*arguments, "database", "storage"}


def test_ansible_doc_renders_every_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "doc", "-t", "module", "--json"]
        + [f"tradingflow.maintenance.{name}" for name in MODULES],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    rendered = json.loads(done.stdout)
    for name in MODULES:
        module = rendered[f"tradingflow.maintenance.{name}"]
        assert module["doc"]["options"].keys() == documented(name).keys()
        assert module["examples"]
        assert module["return"]


@pytest.mark.parametrize("role", ROLES)
def test_argument_specs_of_a_role_are_its_defaults(role: str) -> None:
    defaults = yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text(encoding="utf-8")) or {}
    specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text(encoding="utf-8"))
    options: Options = {}
    for entry_point in specs["argument_specs"].values():
        options |= entry_point.get("options") or {}
    required = {name for name, option in options.items() if option.get("required")}
    assert not required & defaults.keys(), "required, and yet with a default"
    assert options.keys() - required == defaults.keys()
    # A template there would be filled in, and shown with each mistyped variable: of the secrets, their text.
    assert "{{" not in json.dumps(specs)
    plain = {name: value for name, value in defaults.items() if "{{" not in json.dumps(value)}
    assert {name: option["default"] for name, option in options.items() if "default" in option} == plain
    for name in defaults.keys() - plain.keys():
        for source in re.findall(r"\b(?:tradingflow|backup)_\w+", defaults[name]):
            assert source in options[name]["description"], f"{name}: the description does not name {source}"
    for name, option in options.items():
        assert option.get("description"), f"{name} has no description"
        assert name.startswith(f"{role}_"), f"{name}: public variables of the role begin with its name"


@pytest.mark.parametrize("role", ROLES)
def test_tasks_of_a_role_use_options_that_exist(role: str) -> None:
    for path in sorted((ROOT / f"roles/{role}").glob("tasks/*.yml")):
        for name, arguments in module_calls(yaml.safe_load(path.read_text(encoding="utf-8")) or []):
            assert name in MODULES, f"{path}: no module {name}"
            assert arguments.keys() <= documented(name).keys(), f"{path}: {name}"


def module_calls(tasks: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Calls of this collection's modules in a list of tasks, blocks included."""
    calls = []
    for task in tasks:
        for key, value in task.items():
            if key in ("block", "rescue", "always"):
                calls += module_calls(value)
            elif key.startswith("tradingflow.maintenance.") and isinstance(value, dict):
                calls.append((key.split(".")[2], value))
    return calls


def area_specs() -> dict[str, dict[str, Any]]:
    """Area -> name of a threshold -> (warning, critical)."""
    checks = importlib.import_module(f"{PACKAGE}.module_utils._checks")
    names = {
        "system": "SYSTEM_SPEC",
        "logs": "LOGS_SPEC",
        "application": "APPLICATION_SPEC",
        "database": "CHECKS_SPEC",
        "trading": "TRADING_SPEC",
    }
    result = {}
    for area, name in names.items():
        spec = getattr(importlib.import_module(f"{checks.__name__}.{area}"), name)
        result[area] = {
            key: tuple(option["options"][level].get("default") for level in ("warning", "critical"))
            for key, option in spec["thresholds"]["options"].items()
        }
    return result


def documented_checks() -> dict[str, tuple[str, str]]:
    """Check -> its thresholds as the READMEs of the roles show them."""
    rows = {}
    for role in ("health_check", "trading_check", "backup"):
        for line in (ROOT / f"roles/{role}/README.md").read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) == 5 and cells[0].startswith("`"):
                rows[cells[0].strip("`").split(":")[0]] = (cells[2], cells[3])
    return rows


def test_readmes_show_every_threshold_as_it_is() -> None:
    shown = documented_checks()
    assert len(shown) > 40
    for area, thresholds in area_specs().items():
        for name, limits in thresholds.items():
            check = {"answered": "answers"}.get(name, name)
            wanted = tuple("–" if limit is None else str(limit) for limit in limits)
            assert shown[f"{area}.{check}"] == wanted, f"{area}.{check}"


def test_readme_of_the_backup_shows_its_thresholds() -> None:
    spec = importlib.import_module(f"{PACKAGE}.module_utils._checks.backups").CHECKS_SPEC["thresholds"]["options"]
    low, high, slow, age, proven = (
        [str(spec[name]["options"][level].get("default", "–")) for level in ("warning", "critical")]
        for name in ("size_low", "size_high", "duration_high", "newest_age", "proven_restore")
    )
    shown = documented_checks()
    sizes = tuple(f"{one}, {other}" for one, other in zip(low, high, strict=True))
    assert shown["backups.size_anomaly"] == shown["backups.files_anomaly"] == sizes
    assert shown["backups.duration_anomaly"] == tuple(slow)
    assert shown["backups.newest_age"] == tuple(age)
    assert shown["backups.proven_restore"] == tuple(proven)


def test_readmes_show_every_check() -> None:
    system, database, trading = (
        importlib.import_module(f"{PACKAGE}.module_utils._checks.{area}") for area in ("system", "database", "trading")
    )
    made = {f"system.{name}" for name, _, _ in system.CHECKS}
    made |= {id.partition(":")[0] for probe in (*database.PROBES, *trading.PROBES) for id, _ in probe.checks}
    assert made <= documented_checks().keys()
