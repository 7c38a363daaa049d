"""The matrix of `suite export`: a line for each deployed model and way out of eager torch; CSV, markdown, terminal."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from rich import box
from rich.table import Table
from tabulate import tabulate

from suite.errors import UserError
from suite.measure.artefacts import PATHS
from suite.measure.export import SIGMAS, TOLERANCE, TRACED, Finding
from suite.report.statistics import spread

Line = dict[str, str]  # a row of the CSV; empty where nothing was measured
MODEL = ("task", "backbone", "method", "fusion")
FIELDS = (
    *(*MODEL, "path", "status", "reason", "batch_sizes", "difference", "largest_logit", "same_class", "same_kept"),
    *("draws", "recompiled", "speed_median", "speed_low", "speed_high", "speed_tainted"),
)
SHORT = {"torch.compile": "compile", "torch.export": "export", "ONNX Runtime": "ONNX"}
DRAWN, FAILS, MISSING, TAINTED = "drawn", "fails", "–", "‡"


def line_of(model: dict[str, str], path: str, status: Literal["works", "fails", "skipped"], found: Finding) -> Line:
    """The line of a finding about a model, given by the fields `MODEL`; numbers at full precision."""
    speed = found.speed
    rounds = spread(speed.ratios) if speed else None
    numbers = {
        "difference": found.difference,
        "largest_logit": found.largest,
        "same_class": found.same_class,
        "same_kept": found.same_kept,
        "draws": found.draws,
        "recompiled": found.recompiled,
        "speed_median": rounds and rounds.median,
        "speed_low": rounds and rounds.low,
        "speed_high": rounds and rounds.high,
    }
    texts = {name: "" if number is None else repr(number) for name, number in numbers.items()}
    sizes = " ".join(map(str, found.sizes))
    texts |= {"reason": found.reason, "batch_sizes": sizes, "speed_tainted": speed.tainted if speed else ""}
    return model | {"path": path, "status": status} | texts


def model_of(line: Line) -> tuple[str, ...]:
    """Task, backbone, method and fusion."""
    return tuple(line[field] for field in MODEL)


def write_csv(path: Path, lines: Iterable[Line]) -> None:
    """Write lines."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def read_csv(path: Path) -> list[Line]:
    """Read what `write_csv` wrote.

    Raises:
        UserError: if the columns are others.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != FIELDS:
            raise UserError(
                f"{path} has other columns than these: {', '.join(FIELDS)}; move it away, then export again"
            )
        return list(reader)


def markdown(lines: Sequence[Line]) -> str:
    """A table for each task, and the notes."""
    parts = []
    for task in _tasks(lines):
        names, body = _table(lines, task)
        align = ["left", "left", *["right"] * (len(names) - 2)]
        table = tabulate(body, names, tablefmt="pipe", disable_numparse=True, colalign=align)
        parts.append(f"**{task}**\n\n{table}\n")
    return "\n".join([*parts, "\n".join(f"- {note}" for note in [*notes(lines), *reasons(lines)]) + "\n"])


def terminal(lines: Sequence[Line]) -> Iterator[Table]:
    """The same tables for a terminal, without the notes."""
    for task in _tasks(lines):
        names, body = _table(lines, task)
        table = Table(box=box.SIMPLE, padding=0, title=task, title_justify="left")
        for index, name in enumerate(names):
            header = name.replace(" ", "\n").replace("recompiled", "recom-\npiled")
            table.add_column(header, justify="left" if index < 2 else "right", no_wrap=index > 1, overflow="fold")
        for row in body:
            table.add_row(*row)
        yield table


def notes(lines: Sequence[Line]) -> list[str]:
    """What the columns mean, and every mark that was set."""
    sizes = {SHORT[line["path"]]: ", ".join(line["batch_sizes"].split()) for line in lines if line["batch_sizes"]}
    found = [
        "compile: `torch.compile` in one graph, inductor. export: `torch.export`, run by torch. ONNX: the exported "
        f"graph in ONNX Runtime. The number is the largest difference of a logit from eager torch; {TOLERANCE:g} of "
        "the largest logit is allowed. Weights are random, of ordinary size.",
        f"Each artefact is made once, with {TRACED} images that are not among those compared, and must take batches of "
        + "; ".join(f"{counts} ({path})" for path, counts in sizes.items())
        + " images. Recompiled: compilations after the first one. torch.compile makes a graph of its own for a single "
        "image, always; that is not counted.",
        "Speed: images per second over those of the same model in eager torch, side by side in one process, on one "
        f"thread, {TRACED} images at a time, median of rounds.",
        "Same patches: images that keep the same patches in every block (idling: for which a block computes the same "
        "ones). Same class: images, or pixels, with the same highest logit. The worst of the three ways.",
    ]
    drawn = [int(line["draws"]) for line in lines if line["draws"]]
    if drawn:
        found.append(
            f"{DRAWN}: patches are drawn, anew at each call, so eager torch was given the patches that were drawn here "
            f"and then has the same logits. Over {min(drawn)} images each patch stayed as often as in eager torch, "
            f"within {SIGMAS:g} standard deviations."
        )
    shared, timed = (sum(bool(line[field]) for line in lines) for field in ("speed_tainted", "speed_median"))
    if shared:
        found.append(
            f"{TAINTED}: not alone on the machine while it was timed ({shared} of {timed} speeds), so the speed is not "
            "to be trusted; what others used is in table.csv."
        )
    return found


def reasons(lines: Iterable[Line]) -> list[str]:
    """Why something does not work or was left out, and where."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line["reason"]:
            where = f"{_label(line)} on {line['backbone']} ({line['task']}), {line['path']}"
            found.setdefault(f"{line['status']}: {line['reason']}", []).append(where)
    return [f"{'; '.join(where)} {reason}" for reason, where in found.items()]


def _tasks(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(line["task"] for line in lines))


def _table(lines: Sequence[Line], task: str) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and a row for each model."""
    timed = ["speed"] if any(line["speed_median"] for line in lines) else []
    names = ["backbone", "method", "compile", "recompiled", *timed, "export", *timed, "ONNX", *timed]
    names += ["same patches", "same class"]
    rows: dict[tuple[str, ...], dict[str, Line]] = {}
    for line in lines:
        if line["task"] == task:
            rows.setdefault(model_of(line), {})[line["path"]] = line
    return names, [_row(own, bool(timed)) for own in rows.values()]


def _row(own: dict[str, Line], timed: bool) -> list[str]:
    """One model's row, from its line for each path."""
    lines = [own[path] for path in PATHS]
    first = lines[0]
    row = [first["backbone"], _label(first)]
    for line in lines:
        row.append(_logits(line))
        row += [line["recompiled"] or MISSING] if line["path"] == "torch.compile" else []
        row += [_speed(line)] if timed else []
    drawn = any(line["draws"] for line in lines)
    return [*row, DRAWN if drawn else _worst(lines, "same_kept"), _worst(lines, "same_class")]


def _label(line: Line) -> str:
    return line["method"] if line["fusion"] == "none" else f"{line['method']} + {line['fusion']}"


def _logits(line: Line) -> str:
    if line["status"] != "works":
        return FAILS if line["status"] == "fails" else MISSING
    return f"{float(line['difference']):.1e}" if line["difference"] else MISSING


def _speed(line: Line) -> str:
    if not line["speed_median"]:
        return MISSING
    return f"{float(line['speed_median']):.2f}x{f' {TAINTED}' if line['speed_tainted'] else ''}"


def _worst(lines: Iterable[Line], field: str) -> str:
    shares = [float(line[field]) for line in lines if line[field]]
    return f"{100 * min(shares):.4g} %" if shares else MISSING
