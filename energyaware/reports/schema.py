"""JSON Schema of what a run stores in pytest-benchmark's file: `docs/schema.json` is this, word for word."""

from __future__ import annotations

import inspect
import json
from typing import Any

import msgspec

from energyaware.records import SCHEMA_VERSION, Benchmark, Totals

_OBJECT_OF_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def stored_schema() -> dict[str, Any]:
    """The members `energyaware` (of the file) and `energy` (of each benchmark); all others are pytest-benchmark's.

    Members that are not named here are allowed: a later version may add some.
    """
    (benchmark, totals), definitions = msgspec.json.schema_components([Benchmark, Totals])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run stored by pytest --energy",
        "type": "object",
        "required": ["benchmarks", "energyaware"],
        "properties": {
            "energyaware": {"$ref": "#/$defs/EnergyAware"},
            "benchmarks": {
                "type": "array",
                "items": {"type": "object", "properties": {"energy": benchmark}},
            },
        },
        "$defs": {"EnergyAware": _head(totals), **{name: _dedented(item) for name, item in definitions.items()}},
    }


def schema_text() -> str:
    """The file `docs/schema.json`."""
    return json.dumps(stored_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _dedented(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition with its docstring as newer Pythons keep it, so that all versions write the same file."""
    if "description" not in definition:
        return definition
    return {**definition, "description": inspect.cleandoc(definition["description"])}


def _head(totals: dict[str, Any]) -> dict[str, Any]:
    """What holds for the whole run."""
    return {
        "type": "object",
        "description": "What holds for the whole run.",
        "required": ["schema_version"],
        "properties": {
            "schema_version": {"const": SCHEMA_VERSION},
            "version": {"type": "string", "description": "Of energyaware."},
            "machine": {**_OBJECT_OF_TEXTS, "description": "What it ran on."},
            "meters": {**_OBJECT_OF_TEXTS, "description": "Energy domain to the meter that read it."},
            "options": {"type": "object", "description": "What the user asked for."},
            "totals": totals,
            "interrupted": {"type": "boolean", "description": "Whether the run was cut off."},
            "errors": {
                "type": "array",
                "description": "Benchmarks whose test failed; they have no `energy`.",
                "items": {
                    "type": "object",
                    "required": ["fullname", "error"],
                    "properties": {"fullname": {"type": "string"}, "error": {"type": "string"}},
                },
            },
            "resumed": {
                "type": "array",
                "description": "Benchmarks taken over from an interrupted run, with the time when it measured them.",
                "items": {
                    "type": "object",
                    "required": ["fullname", "measured_at"],
                    "properties": {"fullname": {"type": "string"}, "measured_at": {"type": "string"}},
                },
            },
            "nodes": {
                "type": "array",
                "description": "Where nodes of a cluster measured what, with `--energy-engine` alone.",
                "items": {
                    "type": "object",
                    "required": ["fullname", "node", "machine"],
                    "properties": {
                        "fullname": {"type": "string"},
                        "node": {"type": "string"},
                        "machine": _OBJECT_OF_TEXTS,
                    },
                },
            },
        },
    }
