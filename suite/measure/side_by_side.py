"""Time models side by side: the one driver of `suite speed`, of studies, of latency budgets and of exported models."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from suite.errors import UserError, describe
from suite.measure.allocator import give_back
from suite.measure.device import open_machine
from suite.measure.fit import check_fits, fitting, is_out_of_memory, needs, place
from suite.measure.passes import Pass, draw_images, prepare
from suite.measure.speed import Timing, compare
from suite.measure.timing_options import TimingOptions


def time_side_by_side(
    models: Mapping[str, nn.Module],
    size: tuple[int, int],
    options: TimingOptions,
    show: Callable[[str], None] = lambda _what: None,
    after_round: Callable[[], None] = lambda: None,
    may_fail: Collection[str] = (),
) -> Timing:
    """Time the forward pass of each model on the same random images, interleaved round by round.

    Models, in evaluation mode, are moved to the device and cast to the precision; weights that they share stay shared.
    Ratios to `UNPRUNED` and `UNPRUNED_EAGER` are checked for their spread. `size` is in pixels. `show` is called with
    what is done, `after_round` after each, warm-up included; `may_fail` are left out if they do not run.

    UserError if the device, precision or compiler is not there, a model cannot be compiled or captured, or the weights
    or the batch do not fit into memory (with the largest batch that does).
    """
    batch, (device, dtype) = options.batch, open_machine(options)
    place(models, device, dtype)
    draw = functools.partial(draw_images, size, device, dtype)
    work = functools.partial(_timed, models, draw, options, show, after_round, may_fail)
    sure = {name: model for name, model in models.items() if name not in may_fail}
    try:
        if device.type == "cpu":
            show("measuring memory")
            check_fits(needs(sure, draw), batch)
        return fitting(work, sure, draw, batch)
    finally:
        give_back()
        torch.cuda.empty_cache()  # a no-op where there is no GPU


def _timed(
    models: Mapping[str, nn.Module],
    draw: Callable[[int], Tensor],
    options: TimingOptions,
    show: Callable[[str], None],
    after_round: Callable[[], None],
    may_fail: Collection[str],
) -> Timing:
    images, passes, failed = draw(options.batch), dict[str, Pass](), dict[str, str]()
    for name, model in models.items():
        show(f"{'compiling' if options.compile else 'preparing'} {name}")
        try:
            passes[name] = prepare(name, model, images, options.compile, options.graph)
        except (UserError, RuntimeError, TypeError) as error:
            if name not in may_fail or is_out_of_memory(error):
                raise
            failed[name] = describe(error)[:300]
    show("")
    timing = compare(passes, images.device, options.rounds, options.warmup_rounds, after_round)
    return replace(timing, failed=failed)
