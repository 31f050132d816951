"""PgHero's queries, with all their rows, in a process of their own: python -m tests.bench.tuning_pghero FILE."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import psycopg2

QUERIES = Path(__file__).with_name("pghero.sql")


def main(path: str) -> None:
    """Fetches them."""
    database = json.loads(Path(path).read_text(encoding="utf-8"))["database"]
    text = re.sub(r"^--.*\n", "", QUERIES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    login = {name: database[name] for name in ("host", "port", "user", "password")}
    connection = psycopg2.connect(dbname=database["name"], **login)
    with connection.cursor() as cursor:
        for query in filter(str.strip, text.split(";\n")):
            cursor.execute(query)
            cursor.fetchall()
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
