"""Cropr whose auxiliary losses leave out patches of background, for digit scenes, where that is class 10."""

from collections.abc import Sequence

from baselines.cropr import Cropr, Settings
from suite.methods import Criterion, Tensor

__all__ = ["Method", "Settings"]

BACKGROUND, IGNORED = 10, 255


class Method(Cropr):
    """Auxiliary heads need not know where nothing is."""

    def auxiliary_loss(self, auxiliary: Sequence[Tensor], target: Tensor, criterion: Criterion) -> Tensor | None:
        return super().auxiliary_loss(auxiliary, target.masked_fill(target == BACKGROUND, IGNORED), criterion)
