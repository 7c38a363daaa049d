"""Settings of a method: pydantic models that a method's file derives its class `Settings` from."""

from contextlib import suppress
from typing import ClassVar, Literal, get_args

from suite.reduction.schedule import Schedule
from suite.strict import Strict

Fusion = Literal["none", "last-layer", "concatenation", "logits", "cross-attention"]
FUSIONS: dict[str, Fusion] = {name: name for name in get_args(Fusion)}
STASHING: tuple[Fusion, ...] = ("last-layer", "concatenation", "logits")  # these need removed patches as they were
UNMASKABLE: tuple[Fusion, ...] = ("logits", "cross-attention")  # these learn from removed patches apart from the others
Stage = Literal["pre", "mid", "post"]  # the block, its attention and its MLP, the block
Place = Literal[Stage, "within"]  # its attention, where those that stay attend to all


class MethodSettings(Strict):
    """Settings of one method, and what it declares about itself.

    `version` is part of a cell's identity: raise it when the method computes something else than before.
    `reduces`: what happens to a patch; a method that only masks patches computes as much as the unpruned model.
    `needs`: what the backbone must have ("class token"). `auxiliary_trains_backbone`: gradients of the auxiliary loss
    are meant to reach the backbone, as in a token cut loss or a distillation. `masks_in_training`: all tokens stay in
    the sequence while training, and only evaluation removes them. `has_fixed_counts`: how many patches leave is a shape
    of its weights, so that no curriculum can change it. `is_adaptive`: images keep different numbers of patches; the
    schedule leaves room for the most, and the rest is padding, see `Tokens.without`. `means_by_size`: merged
    tokens with sizes are means by them, or by weights of the method's own. `strength_parameter`: that of its paper,
    which `suite budget` searches.
    """

    version: ClassVar[int] = 1
    reduces: ClassVar[Literal["nothing", "drops", "merges", "idles", "masks"]] = "drops"
    needs: ClassVar[tuple[str, ...]] = ()
    auxiliary_trains_backbone: ClassVar[bool] = False
    masks_in_training: ClassVar[bool] = False
    has_fixed_counts: ClassVar[bool] = False
    is_adaptive: ClassVar[bool] = False
    means_by_size: ClassVar[bool] = True
    strength_parameter: ClassVar[Literal["patches", "merges", "keep_rate", "stages"]] = "patches"

    def can_stash(self) -> bool:
        """Whether removed patches can be stashed, unchanged, and rejoin before the last block."""
        return False

    def verb(self) -> str:
        """Verb for what happens to removed patches, for messages."""
        return self.reduces

    def removal_stage(self) -> Place:
        """Where in a block patches are removed; ignored for an idling method."""
        return "mid"

    def attends_by_size(self) -> bool:
        """Whether a merged token counts in later attention by its size."""
        return True

    def learns_from_teacher(self) -> bool:
        """Whether training also needs the outputs of the unpruned model that the weights started from."""
        return False

    def check(self, schedule: Schedule, fusion: Fusion) -> None:
        """Refuse a schedule or fusion that this method cannot honour.

        ValueError with what was asked, why it cannot be and what would work.
        """
        if self.strength_parameter == "merges":
            _check_halves(schedule)
        if fusion == "none" or self.reduces == "nothing":
            return
        if fusion in STASHING and not self.can_stash():
            raise ValueError(
                f"{fusion} fusion needs removed patches to be stashed, but this method {self.verb()} them; "
                "use fusion: none"
            )
        if fusion in UNMASKABLE and self.masks_in_training:
            raise ValueError(
                f"{fusion} fusion learns from removed patches, but this method only masks them in training; "
                "use fusion: none, last-layer or concatenation"
            )
        if fusion != "last-layer":
            return
        last = 2 if self.removal_stage() == "post" else 1
        if any(schedule.removed[-last:]):
            raise ValueError(
                f"with last-layer fusion the last {last} of {schedule.depth} blocks must remove nothing, "
                f"but the schedule removes {list(schedule.removed[-last:])} there"
            )

    def check_dense(self, patches: int) -> None:
        """Refuse settings that cannot learn from a label for each of so many patches.

        ValueError with the setting that would work.
        """


def _check_halves(schedule: Schedule) -> None:
    for block, (removed, entering) in enumerate(zip(schedule.removed, schedule.entering, strict=True)):
        if removed > entering // 2:
            raise ValueError(
                f"merging can remove at most half the patches of a block: block {block} has {entering}, so "
                f"{entering // 2}, but the schedule removes {removed}; a rule with clamp: true cuts it to that"
            )


class ScoringSettings(MethodSettings):
    """Settings of a method that gives each patch a score: where it reduces, and what happens to low scores.

    `stage`: before the block (pre), between its attention and its MLP (mid), or after the block (post).
    `action`: prune the patches, or fuse them into one token, weighted by their scores.
    """

    stage: Stage = "post"
    action: Literal["prune", "fuse"] = "prune"

    def can_stash(self) -> bool:
        return self.action == "prune"

    def verb(self) -> str:
        return "fuses" if self.action == "fuse" else self.reduces

    def removal_stage(self) -> Stage:
        return self.stage


def fusions_of(settings: MethodSettings, schedule: Schedule) -> list[Fusion]:
    """The ways in which patches that a method removes by a schedule can come back; none if it removes nothing."""
    found: list[Fusion] = []
    for fusion in FUSIONS.values():
        with suppress(ValueError):
            settings.check(schedule, fusion)
            found.append(fusion)
    return [fusion for fusion in found if fusion != "none" and settings.reduces != "nothing"]
