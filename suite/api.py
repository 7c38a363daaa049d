"""The Python interface: `from suite import reduce, count, time_side_by_side, evaluate, load, results`.

reduce(vit, "tome", removed=(16, 8, 4, 4))   a timm model under a method: (B, 3, height, width) to (B, classes)
count(model)                                 tokens of each block and multiply-accumulates of one image, deployed
time_side_by_side({"a": a, "b": b})          seconds of every round, and ratios of images per second
evaluate(model, "imagenet")                  top-1 and top-5 in percent
load("evit_deit_s.pth", keep_rate=0.7)       an official checkpoint, with the logits of the official code
results("quickstart")                        a study's table, and scores for each seed, as DataFrames

Every function returns what it found and prints nothing; none leaves torch's threads or random generator changed.

>>> import timm, torch
>>> vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, depth=4, num_classes=10)
>>> model = reduce(vit, "tome", removed=(16, 8, 4, 4))
>>> model(torch.zeros(2, 3, 32, 32)).shape
torch.Size([2, 10])
>>> count(model).tokens.mlp  # prefix included, in each block
(49, 41, 37, 33)
"""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from suite.errors import UserError
from suite.measure.accuracy import Accuracy, accuracy
from suite.measure.count import count
from suite.measure.side_by_side import time_side_by_side as _time
from suite.measure.speed import Timing
from suite.measure.timing_options import TimingOptions
from suite.official import load
from suite.official.evaluate import loader, open_for
from suite.reduction.attention import TimmModule
from suite.reduction.backbone import sizes
from suite.reduction.blocks import check_supported
from suite.reduction.model import ReducedModel
from suite.reduction.model import reduce as _reduce
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion
from suite.strict import explained

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results", "count", "evaluate", "load", "reduce", "results", "time_side_by_side"]


def reduce(
    model: TimmModule,
    method: str,
    removed: Sequence[int] | Schedule | None = None,
    *,
    schedule: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    fusion: Fusion = "none",
) -> ReducedModel:
    """Put a timm model under a token-reduction method; its weights and `state_dict` keys stay as they are.

    The result computes logits, (B, classes), from images, (B, 3, height, width); `.dense(images)` gives features of
    every patch, (B, N0, D); `.backbone` is the timm model itself, not a copy.

    Args:
        model: a timm `VisionTransformer` or `Eva`.
        method: a name that `suite list` shows, or the path of a method's file.
        removed: patches to remove in each block, one count for each; by default none.
        schedule: in place of `removed`, a rule as in a study.
        settings: of the method.
        fusion: how removed patches come back: none, last-layer, concatenation, logits or cross-attention.

    Raises:
        UserError: for an unknown method or fusion, or counts, a rule or settings that are none.
        TypeError: for a model whose blocks are not supported.
        ValueError: for a schedule or fusion that the method cannot honour; `UnmetNeed` if the model lacks what the
            method needs.

    >>> import timm
    >>> vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, depth=4)
    >>> reduce(vit, "evit", schedule={"keep_rate": 0.5, "blocks": [1, 2], "fused": True}).method.counts
    (0, 31, 15, 0)
    >>> reduce(vit, "cropr", removed=(9, 8, 0, 0), fusion="last-layer").method.settings.queries
    1
    """
    check_supported(model)
    if schedule is not None:
        if removed is not None:
            raise UserError("removed and schedule both say how many patches leave; give one of them")
        removed = _resolve(_mapping("schedule", schedule, "{'constant': 8}"), model)
    chosen = {} if settings is None else _mapping("settings", settings, "{'stage': 'pre'}")
    with explained(f"settings of {method}"):
        return _reduce(model, method, _counts(removed), chosen, fusion)


def time_side_by_side(
    models: Mapping[str, nn.Module], *, image_size: tuple[int, int] | None = None, **options: Any
) -> Timing:
    """Time forward passes, interleaved round by round so that a machine that drifts slows all models alike.

    Deployed copies are timed; the models stay where and as they are.

    Args:
        models: by name; all take the same images. Call the timm model "unpruned" to have ratios to it checked.
        image_size: height and width in pixels; by default those of the first model.
        options: of `suite.measure.timing_options.TimingOptions`: `batch_size` (256), `rounds` (20), `warmup_rounds`
            (3), `threads` (1), `device` ("cpu"), `precision` ("float32"), `compile` (False), `graph` (False).

    Returns:
        `.seconds[name]`, one for each round; `.ratios(name, other)`, images per second of a model over those of another
        in each round; `.timing_warnings(name)`, why these are unreliable, empty if nothing is wrong.

    Raises:
        UserError: without models or with several batch sizes; if the device, precision or compiler is missing, or the
            batch does not fit into memory.

    >>> import timm
    >>> vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, depth=4)
    >>> models = {"unpruned": vit, "random": reduce(vit, "random", removed=(32, 0, 0, 0))}
    >>> timing = time_side_by_side(models, batch_size=4, rounds=5)
    >>> len(timing.ratios("random", "unpruned"))
    5
    """
    with explained("options of time_side_by_side"):
        chosen = TimingOptions(**options)
    if len(chosen.batch_size) > 1:
        raise UserError(f"batch_size: one number, found {list(chosen.batch_size)}; call time_side_by_side for each")
    if not models:
        raise UserError("models: there is none to time; give at least one, such as {'unpruned': model}")
    size = image_size or _image_size(next(iter(models.values())))
    copies = {name: _deployed(model) for name, model in copy.deepcopy(dict(models)).items()}  # shared weights stay so
    with _torch_kept():
        return _time(copies, size, chosen)


def evaluate(
    model: nn.Module,
    data: str | Path | Iterable[tuple[Tensor, Tensor]],
    *,
    batch_size: int = 64,
    crop: float = 0.875,
    normalisation: Literal["imagenet", "inception"] = "imagenet",
    classes: str | Path | Sequence[str] | None = None,
) -> Accuracy:
    """Top-1 and top-5 accuracy of a classifier in evaluation mode, on the device of its weights.

    Args:
        model: a timm model or one of `reduce` or `load`: it gives logits, (B, classes).
        data: a folder with a folder of images for each class (or whose `val` is that), or batches of images, (B, 3,
            height, width), and labels, (B,).
        batch_size: of a folder: images at a time.
        crop: of a folder: share of the resized image's side that the central crop keeps.
        normalisation: of a folder: mean and standard deviation of pixels.
        classes: of a folder: names of its folders in the order of the model's outputs, or a file of them (a line for
            each, or JSON); or "text" or "number", in that order of the names. By default the names that a study kept
            with the weights, else as text, as torchvision sorts them, if it is clear that this is meant. What is left
            out or converted is a warning.

    Returns:
        `images`, how many there were; `top1` and `top5` in percent.

    Raises:
        UserError: if the folder is not laid out so, there are not as many folders as classes, their order is not clear,
            or images are broken or of a kind that has no 8 bit colours: all of them, before the first is computed.
        ValueError: if there are no images.

    >>> import timm, torch
    >>> vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, depth=1, num_classes=5)
    >>> evaluate(vit, [(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1]))]).top5
    100.0
    """
    if isinstance(data, str | Path):
        images = open_for(_backbone(model), Path(data), classes or getattr(model, "class_names", None) or None)
        images.check()
        for line in images.said[1:]:
            warnings.warn(line, stacklevel=2)
        data = loader(images, _backbone(model), crop, normalisation, batch_size)
    was_training, device = model.training, next((weight.device for weight in model.parameters()), "cpu")
    try:
        return accuracy(model.eval(), data, device)
    finally:
        model.train(was_training)


@dataclass(frozen=True)
class Results:
    """What a study found, in `folder`."""

    folder: Path

    @property
    def table(self) -> pd.DataFrame:
        """The table, `table.csv`: a line for each row, numbers as numbers.

        Raises:
            UserError: if it was not made yet.
        """
        import pandas as pd

        path = self.folder / "table.csv"
        if not path.is_file():
            raise UserError(f"{path} does not exist; make it with: suite table {self.folder.name}")
        return pd.read_csv(path)

    @property
    def scores(self) -> pd.DataFrame:
        """Scores in the last epoch of every finished run: row, seed, score, and what else studies of its kind have.

        With training that is row, schedule, method, fusion, seed, metric, score, unit.

        Raises:
            UserError: if studies of its kind have none, or its record was edited.
        """
        from suite.study.kind import kind_of

        kind = kind_of(self.folder)
        if kind.scores is None:
            raise UserError(f"{self.folder} is of kind {kind.name}, which has no scores over seeds; use table")
        return kind.scores(self.folder)


def results(name: str, folder: str | Path = "results") -> Results:
    """The results of a study by its name.

    Args:
        name: of the study.
        folder: where results are.

    Raises:
        UserError: if there are none, with the nearest names.

    >>> scores = results("quickstart").scores
    >>> list(scores)
    ['row', 'schedule', 'method', 'fusion', 'seed', 'metric', 'score', 'unit']
    >>> best = scores.groupby("row")["score"].median().nlargest(3)
    >>> table = results("quickstart").table.set_index("row")[["score_median", "macs_full", "speed_median"]]
    """
    from suite.errors import suggest

    path = Path(folder) / name
    if not path.is_dir():
        known = [found.name for found in Path(folder).glob("*/") if (found / "provenance.json").is_file()]
        cure = suggest(name, known) if known else f"{folder} has none; make some: suite run NAME, or give folder"
        raise UserError(f"name: there are no results {path}; {cure}")
    return Results(path)


def _counts(removed: Sequence[int] | Schedule | None) -> tuple[int, ...] | None:
    if removed is None:
        return None
    try:
        return removed.removed if isinstance(removed, Schedule) else tuple(map(operator.index, removed))
    except TypeError as error:
        cure = "give such as (8, 8, 0, 0), or schedule={'constant': 8}"
        raise UserError(f"removed: a count for each block, found {removed!r}; {cure}") from error


def _mapping(name: str, value: object, example: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{name}: a mapping, found {value!r}; give such as {example}")
    return dict(value)


def _resolve(rule: Mapping[str, Any], model: TimmModule) -> Schedule:
    from suite.study.schema import ScheduleRule

    size = sizes(model)
    with explained("schedule"):
        return ScheduleRule(**rule).resolve(size.patches, size.depth, model.num_prefix_tokens)


def _backbone(model: nn.Module) -> TimmModule:
    return model.backbone if isinstance(model, ReducedModel) else model


def _image_size(model: nn.Module) -> tuple[int, int]:
    return tuple(_backbone(model).patch_embed.img_size)


def _deployed(model: nn.Module) -> nn.Module:
    return model.deploy() if isinstance(model, ReducedModel) else model.eval()


@contextmanager
def _torch_kept() -> Iterator[None]:
    """Leave torch's number of threads and its random generators as they were."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
