"""The matrix of `suite export`, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from suite.kinds.export.record import FIELDS, MODEL, Line, model_of
from suite.measure.artefacts import PATHS
from suite.measure.export import SIGMAS, TOLERANCE, TRACED
from suite.report.layout import TAINTED, Block, Column, Note, Row, Table

SHORT = {"torch.compile": "compile", "torch.export": "export", "ONNX Runtime": "ONNX"}
DRAWN, FAILS = "drawn", "fails"
FOUND = tuple(name for name in FIELDS if name not in (*MODEL, "path"))  # of a model by one way


def _logit(found: float | str) -> str:
    """The largest difference of a logit, or that it fails."""
    return found if isinstance(found, str) else f"{found:.1e}"


def _share(found: float | str) -> str:
    """A share in percent, or that patches are drawn."""
    return found if isinstance(found, str) else f"{100 * found:.4g} %"


def field_of(path: str, name: str) -> str:
    """What the table's CSV calls a field of the record for one way."""
    return f"{SHORT[path].lower()}_{name}"


def _ways() -> Iterator[Column]:
    for path, short in SHORT.items():
        yield from (Column(field_of(path, name), form="record", fields=(field_of(path, name),)) for name in FOUND)
        yield Column(path, short, _logit)
        if path == "torch.compile":
            yield Column(f"{path} recompiled", "recompiled", spare=True)
        yield Column(f"{path} speed", f"speed, {short}", "{:.2f}x".format)


COLUMNS = (
    Column("task", form="record", fields=("task",)),
    Column("backbone", "backbone", align="left", fields=("backbone",)),
    Column("label", "method", align="left"),
    *(Column(name, form="record", fields=(name,)) for name in ("method", "fusion")),
    *_ways(),
    Column("same_kept", "same patches", _share),
    Column("same_class", "same class", _share, spare=True),
)


def export_table(name: str, lines: Sequence[Line], *, explained: bool = True) -> Table:
    """A block for each task with a row for each model, under the name of the table's folder in `results/`.

    Args:
        name: of the folder.
        lines: of the record; each model has one for every way.
        explained: whether notes say what the columns mean, besides why something does not work.
    """
    models: dict[tuple[str, ...], dict[str, Line]] = {}
    for line in lines:
        models.setdefault(model_of(line), {})[line["path"]] = line
    blocks = [
        Block(task, tuple(_row(own) for model, own in models.items() if model[0] == task))
        for task in dict.fromkeys(line["task"] for line in lines)
    ]
    caption = "Deployed models out of eager torch, three ways: differences of logits, recompilations and speed."
    notes = [*(_explanations(lines) if explained else ()), *_reasons(lines), *_about_timing_warnings(lines)]
    return Table(name, caption, COLUMNS, tuple(blocks), tuple(notes))


def label(line: Line) -> str:
    """What the row of a model is called, beside its backbone."""
    return line["method"] if line["fusion"] == "none" else f"{line['method']} + {line['fusion']}"


def _row(own: dict[str, Line]) -> Row:
    """One model's row, from its line for each way."""
    lines = [own[path] for path in PATHS]
    values: dict[str, Any] = {field: lines[0][field] for field in MODEL} | {"label": label(lines[0])}
    marks: dict[str, str] = {}
    for path, line in own.items():
        values |= {field_of(path, name): line[name] for name in FOUND}
        values |= {path: FAILS if line["status"] == "fails" else _number(line["difference"])}
        values |= {f"{path} speed": _number(line["speed_median"])}
        marks |= {f"{path} speed": TAINTED} if line["speed_timing_warnings"] else {}
    values["torch.compile recompiled"] = own["torch.compile"]["recompiled"] or None
    values["same_kept"] = DRAWN if any(line["draws"] for line in lines) else _worst(lines, "same_kept")
    values["same_class"] = _worst(lines, "same_class")
    return Row(values, marks)


def _explanations(lines: Sequence[Line]) -> Iterator[Note]:
    """What the columns mean."""
    sizes = {SHORT[line["path"]]: ", ".join(line["batch_sizes"].split()) for line in lines if line["batch_sizes"]}
    yield Note(
        "compile: `torch.compile` in one graph, inductor. export: `torch.export`, run by torch. ONNX: the exported "
        f"graph in ONNX Runtime. The number is the largest difference of a logit from eager torch; {TOLERANCE:g} of "
        "the largest logit is allowed. Weights are random, of ordinary size."
    )
    yield Note(
        f"Each artefact is made once, with {TRACED} images that are not among those compared, and must take batches of "
        + "; ".join(f"{counts} ({path})" for path, counts in sizes.items())
        + " images. Recompiled: compilations after the first one. torch.compile makes a graph of its own for a single "
        "image, always; that is not counted."
    )
    if any(line["speed_median"] for line in lines):
        yield Note(
            "Speed: images per second over those of the same model in eager torch, side by side in one process, on one "
            f"thread, {TRACED} images at a time, median of rounds."
        )
    yield Note(
        "Same patches: images that keep the same patches in every block (idling: for which a block computes the same "
        "ones). Same class: images, or pixels, with the same highest logit. The worst of the three ways."
    )
    drawn = [int(line["draws"]) for line in lines if line["draws"]]
    if drawn:
        yield Note(
            f"{DRAWN}: patches are drawn, anew at each call, so eager torch was given the patches that were drawn here "
            f"and then has the same logits. Over {min(drawn)} images each patch stayed as often as in eager torch, "
            f"within {SIGMAS:g} standard deviations."
        )


def _about_timing_warnings(lines: Sequence[Line]) -> Iterator[Note]:
    """Why speeds are not to be trusted: each reason in the long form, where they stand in the short one."""
    timing_warnings, timed = (
        sum(bool(line[field]) for line in lines) for field in ("speed_timing_warnings", "speed_median")
    )
    if timing_warnings:
        paths = [
            path for path in SHORT if any(line["speed_timing_warnings"] and line["path"] == path for line in lines)
        ]
        fields = ", ".join(f"`{field_of(path, 'speed_timing_warnings')}`" for path in paths)
        where = f"`table.html`, in `table.csv` ({fields}) and in `suite trace`"
        yield Note(
            f"a speed that is not to be trusted, as {timing_warnings} of {timed} are not; why stands in {where}.",
            TAINTED,
            only="short",
        )
    for reason, where in _grouped(lines, "speed_timing_warnings").items():
        yield Note(f"{where}: {reason}.", TAINTED, only="long")


def _reasons(lines: Iterable[Line]) -> Iterator[Note]:
    """Why something does not work or was left out, and where."""
    for status in ("fails", "skipped"):
        for reason, where in _grouped((line for line in lines if line["status"] == status), "reason").items():
            yield Note(f"{where} {status}: {reason}")


def _grouped(lines: Iterable[Line], field: str) -> dict[str, str]:
    """Where the field has each of its texts."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line[field]:
            found.setdefault(line[field], []).append(
                f"{label(line)} on {line['backbone']} ({line['task']}), {line['path']}"
            )
    return {text: "; ".join(where) for text, where in found.items()}


def _number(text: str) -> float | None:
    return float(text) if text else None


def _worst(lines: Iterable[Line], field: str) -> float | None:
    return min((float(line[field]) for line in lines if line[field]), default=None)
