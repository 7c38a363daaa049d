"""A card for each method: what its docstring and its settings say, and where it stands in the tables of results."""

from __future__ import annotations

import csv
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from suite.reduction.method import Context
from suite.reduction.registry import load, method_class, modules, settings_class
from suite.reduction.schedule import Schedule
from suite.reduction.settings import MethodSettings, fusions_of

PLACES = {
    "pre": "before the block",
    "within": "within the attention, where those that stay attend to all",
    "mid": "between attention and MLP",
    "post": "after the block",
}
EXAMPLE = Schedule(64, (9, 8, 0, 0))
KNOBS = {
    "patches": "patches that leave a block",
    "merges": "merges in a block, at most half its patches",
    "keep_rate": "share of the patches that stay in each of a few blocks",
    "stages": "share of the patches to the power of the stage",
}


def page(results: Path) -> str:
    """All installed methods, as a page in Markdown."""
    intro = "Made by `suite list --cards docs/method-cards.md` from docstrings, settings and the tables of results.\n"
    return "\n".join(["# Cards of the methods\n", intro, *(card(name, results) for name in sorted(modules()))])


def card(name: str, results: Path) -> str:
    """One method, in Markdown; UserError if it is unknown."""
    settings = settings_class(name)()
    idea, *middle = _paragraphs(name)
    parts = {part: [text for text in middle if text.startswith(part)] for part in ("As published:", "Departures:")}
    plain = [text for text in middle if not text.startswith(tuple(parts))]
    lists = [f"{part}\n\n{text.removeprefix(part).strip()}" for part, found in parts.items() for text in found]
    stands = list(_standing(name, results))
    where = ["In the tables:\n\n" + "\n".join(stands)] if stands else []
    return "\n\n".join([f"## `{name}`", idea, *plain, "\n".join(_facts(name, settings)), *lists, *where]) + "\n"


def _paragraphs(name: str) -> list[str]:
    """Of its docstring."""
    return (inspect.getdoc(load(name)) or name).split("\n\n")


def _facts(name: str, settings: MethodSettings) -> Iterator[str]:
    own = _weights(name, settings)
    learns = "; what it adds is trained and begins anew" if own else "; has no weights of its own"
    yield f"- Needs: {', '.join(settings.needs) or 'nothing of the backbone'}{learns}."
    if settings.reduces == "nothing":
        return
    fusions = ", ".join(fusion for fusion in fusions_of(settings, EXAMPLE)) or "none"
    yield f"- Patches: it {settings.verb()} them {PLACES[settings.removal_stage()]}; they can come back by: {fusions}."
    fixed = "; no curriculum, the number is a shape of its weights" if settings.has_fixed_counts else ""
    yield f"- Strength, which `suite budget` searches: {KNOBS[settings.strength_parameter]}{fixed}."
    if given := settings.model_dump():
        about = " ".join((inspect.getdoc(type(settings)) or "").split())
        yield f"- Settings: {', '.join(f'`{key}: {value}`' for key, value in given.items())}. {about}"


def _weights(name: str, settings: MethodSettings) -> int:
    """Parameters of its own, on a small model."""
    context = Context(4, 48, 4, 1, (8, 8), True, 10, EXAMPLE)
    with torch.device("meta"):
        return sum(weight.numel() for weight in method_class(name)(context, settings).parameters())


def _standing(name: str, results: Path) -> Iterator[str]:
    """A line for each row of the method in the tables of trained studies."""
    for file in sorted(results.glob("*/table.csv")):
        with file.open(newline="", encoding="utf-8") as opened:
            rows = [row for row in csv.DictReader(opened) if row.get("method") == name and row.get("score_median")]
        for row in rows:
            yield f"- {file.parent.name}, {_row(row)}"


def _row(row: dict[str, str]) -> str:
    label = re.sub(r"\s+", " ", " ".join(filter(None, (f"`{row['row']}`", row["schedule"].replace("none", "")))))
    score = f"{label}: median score {float(row['score_median']):.1f} of {row['seeds']} seeds"
    if row["gap"]:
        low, high = float(row["gap_low"]), float(row["gap_high"])
        score += f"; to random {float(row['gap']):+.1f} ({low:+.1f} to {high:+.1f})"
    return score + (f"; speed {float(row['speed_median']):.2f}x" if row.get("speed_median") else "")
