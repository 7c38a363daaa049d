"""Weights that a study of this suite kept: what `suite weights` names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from suite.errors import UserError
from suite.official import Layout, Options
from suite.reduction.backbone import create_backbone
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.model import reduce
from suite.reduction.registry import code_digest
from suite.tasks.task import task


class Trained(Layout):
    """The deployed model of a row; all about it is in the file."""

    name = "trained"
    source = "this suite"

    class options(Options):  # noqa: N801
        """As the study had them.

        classes: names of the outputs, in their order.
        epoch: after which the weights were kept, from 1.
        file, code: of a method that is named by its file: the path to it from the weights, and the digest of its code.
        """

        task: str
        backbone: dict[str, Any]
        outputs: int
        method: str
        settings: dict[str, Any]
        removed: tuple[int, ...]
        fusion: str
        classes: tuple[str, ...]
        epoch: int | None = None
        file: str = ""
        code: str = ""

    NEEDED: ClassVar = ("backbone", "method", "removed", "outputs")

    def why_not(self, checkpoint: Checkpoint) -> str | None:
        """Only what a study kept has all of it."""
        lacking = [key for key in self.NEEDED if key not in checkpoint.arguments]
        return f"does not say {', '.join(lacking)}, as weights that a study kept do" if lacking else None

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """All of them."""
        return {key: value for key, value in checkpoint.arguments.items() if key in self.options.model_fields}

    def defaults(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """None are needed."""
        return {}

    def build(self, checkpoint: Checkpoint, options: Any) -> nn.Module:
        """The model, deployed; for a dense task what reads it out."""
        backbone = create_backbone(options.backbone["name"], options.backbone["options"], options.outputs)
        method = _method(checkpoint, options)
        model = reduce(backbone, method, options.removed or None, options.settings, options.fusion).deploy()
        model.load_state_dict({f"{checkpoint.prefix}{name}": x for name, x in checkpoint.weights.items()})
        model.class_names = options.classes
        return task(options.task).read_out(model)


def _method(checkpoint: Checkpoint, options: Any) -> str:
    """What `reduce` calls the method; UserError where its file is gone, or has other code than it was trained with."""
    if not options.code:
        return str(options.method)
    file = Path(os.path.normpath(Path(checkpoint.name).resolve().parent / options.file))
    if not file.is_file():
        raise UserError(
            f"{checkpoint.name} was trained with the method in {file}, which is not there; put that file back, with "
            f"the code that it had ({options.code})"
        )
    if (found := _digest(file)) != options.code:
        raise UserError(
            f"{checkpoint.name} was trained with the method in {file}, whose code is another now ({found}, then: "
            f"{options.code}); put that one back"
        )
    return str(file)


def _digest(file: Path) -> str:
    try:
        return code_digest(file)
    except (SyntaxError, ValueError):
        return "not Python"
