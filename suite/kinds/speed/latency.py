"""What `suite budget --latency` does: build, measure and show the settings that meet a budget of measured time."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import nn

from suite.kinds.speed.candidates import backbone_that_fits
from suite.kinds.speed.command import WARMUP_ROUNDS, Bar, How
from suite.measure.clock import clock_of
from suite.measure.device import open_machine
from suite.measure.fit import Draw, check_fits, fitting, needs, place
from suite.measure.latency import FULL, SHORT, Found, Knob, meet_latency
from suite.measure.passes import draw_images
from suite.measure.speed import UNPRUNED, Timing, race, references
from suite.reduction.blocks import TimmModule
from suite.reduction.model import reduce
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule
from suite.study.budget import cost_of, rounding
from suite.study.budgets import attempt, check_any, headline
from suite.study.configuration import Configuration, build_backbone
from suite.study.knobs import choices
from suite.study.schema import Budget
from suite.tasks.task import task

SHORT_WARMUP, SHORTEST = 2, 5  # rounds before a short measurement, and of it at least


@dataclass(frozen=True)
class Report:
    """All that was found.

    Attributes:
        title: what was asked for.
        found: by method: the setting, or why there is none.
        gpu: name of the GPU it was measured on, empty on a processor.
        allocator: what was done about the processor's memory, see `keep_memory`.
    """

    title: str
    how: How
    found: dict[str, Found | str]
    gpu: str
    allocator: str


def find(models: Sequence[Configuration], wanted: float, how: How, multiple_of: int | None, console: Console) -> Report:
    """Turn the knob of every method until a batch takes the wanted share of the unpruned model's time.

    Args:
        models: methods on one backbone for one task, each without a schedule.
        wanted: the share, above 0 and at most 1.
        how: with one batch size.
        multiple_of: of tokens, prefix included, that blocks leave; see `in_multiples`.
        console: shows a progress bar meanwhile.

    Raises:
        UserError: for whatever cannot be done as it was asked for.
    """
    allocator, device, dtype = open_machine(how.device, how.precision, how.threads)
    with Bar(how, console) as bar:
        bar.show("building the models")
        tried = {model.method: attempt(model, functools.partial(_knob, model, multiple_of)) for model in models}
        knobs = {name: knob for name, knob in tried.items() if isinstance(knob, Knob)}
        check_any(tried)
        track = LatencyProbe({model.method: model for model in models}, how, device, dtype, bar)
        found = meet_latency(knobs, wanted, track.race)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    reasons = {name: why for name, why in tried.items() if isinstance(why, str)}
    both = {name: found.get(name) or reasons[name] for name in tried}
    return Report(headline(models[0], f"{wanted:g} of the time per batch", multiple_of), how, both, gpu, allocator)


class LatencyProbe:
    """Where schedules race: one backbone's weights on the device, one batch of images, one progress bar."""

    def __init__(
        self, models: Mapping[str, Configuration], how: How, device: torch.device, dtype: torch.dtype, bar: Bar
    ) -> None:
        one = next(iter(models.values()))
        self.models, self.how, self.bar = models, how, bar
        self.device, self.dtype = device, dtype
        self.backbone = backbone_that_fits(one.backbone.name, one.backbone.options, one.classes)
        self.task = task(one.task)
        unpruned = references(self.task.read_out_unpruned(self.backbone))[UNPRUNED]
        place({UNPRUNED: unpruned, "backbone": self.backbone}, device, dtype)
        self.unpruned = unpruned
        self.draw: Draw = functools.partial(draw_images, self.backbone.patch_embed.img_size, device, dtype)
        self.races = 0
        self.lengths = {True: (WARMUP_ROUNDS, how.rounds), False: (SHORT_WARMUP, max(SHORTEST, how.rounds // 4))}
        most = SHORT * sum(self.lengths[False]) + FULL * sum(self.lengths[True])
        bar.progress.update(bar.task, total=most)

    def race(self, schedules: Mapping[str, Schedule], full: bool) -> Timing:
        """Time schedules by method beside the unpruned model; the first time, see whether the batch fits.

        Raises:
            UserError: if it does not.
        """
        batch, (warmup, rounds) = self.how.batch_sizes[0], self.lengths[full]
        runners = {UNPRUNED: self.unpruned} | {name: self._build(name, counts) for name, counts in schedules.items()}
        if self.device.type == "cpu" and not self.races:
            self.bar.show("measuring what a batch needs")
            check_fits(needs(runners, self.draw), batch)
        self.races += 1
        self.bar.show(f"{'full' if full else 'short'} measurement, number {self.races} of {SHORT + FULL} at most")
        return fitting(lambda: self._timed(runners, batch, rounds, warmup), runners, self.draw, batch)

    @torch.inference_mode()
    def _timed(self, runners: Mapping[str, nn.Module], batch: int, rounds: int, warmup: int) -> Timing:
        images = self.draw(batch)
        threads = self.how.threads if self.device.type == "cpu" else None
        runs = {name: functools.partial(runner, images) for name, runner in runners.items()}
        return race(runs, clock_of(self.device), rounds, warmup, threads, after_round=self.bar.advance)

    def _build(self, method: str, counts: Schedule) -> nn.Module:
        model = self.models[method]
        reduced = reduce(self.backbone, method, counts.removed, model.settings, model.fusion).deploy()
        place({method: reduced}, self.device, self.dtype)
        return self.task.read_out(reduced).eval()


def _knob(model: Configuration, multiple_of: int | None) -> Knob:
    """The settings of a method's knob; refuses whatever of it cannot be by trying the first."""
    backbone: TimmModule = build_backbone(model)
    rows, columns = backbone.patch_embed.grid_size
    settings = settings_class(model.method)(**model.settings)
    rounded = rounding(multiple_of, backbone.num_prefix_tokens)
    cost = cost_of(model, Budget(macs=1), backbone)
    found = choices(settings, model.fusion, rows * columns, len(backbone.blocks), rounded)
    macs = functools.cache(lambda number: cost(found[number].schedule))
    macs(0)
    return Knob(found, macs)
