"""Whether a deployed model is the same compiled and exported, and how fast it is then, beside the eager model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from suite.errors import describe
from suite.measure.artefacts import Compiled, Make, Outputs
from suite.measure.side_by_side import time_side_by_side
from suite.measure.timing_options import TimingOptions
from suite.measure.watched import Watched, can_replay, replay

TRACED = 16  # images of the batch that an artefact is made with, and timed at
OTHERS = (3, 7)  # of batches that it must take as well
ONE = (1,)  # and besides where one graph can; torch.compile always makes another for a single image
IMAGES = TRACED + sum(OTHERS + ONE)
TOLERANCE = 1e-5  # of a logit, as a share of the largest
AGREE = 0.95  # share of images that must keep the same patches; a tie within rounding errors may break either way
CALLS = 40  # batches drawn to see how often each patch stays
SIGMAS = 5.0  # standard deviations that this may be off
LONGEST = 300  # characters of somebody else's message


@dataclass(frozen=True)
class Finding:
    """What one way of compiling or exporting did to one model; None or empty where it was not measured.

    Attributes:
        reason: why it does not work: it cannot be made, refuses a batch, is not as eager torch, or is compiled again.
        batch_sizes: images of the batches that were compared.
        difference: largest difference of a logit, over images that keep the same patches.
        largest_logit: largest magnitude of an eager logit.
        same_class: share of images (of pixels, for maps) with the same highest logit.
        same_kept: share of images that keep the same patches in every block; None if nothing leaves, for maps, and
            for a method that draws: there eager torch is given the patches that were drawn.
        draws: images of a method that draws over which each patch was kept as often as in eager torch.
        recompiled: compilations after the first; None for what is not compiled.
        speed: images per second over those of the eager model, in batches of `TRACED`, per round.
        speed_timing_warnings: why these are unreliable.
    """

    reason: str = ""
    batch_sizes: tuple[int, ...] = ()
    difference: float | None = None
    largest_logit: float | None = None
    same_class: float | None = None
    same_kept: float | None = None
    draws: int | None = None
    recompiled: int | None = None
    speed: tuple[float, ...] = ()
    speed_timing_warnings: str = ""


class Unfaithful(Exception):
    """What was made is not the eager model; the message is a sentence with the numbers."""


def examine(model: nn.Module, make: Make, images: Tensor, timing: TimingOptions | None) -> Finding:
    """Compile or export a deployed model, and compare and time the two.

    Args:
        model: `Watched`, or another that returns a tuple with logits (B, classes) or (B, classes, height, width) first.
        make: one of `artefacts.PATHS`.
        images: (IMAGES, 3, height, width); the artefact is made with none of them.
        timing: on the processor, in float32, batches of `TRACED`; None to leave out the speed.

    Whatever is raised meanwhile is a finding.
    """
    try:
        artefact = make(model, torch.zeros_like(images[:TRACED]))
    except Exception as error:
        return Finding(f"it cannot be made: {_short(error)}")
    found = Finding()
    try:
        draws = _draws(model, images[:TRACED])
        found = _compare(model, artefact, images, draws)
        _require_faithful(found)
        if draws:
            found = replace(found, draws=_require_same_draws(model, artefact, images[:TRACED]))
    except Unfaithful as unfaithful:
        found = replace(found, reason=str(unfaithful))
    except Exception as error:
        return Finding(f"it raises {_short(error)}")
    if timing is None or found.reason:
        return found
    timed = time_side_by_side({"exported": artefact, "eager": model}, (images.shape[-2], images.shape[-1]), timing)
    speed, warned = timed.ratios("exported", "eager"), timed.timing_warnings("exported")
    return replace(found, speed=speed, speed_timing_warnings=warned)


@torch.inference_mode()
def _compare(model: nn.Module, artefact: nn.Module, images: Tensor, draws: bool) -> Finding:
    """Run the same images through both, in batches of every size."""
    batches = images.split((TRACED, *OTHERS, *ONE))
    if isinstance(artefact, Compiled):
        batches = batches[: -len(ONE)]
    found, expected = _together(artefact, batches), _together(model, batches)
    if draws:
        if not (isinstance(model, Watched) and can_replay(model.model)):
            raise Unfaithful("it draws, and its draws cannot be supplied to eager torch, so nothing was compared")
        expected = replay(model.model, found[1])(torch.cat(batches))
    same = torch.ones(len(found[0]), dtype=torch.bool)
    if len(found) > 1:
        same = (found[1] == expected[1]).flatten(1).all(1)
    leaves = len(found) > 1 and not bool(expected[1].all())
    difference = (found[0] - expected[0])[same].abs()
    return Finding(
        batch_sizes=tuple(sorted(len(batch) for batch in batches)),
        difference=float(difference.max()) if len(difference) else None,
        largest_logit=float(expected[0].abs().max()),
        same_class=float((found[0].argmax(1) == expected[0].argmax(1)).float().mean()),
        same_kept=float(same.float().mean()) if leaves and not draws else None,
        recompiled=artefact.graphs - 1 if isinstance(artefact, Compiled) else None,
    )


def _together(model: nn.Module, batches: tuple[Tensor, ...]) -> Outputs:
    """Outputs of a model for each batch by itself, joined.

    Unfaithful if it refuses a batch, or returns outputs for another number of images.
    """
    parts: list[Outputs] = []
    for batch in batches:
        try:
            parts.append(tuple(model(batch)))
        except Exception as error:
            raise Unfaithful(f"made with {TRACED} images, it refuses {len(batch)}: {_short(error)}") from error
        if len(parts[-1][0]) != len(batch):
            raise Unfaithful(f"for {len(batch)} images it returns logits of {len(parts[-1][0])}")
    return tuple(map(torch.cat, zip(*parts, strict=True)))


def _require_faithful(found: Finding) -> None:
    if found.same_kept is not None and found.same_kept < AGREE:
        raise Unfaithful(f"{found.same_kept:.0%} of the images keep the same patches; {AGREE:.0%} are required")
    if found.difference is not None and found.largest_logit is not None:
        share = found.difference / found.largest_logit
        if not share <= TOLERANCE:  # also where it is not a number
            raise Unfaithful(f"logits are off by {share:.2g} of the largest; {TOLERANCE:.2g} is allowed")
    if found.recompiled:
        raise Unfaithful(
            f"it is compiled {found.recompiled + 1} times for batches of {', '.join(map(str, found.batch_sizes))} "
            "images; one graph should serve them all"
        )


@torch.inference_mode()
def _draws(model: nn.Module, images: Tensor) -> bool:
    """Whether two runs on the same images differ."""
    return not torch.equal(model(images)[0], model(images)[0])


@torch.inference_mode()
def _require_same_draws(model: nn.Module, artefact: nn.Module, images: Tensor) -> int:
    """How many images were drawn for, if patches stay as often as in the eager model.

    Unfaithful if not, or if draws are frozen.
    """
    drawn, wanted = (torch.stack([part(images)[1] for _ in range(CALLS)]) for part in (artefact, model))
    for dim, where in ((0, "at every call"), (1, "for all images of a batch")):
        if _constant(drawn, dim) and not _constant(wanted, dim):
            raise Unfaithful(f"it keeps the same patches {where}, and the eager model does not")
    count = CALLS * len(images)
    share, expected = (counted.flatten(0, 1).float().mean(0) for counted in (drawn, wanted))  # (depth, N0)
    mean = (share + expected) / 2
    deviation = (share - expected).abs() / (2 * mean * (1 - mean) / count).sqrt().clamp(min=1e-6)
    layer, patch = divmod(int(deviation.argmax()), share.shape[1])
    if deviation[layer, patch] > SIGMAS:
        raise Unfaithful(
            f"after block {layer} patch {patch} is there in {share[layer, patch]:.1%} of {count} draws, and in "
            f"{expected[layer, patch]:.1%} of the eager model's"
        )
    return count


def _constant(drawn: Tensor, dim: int) -> bool:
    return bool((drawn == drawn.narrow(dim, 0, 1)).all())


def _short(error: BaseException) -> str:
    """What was wrong in the first place, on one line; converters wrap it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    message = describe(error)
    return message if len(message) <= LONGEST else f"{message[:LONGEST]} ..."
