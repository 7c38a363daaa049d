"""The command `suite speed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli import options
from suite.errors import UserError


def speed(
    backbone: options.BackboneName = "",
    method: options.Methods = None,
    setting: options.Settings = None,
    schedule: options.ScheduleText = None,
    fusion: options.FusionName = "none",
    option: options.BackboneOptions = None,
    task: options.TaskName = "classification",
    batch_size: Annotated[list[int], typer.Option(min=1, help="Images at a time; repeatable.")] = [1, 64],  # noqa: B006
    precision: Annotated[str, typer.Option(help="Of weights and images: float32, bfloat16 or float16.")] = "float32",
    compiled: Annotated[bool, typer.Option("--compile", help="Through torch.compile, which is not timed.")] = False,
    graph: Annotated[bool, typer.Option("--graph", help="Replay CUDA graphs.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    rounds: Annotated[int, typer.Option(min=5, help="How often each model is timed.")] = 20,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads to compute with.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write every repetition, with provenance, into this file.")] = None,
    self_test: Annotated[bool, typer.Option("--self-test", help="Only test the protocol, on known costs.")] = False,
) -> None:
    """Time methods side by side with the unpruned model, with fused and with eager attention."""
    from rich.console import Console

    from suite.kinds.speed import command

    console = Console(markup=False)
    if self_test:
        raise typer.Exit(0 if command.test_protocol(device, console) else 1)
    if not backbone:
        raise UserError("name a timm model to time, for example: suite speed vit_small_patch16_224 --method random ...")
    options.check_output(json)
    timing = options.timing_options(
        batch_size=tuple(dict.fromkeys(batch_size)),
        precision=precision,
        compile=compiled,
        graph=graph,
        device=device,
        rounds=rounds,
        warmup_rounds=command.WARMUP_ROUNDS,
        threads=threads,
    )
    methods, rule = tuple(dict.fromkeys(method or ())), options.schedule_rule(schedule)
    options.require_schedule(methods, rule)
    timm_options = options.pairs(option or [], "--option", "img_size=224")
    settings = options.settings_by_method(setting or [], methods)
    rows = command.configurations(backbone, timm_options, methods, settings, rule, fusion, task)
    report = command.measure(rows, timing, console)
    command.show(report, console)
    if json:
        command.write(report, json)
