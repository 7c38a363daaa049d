"""What `suite export` does: every method out of eager torch, on small backbones of three families."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor, nn

from suite.contract.backbones import scramble
from suite.contract.compiled import inductor_trouble
from suite.errors import UserError
from suite.kinds.export.record import RECORD, Line, line_of, model_of, read_findings, write_findings
from suite.kinds.export.table import export_table
from suite.measure.artefacts import PATHS, QUICK, require_onnx
from suite.measure.export import IMAGES, TRACED, Finding, examine
from suite.measure.timing_options import TimingOptions
from suite.measure.watched import Watched
from suite.reduction.backbone import create_backbone
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import default_settings, describe, method_class, modules
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion
from suite.report import render
from suite.study.digests import write_provenance
from suite.study.provenance import provenance
from suite.tasks.segmentation.pixels import PixelModel

CLASSES = 10
PATCHES = 64
REMOVED = (16, 16, 0, 0)  # the last two are 0 so that last-layer fusion can have the same counts
# Name and options in timm, and patches removed in each block. Published models, but for their depth and the size of
# images, which gives 64 patches: each block that removes patches leads to another shape, which inductor compiles anew.
BACKBONES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "ViT-Ti": ("vit_tiny_patch16_224", {"img_size": 128, "depth": 4}, REMOVED),
    "DeiT-Ti distilled": ("deit_tiny_distilled_patch16_224", {"img_size": 128, "depth": 4}, REMOVED),
    "EVA-02-Ti": ("eva02_tiny_patch14_224", {"img_size": 112, "depth": 4}, REMOVED),
    "tiny ViT": (
        "vit_tiny_patch16_224",
        {"img_size": 32, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2},
        (16, 0),
    ),
}
*MEASURED, TINY = BACKBONES
SEGMENTATION: dict[str, tuple[Fusion, ...]] = {  # compiling is slow, so not all of them
    "cropr": ("last-layer", "concatenation", "logits", "cross-attention"),
    "evit": ("none",),
    "tome": ("none",),
}
TIMING = TimingOptions(batch_size=(TRACED,), rounds=20, warmup_rounds=3)
RESULTS = Path("results") / "export"


@dataclass(frozen=True)
class Case:
    """One deployed model: task, backbone (a key of `BACKBONES`), method and fusion."""

    task: str
    backbone: str
    method: str
    fusion: Fusion = "none"

    def __str__(self) -> str:
        fused = "" if self.fusion == "none" else f" + {self.fusion}"
        return f"{self.method}{fused} on {self.backbone}, {self.task}"

    def build(self) -> tuple[nn.Module, Tensor]:
        """The deployed model with random weights, as `examine` wants it, and images for it.

        Raises:
            UnmetNeed: if the backbone lacks what the method needs.
            ValueError: if the method refuses the schedule.
        """
        name, options, removed = BACKBONES[self.backbone]
        backbone = create_backbone(name, options, CLASSES)
        scramble(backbone)
        settings = {"queries": PATCHES} if self.task == "segmentation" and self.method == "cropr" else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = reduce(backbone, self.method, removed, settings, self.fusion).deploy()
        images = torch.randn(IMAGES, 3, *backbone.patch_embed.img_size, generator=torch.Generator().manual_seed(1))
        return (Pixels(model) if self.task == "segmentation" else Watched(model)), images


class Pixels(nn.Module):
    """Logits for every pixel, (B, classes, height, width), as the only one of a tuple."""

    def __init__(self, model: ReducedModel) -> None:
        super().__init__()
        self.model = PixelModel(model).eval()

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.model(images),)


def cases(methods: Iterable[str], quick: bool) -> list[Case]:
    """Every method on every backbone, on the first also with last-layer fusion and, for some, segmentation.

    If `quick`, every method on a tiny ViT.
    """
    if quick:
        return [Case("classification", TINY, method) for method in methods]
    found = []
    for method in methods:
        found += [Case("classification", backbone, method) for backbone in MEASURED]
        found += [Case("classification", MEASURED[0], method, "last-layer")] if _can_fuse(method) else []
        found += [Case("segmentation", MEASURED[0], method, fusion) for fusion in SEGMENTATION.get(method, ())]
    return found


def chosen(methods: Sequence[str] | None) -> list[str]:
    """Methods by name or file, each once; by default all.

    Raises:
        UserError: for an unknown method, one that cannot be loaded, or if a package that ONNX needs is missing.
    """
    names = list(dict.fromkeys(methods or sorted(modules())))
    for name in names:
        default_settings(name)
        method_class(name)
    require_onnx()
    return names


def export_visibly(methods: Sequence[str], quick: bool, console: Console, folder: Path = RESULTS) -> list[Line]:
    """Examine methods under a progress bar, and keep what was found after each model; nothing is kept if `quick`.

    Raises:
        OSError: if the results cannot be written.
    """
    torch.set_num_threads(1)
    origin, planned, found = provenance(), cases(methods, quick), []
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=len(planned) * len(PATHS))
        for case in planned:
            new = []
            for path in PATHS:
                progress.update(bar, description=f"{case}: {path}")
                new.append(judge(case, path, quick))
                progress.advance(bar)
            found += new
            console.print(f"{case}: {', '.join(line['status'] for line in new)}", highlight=False, soft_wrap=True)
            if not quick:
                keep(new, origin, folder)
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


def keep(new: Sequence[Line], origin: dict[str, Any], folder: Path) -> None:
    """Put lines into the record, in place of earlier ones of the same models, and make the table of all it has.

    `provenance.json` says which models each run is the origin of. It is written after the record: of a process that is
    killed between the two, the next one refuses what is left, and says what helps.

    Raises:
        UserError: if the record that is there cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    origins, earlier = folder / "provenance.json", read_findings(folder)
    models = {model_of(line): None for line in new}
    lines = [line for line in earlier if model_of(line) not in models] + list(new)
    runs = json.loads(origins.read_text(encoding="utf-8"))["runs"] if earlier else []
    runs = [run | {"models": [model for model in run["models"] if tuple(model) not in models]} for run in runs]
    if not runs or {**runs[-1], "models": []} != {**origin, "models": []}:
        runs.append({**origin, "models": []})
    runs[-1]["models"] += [list(model) for model in models]
    write_findings(
        folder,
        sorted(lines, key=lambda line: (line["task"], line["backbone"], line["method"] != "none", *model_of(line))),
    )
    write_provenance(folder, {"runs": [run for run in runs if run["models"]]})
    render.write(export_table(folder.name, read_findings(folder)), folder)


def make_table(console: Console, folder: Path = RESULTS) -> None:
    """Make and show the table of a folder from its record alone.

    Raises:
        UserError: if there is no record, or it cannot be used.
    """
    lines = read_findings(folder)
    if not lines:
        raise UserError(f"{folder / RECORD} does not exist; make it with: suite export")
    made = export_table(folder.name, lines)
    files = render.write(made, folder)
    render.show(made, console, apart=True)
    console.print(f"Written to {folder}/: {', '.join(files)}, from {RECORD}", soft_wrap=True)


def show(lines: Sequence[Line], quick: bool, console: Console) -> None:
    """Print the matrix, and what there is to say about it."""
    render.show(export_table(RESULTS.name, lines, explained=not quick), console, apart=True)
    without = "Quick: torch.compile generated no code, nothing was timed, nothing is written."
    written = f"Written to {RESULTS}/: {', '.join([RECORD, 'provenance.json', *render.FORMATS])}"
    console.print(without if quick else written, soft_wrap=True)


def _can_fuse(method: str) -> bool:
    settings = default_settings(method)
    try:
        settings.check(Schedule(PATCHES, REMOVED), "last-layer")
    except ValueError:
        return False
    return settings.reduces != "nothing"
