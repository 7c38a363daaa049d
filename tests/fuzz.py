"""Inputs that nobody thought of: whatever it gets, the command line ends with 0, 1, 2 or 130, without a traceback.

`nox -s fuzz -- MINUTES` tries new ones; what it finds is printed, kept in `.hypothesis/` and tried first the next time.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import functools
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
import yaml
from hand_made import cell, cells, speed, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from tiny_study import STUDY, here

from suite.study.records import write_provenance

ROOT = Path(__file__).parents[1]
CODES = {0, 1, 2, 130}
SECONDS, MEMORY = 60, 8 * 2**30  # of processor time for one input, and bytes above what the process has


def _studies() -> list[Any]:
    """Studies of each kind, of few rows."""
    names = ("quickstart", "digits-segmentation", "costs", "imagenet-vitl-speed")
    found = [yaml.safe_load((ROOT / "studies" / f"{name}.yaml").read_text()) for name in names]
    for one in found[2:]:
        one["published"] = str(ROOT / one["published"])
    found[2]["rows"], found[3]["backbones"] = found[2]["rows"][:2], found[3]["backbones"][:1]
    return [STUDY, *found]


STUDIES = _studies()
TEXTS = [yaml.safe_dump(STUDY), (ROOT / "studies" / "quickstart.yaml").read_text()]
WORDS = [
    *(
        "010",
        "1:30",
        "1_000",
        "1e-3",
        ".inf",
        "-.nan",
        "~",
        "2026-13-45",
        "0-999999999999",
        "yes",
        "!!int x",
        "!!binary /w==",
    ),
    *(
        "&a [*a]",
        "*b",
        "<<: *a",
        "<<: {a: 1}",
        "? [a]",
        "- ",
        "{",
        "[",
        ": ",
        "\n",
        "\t",
        '"\\ud800"',
        '"\\0"',
        "'",
        "#",
        "%",
        "@",
        "`",
    ),
    *(
        "../x",
        "/",
        "..",
        "",
        "-1",
        "99999999999999999999",
        "1" * 5000,
        "\u65b9\u6cd5",
        "\u0130",
        "a:b@c",
        "none",
        "random",
        "tome",
    ),
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=8),
    st.integers(-2, 9),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RULES = (
    *({"constant": 2, "blocks": "0-1"}, {"keep_rate": 0.7, "blocks": [1]}, {"linear": 2}),
    *({"stages": 0.7, "length": 2}, {"budget": {"macs": 0.7}}),
)
MORE: dict[str, Any] = {  # what studies may say besides
    "fusion": "logits",
    "numerics": "portable",
    "track_scores": True,
    "lengths": [2, 4],
    "curriculum": "official",
    "start": "weights.pth",
    "device": "cuda",
    "precision": "float16",
    "shared": True,
    "multiple_of": 4,
    "settings": {"queries": 2},
    "images": 32,
    "drop_path": 0.1,
    "name": "a:b",
    "compile": True,
    "rounding": "floor",
    "compare_to": "cropr",
    "pool": "avg",
    "focus": ["random"],
    "method_learning_rate": 0.1,
    "speed": None,
}
COMMANDS = (
    *(
        "list",
        "validate",
        "plan",
        "track",
        "pack",
        "unpack",
        "table",
        "compare",
        "figures",
        "report",
        "trace",
        "ledger",
    ),
    *("flops", "budget", "power", "evaluate"),
)
OPTIONS = (
    *(
        "--set",
        "--json",
        "--into",
        "--only",
        "--schedule",
        "--method",
        "--setting",
        "--option",
        "--fusion",
        "--task",
        "--pdf",
    ),
    *(
        "--macs",
        "--tokens",
        "--checkpoint",
        "--data",
        "--layout",
        "--seeds",
        "--html",
        "--figure",
        "--file",
        "--help",
        "--check",
    ),
)
ARGUMENTS = (
    *(
        "trial",
        "trial.yaml",
        "studies/trial.yaml",
        "results",
        "trial:good:acc. %",
        "trial@HEAD",
        "../trial",
        "..",
        ".",
        "",
        ":",
    ),
    *(
        "seeds=[3]",
        "finetune.epochs=2",
        "a.b",
        "vit_tiny_patch16_224",
        "{constant: 2, blocks: 0-3}",
        "patch_size=8",
        "none",
    ),
    *("0.5", "-1", "cells.csv", "broken", "a" * 300, "\udcff"),
)


def tried(folder: Path, *arguments: str) -> None:
    """Run the command line on an input; an exception other than its end is a traceback."""
    with _limited():
        done = here(folder, *arguments)
    assert done.returncode in CODES, done
    assert "Traceback" not in done.stderr, done.stderr


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no end after {SECONDS} s of processor time")

    before, limits = signal.signal(signal.SIGVTALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder with a study, in `studies/` too, and with its results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "studies").mkdir()
        for place in ("trial.yaml", "studies/trial.yaml"):
            (folder / place).write_text(TEXTS[0])
        rows = [
            *cells("random", 70, 71, 72),
            *cells("good", 80, 81),
            *cell("good", 2, None),
            *speed("good", [1.9, 2.0]),
        ]
        written(
            folder / "results", rows, {"runs": [{"command": "suite run trial", "commit": "abc", "cells": ["good-0"]}]}
        )
        (folder / "results/trial/table.csv").write_text("")
        (folder / "broken").write_bytes(b"\0\xff" * 9)
        yield folder


def _paths(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in parts:
        yield (*place, key)
        yield from _paths(value, (*place, key))


def _leaves(tree: Any) -> Iterator[Any]:
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    yield from (leaf for part in parts for leaf in _leaves(part)) if parts is not None else [tree]


NAMES = [
    *sorted({leaf for leaf in _leaves([*STUDIES, MORE, *RULES]) if isinstance(leaf, str)}),
    *("attention-topk", "evit", "idlevit", "cropr", "cross-attention", "concatenation", "last-layer", "segmentation"),
    *("vit_tiny_patch16_224", "eva02_tiny_patch14_224", "deit_tiny_distilled_patch16_224", "resnet18"),
]
KEYS = sorted({str(key) for place in _paths(STUDIES) for key in place} | {*MORE})


@st.composite
def near(draw: st.DrawFn, value: Any) -> Any:
    """What may stand instead of a value: often something of its kind."""
    if draw(st.integers(0, 3)) == 0:
        return draw(VALUES)
    if isinstance(value, bool) or value is None:
        return draw(st.sampled_from((True, False, None)))
    if isinstance(value, int | float):
        others = (0, 1, 2, 3, -1, 10**6, 0.5, 1e-9, value + 1, value - 1, 2 * value, float(value), str(value), [value])
        return draw(st.sampled_from(others))
    if isinstance(value, list):
        return draw(st.sampled_from(([], value[1:], value[::-1], [*value, *value[:1]], value * 2, value[:1] or None)))
    if isinstance(value, dict):
        return draw(st.sampled_from((*RULES, {}, value | dict([draw(st.sampled_from([*MORE.items()]))]))))
    return draw(st.sampled_from(NAMES))


@st.composite
def mutated(draw: st.DrawFn, trees: Sequence[Any]) -> Any:
    """One of the trees, with one to three places replaced, gone, or with a key or an entry more."""
    tree = copy.deepcopy(draw(st.sampled_from(trees)))
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        places = [*_paths(tree)]
        if not places:
            return draw(VALUES)
        place = draw(st.sampled_from(places))
        parent = tree
        for step in place[:-1]:
            parent = parent[step]
        act = draw(st.sampled_from(("replace", "replace", "replace", "remove", "add")))
        if act == "replace":
            parent[place[-1]] = copy.deepcopy(draw(near(parent[place[-1]])))  # what is drawn may be changed next
        elif act == "remove":
            del parent[place[-1]]
        elif isinstance(parent, dict):
            key = draw(st.sampled_from(KEYS) | st.text(max_size=5))
            parent[key] = copy.deepcopy(draw(near(MORE.get(key, parent.get(key, ""))) | st.just(MORE.get(key))))
        else:
            parent.append(copy.deepcopy(parent[place[-1]]))
    return tree


@st.composite
def edited(draw: st.DrawFn, texts: Sequence[str]) -> str:
    """One of the texts, with one to three cuts, each filled with a word, a few letters or another part of it."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 12))
        start = draw(st.integers(0, len(text)))
        part = draw(st.sampled_from(WORDS) | st.text(max_size=4) | st.just(text[start : start + 40]))
        text = text[:at] + part + text[at + length :]
    return text


@st.composite
def damaged(draw: st.DrawFn, contents: Sequence[bytes]) -> bytes:
    """One of the files, cut, or with a few bytes of it replaced."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        new = draw(st.binary(min_size=1, max_size=8))
        content[at : at + draw(st.integers(0, 8))] = new
    return bytes(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])


def a_study(text: str) -> None:
    """`validate` and `plan` of a study's file."""
    with workplace() as folder:
        (folder / "changed.yaml").write_text(text, encoding="utf-8")
        tried(folder, "validate", "changed.yaml")
        tried(folder, "plan", "changed.yaml", "--json")


def a_change(change: tuple[str, str]) -> None:
    """`validate` of a study with a change."""
    with workplace() as folder:
        tried(folder, "validate", "trial", "--set", "=".join(change))


def a_command_line(words: Sequence[str]) -> None:
    """Commands that neither train nor time nor serve."""
    with workplace() as folder:
        tried(folder, *words)


def a_record(changed: tuple[str, str], known: bool) -> None:
    """Tables and what asks them, of a record that was changed, by somebody who knows of digests or not."""
    file, content = changed
    with workplace() as folder:
        results = folder / "results/trial"
        (results / file).write_text(content, encoding="utf-8")
        if known and file != "provenance.json":
            write_provenance(results, {"runs": []})
        shutil.copytree(results, folder / "other")
        for words in (("table", "trial"), ("trace", "trial:good:acc. %"), ("compare", "trial", "other")):
            tried(folder, *words)


def a_cell(content: str) -> None:
    """What reads finished cells, of one that was changed."""
    with workplace() as folder:
        store = folder / ".suite"
        (store / "cells").mkdir(parents=True)
        (store / "format").write_text("2\n")
        (store / "cells" / f"{CELL['cell_id']}.json").write_text(content, encoding="utf-8")
        tried(folder, "plan", "trial")
        tried(folder, "pack", "trial")


def a_checkpoint(content: bytes, suffix: str) -> None:
    """`evaluate` of a file of weights, without images."""
    with workplace() as folder:
        (folder / f"weights{suffix}").write_bytes(content)
        tried(folder, "evaluate", "--checkpoint", f"weights{suffix}", "--data", "images")


def _first_cell() -> dict[str, Any]:
    with workplace() as folder:
        planned = json.loads(here(folder, "plan", "trial.yaml", "--json").stdout)[0]
    return {
        "cell_id": planned["cell_id"],
        "status": "done",
        "metrics": {"acc1_last": 50.0},
        "units": {"acc1_last": "%"},
    } | {"identity": {"kind": "base"}, "curves": {"loss": [1.0]}, "seconds": 1.0, "provenance": {"commit": "abc"}}


def _records() -> dict[str, str]:
    with workplace() as folder:
        return {
            path.name: path.read_text() for path in (folder / "results/trial").iterdir() if path.name != "table.csv"
        }


def _weights() -> list[bytes]:
    from safetensors.torch import save

    tensors = {"pos_embed": torch.zeros(1, 17, 16), "patch_embed.proj.weight": torch.zeros(16, 3, 4, 4)}
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(({"model": tensors}, tensors)):
            torch.save(content, Path(folder, str(number)), _use_new_zipfile_serialization=number == 0)
        return [save(tensors), *(path.read_bytes() for path in sorted(Path(folder).iterdir()))]


def _at(tree: Any, place: Sequence[Any]) -> Any:
    return functools.reduce(lambda part, step: part[step], place, tree)


def _as_csv(rows: Any) -> str:
    text = io.StringIO()
    lines = (row if isinstance(row, list) else [row] for row in (rows if isinstance(rows, list) else [rows]))
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


CELL, RECORDS = _first_cell(), _records()
as_text = lambda tree: json.dumps(tree, default=str)  # noqa: E731
CHANGES = st.sampled_from([*_paths(STUDY)]).flatmap(
    lambda place: st.tuples(
        st.just(".".join(map(str, place))), near(_at(STUDY, place)).map(as_text) | st.sampled_from(WORDS)
    )
)
FILES = st.sampled_from(sorted(RECORDS)).flatmap(
    lambda file: st.tuples(
        st.just(file),
        mutated([json.loads(RECORDS[file])]).map(as_text)
        if file.endswith(".json")
        else edited([RECORDS[file]]) | mutated([[*csv.reader(io.StringIO(RECORDS[file]))]]).map(_as_csv),
    )
)
COMMAND_LINES = st.builds(
    lambda command, rest: [command, *rest],
    st.sampled_from(COMMANDS),
    st.lists(
        st.sampled_from((*OPTIONS, *ARGUMENTS)) | st.text(st.characters(exclude_characters="\0"), max_size=6),
        max_size=5,
    ),
)
PROPERTIES: dict[str, tuple[FunctionType, tuple[st.SearchStrategy[Any], ...], int]] = {  # and how many inputs in CI
    "study": (a_study, (st.one_of(*[mutated(STUDIES).map(yaml.safe_dump)] * 3, edited(TEXTS)),), 80),
    "change": (a_change, (CHANGES,), 40),
    "command line": (a_command_line, (COMMAND_LINES,), 80),
    "record": (a_record, (FILES, st.booleans()), 25),
    "cell": (a_cell, (mutated([CELL]).map(as_text) | edited([as_text(CELL)]),), 30),
    "checkpoint": (a_checkpoint, (damaged(_weights()), st.sampled_from((".pth", ".safetensors"))), 40),
}


def fuzz(name: str, **options: Any) -> int:
    """Try a property; returns on how many inputs."""
    run, inputs, examples = PROPERTIES[name]
    again = functools.update_wrapper(FunctionType(run.__code__, run.__globals__), run)  # a function has settings once
    options |= {"max_examples": examples, "deadline": None, "suppress_health_check": [*HealthCheck]}
    settings(**options)(given(*inputs)(again))()
    return examples


def main(minutes: float) -> None:
    """Try all properties in turn on new inputs, for so many minutes."""
    end, count = time.monotonic() + 60 * minutes, 0
    database = DirectoryBasedExampleDatabase(ROOT / ".hypothesis")
    while time.monotonic() < end:
        for name in PROPERTIES:
            count += fuzz(name, database=database)
    sys.stdout.write(f"{count} inputs, no traceback\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
