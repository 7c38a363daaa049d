"""Wrong: centres are overwritten by their normalised values in every forward, as in Sinkhorn's official code."""

import torch

from suite.methods import MixingMethod, MixingSettings, Tensor, nn


class Settings(MixingSettings):
    """No settings of its own."""


class Mixer(nn.Module):
    """Centres, (K, D), attend to the patches."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(tokens, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            self.centres.copy_(nn.functional.normalize(self.centres, dim=-1))
        return (self.centres @ x.transpose(1, 2)).softmax(-1), x


class ChangesWeightsInEvaluation(MixingMethod):
    """A softmax of centres over patches."""

    def mixer(self, tokens: int) -> nn.Module:
        return Mixer(self.context.width, tokens)
