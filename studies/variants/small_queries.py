"""Cropr whose queries begin a hundred times smaller, so that first scores are small beside what is learned."""

import torch

from baselines.cropr import Cropr, Settings
from suite.methods import Context, MethodSettings

__all__ = ["Method", "Settings"]


class Method(Cropr):
    """Attention of the aggregator begins uniform."""

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__(context, settings)
        with torch.no_grad():
            for module in self.croppers.values():
                module.queries.mul_(0.01)
