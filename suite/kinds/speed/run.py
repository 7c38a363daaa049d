"""What a study of speed does: measure what is missing on the device at hand, and make its table."""

from __future__ import annotations

import functools
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from torch import nn

from suite.errors import UserError
from suite.kinds.speed.cells import Device, Measurement, measurements
from suite.kinds.speed.figure import draw_speeds
from suite.kinds.speed.lines import summarise
from suite.kinds.speed.progress import Bar, show_plan
from suite.kinds.speed.rounds import asked_for, export, read_rounds
from suite.kinds.speed.schema import SpeedBackbone, SpeedStudy
from suite.kinds.speed.table import speed_table
from suite.measure.allocator import give_back
from suite.measure.count import count
from suite.measure.device import check_compiler, open_machine
from suite.measure.fit import check_fits, fitting, is_out_of_memory, needs, place, weights_fit
from suite.measure.passes import Pass, draw_images, prepare
from suite.measure.profile import summary
from suite.measure.speed import UNPRUNED, UNPRUNED_EAGER, Timing, compare, references
from suite.reduction.backbone import create_backbone
from suite.reduction.blocks import TimmModule
from suite.reduction.model import reduce
from suite.reduction.registry import describe
from suite.report.render import show, write
from suite.strict import dotted
from suite.study.configuration import build
from suite.study.load import find_study, load_speed, title_of
from suite.study.provenance import device_name, provenance
from suite.study.store import Entry, Record
from suite.study.yaml_lines import line_of

NO_SUCH_DEVICE = "this study measures on {}, which is not at hand; name under devices how to measure on {}"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: whether it was stopped, and a sentence for everything that could not be measured."""

    interrupted: bool
    problems: tuple[str, ...]


def device_here(study: SpeedStudy) -> Device:
    """What a study is measured on: the GPU if there is one and the study names it, else the processor.

    Raises:
        UserError: if the study names neither.
    """
    if study.devices.cuda is not None and torch.cuda.is_available():
        return Device("cuda", device_name("cuda"))
    if study.devices.cpu is not None:
        return Device("cpu", device_name("cpu"))
    here = "cuda" if torch.cuda.is_available() else "cpu"
    raise UserError(NO_SUCH_DEVICE.format("cpu" if here == "cuda" else "cuda", here))


def check_models(name: str) -> dict[str, dict[str, float]]:
    """Build every model of a study without weights; returns their multiply-accumulates by backbone and row.

    Raises:
        UserError: for whatever cannot be, naming line, backbone and row.
    """
    path, found = find_study(name), {}
    for index, one in enumerate(load_speed(name).backbones):
        try:
            found[one.name] = macs_of(one)
        except UserError as error:
            root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
            place = ("backbones", index, "backbone")
            raise UserError(f"{path}:{line_of(root, place)}: {dotted(place)}: {error}") from error
    return found


def plan(name: str) -> None:
    """Show what a study would measure here, and what of it is done."""
    study = load_speed(name)
    show_plan(measurements(study, device_here(study)), Record(), Console(markup=False))


def make(name: str, console: Console, measure: bool) -> int:
    """Make table and picture of a study of speed, if so wished after measuring what is missing; returns an exit code.

    Raises:
        UserError: as `run` and `make_table`.
    """
    outcome = run(name, console) if measure else Outcome(interrupted=False, problems=())
    if outcome.interrupted or outcome.problems:
        said = [*outcome.problems, *(["interrupted"] if outcome.interrupted else [])]
        console.print("\n".join([*said, f"what is measured is kept; resume with: suite run {name}"]), soft_wrap=True)
    try:
        make_table(name, console)
    except UserError as error:
        if not outcome.problems and not outcome.interrupted:
            raise
        console.print(str(error), soft_wrap=True)
    return 1 if outcome.problems else 130 if outcome.interrupted else 0


def run(name: str, console: Console, folder: Path = Path()) -> Outcome:
    """Measure what is missing on the device at hand; each measurement is kept the moment it ends.

    Results are exported to `results/<study>/`, however the run ends short of a kill.

    Raises:
        UserError: for a study or device that cannot be, or a second run in the same folder.
    """
    provenance()  # as the code is now, not when the first measurement ends
    study, record = load_speed(name), Record(folder)
    macs = check_models(name)
    planned = measurements(study, device_here(study))
    left = [one for one in planned if any(record.finished(cell) is None for cell in one.cells.values())]
    console.print(f"{title_of(name)}: {len(planned)} measurements, {len(planned) - len(left)} finished")
    problems: list[str] = []
    interrupted = False
    with record.locked(), Bar(left, macs, console) as bar:
        try:
            for one in left:
                said = _attempt(one, macs[one.backbone.name], record, bar)
                bar.ended(one, "; ".join(said) or "measured")
                problems += [f"{one.backbone.name}, batch of {one.batch_size}: {sentence}" for sentence in said]
        except KeyboardInterrupt:
            interrupted = True
        finally:
            dropped = export(study, planned, record, folder / "results" / title_of(name))
    if dropped:
        console.print(f"left out of rounds.csv: {dropped} rows that the study no longer asks for", style="yellow")
    return Outcome(interrupted, tuple(problems))


def make_table(name: str, console: Console) -> None:
    """Make table and picture of a study of speed, of all devices, from `results/<study>/rounds.csv`.

    Raises:
        UserError: if nothing is measured yet.
    """
    study, folder = load_speed(name), Path("results") / title_of(name)
    rounds, others = asked_for(study, read_rounds(folder))
    if not rounds:
        raise UserError(f"{folder}/rounds.csv has nothing that {name} asks for; measure it with: suite run {name}")
    lines = summarise(study, rounds)
    table = speed_table(folder.name, study, lines)
    files = write(table, folder)
    draw_speeds(lines, folder / "speed.png")
    show(table, console, apart=True)
    if others:
        console.print(f"left out: {others} rows of rounds.csv that the study no longer asks for", style="yellow")
    console.print(f"Written to {folder}/: {', '.join([*files, 'speed.png'])}, from rounds.csv", soft_wrap=True)


def macs_of(one: SpeedBackbone) -> dict[str, float]:
    """Multiply-accumulates of an image (convention `full`) by row.

    Raises:
        UserError: for a model that cannot be, naming backbone and row.
    """
    found = {}
    for name, row in {UNPRUNED: None, **{row.name: row for row in one.rows}}.items():
        try:
            found[name] = count(build(one.configuration(row))).macs.full
        except UserError as error:
            raise UserError(f"{one.name}: {name}: {error}") from error
    return found


def models_of(one: Measurement, rows: set[str]) -> tuple[dict[str, nn.Module], tuple[int, int]]:
    """Both references and the rows named, deployed, with random weights that all share; height and width of images."""
    backbone = _backbone(one.backbone, one.backbone.pooled().options)
    pooled: dict[str | None, TimmModule] = {None: backbone}
    models = references(backbone)
    for row in one.backbone.rows:
        if row.name not in rows:
            continue
        if row.pool not in pooled:
            pooled[row.pool] = _backbone(one.backbone, one.backbone.pooled(row).options)
            pooled[row.pool].patch_embed, pooled[row.pool].blocks = backbone.patch_embed, backbone.blocks
        removed = one.removed[row.name]
        models[row.name] = reduce(pooled[row.pool], row.method, removed, row.settings, row.fusion).deploy()
    return models, backbone.patch_embed.img_size


def _backbone(one: SpeedBackbone, options: dict[str, Any]) -> TimmModule:
    name = one.backbone.name
    with torch.device("meta"):
        weights_fit(sum(tensor.nbytes for tensor in create_backbone(name, options, one.classes).parameters()))
    return create_backbone(name, options, one.classes).eval()


def _attempt(one: Measurement, macs: dict[str, float], record: Record, bar: Bar) -> list[str]:
    """Measure; returns a sentence for everything that could not be. What comes next may still be measured."""
    try:
        return _measure(one, macs, record, bar)
    except UserError as error:
        return [str(error)]
    finally:
        give_back()
        torch.cuda.empty_cache()  # a no-op where there is no GPU


def _measure(one: Measurement, macs: dict[str, float], record: Record, bar: Bar) -> list[str]:
    """Measure the rows of one backbone that are missing, and keep them; returns what failed.

    Raises:
        UserError: if nothing of it can be measured.
    """
    how = one.how
    allocator, device, dtype = open_machine(one.device.type, how.precision, how.threads)
    if how.compiled:
        check_compiler(device)
    missing = {row for row, cell in one.cells.items() if record.finished(cell) is None}
    bar.say(one, "building the models")
    models, size = models_of(one, missing)
    place(models, device, dtype)
    draw = functools.partial(draw_images, size, device, dtype)
    if device.type == "cpu":
        bar.say(one, "measuring what a batch needs")
        check_fits(
            needs({UNPRUNED_EAGER: models[UNPRUNED_EAGER]}, draw), one.batch_size
        )  # all tokens, and whole attention maps
    timing, passes, failed = fitting(lambda: _timed(one, models, device, draw, bar), models, draw, one.batch_size)
    origin = provenance() | {"device": one.device.name, "allocator": allocator}
    shared = {"session": secrets.token_hex(4), "provenance": origin}
    for row in sorted(missing - failed.keys()):
        found = _entry(row, timing, passes, device) | {"macs_ratio": macs[UNPRUNED] / macs[row]}
        record.add(one.cells[row], found | shared)
    for row, reason in failed.items():
        record.add(one.cells[row], {"status": "failed", "reason": reason} | shared)
    return [f"{row}: {reason}" for row, reason in failed.items()]


def _timed(
    one: Measurement, models: dict[str, nn.Module], device: torch.device, draw: Any, bar: Bar
) -> tuple[Timing, dict[str, Pass], dict[str, str]]:
    """Time all models that run; the others with the reason."""
    images, passes, failed = draw(one.batch_size), {}, {}
    for name, model in models.items():
        bar.say(one, f"{'compiling' if one.how.compiled else 'preparing'} {name}")
        try:
            passes[name] = prepare(name, model, images, one.how.compiled, one.how.graph)
        except (UserError, RuntimeError, TypeError) as error:
            if is_out_of_memory(error) or name in (UNPRUNED, UNPRUNED_EAGER):
                raise
            failed[name] = describe(error)[:300]
    bar.say(one, "")
    timing = compare(passes, device, one.how.rounds, one.how.warmup_rounds, lambda: bar.round(one))
    return timing, passes, failed


def _entry(row: str, timing: Timing, passes: dict[str, Pass], device: torch.device) -> Entry:
    """What is recorded of a row; on a processor ratios only, for its seconds say nothing about another's."""
    name = UNPRUNED if row == UNPRUNED else row
    entry: Entry = {
        "status": "done",
        "speedup": timing.ratios(name, UNPRUNED),
        "speedup_eager": timing.ratios(name, UNPRUNED_EAGER),
        "kernels": summary(passes[name].observed.kernels),
        "timing_warnings": timing.timing_warnings(name),
        "machine": asdict(timing.reading) | {"timed": timing.timed, "drift": timing.drift},
    }
    return entry | ({"seconds": timing.seconds[name]} if device.type == "cuda" else {})
