"""The command `suite`. Heavy imports stay inside the commands that need them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from suite.cli.budget import budget
from suite.cli.export import export
from suite.cli.figures import figures
from suite.cli.flops import flops
from suite.cli.ledger import ledger
from suite.cli.power import power
from suite.cli.report import report
from suite.cli.speed import speed
from suite.cli.trace import trace
from suite.cli.ui import ui
from suite.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


app = typer.Typer(
    help="Reproducible multi-seed studies of token reduction in Vision Transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A path, or a name in studies/.")]


@app.command()
def validate(study: StudyName) -> None:
    """Check a study file without running anything."""
    from suite.kinds.training.cells import expand
    from suite.kinds.training.preflight import lacking, missing
    from suite.study.load import (
        check_backbone,
        find_study,
        is_of_costs,
        is_of_speed,
        load_costs,
        load_study,
    )

    if is_of_costs(study):
        from suite.kinds.costs.compute import check_costs

        typer.echo(f"{find_study(study)}: valid, {check_costs(load_costs(study))} published figures")
        return
    if is_of_speed(study):
        from suite.kinds.speed.run import check_models

        typer.echo(f"{find_study(study)}: valid, {sum(map(len, check_models(study).values()))} models")
        return
    loaded = load_study(study)
    check_backbone(study)
    cells = expand(loaded)
    typer.echo(f"{find_study(study)}: valid, {len(cells)} cells")
    for sentence in [*missing(loaded), *lacking(cells)]:
        typer.echo(f"not here: {sentence}")


@app.command(name="list")
def list_() -> None:
    """List the studies in studies/ and the methods they can use."""
    from suite.reduction.registry import modules
    from suite.study.load import FOLDER, study_names

    typer.echo(f"studies in {FOLDER}/: {', '.join(study_names()) or 'none'}")
    typer.echo(f"methods: {', '.join(sorted(modules()))}")


@app.command()
def plan(study: StudyName) -> None:
    """Show a study's cells, and which of them are done."""
    from suite.kinds.training.cells import expand
    from suite.kinds.training.preflight import missing
    from suite.study.load import is_of_speed, load_study
    from suite.study.store import Record

    if is_of_speed(study):
        from suite.kinds.speed import run as speeds

        speeds.show_plan(study)
        return
    loaded, record = load_study(study), Record()
    for sentence in missing(loaded):
        typer.echo(f"not here: {sentence}", err=True)
    for cell in expand(loaded):
        entry = record.finished(cell) or record.failed(cell) or {"status": "to run"}
        reason = str(entry.get("reason", "")).strip().splitlines()[-1:]
        line = f"{cell.cell_id}  {entry['status']:<7}  {cell.kind:<8}  {cell.variant:<9}  {cell.row}  [{cell.schedule}]"
        typer.echo("  ".join([line, *reason]))


@app.command()
def run(study: StudyName) -> None:
    """Run what is not done of a study, then make its table and figure."""
    from rich.console import Console

    from suite.study.load import load_study, title_of

    console = Console(markup=False)
    if _made_of_costs(study, console, check=True) or _made_of_speed(study, console, measure=True):
        return
    from suite.kinds.training.make import conclude, make_table
    from suite.kinds.training.runner import run_study

    outcome = run_study(study, console)
    if outcome.compared:
        lines, made = make_table(title_of(study), console)
        conclude(outcome.tracker, lines, made, load_study(study).question, console)
        console.print(f"See the runs in MLflow's page: {_command('ui', study)}", soft_wrap=True)
    if outcome.failed or outcome.not_run:
        typer.echo(
            f"{outcome.failed} cells failed and {outcome.not_run} were not run, {outcome.finished} are finished and "
            f"kept; resume with: suite run {study}",
            err=True,
        )
        raise typer.Exit(1 if outcome.failed else 130)
    console.print("Next: copy the study to studies/NAME.yaml, change its methods, schedules or seeds: suite run NAME")


@app.command()
def table(
    study: StudyName,
    into: Annotated[Path | None, typer.Option(help="Also put it into this file, between the study's markers.")] = None,
) -> None:
    """Make a study's table and figure again from results/STUDY/cells.csv."""
    from rich.console import Console

    console = Console(markup=False)
    if _made_of_costs(study, console, check=False) or _made_of_speed(study, console, measure=False):
        return
    from suite.kinds.training.make import make_table, results_of

    make_table(results_of(study).name, console, into)


@app.command()
def maps(study: StudyName) -> None:
    """Draw, for a few images, when each patch left and what each method says, from results/STUDY/examples.json."""
    from rich.console import Console

    from suite.kinds.training.figures.maps import draw_study_maps
    from suite.kinds.training.make import attach, results_of

    path = results_of(study) / "maps.png"
    rows = draw_study_maps(study, path.parent, path)
    also = " and MLflow" if attach(study, path.parent, Console(markup=False)) else ""
    typer.echo(f"Written to {path}{also}: {rows} rows, from the cells with the lowest seed")


@app.command(name="check-method")
def check_method(
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="FILE_OR_NAME", help="Files or names; by default all methods.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what needs torch.compile.")] = False,
) -> None:
    """Check that methods keep the contract, on tiny backbones of every kind; a file need not be installed."""
    from rich.console import Console

    from suite.reduction.registry import default_settings, method_class, modules

    names = list(dict.fromkeys(methods or sorted(modules())))
    for name in names:
        default_settings(name)
    for name in names:
        method_class(name)

    import torch

    from suite.contract.run import CHECKS, SLOW
    from suite.contract.show import examine_visibly, show

    torch.set_num_threads(1)  # on tensors this small, more of them wait for each other
    console = Console(markup=False)
    results = examine_visibly(names, [check for check in CHECKS if not (quick and check in SLOW)], console)
    show(results, console)
    if any(result.status == "fails" for result in results):
        raise typer.Exit(1)


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="A released checkpoint, of torch or safetensors.")],
    data: Annotated[Path, typer.Option(help="A folder of images for each class, or a folder whose val/ is that.")],
    layout: Annotated[str | None, typer.Option(help="Whose checkpoint it is; may be left out where it shows.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What the checkpoint does not say; repeatable.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=65_536)] = 64,
    device: Annotated[str, typer.Option(help="A torch device, such as cpu or cuda.")] = "cpu",
) -> None:
    """Evaluate an official checkpoint: accuracy on a folder of images, tokens of each block, GMACs."""
    from rich.console import Console

    from suite.official import evaluate as evaluation
    from suite.official import resolve

    console = Console(markup=False)
    released = resolve(checkpoint, layout, **evaluation.parse_options(option or []))
    evaluation.show_model(released, console)
    result = evaluation.evaluate_with_bar(released, data, batch_size, device, console)
    evaluation.show_result(result, console)


for command in (flops, budget, speed, export, ledger, power, trace, figures, report, ui):
    app.command()(command)


def _made_of_costs(study: str, console: Console, check: bool) -> bool:
    """Make the table of a study of costs; returns whether it is one."""
    from suite.study.load import is_of_costs, load_costs, title_of

    if is_of_costs(study):
        from suite.kinds.costs.compute import make_cost_table

        make_cost_table(load_costs(study), Path(title_of(study)).name, console, check)
        return True
    return False


def _made_of_speed(study: str, console: Console, measure: bool) -> bool:
    """Make the table of a study of speed, after measuring what is missing if so wished; returns whether it is one."""
    from suite.study.load import is_of_speed

    if not is_of_speed(study):
        return False
    from suite.kinds.speed.run import make

    if code := make(study, console, measure):
        raise typer.Exit(code)
    return True


def _command(*words: str) -> str:
    """How to call this program from here, whether its environment is active or not."""
    program = Path(sys.executable).with_name("suite")
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program.name
    return " ".join([str(shown), *words])


def main() -> None:
    """Run the command line; what the user can mend becomes one message and exit code 2."""
    try:
        app()
    except UserError as error:
        _refuse(str(error))
    except ModuleNotFoundError as error:
        _refuse(f"{error.name} is not installed; studies need: pip install 'cropr-suite[study]'")
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(f"cannot use {error.filename}: {error.strerror}")


def _refuse(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise SystemExit(2)
