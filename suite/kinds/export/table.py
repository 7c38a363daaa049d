"""The table of `suite export`, what its page says, and what is behind its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from suite.kinds.export.record import FIELDS, MODEL, Line, Model
from suite.measure.artefacts import PATHS
from suite.measure.export import SIGMAS, TOLERANCE, TRACED
from suite.report.layout import MISSING, UNRELIABLE, Block, Column, Note, Row, Table, recorded
from suite.report.page.facts import Facts
from suite.report.trace import Used

SHORT = {"torch.compile": "compile", "torch.export": "export", "ONNX Runtime": "ONNX"}
DRAWN, FAILS = "drawn", "fails"
FOUND = tuple(name for name in FIELDS if name not in (*MODEL, "path"))  # of a model by one path
WORST = "the least of the three paths; of a method that draws patches, eager torch is given those that were drawn"


def _logit(found: float | str) -> str:
    return found if isinstance(found, str) else f"{found:.1e}"


def _share(found: float | str) -> str:
    return found if isinstance(found, str) else f"{100 * found:.4g} %"


def field_of(path: str, name: str) -> str:
    """What the table's CSV calls a field of the record for one path."""
    return f"{SHORT[path].lower()}_{name}"


def _of_paths() -> Iterator[Column]:
    for path, short in SHORT.items():
        yield from recorded(*(field_of(path, name) for name in FOUND))
        yield Column(path, short, _logit, how="largest difference of a logit from eager torch")
        if path == "torch.compile":
            yield Column(f"{path} recompiled", "recompiled", optional=True, how="compilations after the first one")
        speed = "median over rounds of the speed over that of the same model in eager torch"
        yield Column(f"{path} speed", f"speed, {short}", "{:.2f}x".format, how=speed)


COLUMNS = (
    *recorded("task"),
    Column("backbone", "backbone", align="left", fields=("backbone",), how="as in the record"),
    Column("name", "method", align="left", how="method and fusion, as in the record"),
    *recorded("method", "fusion"),
    *_of_paths(),
    Column("same_kept", "same patches", _share, how=WORST),
    Column("same_class", "same class", _share, optional=True, how=WORST),
)


def label(model: Model) -> str:
    """What `suite trace` calls a row."""
    return f"{model.task} {model.backbone} {model.name}"


def cells(_folder: Path, _models: Sequence[Model], model: Model, key: str, _field: str) -> list[Used]:
    """The model, with what was found by the path that the column is of, or by all."""
    paths = [path for path, short in SHORT.items() if key.startswith((path, f"{short.lower()}_"))] or list(PATHS)
    name = next((name for name in ("same_kept", "same_class") if name == key), "difference")
    name = "speed_median" if key.endswith(" speed") else name
    values = tuple(float(model.paths[path][name]) for path in paths if model.paths[path][name])
    own = " ".join((model.task, model.backbone, model.method, model.fusion))
    return [Used(own, model.name, MISSING, "done", values, "x" if name == "speed_median" else "")]


def facts(_folder: Path, models: Sequence[Model]) -> Facts:
    """How many models work by each path, and the range of reliable speeds."""
    found, warnings = [], []
    for path, short in SHORT.items():
        own = [model.paths[path] for model in models]
        speeds = [float(one["speed_median"]) for one in own if one["speed_median"] and not one["speed_timing_warnings"]]
        works = sum(one["status"] == "works" for one in own)
        found.append((f"{path}, works", f"{works} of {len(own)} models"))
        if speeds:
            found.append((f"{path}, speed over eager", f"{min(speeds):.2f}x to {max(speeds):.2f}x"))
        if unreliable := sum(bool(one["speed_timing_warnings"]) for one in own):
            warnings.append(f"{unreliable} timings of {short} are unreliable and left out here.")
    every = sum(all(one["status"] == "works" for one in model.paths.values()) for model in models)
    return Facts(f"{every} of {len(models)} deployed models work by all three paths.", tuple(found), tuple(warnings))


def export_table(name: str, models: Sequence[Model], *, explained: bool = True) -> Table:
    """A block for each task, and what the columns mean if `explained`; `name` is that of the folder in `results/`."""
    blocks = [
        Block(task, tuple(_row(model) for model in models if model.task == task))
        for task in dict.fromkeys(model.task for model in models)
    ]
    caption = "Deployed models compiled and exported in three ways: differences of logits, recompilations and speed."
    lines = [line for model in models for line in model.paths.values()]
    notes = [*(_explanations(lines) if explained else ()), *_reasons(models), *_timing_warnings(models)]
    return Table(name, caption, COLUMNS, tuple(blocks), tuple(notes), apart=True)


def _row(model: Model) -> Row:
    """One model's row, from its line for each path."""
    values: dict[str, Any] = {field: getattr(model, field) for field in (*MODEL, "name")}
    marks: dict[str, str] = {}
    details: dict[str, dict[str, str]] = {}
    for path, line in model.paths.items():
        values |= {field_of(path, name): line[name] for name in FOUND}
        values |= {path: FAILS if line["status"] == "fails" else _number(line["difference"])}
        values |= {f"{path} speed": _number(line["speed_median"])}
        marks |= {f"{path} speed": UNRELIABLE} if line["speed_timing_warnings"] else {}
        about = {name: line[name] for name in FOUND if line[name]}
        details |= {path: about, f"{path} speed": about}
    lines = [model.paths[path] for path in PATHS]
    values["torch.compile recompiled"] = model.paths["torch.compile"]["recompiled"] or None
    values["same_kept"] = DRAWN if any(line["draws"] for line in lines) else _worst(lines, "same_kept")
    values["same_class"] = _worst(lines, "same_class")
    return Row(values, marks, details)


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
            "Speed: images per second over those of the same model in eager torch, timed interleaved in one process, "
            f"on one thread, {TRACED} images at a time, median of rounds."
        )
    yield Note(
        "Same patches: images that keep the same patches in every block (idling: for which a block computes the same "
        "ones). Same class: images, or pixels, with the same highest logit. The worst of the three paths."
    )
    drawn = [int(line["draws"]) for line in lines if line["draws"]]
    if drawn:
        yield Note(
            f"{DRAWN}: patches are drawn, anew at each call, so eager torch was given the patches that were drawn here "
            f"and then has the same logits. Over {min(drawn)} images each patch stayed as often as in eager torch, "
            f"within {SIGMAS:g} standard deviations."
        )


def _timing_warnings(models: Sequence[Model]) -> Iterator[Note]:
    """Why timings are unreliable: each reason in the long form, where they stand in the short one."""
    lines = [line for model in models for line in model.paths.values()]
    unreliable = [line for line in lines if line["speed_timing_warnings"]]
    if unreliable:
        timed = sum(bool(line["speed_median"]) for line in lines)
        paths = [path for path in SHORT if any(line["path"] == path for line in unreliable)]
        fields = ", ".join(f"`{field_of(path, 'speed_timing_warnings')}`" for path in paths)
        yield Note(
            f"unreliable timing ({len(unreliable)} of {timed}); reasons in `table.html`, in `table.csv` ({fields}) and "
            "in `suite trace`.",
            UNRELIABLE,
            only="short",
        )
    for reason, where in _grouped(models, "speed_timing_warnings").items():
        yield Note(f"{where}: {reason}.", UNRELIABLE, only="long")


def _reasons(models: Sequence[Model]) -> Iterator[Note]:
    """Why something does not work or was left out, and where."""
    for status in ("fails", "skipped"):
        for reason, where in _grouped(models, "reason", status).items():
            yield Note(f"{where} {status}: {reason}")


def _grouped(models: Iterable[Model], field: str, status: str = "") -> dict[str, str]:
    """Where the field has each of its texts, of lines with that status or of all."""
    found: dict[str, list[str]] = {}
    for model in models:
        for path, line in model.paths.items():
            if line[field] and status in ("", line["status"]):
                found.setdefault(line[field], []).append(f"{model.name} on {model.backbone} ({model.task}), {path}")
    return {text: "; ".join(where) for text, where in found.items()}


def _number(text: str) -> float | None:
    return float(text) if text else None


def _worst(lines: Iterable[Line], field: str) -> float | None:
    return min((float(line[field]) for line in lines if line[field]), default=None)
