"""The history of a project that is not ours: optuna's, whose revisions run Python and commit in between."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import engine, review
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.findings import planned

from tests.integration import migration_fixtures
from tests.integration.migration_fixtures import Project, migrated, verified
from tests.integration.restore_fixtures import bad

project = migration_fixtures.project

#: Found without being imported.
HOME = Path(str(importlib.metadata.distribution("optuna").locate_file("optuna/storages/_rdb")))
FIRST = """
INSERT INTO studies (study_id, study_name, direction) VALUES (1, 'bands', 'MAXIMIZE');
INSERT INTO trials (trial_id, study_id, state, value) SELECT i, 1, 'COMPLETE', i / 7.0 FROM generate_series(1, 50) i;
INSERT INTO trial_system_attributes (trial_id, key, value_json)
    SELECT i, '_number', i - 1 FROM generate_series(1, 50) i;
INSERT INTO trial_values (trial_id, step, value) SELECT i, 3, i FROM generate_series(1, 50) i;
INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) SELECT i, 'x', 0.5,
    '{"name": "UniformDistribution", "attributes": {"low": 0.0, "high": 1.0}}' FROM generate_series(1, 50) i;
"""
#: Here optuna's own history stops on PostgreSQL, as it makes a type again that is there already.
STUCK = "v2.4.0.a"
TYPE = 'sa.Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection")'
PATCHED = TYPE.replace("sa.Enum", "sa.dialects.postgresql.ENUM").replace(")", ", create_type=False)")


def options(project: Project, **others: Any) -> dict[str, Any]:
    """Of optuna's project as it comes, which takes the address from alembic.ini; or of our copy of it."""
    copied = project.folder / "optuna"
    home = copied if copied.exists() else HOME
    given = verified(project, **others)
    given["project"] = {
        "config": str(home / "alembic.ini"),
        "section": "alembic",
        "directory": None,
        "python": project.python,
        "environment": {},
        "settings": {
            "script_location": str(home / "alembic"),
            "sqlalchemy.url": "postgresql+psycopg2://{database_address}",
        },
    }
    return given


def test_the_history_of_optuna(project: Project) -> None:
    checks, _ = migrated({**options(project, target="v0.9.0.a"), "verify": "none"})
    assert bad(checks) == {}
    project.run_sql(FIRST)

    plan = engine.plan(options(project))
    assert plan["refusals"] == []
    sources = {entry["revision"]: entry["digest_of"] for entry in plan["pending"]}
    assert list(sources) == [
        *("v1.2.0.a", "v1.3.0.a", "v2.4.0.a", "v2.6.0.a", "v3.0.0.a", "v3.0.0.b", "v3.0.0.c", "v3.0.0.d", "v3.2.0.a")
    ]
    python = [revision for revision, source in sources.items() if source == "source"]
    assert python[:2] == ["v1.3.0.a", STUCK]
    limits = {"small_bytes": 10485760, "large_bytes": 1073741824, "busy_writes": 10.0, "long_transaction": 60.0}
    sheet = review.sheet(plan["pending"], plan["facts"], limits)
    assert (sheet["unseen"], sheet["captured"]) == (python[1:], python[:1])
    assert "ALTER TABLE trials ADD COLUMN number INTEGER" in plan["pending"][1]["captured"]
    assert "DELETE FROM trial_system_attributes" in plan["pending"][1]["captured"]
    # Known before it is tried in earnest.
    tried = {check.id: check for check in planned({**plan, "holder": None}, None, "now")[0]}["migration.tried"]
    assert f'Revision {STUCK} fails on an empty database: ProgrammingError: type "studydirection"' in tried.message

    checks, result = migrated(options(project))
    assert set(bad(checks)) == {"migration.failed", "migration.revision"}
    assert checks["migration.failed"].message.endswith("The database is at v1.3.0.a.")
    assert result["catalogue"]["differences"] == []
    assert project.run_sql("SELECT count(*), max(number) FROM trials") == [(50, 49)]

    # With that put right, on to where Python rewrites JSON.
    shutil.copytree(HOME, project.folder / "optuna", ignore=shutil.ignore_patterns("__pycache__"))
    (stuck,) = (project.folder / "optuna/alembic/versions").glob(f"{STUCK}*.py")
    assert TYPE in stuck.read_text()
    stuck.write_text(stuck.read_text().replace(TYPE, PATCHED))
    checks, result = migrated(options(project, target="v3.0.0.a"))
    assert bad(checks) == {}
    assert [each["revision"] for each in result["done"]] == list(sources)[2:5]
    assert project.run_sql("SELECT DISTINCT distribution_json::json ->> 'name' FROM trial_params") == [
        ("FloatDistribution",)
    ]
    assert "public.trials" in result["statistics"]["tables"]
