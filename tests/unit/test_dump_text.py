"""What pg_dump and pg_dumpall write is read by its grammar: whatever a name or a string holds is no statement."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import globals as shared
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import sql, toc
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.sql import NotUnderstood

HEAD = """--
-- PostgreSQL database cluster dump
--

\\restrict Ab1
SET default_transaction_read_only = off;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
"""
#: What somebody who may only log in can put into a setting or a comment of his own role.
EVIL = "x\nCREATE ROLE evil SUPERUSER LOGIN;\n\\! touch /tmp/evil\n\\connect x\n$$ -- /* ' \" ;\nGRANT a TO evil;\n"


def text(*lines: str) -> bytes:
    return (HEAD + "\n".join(lines) + "\n\\unrestrict Ab1\n").encode()


def made(*lines: str, version: str = "18.6") -> shared.Read:
    return shared.read(text(*lines), version)


@pytest.mark.parametrize("name", [EVIL, 'o "dd', "a\\b", "ü 'x' $$", "--", "/* x", "$1", "evil; DROP ROLE x; --"])
def test_what_is_in_a_string_or_name_is_never_a_statement(name: str) -> None:
    role, value = sql.identifier(name), sql.literal(name)
    lines = [
        "CREATE ROLE me;",
        f"CREATE ROLE {role};",
        f"ALTER ROLE {role} WITH NOSUPERUSER LOGIN VALID UNTIL {value};",
        f"COMMENT ON ROLE me IS {value};",
        f"ALTER ROLE me SET search_path TO {value}, {value};",
        f'ALTER ROLE me SET "a.b" TO {value};',
        f"GRANT {role} TO me WITH ADMIN OPTION, INHERIT TRUE GRANTED BY {role};",
    ]
    found = made(*lines)
    assert found.unknown == []
    assert shared.roles_made(found) == ["me", name]
    scratch = shared.of_scratch(found, tablespaces=True)
    # What is run is the same, token by token, and one statement each.
    assert [sql.statements(f"{each};") for each in scratch[:-1]] == [sql.statements(line) for line in lines[:-1]]
    assert scratch[-1] == f"GRANT {role} TO me WITH ADMIN OPTION , INHERIT TRUE"
    assert shared.of_roles(found, {"evil"}) == []
    assert shared.of_roles(found, {name}) == [scratch[1], scratch[2], scratch[-1]]


def test_strings_with_backslashes_by_standard_conforming_strings() -> None:
    ((value,),) = sql.statements("E'a\\\\b\\'c\\n';")
    assert value.value == "a\\b'c\n"
    ((value,),) = sql.statements("'a\\';")
    assert value.value == "a\\"
    (_, (value,)) = sql.statements("SET standard_conforming_strings = off; 'a\\'; CREATE ROLE evil; --';")
    assert value.value == "a'; CREATE ROLE evil; --"
    ((value,),) = sql.statements("$a$ $$ ' ; $a$;")
    assert value.value == " $$ ' ; "
    assert sql.statements("/* a /* b */ ; */ -- c ;\n;") == []


@pytest.mark.parametrize(
    "broken",
    [
        "SELECT 'a;",
        'SELECT "a;',
        "SELECT $a$ x $b$;",
        "/* /* */ ;",
        "SELECT 1",
        "\\! id\n",
        "\\connect x\n",
        "SELECT 1 \\restrict a\n;",
        "\\restrict a b\n",
        "SELECT U&'a' ;",
        "SELECT B'1';",
        "SELECT E'\\x41';",
        "SELECT 1a;",
        "SELECT a::b;",
        "SELECT ü;",
        'SELECT "";',
        "SELECT 'a\0';",
        "SET standard_conforming_strings = perhaps;",
    ],
)
def test_what_is_not_known_is_no_sql(broken: str) -> None:
    with pytest.raises(NotUnderstood, match="line 1: "):
        sql.statements(broken)


def test_statements_that_nobody_knows_are_named_and_not_run() -> None:
    found = made(
        "CREATE ROLE me;",
        "ALTER SYSTEM SET archive_command = 'evil';",
        "ALTER ROLE me WITH SUPERUSER PERHAPS;",
        "ALTER ROLE me WITH SUPERUSER; CREATE FUNCTION evil;",
        "COPY a FROM PROGRAM 'evil';",
        "GRANT EXECUTE ON FUNCTION x TO me;",
        "GRANT a TO me, b;",
    )
    assert found.unknown == [
        "ALTER SYSTEM SET ARCHIVE_COMMAND",
        "ALTER ROLE ME WITH",
        "CREATE FUNCTION EVIL",
        "COPY A FROM PROGRAM",
        "GRANT EXECUTE ON FUNCTION",
        "GRANT A TO ME",
    ]
    assert shared.of_scratch(found, tablespaces=True) == ["CREATE ROLE me", "ALTER ROLE me WITH SUPERUSER"]
    assert shared.superusers(found, {"me", "you"}) == ["me"]


@pytest.mark.parametrize(("version", "good"), [("15.13", False), ("15.14", True), ("17.5", False), ("18.0", True)])
def test_a_line_feed_in_a_name_is_not_believed_of_a_pg_dumpall_that_can_be_fooled(version: str, good: bool) -> None:
    """It writes the name into a comment as it is (CVE-2025-8715)."""
    name = 'x"\n--\n\nCREATE ROLE evil;\n-- User Config "y'
    lines = [f"CREATE ROLE {sql.identifier(name)};", f'-- User Config "{name}"' if not good else "--"]
    if good:
        assert shared.roles_made(made(*lines, version=version)) == [name]
    else:
        with pytest.raises(NotUnderstood, match="CVE-2025-8715"):
            made(*lines, version=version)
    assert shared.roles_made(made("CREATE ROLE me;", version=version)) == ["me"]
    assert shared.safe("12.22") is shared.safe("") is shared.safe("0") is False


def test_no_roles_and_other_encodings() -> None:
    with pytest.raises(NotUnderstood, match="no role"):
        made("SET x = y;")
    with pytest.raises(NotUnderstood, match="its encoding"):
        shared.read(b"CREATE ROLE me;", "18.6")
    latin = text('CREATE ROLE "\u00fc";').decode().replace("UTF8", "LATIN1").encode("latin-1")
    assert shared.roles_made(shared.read(latin, "18.6")) == ["\u00fc"]
    with pytest.raises(NotUnderstood, match="not encoded in utf-8"):
        shared.read(latin.replace(b"LATIN1", b"UTF8"), "18.6")


def test_globals_fit_a_scratch_instance() -> None:
    found = made(
        "CREATE ROLE postgres;",
        'GRANT a TO "b GRANTED BY c" GRANTED BY "od""d name";',
        "CREATE TABLESPACE \"fast d'isk\" OWNER postgres LOCATION '/mnt/o''dd';",
        "ALTER TABLESPACE fast SET (random_page_cost=1.1, seq_page_cost='2');",
        "SET SESSION AUTHORIZATION app;",
        "GRANT ALL ON TABLESPACE fast TO app WITH GRANT OPTION;",
        "RESET SESSION AUTHORIZATION;",
        "REVOKE GRANT OPTION FOR ALL ON TABLESPACE fast FROM app;",
        "GRANT SET, ALTER SYSTEM ON PARAMETER work_mem TO app;",
    )
    assert found.unknown == []
    assert shared.of_scratch(found, tablespaces=True) == [
        "CREATE ROLE postgres",
        'GRANT a TO "b GRANTED BY c"',
        "CREATE TABLESPACE \"fast d'isk\" OWNER postgres LOCATION ''",
        "ALTER TABLESPACE fast SET ( random_page_cost = 1.1 , seq_page_cost = '2' )",
        'SET SESSION AUTHORIZATION "app"',
        "GRANT ALL ON TABLESPACE fast TO app WITH GRANT OPTION",
        "RESET SESSION AUTHORIZATION",
        "REVOKE GRANT OPTION FOR ALL ON TABLESPACE fast FROM app",
        "GRANT SET , ALTER SYSTEM ON PARAMETER work_mem TO app",
    ]
    assert not any("TABLESPACE" in each for each in shared.of_scratch(found, tablespaces=False))


def database(*more: toc.Entry, name: str = 'o "dd\nx', creation: str = "") -> toc.Contents:
    quoted = sql.identifier(name)
    creation = creation or f"CREATE DATABASE {quoted} WITH TEMPLATE = template0 ENCODING = 'UTF8' TABLESPACE = fast;\n"
    entries = [toc.Entry(1, "DATABASE", "", name, 'o"wner', toc.PRE_DATA, definition=creation), *more]
    return toc.Contents(name, "18", "18.6", True, entries)


def of(kind: str, definition: str, *needs: int) -> toc.Entry:
    return toc.Entry(9, kind, "", "x", "me", toc.PRE_DATA, definition=definition, needs=needs)


def test_all_that_names_the_database_is_about_the_restored_one() -> None:
    quoted, evil = '"o ""dd\nx"', sql.literal('ALTER DATABASE "o ""dd\nx" OWNER TO evil;\n\\connect \'x\'')
    contents = database(
        of("COMMENT", f"COMMENT ON DATABASE {quoted} IS {evil};", 1),
        of("SECURITY LABEL", f"SECURITY LABEL FOR p ON DATABASE {quoted} IS {evil};", 1),
        of(
            "DATABASE PROPERTIES",
            f"ALTER DATABASE {quoted} CONNECTION LIMIT = 7;\nALTER DATABASE {quoted} IS_TEMPLATE = true;\n"
            f"ALTER DATABASE {quoted} SET search_path TO {evil}, 'b';\n"
            f"ALTER ROLE r IN DATABASE {quoted} SET search_path TO {evil};\n",
        ),
        of(
            "ACL",
            f"REVOKE CONNECT,TEMPORARY ON DATABASE {quoted} FROM PUBLIC;SET SESSION AUTHORIZATION a;\n"
            f"GRANT CREATE ON DATABASE {quoted} TO b WITH GRANT OPTION;RESET SESSION AUTHORIZATION;",
            1,
        ),
        # Of something else.
        of("COMMENT", f"COMMENT ON TABLE a IS {evil};", 2),
    )
    statements, tablespaces = shared.of_database(contents, 'new"')
    assert statements == [
        'CREATE DATABASE "new""" WITH TEMPLATE = template0 ENCODING = \'UTF8\' TABLESPACE = fast',
        'ALTER DATABASE "new""" OWNER TO "o""wner"',
        'ALTER DATABASE "new""" CONNECTION LIMIT = 7',
        'ALTER DATABASE "new""" IS_TEMPLATE = true',
        f'ALTER DATABASE "new""" SET search_path TO {evil} , \'b\'',
        f'ALTER ROLE r IN DATABASE "new""" SET search_path TO {evil}',
        f'COMMENT ON DATABASE "new""" IS {evil}',
        f'SECURITY LABEL FOR p ON DATABASE "new""" IS {evil}',
        'REVOKE CONNECT , TEMPORARY ON DATABASE "new""" FROM PUBLIC',
        'SET SESSION AUTHORIZATION "a"',
        'GRANT CREATE ON DATABASE "new""" TO b WITH GRANT OPTION',
        "RESET SESSION AUTHORIZATION",
    ]
    assert tablespaces == {"fast"}
    scratch, tablespaces = shared.of_database(contents, "x", tablespaces=False)
    assert scratch[0] == "CREATE DATABASE \"x\" WITH TEMPLATE = template0 ENCODING = 'UTF8'"
    assert tablespaces == set()


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (database(creation="CREATE DATABASE other WITH TEMPLATE = template0;"), "something else"),
        (database(of("ACL", "GRANT CREATE ON DATABASE other TO x;", 1)), "something else"),
        (database(of("DATABASE PROPERTIES", "ALTER ROLE r SET work_mem TO '1MB';")), "something else"),
        (database(of("DATABASE PROPERTIES", "ALTER SYSTEM SET x TO '1MB';")), "not known: ALTER SYSTEM"),
        (database(of("DATABASE PROPERTIES", "ALTER DATABASE x SET a TO 'b")), "does not end"),
        (database()._replace(entries=[]), "one database"),
    ],
)
def test_a_database_that_is_made_otherwise_is_refused(contents: toc.Contents, why: str) -> None:
    with pytest.raises(NotUnderstood, match=why):
        shared.of_database(contents, "new")


class Writer:
    """A toc.dat as pg_dump writes it.

    :param minor: of the format's version
    """

    def __init__(self, minor: int) -> None:
        self.minor = minor
        self.data = b"PGDMP" + bytes([1, minor, 0, 4, 8, 3])
        self.data += b"\x01" if minor >= 15 else b""
        for number in ([] if minor >= 15 else [1]) + [0, 30, 12, 1, 10, 126, 0]:
            self.integer(number)

    def integer(self, number: int) -> None:
        self.data += bytes([number < 0]) + struct.pack("<I", abs(number))

    def text(self, *values: str | bytes | None) -> None:
        for value in values:
            raw = value.encode() if isinstance(value, str) else value
            self.integer(-1 if raw is None else len(raw))
            self.data += raw or b""

    def entry(self, entry: toc.Entry) -> None:
        self.integer(entry.number)
        self.integer(0)
        self.text("1259", str(entry.oid), entry.name, entry.kind)
        self.integer(entry.section)
        self.text(entry.definition, "", entry.copy or None, entry.schema or None, entry.tablespace or None, None)
        if self.minor >= 16:
            self.integer(114)
        self.text(entry.owner, "false", *map(str, entry.needs), None, entry.file)


ENTRIES = [
    toc.Entry(1, "ENCODING", "", "ENCODING", "", toc.PRE_DATA, definition="SET client_encoding = 'UTF8';\n"),
    toc.Entry(2, "STDSTRINGS", "", "x", "", toc.PRE_DATA, definition="SET standard_conforming_strings = 'on';\n"),
    toc.Entry(3, "TABLE", "DATA", "public orders\n4; 0 0 TABLE DATA x", "o w", toc.PRE_DATA, 7, "fast", needs=(1, 2)),
    toc.Entry(4, "TABLE DATA", "ü", "orders", "", toc.DATA, 7, copy='COPY "ü".orders FROM stdin;\n', file="4.dat"),
]


def written(minor: int, *entries: toc.Entry) -> bytes:
    writer = Writer(minor)
    writer.text("o 'dd", "18.6", "18.6 (Debian)")
    writer.integer(len(entries))
    for entry in entries:
        writer.entry(entry)
    return writer.data


@pytest.mark.parametrize("minor", [14, 15, 16])
def test_table_of_contents(minor: int, tmp_path: Path) -> None:
    path = tmp_path / "toc.dat"
    path.write_bytes(written(minor, *ENTRIES))
    contents = toc.read(path)
    assert contents == toc.Contents("o 'dd", "18.6", "18.6 (Debian)", True, ENTRIES)
    for size in range(len(path.read_bytes())):
        short = tmp_path / "short"
        short.write_bytes(path.read_bytes()[:size])
        with pytest.raises(NotUnderstood):
            toc.read(short)


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: replaced(data, b"PGDMP", b"PGDMQ"), "not an archive"),
        (lambda data: replaced(data, b"PGDMP\x01\x10", b"PGDMP\x01\x11"), "version 1.17"),
        (lambda data: replaced(data, b"PGDMP\x01\x10\x00\x04\x08\x03", b"PGDMP\x01\x10\x00\x04\x08\x01"), "directory"),
        (lambda data: data + b"x", "more in it"),
        (lambda data: replaced(data, b"'UTF8'", b"'WIN7'"), "encoding 'WIN7' is not known"),
        (lambda data: replaced(data, b'\xc3\xbc".orders', b'\xc3\xc3".orders'), "not encoded"),
    ],
)
def test_another_table_of_contents_is_refused(change: Any, why: str, tmp_path: Path) -> None:
    path = tmp_path / "toc.dat"
    path.write_bytes(change(written(16, *ENTRIES)))
    with pytest.raises(NotUnderstood, match=why):
        toc.read(path)


ROOT = "x\nCREATE ROLE evil SUPERUSER;\n--"


@pytest.mark.parametrize(
    ("definition", "copy", "why"),
    [
        (f"-- load via partition root public.{ROOT}\n", 'COPY public."x" FROM stdin;\n', "runs more than it says"),
        ("", "COPY a FROM stdin; CREATE ROLE evil;", "does not copy rows"),
        ("", "CREATE ROLE evil;", "does not copy rows"),
    ],
)
def test_rows_bring_nothing_but_rows(definition: str, copy: str, why: str, tmp_path: Path) -> None:
    """pg_restore runs what stands before the rows as whoever restores."""
    path = tmp_path / "toc.dat"
    path.write_bytes(written(16, *ENTRIES[:3], ENTRIES[3]._replace(definition=definition, copy=copy)))
    with pytest.raises(NotUnderstood, match=why):
        toc.read(path)
    good = ENTRIES[3]._replace(definition="-- load via partition root public.x CREATE ROLE evil;\n")
    path.write_bytes(written(16, *ENTRIES[:3], good))
    assert toc.read(path).entries[3] == good
