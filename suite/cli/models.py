"""The commands about methods and models."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from suite.cli import options
from suite.errors import UserError
from suite.host import cores
from suite.terminal import plain

OneMethod = Annotated[
    str | None,
    typer.Option(
        help="A method, by name or file, to put weights of timm under.", autocompletion=options.complete_method
    ),
]
OwnSettings = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the method; repeatable.")]
STEPS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 100)  # numbers of seeds that `power` shows


def check_method(
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE_OR_NAME",
            help="Files or names; by default all methods.",
            autocompletion=options.complete_method,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what needs torch.compile.")] = False,
) -> None:
    """Check that methods keep the contract, on tiny backbones of every kind; a file need not be installed."""
    names = options.chosen_methods(methods)

    import torch

    from suite.contract.run import CHECKS, SLOW
    from suite.contract.show import examine_visibly, show

    torch.set_num_threads(1)  # on tensors this small, more of them wait for each other
    console = plain()
    results = examine_visibly(names, [check for check in CHECKS if not (quick and check in SLOW)], console)
    show(results, console)
    if any(result.status == "fails" for result in results):
        raise typer.Exit(1)


def evaluate(
    checkpoint: Annotated[
        Path, typer.Option(help="A checkpoint, of torch or safetensors; with --method also timm/MODEL.TAG.")
    ],
    data: Annotated[Path, typer.Option(help="A folder of images for each class, or a folder whose val/ is that.")],
    layout: Annotated[str | None, typer.Option(help="Whose checkpoint it is; may be left out where it shows.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What the checkpoint, or timm, does not say; repeatable."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Names of the folders in the order of outputs; or text or number, for that order of them.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of several weights in the file, such as model_ema.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=65_536)] = 64,
    device: Annotated[str, typer.Option(help="A torch device, such as cpu or cuda.")] = "cpu",
    method: OneMethod = None,
    schedule: options.ScheduleText = None,
    setting: OwnSettings = None,
    fusion: options.FusionName = "none",
    backbone: Annotated[str, typer.Option(help="With --method: timm's name, where a file does not say it.")] = "",
    labels: Annotated[bool, typer.Option(help="With --method: whether folders are classes.")] = True,
) -> None:
    """Evaluate a checkpoint: accuracy on a folder of images, tokens of each block, GMACs.

    An official one; or with --method any weights of timm as they are, beside the unpruned model, image by image.
    """
    console = plain()
    if method is not None:
        from suite.kinds.off_the_shelf import one

        if layout:
            raise UserError("--layout is of official checkpoints, which have a method; leave it out, or --method")
        options.require_schedule([method], rule := options.schedule_rule(schedule))
        said = options.pairs(setting or [], "--setting", "stage=pre")
        timms = options.pairs(option or [], "--option", "img_size=384")
        pictures = one.pictures(data, classes, labels)
        about = one.modelled(checkpoint, weights, (backbone, timms), pictures)
        study = one.study_of(about, (method, said, fusion), rule)
        one.show(one.on(study, batch_size, device), console)
        return
    alone = {"setting": setting, "backbone": backbone, "fusion": fusion != "none", "no-labels": not labels}
    _refuse_alone(alone | {"schedule": schedule})
    from suite.official import evaluate as evaluation
    from suite.official import resolve

    given = options.pairs(option or [], "--option", "keep_rate=0.7")
    for name in given.keys() & {"checkpoint", "layout", "weights"}:
        raise UserError(f"--option {name} is not an option of a layout; write --{name} {given[name]}")
    released = resolve(checkpoint, layout, weights, **given)
    evaluation.show_model(released, console)
    result = evaluation.evaluate(released, data, batch_size, device, console, classes)
    evaluation.show_result(result, console)


def _refuse_alone(said: Mapping[str, object]) -> None:
    """Refuse what only --method reads."""
    for name in (name for name, value in said.items() if value):
        raise UserError(f"--{name} is read with --method, which puts weights of timm under a method; name one")


def flops(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="A timm model.")],
    method: Annotated[
        str, typer.Option(help="A method by name or file.", autocompletion=options.complete_method)
    ] = "none",
    setting: OwnSettings = None,
    schedule: options.ScheduleText = None,
    option: options.BackboneOptions = None,
    fusion: options.FusionName = "none",
    task: options.TaskName = "classification",
    classes: Annotated[int, typer.Option(min=0, help="Outputs of the head; 0 for none.")] = 1000,
    as_json: options.AsJson = False,
) -> None:
    """Show tokens and multiply-accumulates of a model, block by block, in both conventions; needs no weights."""
    from suite.kinds.costs.flops import as_mapping, cost_of, show
    from suite.strict import explained
    from suite.study.configuration import Configuration

    rule = options.schedule_rule(schedule)
    options.require_schedule([method], rule)
    words = {
        "backbone": {"name": backbone, "options": options.pairs(option or [], "--option", "img_size=384")},
        "method": method,
        "settings": options.pairs(setting or [], "--setting", "stage=pre"),
        "schedule": rule,
        "fusion": fusion,
        "task": task,
        "classes": classes,
    }
    with explained():
        configuration = Configuration.model_validate(words)
    cost = cost_of(configuration)
    if as_json:
        options.print_json(as_mapping(cost))
    show(cost, plain(stderr=as_json), brief=as_json)
    if cost.unexpected:
        raise typer.Exit(1)


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
    output: Annotated[Path | None, typer.Option(help="Write every repetition, with provenance, as JSON.")] = None,
    self_test: Annotated[bool, typer.Option("--self-test", help="Only test the protocol, on known costs.")] = False,
) -> None:
    """Time methods side by side with the unpruned model, with fused and with eager attention."""
    from suite.kinds.speed import command

    console = plain()
    if self_test:
        raise typer.Exit(0 if command.test_protocol(device, console) else 1)
    if not backbone:
        raise UserError("name a timm model to time, for example: suite speed vit_small_patch16_224 --method random ...")
    options.check_output(output)
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
    if output:
        command.write(report, output)


def export(
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="METHOD", help="Names or files; by default all methods.", autocompletion=options.complete_method
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A tiny ViT; no code is generated, nothing timed, nothing written.")
    ] = False,
) -> None:
    """Run deployed models in torch.compile, torch.export and ONNX Runtime: same outputs, how fast."""
    from suite.kinds.export import run as exporting

    console = plain()
    lines = exporting.export_visibly(options.chosen_methods(methods), quick, console)
    exporting.show(lines, quick, console)
    if any(line["status"] == "fails" for line in lines):
        raise typer.Exit(1)


def race(
    code: Annotated[
        list[str],
        typer.Option(metavar="NAME=FOLDER", help="Whose official code, and where it is checked out; repeatable."),
    ],
    python: Annotated[str, typer.Option(help="Interpreter for the official code.")] = sys.executable,
    case: Annotated[list[str] | None, typer.Option(help="Repeatable; by default the small models.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Repeatable; by default 1 and 16.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Of a launch, at least.")] = 7,
    seconds: Annotated[float, typer.Option(min=0, help="Of a launch's rounds, at least.")] = 10.0,
    launches: Annotated[int, typer.Option(min=1, help="How often both processes are started.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="By default one for each core.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    into: Annotated[Path, typer.Option(help="The results folder.")] = Path("results/official-speed"),
) -> None:
    """Time the official code of methods beside this suite's, with equal weights and images."""
    from suite.kinds.official.race import Options, run
    from suite.report.make import make_table

    pairs = [one.partition("=") for one in code]
    if any(not folder for _, _, folder in pairs):
        raise UserError(f"--code is NAME=FOLDER, not {' '.join(code)}")
    if missing := [folder for _, _, folder in pairs if not Path(folder).is_dir()]:
        raise UserError(f"--code: there is no folder {missing[0]}; check out the official code there")
    if precision not in ("float32", "bfloat16", "float16"):
        raise UserError(f"unknown precision {precision!r}; valid: float32, bfloat16, float16")
    console, fixed = plain(), dict[str, Any](rounds=rounds, seconds=seconds, launches=launches)
    fixed |= {"threads": threads or cores(), "device": device, "precision": precision}
    folders = {name: Path(folder) for name, _, folder in pairs}
    run(Options(folders, python, case or [], batch or (1, 16), **fixed), into, console)
    make_table(into, console)


def power(
    difference: Annotated[float, typer.Option(help="The difference of two methods that shall be found.")],
    sd: Annotated[float, typer.Option(help="Standard deviation, over seeds, of that difference within a seed.")],
    alpha: Annotated[float, typer.Option(help="p must be below this.")] = 0.05,
    power: Annotated[float, typer.Option(help="The share of studies that shall find it.")] = 0.8,
    comparisons: Annotated[int, typer.Option(help="Methods compared with the control, which p is corrected for.")] = 1,
    as_json: options.AsJson = False,
) -> None:
    """Tell how many seeds a comparison needs: the power of the paired t-test that tables are made with."""
    from suite.report.statistics.power import seeds_needed, t_power

    needed = seeds_needed(difference, sd, alpha, power, comparisons)
    found = {
        seeds: t_power(seeds, difference, sd, alpha, comparisons)
        for seeds in sorted({needed, *(step for step in STEPS if step < 2 * needed)})
    }
    if as_json:
        options.print_json({"needed": needed, "power": found})
        return
    table = Table("seeds", "power", box=box.SIMPLE)
    for seeds, reached in found.items():
        table.add_row(f"{seeds}{' *' if seeds == needed else ''}", f"{reached:.2f}")
    console = plain()
    console.print(table)
    console.print(
        f"* {needed} seeds find a difference of {difference:g} (standard deviation {sd:g}) in {100 * power:g} % of "
        f"studies or more.\nPower of the paired t-test, two-sided, p times {comparisons} for Holm's correction, where "
        "differences are normal: by the noncentral t distribution."
    )
