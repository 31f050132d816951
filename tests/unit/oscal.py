"""Whether a document is OSCAL assessment-results.

Against a description, in words of our own, of what we write of it: strict, so that what is not in here must first be
looked up in OSCAL. And against NIST's own schema where ``TRADINGFLOW_OSCAL_SCHEMA`` names it, the file
oscal_assessment-results_schema.json of a release of OSCAL; it is no part of this repository. What is written was held
against that of OSCAL 1.0.6. The models that compliance-trestle makes of the schema of 1.2.1 are asked in
tests/trestle.py, in an environment of their own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator, Draft202012Validator

UUID = {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"}
TOKEN = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9._-]*$"}
TEXT = {"type": "string", "pattern": r"^\S(.*\S)?$"}
TIME = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$"}
URI = {"type": "string", "pattern": "^[a-z]+:.+$"}


def exactly(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object with these members, and no others."""
    members = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": members, "additionalProperties": False}


def several(item: dict[str, Any]) -> dict[str, Any]:
    """A list with something in it: OSCAL knows no empty ones."""
    return {"type": "array", "minItems": 1, "items": item}


PROPS = several(exactly({"name": TOKEN, "ns": URI, "value": TEXT}))
ORIGINS = several(exactly({"actors": several(exactly({"type": {"const": "tool"}, "actor-uuid": UUID}))}))
OBSERVATION = exactly(
    {
        "uuid": UUID,
        "title": TEXT,
        "description": TEXT,
        "methods": several({"enum": ["EXAMINE", "INTERVIEW", "TEST", "UNKNOWN"]}),
        "collected": TIME,
    },
    {"props": PROPS, "types": several(TOKEN), "origins": ORIGINS},
)
STATUS = exactly({"state": {"enum": ["satisfied", "not-satisfied"]}, "reason": {"enum": ["pass", "fail", "other"]}})
FINDING = exactly(
    {
        "uuid": UUID,
        "title": TEXT,
        "description": TEXT,
        "target": exactly({"type": {"enum": ["statement-id", "objective-id"]}, "target-id": TOKEN, "status": STATUS}),
    },
    {
        "props": PROPS,
        "related-observations": several(exactly({"observation-uuid": UUID})),
        "related-risks": several(exactly({"risk-uuid": UUID})),
    },
)
RISK = exactly(
    {"uuid": UUID, "title": TEXT, "description": TEXT, "statement": TEXT, "status": {"const": "open"}},
    {"props": PROPS, "deadline": TIME},
)
SELECTION = exactly(
    {"control-selections": several(exactly({"include-controls": several(exactly({"control-id": TOKEN}))}))}
)
RESULT = exactly(
    {"uuid": UUID, "title": TEXT, "description": TEXT, "start": TIME, "reviewed-controls": SELECTION},
    {
        "end": TIME,
        "props": PROPS,
        "observations": several(OBSERVATION),
        "risks": several(RISK),
        "findings": several(FINDING),
    },
)
METADATA = exactly(
    {"title": TEXT, "last-modified": TIME, "version": TEXT, "oscal-version": TEXT}, {"props": PROPS, "remarks": TEXT}
)
OURS = exactly(
    {
        "assessment-results": exactly(
            {"uuid": UUID, "metadata": METADATA, "import-ap": exactly({"href": URI}), "results": several(RESULT)}
        )
    }
)


def problems(document: Any) -> list[str]:
    """What is wrong, by place; empty if nothing is."""
    validator: Any = Draft202012Validator(OURS)
    errors = list(validator.iter_errors(document))
    named = os.environ.get("TRADINGFLOW_OSCAL_SCHEMA")
    if named:
        # Python's regular expressions know no classes of Unicode.
        text = Path(named).read_text(encoding="utf-8").replace(r"\\p{L}", "[A-Za-z]").replace(r"\\p{N}", "[0-9]")
        errors += Draft7Validator(json.loads(text)).iter_errors(document)
    found = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]
    return found + (loose(document) if not found else [])


def loose(document: Any) -> list[str]:
    """References to what is not there, and identifiers that are there twice: no schema sees these."""
    found = []
    for result in document["assessment-results"]["results"]:
        ids = [each["uuid"] for name in ("observations", "risks", "findings") for each in result.get(name, [])]
        found += [f"{id} is there twice" for id in set(ids) if ids.count(id) > 1]
        for finding in result.get("findings", []):
            named = [each["observation-uuid"] for each in finding.get("related-observations", [])]
            named += [each["risk-uuid"] for each in finding.get("related-risks", [])]
            found += [f"{id} is not there" for id in named if id not in ids]
    return found
