"""`suite choose`: which method and setting suit a model, images and a device best, by a study that is made for them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from rich.console import Console

from suite.errors import UserError
from suite.kinds.off_the_shelf import models
from suite.kinds.off_the_shelf.cells import SMALLER, UNPRUNED, expand
from suite.kinds.off_the_shelf.figure import draw_speeds, front_of
from suite.kinds.off_the_shelf.record import Line, Scores, lines, values_of
from suite.kinds.off_the_shelf.schema import OffTheShelfStudy
from suite.kinds.off_the_shelf.scores import METRICS
from suite.kinds.off_the_shelf.table import headline, table
from suite.measure.artefacts import in_onnx, program, require_onnx
from suite.report.layout import Block, Table
from suite.report.render import show
from suite.report.statistics.intervals import LEVEL, Mean, mean
from suite.study.cells import Cell
from suite.study.kind import Loaded
from suite.study.load import RESULTS
from suite.study.store import Record

METHODS = ("random", "variance", "attention-topk", "evit", "tome", "idlevit")  # by default: they need no training
BUDGETS = (0.9, 0.8, 0.7, 0.6, 0.5)
SHOWN = ("row", "share", "gain", "speed", *METRICS)
Key = tuple[str, str]  # schedule and row


@dataclass(frozen=True)
class Choice:
    """The best candidate by what was wanted.

    Attributes:
        line, second: the best and the next one, if there is any.
        loss: points below the unpruned model, mean over groups of images.
        ends: the same with its interval; None of one group.
        tie: what of the two cannot be told apart; empty if they differ.
    """

    line: Line
    second: Line | None
    loss: float
    ends: Mean | None
    tie: str


def write(path: Path, about: dict[str, Any], device: str, batch_size: int, methods: Sequence[str]) -> None:
    """The study of a model as a file, which `suite run` takes too.

    Raises:
        UserError: if there is a file of this name that is not as it was written here.
    """
    said = about | {
        "question": f"Which method and setting suit {about['start']} on these images and this device?",
        "budgets": list(BUDGETS),
        "methods": list(methods or METHODS),
        "batch_size": batch_size,
        "device": device,
        "speed": {"batch_size": batch_size, "device": device, "threads": about["threads"]},
    }
    plain = json.loads(json.dumps({name: value for name, value in said.items() if value is not None}, default=str))
    if path.exists() and path.read_bytes() != _marked(path.read_bytes().partition(b"\n")[2]):
        raise UserError(f"{path} was edited, or suite choose did not write it; rename it, suite run takes it as it is")
    path.write_bytes(_marked(yaml.safe_dump(plain, sort_keys=False).encode()))


def free(name: str, about: dict[str, Any]) -> Path:
    """A file that is not there, or was written for the same model and images, so that results of others stay."""
    wanted = json.loads(json.dumps([about["start"], about["data"]], default=str))
    paths = (Path(f"choose-{name}{'' if number == 1 else f'-{number}'}.yaml") for number in itertools.count(1))
    return next(path for path in paths if not path.exists() or _about(path) in (None, wanted))


def _about(path: Path) -> list[Any] | None:
    """Model and images of a study that was written here; None of another file, which `write` refuses."""
    try:
        said = yaml.safe_load(path.read_bytes())
        return [said["start"], said["data"]]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        return None


def _marked(content: bytes) -> bytes:
    """A study under a line that tells whether it was edited."""
    return f"# Written by suite choose; SHA-256 of the rest: {hashlib.sha256(content).hexdigest()}\n".encode() + content


def decide(loaded: Loaded, drop: float | None, speedup: float | None, export: Path | None, console: Console) -> None:
    """Show the Pareto front, the choice and its code, and export it.

    Args:
        loaded: a study that has run.
        drop: points that the choice may be below the unpruned model; then the fastest is chosen.
        speedup: how much faster the choice must be; then the best is chosen.
        export: a folder, which is there, to put ONNX and torch.export of it into.
        console: to show it on.

    Raises:
        UserError: if no candidate is as wanted, or none could be compared.
    """
    study, found = loaded.study, lines(RESULTS / loaded.name)
    cells, chief = [cell for cell in expand(study) if not cell.alone], headline(found)
    record = Record()
    entries = {cell.cell_id: entry for cell in cells if (entry := record.finished(cell))}
    values = values_of(cells, entries, study.data.groups_of(study.data.labelled()))
    scores = points_of(values, chief)
    tried, failures = [line for line in found if line.speed is not None and key_of(line) in scores], missed(found)
    (picture := RESULTS / loaded.name / "pareto.png").unlink(missing_ok=True)
    if not tried or (UNPRUNED, UNPRUNED) not in scores:
        raise UserError("\n".join(["nothing can be compared with the unpruned model", *failures]))
    draw_speeds(RESULTS / loaded.name, found, picture)
    show(_front(loaded.name, found, tried, chief), console)
    try:
        chosen = best(tried, scores, drop, speedup)
    except UserError as error:
        raise UserError("\n".join([str(error), *failures])) from error
    cell = next(cell for cell in cells if (cell.schedule, cell.row) == key_of(chosen.line))
    for text in (*_said(chosen, chief), *failures, f"Picture: {picture}", "", *code(study, cell)):
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    if export:
        for path in exported(cell, export):
            console.print(f"wrote {path}", soft_wrap=True, highlight=False)


def missed(found: Sequence[Line]) -> list[str]:
    """A sentence for each reason why rows were not scored, not timed, or not timed reliably."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for line in found:
        own, warned = line.row != UNPRUNED, line.speed_timing_warnings
        if line.status != "done":
            reasons.setdefault((f"{line.status.capitalize()}, and not compared", line.reason), []).append(line.label)
        elif own and line.speed is None:
            reasons.setdefault(("Failed, and not compared", f"not timed; {warned}"), []).append(line.label)
        elif own and warned:
            reasons.setdefault(("Timed unreliably, and not on the front", warned), []).append(line.label)
    return [f"{what}: {', '.join(labels)}: {reason}" for (what, reason), labels in reasons.items()]


def points_of(values: dict[Key, Scores], chief: str) -> dict[Key, NDArray[np.float64]]:
    """A hundred times the metric `chief` of each group of images, of the rows that have it."""
    return {key: 100 * own[chief] for key, own in values.items() if chief in own}


def key_of(line: Line) -> Key:
    """What tells rows apart."""
    return line.schedule, line.row


def best(
    tried: Sequence[Line], scores: dict[Key, NDArray[np.float64]], drop: float | None, speedup: float | None
) -> Choice:
    """The fastest that loses at most `drop` points, or the best that is `speedup` times as fast, and the next one.

    What is not faster than the unpruned model is never chosen.

    `scores`: points of each group of images, of the unpruned model too. UserError if there is none.
    """
    whole = scores[UNPRUNED, UNPRUNED]
    losses = {key: whole - own for key, own in scores.items()}
    tried = [line for line in tried if (line.speed or 0) > 1]
    if not tried:
        raise UserError("nothing that was tried is faster than the unpruned model on this device")
    if drop is not None:
        fits = [line for line in tried if losses[key_of(line)].mean() <= drop]
        fits.sort(key=lambda line: -(line.speed or 0))
    else:
        fits = [line for line in tried if (line.speed or 0) >= (speedup or 0)]
        fits.sort(key=lambda line: losses[key_of(line)].mean())
    if not fits:
        least = min(losses[key_of(line)].mean() for line in tried)
        most = max(line.speed or 0 for line in tried)
        cure = "allow a larger --drop" if drop is not None else "ask for a smaller --speedup"
        raise UserError(
            "nothing that was tried is as wanted: of what is faster than the unpruned model the least drop is "
            f"{least:.2f} points, the most speed {most:.2f}x; {cure}, or name other methods with --method"
        )
    first = fits[0]
    second = next((line for line in fits if line.speed_cell != first.speed_cell), None)
    tie = "" if second is None else _tie(first, second, losses, by_speed=drop is not None)
    lost = losses[key_of(first)]
    return Choice(first, second, float(lost.mean()), mean(lost.tolist()), tie)


def _tie(first: Line, second: Line, losses: dict[Key, NDArray[np.float64]], *, by_speed: bool) -> str:
    if by_speed:
        apart = (first.speed_low or 0) > (second.speed_high or 0)
        return "" if apart else "their speeds cannot be told apart: the quartiles of their rounds overlap"
    found = mean((losses[key_of(second)] - losses[key_of(first)]).tolist())
    if found is None:
        return "one image, or one group of them, does not tell their scores apart"
    apart = found.low > 0 and found.p < 1 - LEVEL
    return "" if apart else "their scores cannot be told apart: their difference is within noise"


def _front(name: str, found: Sequence[Line], tried: Sequence[Line], chief: str) -> Table:
    """Those that no other beats in speed and score, the unpruned model among them."""
    unpruned = [line for line in found if line.row == UNPRUNED]
    whole, kept = table(name, found), [key_of(line) for line in reversed(front_of([*unpruned, *tried], chief))]
    rows = {
        (UNPRUNED if block.name == "unpruned" else block.name, row.values["row"]): row
        for block in whole.blocks
        for row in block.rows
    }
    columns = tuple(column for column in whole.columns if column.key in SHOWN)
    caption, marked = "Pareto front of speed and score", tuple(note for note in whole.notes if note.mark)
    block = Block(caption, tuple(rows[key] for key in kept))
    return replace(whole, caption=caption, columns=columns, blocks=(block,), notes=marked)


def _said(chosen: Choice, chief: str) -> Iterator[str]:
    line, metric = chosen.line, METRICS[chief]
    points = f"{0 - chosen.loss:+.2f} points"
    if ends := chosen.ends:
        points += f" (95 %: {0 - ends.high:+.2f} to {0 - ends.low:+.2f})"
    yield f"Chosen: {line.label}: {line.speed:.2f}x as fast, {metric.heading} {points} against the unpruned model."
    if line.speed_timing_warnings:
        yield f"Its timing is unreliable: {line.speed_timing_warnings}."
    if line.row == "random":
        yield "It draws which patches stay: the interval is over images, of one draw."
    if chosen.second:
        yield f"Next: {chosen.second.label}" + (f"; {chosen.tie}." if chosen.tie else ".")


def code(study: OffTheShelfStudy, cell: Cell) -> Iterator[str]:
    """Lines of Python that make the model of a cell: of timm's by its tag, of a file as it was read here."""
    identity, start, options = cell.identity, study.start, study.backbone.options
    said, shrunk = "", ""
    if cell.schedule == SMALLER:
        options, shrunk = options | {"img_size": identity["image"]}, f"  # images shrunk to {cell.row}"
    else:
        said = f"{study_method(study, cell)!r}, {tuple(identity['removed'])}"
        said += f", settings={identity['settings']!r}, fusion={identity['fusion']!r}"
    if start.parts[:-1] == ("timm",):
        words = {"pretrained": True} | options | {"num_classes": study.classes}
        made = ", ".join([repr(start.name), *(f"{key}={value!r}" for key, value in words.items())])
        yield from ("import timm", *(["from suite import reduce"] if said else []))
        yield f"backbone = timm.create_model({made}).eval(){shrunk}"
        yield f"model = reduce(backbone, {said}).deploy()" if said else "model = backbone"
        return
    yield "from suite.kinds.off_the_shelf.models import load, under"
    yield "from suite.reduction.checkpoints import Checkpoint"
    yield "from suite.study.schema import Backbone"
    yield f"file = Checkpoint.read({str(start)!r}, {study.start_weights!r})"
    backbone = f"Backbone(name={study.backbone.name!r}, options={options!r})"
    yield f"backbone = load({backbone}, {study.classes}, file){shrunk}"
    yield f"model = under(backbone, file, {said})" if said else "model = backbone"


def study_method(study: OffTheShelfStudy, cell: Cell) -> str:
    """The method as the study names it, which may be a file."""
    return next(row.method for row in study.methods if row.label == cell.row)


def exported(cell: Cell, folder: Path) -> Iterator[Path]:
    """Files of the model of a cell, for batches of any size: torch.export, and ONNX where its packages are."""
    model = models.reduced(cell.identity, cell.places)
    made = program(model, torch.zeros(2, 3, *model.backbone.patch_embed.img_size))
    torch.export.save(made, path := folder / "model.pt2")
    yield path
    require_onnx()
    in_onnx(made).save(path := folder / "model.onnx")
    yield path
