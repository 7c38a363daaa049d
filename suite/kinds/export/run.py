"""What `suite export` does: every method compiled and exported, on small backbones of three families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from suite.contract.compiled import inductor_trouble
from suite.errors import describe
from suite.kinds.export import KIND
from suite.kinds.export.cases import Case, cases
from suite.kinds.export.record import Line, keep, line_of, lines, models
from suite.kinds.export.table import export_table
from suite.measure.artefacts import PATHS, QUICK, require_onnx
from suite.measure.export import TRACED, Finding, examine
from suite.measure.timing_options import TimingOptions
from suite.reduction.method import UnmetNeed
from suite.report import render
from suite.study import load
from suite.study.provenance import provenance
from suite.terminal import ManualProgress

TIMING = TimingOptions(batch_size=(TRACED,), rounds=20, warmup_rounds=3)
RESULTS = load.RESULTS / "export"


def export_visibly(methods: Sequence[str], quick: bool, console: Console, folder: Path = RESULTS) -> list[Line]:
    """Examine methods under a progress bar, and keep what was found after each model; nothing is kept if `quick`.

    Raises:
        UserError: for a missing package.
    """
    require_onnx()
    torch.set_num_threads(1)
    origin, planned, found = provenance(), cases(methods, quick), []
    with ManualProgress(console, len(planned) * len(PATHS)) as bar:
        for case in planned:
            new = []
            for path in PATHS:
                bar.show(f"{case}: {path}")
                new.append(judge(case, path, quick))
                bar.advance()
            found += new
            console.print(f"{case}: {', '.join(line['status'] for line in new)}", highlight=False, soft_wrap=True)
            if not quick:
                keep(new, origin, folder)
                render.write(export_table(folder.name, lines(folder)), folder)
    return found


def judge(case: Case, path: str, quick: bool) -> Line:
    """Examine one model by one path; whatever the method raises is a failure, with the exception as its reason.

    The random generator is left as it was, and starts the same each time.
    """
    model = {name: str(value) for name, value in asdict(case).items()}
    trouble = inductor_trouble() if path == "torch.compile" and not quick else ""
    if trouble:
        return line_of(model, path, "skipped", Finding(f"inductor cannot compile anything here: {trouble}"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            built, images = case.build()
        except UnmetNeed as unmet:
            return line_of(model, path, "skipped", Finding(str(unmet)))
        except Exception as error:
            return line_of(model, path, "fails", Finding(f"the model cannot be built: {describe(error)}"))
        found = examine(built, (QUICK if quick else PATHS)[path], images, None if quick else TIMING)
    return line_of(model, path, "fails" if found.reason else "works", found)


def show(found: Sequence[Line], quick: bool, console: Console) -> None:
    """Print the matrix, and what there is to say about it."""
    render.show(export_table(RESULTS.name, models(found), explained=not quick), console)
    without = "Quick: torch.compile generated no code, nothing was timed, nothing is written."
    written = f"Written to {RESULTS}/: {', '.join([KIND.record, 'provenance.json', *render.FORMATS])}"
    console.print(without if quick else written, soft_wrap=True)
