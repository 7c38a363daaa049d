"""Models from checkpoints that authors released, with the outputs of their official code.

```python
from suite import load

model = load("evit_deit_s_0.7.pth", layout="evit", keep_rate=0.7, fuse_token=True)
logits = model(images)
```

A layout is how one official code base names its weights and what it computes with them. Each lives in
`baselines/official/`, in the file of its method. Options that the weights do not show (EViT's keep rate, ToMe's r, ...)
are given, else read from the training script's arguments inside the file, else the layout's defaults.
"""

from __future__ import annotations

import functools
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError
from torch import nn

from suite import plugins
from suite.errors import UserError, suggest
from suite.reduction.checkpoints import Checkpoint, Source
from suite.strict import REQUIRED, Strict, dotted, problems

PACKAGE, GROUP = "baselines.official", "cropr_suite.layouts"
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}  # by width, of the ViTs that were released


class Options(Strict):
    """Options of every layout: what no checkpoint of a ViT holds.

    heads: attention heads; known for widths 192, 384, 768, 1024 and 1280.
    image_size: pixels, one side or (height, width); by default what the position embeddings were made for.
    normalisation, crop: how images are prepared: mean and standard deviation, and the share of the resized image's
        side that the central crop keeps.
    """

    heads: int | None = Field(None, ge=1)
    image_size: int | tuple[int, int] | None = None
    normalisation: Literal["imagenet", "inception"] = "imagenet"
    crop: float = Field(0.875, ge=0.1, le=1)


class Layout(ABC):
    """One kind of official checkpoint.

    Attributes:
        name: what users call it.
        source: official repository and commit.
        task: what the model is for.
        options: the class of its options.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    task: ClassVar[str] = "classification"
    options: ClassVar[type[Options]] = Options

    @abstractmethod
    def why_not(self, checkpoint: Checkpoint) -> str | None:
        """Why a checkpoint is not of this layout, as the end of a sentence that begins with its name; else None."""

    @abstractmethod
    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Options out of the training script's arguments in the checkpoint."""

    def defaults(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Options that neither weights nor arguments show: as in the published models of that size."""
        return {"heads": HEADS.get(checkpoint.shape("pos_embed")[2])}

    @abstractmethod
    def build(self, checkpoint: Checkpoint, options: Any) -> nn.Module:
        """The model with its weights.

        Raises:
            ValueError: if the options and the checkpoint contradict each other.
        """


@dataclass(frozen=True)
class Released:
    """A model from a released checkpoint, in evaluation mode.

    Attributes:
        model: a `ReducedModel`; for segmentation a model that wraps one.
        layout, options: its layout and all options.
        origin: for each option the source of its value: "given", "checkpoint" or "default".
        weights: which weights of the file it has, where there is something to say.
        several: whether the file has others, chosen or not.
    """

    model: nn.Module
    layout: Layout
    options: Options
    origin: dict[str, str]
    weights: str = ""
    several: bool = False


@functools.cache
def layouts() -> dict[str, Layout]:
    """All layouts by name, of `baselines/official/` and of the entry points `cropr_suite.layouts`."""
    found = [
        kind()
        for _, module in sorted(plugins.imported(PACKAGE, GROUP).items())
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Layout) and kind.__module__ == module.__name__
        if "name" in vars(kind)
    ]
    return plugins.by_name((one.name, one, f"{type(one).__module__}.{type(one).__name__}") for one in found)


def load(checkpoint: Source, layout: str | None = None, *, weights: str | None = None, **options: Any) -> nn.Module:
    """The model of a checkpoint that authors released, with the logits of their official code; in evaluation mode.

    For classification it is a `ReducedModel`: `model(images)` gives logits, (B, classes); in training mode
    `model.outputs(images)` also gives what the method's auxiliary loss reads.

    Args:
        checkpoint: a file of torch or safetensors, which is read without running code from it, or a state dict.
        layout: cropr, cropr-segmentation, evit, idlevit, tome, tome-mae, pitome, atc, diffrate, mctf or
            token-reduction; may be left out where only one fits.
        weights: which of several in the file, such as `model_ema`; by default the raw ones, with a warning.
        options: what the weights do not show, such as `keep_rate` or `r`; see docs/checkpoints.md.

    Raises:
        UserError: if the file is broken or holds code, fits no or several layouts, or the options do not fit it.

    >>> import timm
    >>> vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, depth=4)
    >>> load(vit.state_dict(), "tome", r=8, heads=3).method.counts
    (8, 8, 8, 8)
    """
    released = resolve(checkpoint, layout, weights, **options)
    if weights is None and released.several:
        warnings.warn(f"weights: {released.weights}", stacklevel=2)
    return released.model


def resolve(checkpoint: Source, layout: str | None = None, weights: str | None = None, **options: Any) -> Released:
    """As `load`, with the layout, all its options and the source of each; and without a warning."""
    read, name = Checkpoint.read(checkpoint, weights), layout or "unnamed"
    try:
        chosen = _choose(read, layout)
        name, arguments = chosen.name, _arguments(chosen, read)
        complete = chosen.options(**chosen.defaults(read) | arguments | options)
        model = chosen.build(read, complete).eval()
    except UserError:
        raise
    except ValidationError as error:
        raise UserError(f"layout {name}: {_readable(error, options)}") from error
    except ValueError as error:
        raise UserError(f"{read.name}, layout {name}: {error}") from error
    origin = {
        name: "given" if name in options else "checkpoint" if name in arguments else "default"
        for name in type(complete).model_fields
    }
    return Released(model, chosen, complete, origin, read.said, bool(read.others or read.hidden))


def _arguments(layout: Layout, checkpoint: Checkpoint) -> dict[str, Any]:
    return {key: value for key, value in layout.from_args(checkpoint).items() if value is not None}


def _choose(checkpoint: Checkpoint, name: str | None) -> Layout:
    known = layouts()
    if name is not None and name not in known:
        raise UserError(f"there is no layout {name!r}; {suggest(name, known)}")
    reasons = {layout.name: layout.why_not(checkpoint) for layout in known.values()}
    found = "" if "pos_embed" in checkpoint else f"; {checkpoint.beginnings}"
    fitting = [layout for layout in known.values() if reasons[layout.name] is None]
    if name is not None:
        if reasons[name] is not None:
            others = " or ".join(layout.name for layout in fitting) or "no layout"
            raise UserError(f"layout {name} does not fit: {checkpoint.name} {reasons[name]}; it fits {others}{found}")
        return known[name]
    if not fitting:
        listed = "; ".join(f"{layout}: it {reason}" for layout, reason in reasons.items())
        raise UserError(f"{checkpoint.name} fits no layout ({listed}){found}")
    unique = [layout for layout in fitting if _arguments(layout, checkpoint)] if len(fitting) > 1 else fitting
    if len(unique) != 1:
        names = ", ".join(layout.name for layout in fitting)
        raise UserError(f"{checkpoint.name} fits the layouts {names}, which share their names of weights; name one")
    return unique[0]


def _readable(error: ValidationError, given: dict[str, Any]) -> str:
    said: dict[str, str] = {}
    for place, message in problems(error):
        key = dotted(place[:1]) or "options"
        if key in said:  # one of several kinds that the option may be
            said[key] = f"cannot be {given.get(key)!r}; see docs/checkpoints.md"
        elif key not in given and message == REQUIRED:
            said[key] = f"this option is required; give {key}, on the command line as --option {key}=VALUE"
        else:
            said[key] = message
    return "; ".join(f"{key}: {message}" for key, message in said.items())
