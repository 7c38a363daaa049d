"""What the files of several kinds of study may say. Nothing heavy is imported here."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from suite.reduction import schedule
from suite.reduction.registry import module_of, settings_class
from suite.reduction.schedule import Rounding, Schedule
from suite.reduction.settings import Fusion
from suite.reduction.size import Size
from suite.strict import Strict
from suite.study.backbone_options import MOST, wrong_option


def _known_method(name: str, info: ValidationInfo) -> str:
    """A method there is; one that is named by its file is looked for beside the study's file."""
    if not name.endswith(".py"):
        module_of(name)
        return name
    path = str(Path((info.context or {}).get("folder", ".")) / name)
    settings_class(path)
    return path


BELOW, LONGEST_NAME = "†", 200  # the mark is `report.layout.BELOW`


def plain_name(name: str) -> str:
    """A name that tables show as it is and that `suite trace` can be asked for; ValueError for another."""
    if not name.isprintable() or name != " ".join(name.split()):
        raise ValueError("a name has no white space but single blanks, and none at its ends")
    if len(name) > LONGEST_NAME or name.endswith(f" {BELOW}"):
        raise ValueError(f"a name has at most {LONGEST_NAME} characters and does not end in {BELOW}, a mark of tables")
    return name


def alike(name: str) -> str:
    """What names share that differ by white space, capitals or the way of writing a character only."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


Name = Annotated[str, AfterValidator(plain_name)]  # of a row or a schedule
MethodName = Annotated[str, AfterValidator(_known_method)]  # one that there is


def label_of(method: str, fusion: str = "none") -> str:
    """How tables call a method without a name of its own: by its name or that of its file, and its fusion."""
    name = Path(method).stem if method.endswith(".py") else method
    return name if fusion == "none" else f"{name} + {fusion}"


class MethodRow(Strict):
    """A method with its settings, as one row of a table."""

    method: MethodName
    settings: dict[str, Any] = {}
    fusion: Fusion = "none"


class Backbone(Strict):
    """A timm model by name, with keyword arguments for timm's `create_model`."""

    name: str
    options: dict[str, Any] = {}

    @field_validator("options")
    @classmethod
    def _no_files(cls, value: dict[str, Any]) -> dict[str, Any]:
        files = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}
        hidden = sorted(files & value.keys())
        if hidden:
            raise ValueError(
                f"{', '.join(hidden)} would load weights that are not part of the cell's identity; leave it out, and "
                "name a file of weights in the study's `start`"
            )
        return value

    @field_validator("options")
    @classmethod
    def _numbers(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key, said in value.items():
            if message := wrong_option(key, said):
                raise PydanticCustomError("at_key", "{message}", {"key": key, "message": message})
        return value

    def size(self) -> Size:
        """Asks timm, which imports torch, only if the options do not say it.

        Raises:
            UserError: if timm cannot build it.
        """
        stated = self.stated_size()
        if stated is not None:
            return stated
        from suite.reduction.backbone import size_of

        return size_of(self.name, self.options)

    def stated_size(self) -> Size | None:
        """The same as far as the options say; None where only timm knows."""
        image, patch, depth = (self.options.get(key) for key in ("img_size", "patch_size", "depth"))
        if image is None or patch is None or depth is None:
            return None
        (height, width), (tall, wide) = ((said, said) if isinstance(said, int) else said for said in (image, patch))
        if not (0 < tall <= height and 0 < wide <= width):
            return None
        return Size((height, width), (tall, wide), (height // tall, width // wide), depth)


class Budget(Strict):
    """What a model may use, as a share of what the unpruned model does: of one of two things.

    macs: multiply-accumulates of an image, deployed, counted as `convention` says; see `suite.measure.count`.
    tokens: the mean over blocks of tokens in attention and MLP.

    Measured latency is none of them, because a cell's identity may not depend on the machine.
    """

    macs: float | None = Field(None, gt=0, le=1)
    tokens: float | None = Field(None, gt=0, le=1)
    convention: Literal["full", "linear"] = "full"

    @model_validator(mode="before")
    @classmethod
    def _no_latency(cls, value: Any) -> Any:
        if isinstance(value, dict) and "latency" in value:
            message = (
                "a study has no budget of latency: what its cells are may not depend on the machine; measure with "
                "`suite budget --latency` and write the counts it finds down as `removed`"
            )
            raise PydanticCustomError("at_key", "{message}", {"key": "latency", "message": message})
        return value

    @model_validator(mode="after")
    def _one(self) -> Budget:
        if (self.macs is None) == (self.tokens is None):
            raise ValueError("a budget is either of macs or of tokens, as a share of the unpruned model, such as 0.63")
        if self.macs is None and "convention" in self.model_fields_set:
            raise ValueError("tokens are counted in one way only; leave convention out")
        return self

    @property
    def share(self) -> float:
        """The share, whatever it is of."""
        return self.tokens or self.macs or 0.0

    @property
    def label(self) -> str:
        """How tables call it."""
        return f"{self.share:g} of tokens" if self.macs is None else f"{self.share:g} of MACs ({self.convention})"


class ScheduleRule(Strict):
    """How many patches leave in each block, by exactly one of six rules; see `suite.reduction.schedule`.

    removed: counts, one per block.
    constant: a count for the blocks `blocks`, with `extra_first` more in the first of them.
    keep_rate: a share of the remaining patches to keep in each of `blocks`.
    linear: a mean count for all blocks that falls (`inflect` -1) or rises (`inflect` 1) linearly.
    stages: a share, to the power of the stage, of the first patch count; from block `first`, `length` blocks a stage.
    budget: what every method may use; each gets a schedule of its own that meets it, see `suite.measure.strength`.

    `clamp` cuts counts to half of the patches that enter the block, as ToMe's code does. `multiple_of` rounds counts of
    any rule so that blocks leave such multiples of tokens. `removed` and `blocks` may be texts such as `3,6,9` or,
    for a range with both ends, `0-21`.
    """

    USES: ClassVar[dict[str, set[str]]] = {
        "removed": {"clamp"},
        "constant": {"blocks", "extra_first", "clamp"},
        "keep_rate": {"blocks", "rounding", "fused"},
        "linear": {"inflect", "clamp"},
        "stages": {"first", "length"},
        "budget": set(),
    }

    name: Name | None = None
    removed: tuple[int, ...] | None = None
    constant: int | None = Field(None, ge=0)
    keep_rate: float | None = Field(None, gt=0, le=1)
    linear: int | None = Field(None, ge=0)
    stages: float | None = Field(None, gt=0, le=1)
    budget: Budget | None = None
    blocks: tuple[int, ...] = ()
    extra_first: int = Field(0, ge=0)
    rounding: Rounding = "ceil"
    fused: bool = False
    inflect: float = Field(-1.0, ge=-1, le=1)
    clamp: bool = False
    first: int = 1
    length: int = 1
    multiple_of: int | None = Field(None, ge=2)

    @field_validator("removed", "blocks", mode="before")
    @classmethod
    def _ranges(cls, value: Any) -> Any:
        """A text such as `0-21`, `3,6,9` or EViT's `(3, 6, 9)` stands for its numbers."""
        if not isinstance(value, str):
            return value
        found: list[int] = []
        text = re.sub(r"^\s*(?:\((.*)\)|\[(.*)\])\s*$", r"\1\2", value)
        for part in text.replace(",", " ").split() or [value]:
            ends = [int(end) if end.isdecimal() and len(end) < 16 else -1 for end in part.split("-")]
            if not 0 <= ends[0] <= ends[-1] or len(ends) > 2:
                raise ValueError(f"{part.strip()!r} is neither a number nor a range such as 0-21")
            if ends[-1] - ends[0] >= MOST["depth"]:
                raise ValueError(f"{part!r} are {ends[-1] - ends[0] + 1} numbers; a range has at most {MOST['depth']}")
            found += range(ends[0], ends[-1] + 1)
        return found

    @model_validator(mode="after")
    def _one_rule(self) -> ScheduleRule:
        chosen = [rule for rule in self.USES if getattr(self, rule) is not None]
        if len(chosen) != 1:
            found = ", ".join(chosen) or "none"
            raise ValueError(f"a schedule needs exactly one of {', '.join(self.USES)}; found {found}")
        idle = sorted(self.model_fields_set - {"name", "multiple_of", *self.USES} - self.USES[chosen[0]])
        if idle:
            raise ValueError(f"the rule {chosen[0]} does not read {', '.join(idle)}; leave it out")
        if self.clamp and self.multiple_of:
            raise ValueError("multiple_of may round up what clamp cuts; leave one of them out")
        if "blocks" in self.USES[chosen[0]] and not self.blocks:
            raise ValueError(f"{chosen[0]} needs blocks, such as blocks: 0-11")
        return self

    def resolve(self, patches: int, depth: int, prefix: int | None = None) -> Schedule:
        """The counts for a backbone; its prefix tokens are only asked for where the rule says `multiple_of`.

        Raises:
            ValueError: if they are impossible there.
        """
        return self.rounded(self._counts(patches, depth), prefix)

    def rounded(self, counts: Schedule, prefix: int | None) -> Schedule:
        """Counts in multiples, if the rule says so."""
        if self.multiple_of is None:
            return counts
        if prefix is None:
            raise ValueError("multiple_of counts prefix tokens too, but the number of the backbone's is not given")
        return schedule.in_multiples(counts, prefix, self.multiple_of)

    def _counts(self, patches: int, depth: int) -> Schedule:
        if self.removed is not None:
            if len(self.removed) != depth:
                raise ValueError(f"{len(self.removed)} counts for a backbone of {depth} blocks; give one per block")
            return schedule.clamped(patches, self.removed) if self.clamp else Schedule(patches, self.removed)
        if self.constant is not None:
            return schedule.constant(patches, depth, self.constant, self.blocks, self.extra_first, self.clamp)
        if self.keep_rate is not None:
            return schedule.keep_rate(patches, depth, self.keep_rate, self.blocks, self.rounding, self.fused)
        if self.budget is not None:
            raise ValueError("a budget gives every method a schedule of its own; find them with: suite budget")
        if self.linear is not None:
            return schedule.linear(patches, depth, self.linear, self.inflect, self.clamp)
        assert self.stages is not None
        return schedule.stages(patches, depth, self.stages, self.first, self.length)
