"""Production's catalogue against a database that the revisions have built: drift, what half a revision left, Python."""

from __future__ import annotations

from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import engine, findings, review
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.facts import Facts
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.session import opened

from tests.integration import migration_fixtures
from tests.integration.migration_fixtures import Project, migrated, verified
from tests.integration.restore_fixtures import bad

project = migration_fixtures.project

RICH = """
op.execute('CREATE SCHEMA "Of ours"')
op.execute('CREATE TYPE "Of ours".mood AS ENUM (\\'good\\', \\'bad\\')')
op.execute('''CREATE TABLE "Of ours"."order" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, price numeric(10, 2)
    NOT NULL DEFAULT 1.5, twice numeric GENERATED ALWAYS AS (price * 2) STORED, mood "Of ours".mood,
    note text COLLATE "C", CONSTRAINT "price ok" CHECK (price > 0))''')
op.execute('CREATE TABLE parts (id int, at date NOT NULL, "user" int REFERENCES "user") PARTITION BY RANGE (at)')
op.execute("CREATE TABLE parts_2026 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")
op.execute('CREATE INDEX ON parts (lower(id::text)) WHERE id > 0')
op.execute('CREATE VIEW seen AS SELECT id, price FROM "Of ours"."order" WHERE price > 10')
op.execute('CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO "odd ""table" VALUES (99);'
    ' RETURN NULL; END$$')
op.execute('CREATE TRIGGER "writes elsewhere" AFTER INSERT ON "user" FOR EACH STATEMENT EXECUTE FUNCTION noted()')
op.execute('GRANT SELECT ON seen TO PUBLIC')
"""
CHECK = 'constraint "Of ours"."order"."price ok"'


def test_a_check_changed_by_hand_is_found(project: Project) -> None:
    project.revision("c3", RICH, "b2")
    project.revision("d4", 'op.execute(\'ALTER TABLE "Of ours"."order" ADD COLUMN late int\')', "c3")
    checks, result = migrated(verified(project, target="c3"))
    assert bad(checks) == {}
    assert result["drift"]["differences"] == result["catalogue"]["differences"] == []
    assert "public.user" in result["statistics"]["tables"]
    assert project.run_sql("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'user'") == [(True,)]

    # By hand, one of each sort.
    project.run_sql(
        'ALTER TABLE "Of ours"."order" DROP CONSTRAINT "price ok", ADD CONSTRAINT "price ok" CHECK (price >= 0),'
        " ALTER note DROP DEFAULT, ALTER price DROP NOT NULL, ADD by_hand int;"
        'CREATE OR REPLACE VIEW seen AS SELECT id, price FROM "Of ours"."order" WHERE price > 11;'
        'ALTER TABLE "user" DISABLE TRIGGER "writes elsewhere"; CREATE INDEX by_hand ON "user" (id);'
        # What data updates keep is no difference.
        "CREATE SCHEMA tradingflow_data_update CREATE TABLE updates (id int);"
        "DROP TABLE parts_2026; REVOKE SELECT ON seen FROM PUBLIC; CREATE TABLE somebodys (id int);"
        "CREATE OR REPLACE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$"
    )
    plan = engine.plan(verified(project))
    assert [refusal["name"] for refusal in plan["refusals"]] == ["drift"]
    found = {each["name"]: each["what"] for each in plan["drift"]["differences"]}
    assert found == {
        CHECK: "changed",
        'column "Of ours"."order".by_hand': "added",
        'column "Of ours"."order".price': "changed",
        "grants public.seen": "changed",
        "index public.by_hand": "added",
        "routine public.noted()": "changed",
        "table public.parts_2026": "missing",
        "table public.somebodys": "foreign",
        'trigger public."user"."writes elsewhere"': "changed",
        "view public.seen": "changed",
    }
    (check,) = [
        each for each in findings.planned({**plan, "holder": None}, None, "now")[0] if each.id == "migration.drift"
    ]
    assert check.status == "critical"
    assert (
        f"{CHECK} is CHECK ((price >= (0)::numeric)), by the revisions CHECK ((price > (0)::numeric))" in check.message
    )
    checks, result = migrated(verified(project))
    assert checks["migration.refused:drift"].status == "critical"
    assert (project.at(), result["changed"]) == (["c3"], False)

    accepted = [f"drift:{name}" for name in found]
    checks, result = migrated(verified(project, accepted=accepted))
    assert project.at() == ["d4"]
    assert {id: check.status for id, check in checks.items() if check.status != "ok"} == {
        "migration.drift": "warning",
        "migration.catalogue": "warning",
    }


def test_extensions_and_roles_of_somebody_before_the_first_revision(project: Project) -> None:
    project.run_sql("CREATE EXTENSION citext; CREATE EXTENSION amcheck")
    source = project.folder / "alembic/versions/a1.py"
    made = "def upgrade():\n    op.execute('CREATE TABLE c (c citext)')"
    source.write_text(source.read_text().replace("def upgrade():", made))
    checks, _ = migrated(verified(project, target="a1"))
    assert bad(checks) == {}
    # Whose it is and who may use it is another matter than what it is.
    project.run_sql('ALTER TABLE c OWNER TO maintenance; GRANT SELECT ON "user" TO maintenance')
    project.revision(
        "c3",
        """
        with op.get_context().autocommit_block():
            op.execute("CREATE INDEX CONCURRENTLY ON c (lower(c))")
        """,
        "b2",
    )
    checks, result = migrated(verified(project))
    assert result["statistics"]["tables"] == ["public.c", "public.user"]
    assert [each["name"] for each in result["drift"]["differences"]] == ['grants public."user"', "grants public.c"]
    assert {id: check.status for id, check in checks.items() if check.status != "ok"} == {
        "migration.drift": "warning",
        "migration.catalogue": "warning",
    }
    assert "owner maintenance" in checks["migration.drift"].message
    assert project.at() == ["c3"]


def test_what_half_a_revision_left_and_what_python_runs(project: Project) -> None:
    migrated(verified(project, target="b2"))
    project.run_sql('INSERT INTO "user" VALUES (101)')
    # An autocommit_block commits what stands before it.
    project.revision(
        "c3",
        """
        many = op.get_bind().execute(sa.text('SELECT count(*) FROM "user"')).scalar_one()
        op.add_column("user", sa.Column("half", sa.Integer))
        op.bulk_insert(sa.table("odd \\"table", sa.column("id")), [{"id": 7 + many}])
        op.execute('UPDATE "odd ""table" SET id = id')
        with op.get_context().autocommit_block():
            op.execute("ALTER TABLE \\"user\\" ADD CONSTRAINT c CHECK (id > 0) NOT VALID")
            op.execute(f"SELECT 1 / {101 - many}")
        """,
        "b2",
    )
    plan = engine.plan(verified(project))
    assert plan["pending"][0]["digest_of"] == "source"
    sheet = review.sheet(
        plan["pending"], plan["facts"], {"small_bytes": 1, "large_bytes": 2, "busy_writes": 1, "long_transaction": 1}
    )
    assert sheet["captured"] == ["c3"]
    assert 'INSERT INTO "odd ""table" (id) VALUES (107)' in plan["pending"][0]["captured"]
    assert "whole-table-update" in {row["rule"] for row in sheet["rows"]}

    checks, result = migrated(verified(project))
    assert project.at() == ["b2"]
    assert {each["name"]: each["what"] for each in result["catalogue"]["differences"]} == {
        'column public."user".half': "added",
        'constraint public."user".c': "added",
    }
    assert checks["migration.catalogue"].status == "critical"
    assert "migration.statistics" not in checks


def test_functions_that_may_write_are_told_from_those_that_do_not(project: Project) -> None:
    project.run_sql("""CREATE FUNCTION loud() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION quiet(int) RETURNS int STABLE LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION mixed(int) RETURNS int STABLE LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION mixed(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION "Calm"() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION part(record) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
        CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
        CREATE VIEW seen AS SELECT 1 AS x; CREATE DOMAIN positive AS int; CREATE TYPE mood AS ENUM ('good');
        CREATE FUNCTION cast_it(mood) RETURNS point LANGUAGE sql AS 'SELECT NULL::point';
        CREATE CAST (mood AS point) WITH FUNCTION cast_it(mood);
        CREATE OPERATOR @! (FUNCTION = mixed, RIGHTARG = text);
        CREATE OPERATOR @? (FUNCTION = quiet, RIGHTARG = int)""")
    with opened(project.options()["database"], project.options(), lambda: None) as session:
        texts = [
            'SELECT loud(), QUIET(1), mixed(1), "Calm"(), count(*), total(1)',
            "SELECT nextval('s'), nobody(), t.part",
        ]
        found = Facts(session).result(texts, at_least=0.0)
    # A function that says it only reads may call another that writes.
    assert (found["quiet_functions"], found["loud_operators"]) == (["count"], ["@!", "@?"])
    assert "seen" in found["views"]
    assert found["loud_fields"] == ["part"]
    types = set(found["quiet_types"])
    assert {"bool", "date", "int4", "jsonb", "numeric", "text", "timestamptz", "uuid", "varchar"} <= types
    assert types.isdisjoint({"point", "positive", "mood"})


def test_what_cannot_be_built_is_unknown(project: Project) -> None:
    migrated(verified(project, target="a1"))
    source = project.folder / "alembic/versions/a1.py"
    source.write_text(source.read_text().replace("def upgrade():", "def upgrade():\n    op.execute('SELECT 1 / 0')"))
    checks, _ = migrated(verified(project))
    assert "division by zero, at SELECT 1 / 0" in checks["migration.refused:drift_unknown"].message
    assert project.at() == ["a1"]
    checks, _ = migrated(verified(project, accepted=["drift-unknown"]))
    assert {id: check.status for id, check in checks.items() if check.status != "ok"} == {
        "migration.drift": "unknown",
        "migration.catalogue": "unknown",
    }
    assert project.at() == ["b2"]
    assert list(project.scratch.rglob("PG_VERSION")) == []
    source.write_text(source.read_text().replace("SELECT 1 / 0", "SELECT 1"))
    project.revision("c3", "pass", "b2")
    checks, _ = migrated(verified(project, pg_bin_dir="/nonexistent"))
    assert "initdb was not found in /nonexistent" in checks["migration.refused:drift_unknown"].message
    # What has reached another server once must not do so again.
    project.run_sql("CREATE EXTENSION dblink")
    checks, _ = migrated(verified(project))
    assert "may reach other servers, by the extension dblink" in checks["migration.refused:drift_unknown"].message
    assert project.at() == ["b2"]
