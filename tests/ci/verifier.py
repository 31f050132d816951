"""Puts what scripts/ledger_verify.py needs of the collection into it, so that an auditor copies one file.

Run it after a change of those parts: .venv/bin/python -m tests.ci.verifier
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "collections/ansible_collections/tradingflow/maintenance"
VERIFIER = COLLECTION / "scripts/ledger_verify.py"
BEGIN, END = "# parts: begin\n", "# parts: end\n"
#: In the order in which one reads them; the last three only for --s3.
PARTS = (
    *(
        "masking",
        "errors",
        "_ledger",
        "_ledger.record",
        "_ledger.keys",
        "_ledger.witness",
        "_ledger.folder",
        "_ledger.verify",
    ),
    *("_ledger.places", "storage", "_storage_retry"),
)


def bundled(text: str) -> str:
    """The verifier with its parts as they are now."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    lines = ["PARTS = {\n", '    "module_utils": "",\n']
    for name in PARTS:
        path = COLLECTION / "plugins/module_utils" / name.replace(".", "/")
        source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
        if "'''" in source or source.rstrip().endswith("\\"):
            raise ValueError(f"{name} cannot be quoted")
        lines.append(f"    \"module_utils.{name}\": r'''{source}''',\n")
    return f"{head}{BEGIN}{''.join(lines)}}}\n{END}{tail}"


def main() -> None:
    """Writes it."""
    VERIFIER.write_text(bundled(VERIFIER.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
