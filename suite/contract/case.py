"""One method on one tiny backbone, and the two ways a check can end without holding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.contract.backbones import HEADS, MATRIX, PATCHES, SIDE, scramble
from suite.reduction.attention import TimmModule
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import default_settings
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion, MethodSettings, fusions_of
from suite.reduction.tokens import Tokens

EVERYWHERE = (9, 8, 7, 6)  # patches removed in each block: 64, 55, 47, 40, 34; never more than half
EARLY = (9, 8, 0, 0)  # leaves the last two blocks alone, as last-layer fusion wants it
ONCE = (0, 20, 0, 0)
NOT_LAST = (9, 8, 7, 0)  # what leaves after the last block cannot reach a class token
Counts = tuple[int, ...]


class Broken(AssertionError):
    """A check does not hold; the message is a sentence with the numbers."""


class Inapplicable(Exception):
    """A check says nothing about this method on this backbone; the message is the reason."""


@dataclass(frozen=True)
class Case:
    """What is checked: a method, by name or file, on a backbone of the matrix."""

    method: str
    backbone: str

    @property
    def settings(self) -> MethodSettings:
        return default_settings(self.method)

    def timm(self, **options: object) -> TimmModule:
        """The untouched backbone in evaluation mode; weights depend on nothing but their shapes and order."""
        model = MATRIX[self.backbone](**options)
        scramble(model)
        return model.eval()

    def model(self, removed: Counts | None = None, fusion: Fusion = "none", **options: object) -> ReducedModel:
        """The same backbone under the method, in evaluation mode."""
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = reduce(self.timm(**options), self.method, removed, fusion=fusion)
                _perturb(model.method)
        except UnmetNeed as unmet:
            raise Inapplicable(str(unmet)) from unmet
        except ValueError as error:
            raise Broken(f"refuses to remove {removed or 'nothing'} of {PATCHES} patches: {error}") from error
        return model.eval()

    def images(self, count: int = HEADS, seed: int = 1) -> Tensor:
        """Random images; by default as many as heads, so that a swap of the two is not an error."""
        return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))

    def fusions(self) -> tuple[Fusion, ...]:
        """Without and, where the method can stash patches, with last-layer fusion."""
        can_stash = "last-layer" in fusions_of(self.settings, Schedule(PATCHES, EARLY))
        return ("none", "last-layer") if can_stash else ("none",)

    @property
    def rounding(self) -> float:
        """How far a patch that is merged with no other may be off, as a share; means without sizes are rounded."""
        return 1e-4 if self.settings.reduces == "merges" else 0.0

    def alone(self, tokens: Tokens) -> Tensor:
        """Which patches, (B, N), stand for one patch; a token that is merged, mixed or fused has no place or others."""
        if tokens.size is not None or tokens.representative is None or self.settings.reduces != "merges":
            return (tokens.where >= 0) & (tokens.size == 1 if tokens.size is not None else True)
        members = nn.functional.one_hot(tokens.representative, tokens.count).sum(1)
        return (tokens.where >= 0) & (members == 1)

    def draws(self) -> bool:
        """Whether outputs in evaluation mode depend on the state of the random generator."""
        model, images = self.model(EVERYWHERE), self.images()
        return not torch.equal(seeded(model, images, 1), seeded(model, images, 2))


def seeded(model: nn.Module, images: Tensor, seed: int = 0) -> Tensor:
    """Outputs with the generator set to `seed`."""
    torch.manual_seed(seed)
    outputs: Tensor = model(images)
    return outputs


def require_near(found: Tensor, expected: Tensor, what: str, tolerance: float = 1e-5) -> None:
    """Refuse a shape, or an element further away than `tolerance` times the largest magnitude.

    Raises:
        Broken: starting with `what`.
    """
    if found.shape != expected.shape:
        raise Broken(f"{what} have shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
    share = distance(found, expected)
    if not share <= tolerance:  # also where it is not a number
        raise Broken(f"{what} are off by {share:.2g} of the largest magnitude; {tolerance:.2g} is allowed")


def distance(found: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest expected magnitude."""
    found, expected = found.float(), expected.float()
    return ((found - expected).abs().max() / expected.abs().max()).item()


@torch.no_grad()
def _perturb(method: nn.Module) -> None:
    """Move a method's parameters a little, so that none that starts at zero stays without effect."""
    for parameter in method.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
