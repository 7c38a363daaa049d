"""The command `suite speed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli import options


@options.takes_schedule
def speed(
    schedule: options.Rule,
    backbone: options.BackboneName = "",
    method: options.Methods = None,
    setting: options.Settings = None,
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

    from suite.kinds.speed import command as protocol
    from suite.kinds.speed import printed as speed_table
    from suite.kinds.speed.candidates import Words

    console = Console(markup=False)
    if self_test:
        raise typer.Exit(0 if protocol.test_protocol(device, console) else 1)
    methods = tuple(dict.fromkeys(method or ()))
    settings = options.settings_by_method(setting or [], methods)
    timm_options = options.pairs(option or [], "--option", "img_size=224")
    words = Words(backbone, timm_options, methods, settings, schedule, fusion, task)
    how = protocol.How(tuple(dict.fromkeys(batch_size)), precision, compiled, graph, device, rounds, threads)
    options.check_output(json)
    report = protocol.measure(words, how, console)
    speed_table.show(report, console)
    if json:
        speed_table.write(report, json)
