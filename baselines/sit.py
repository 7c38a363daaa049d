"""SiT: patches are slimmed to fewer tokens by a learned soft map, and a reverse map learns to bring them back.

Zong et al., "Self-slimmed Vision Transformer", arXiv 2111.12624; github Sense-X/SiT (f577808). As compared by Haurum et
al., "Which Tokens to Use?", arXiv 2308.04657; github JoakimHaurum/TokenReduction (88fe07e), `sit.py`.

After a block: y = softmax_n(s MLP(x))^T x, MLP = LayerNorm, D to D/2, GELU, D/2 to K; s is learned.

In training the unpruned model may teach. A reverse module after every block that has fewer tokens, LayerNorm and an MLP
over tokens, K to 4 N0 to N0, then an MLP over channels beside a residual, restores N0 patches; before the first
slimming patches are taken as they are. Losses: w MSE(restored, the teacher's patches), mean over all blocks, and
v KL(teacher || student) on logits.

As published:
- DeiT, 0.7 (`--keep_rate 0.7 --reduction_loc 3 6 9`): `{stages: 0.7, first: 3, length: 3}`.
- With the official losses (`--distillation-type frd`): `reconstruction_weight: 2`, `distillation_weight: 2`, and a
  recipe whose `method_learning_rate` is 5 times its rate.

Departures:
1. Both weights are 0 by default, so that all methods learn from the same labels, as in the comparison, which has
   neither loss; officially both are 2, and reverse modules learn at five times the rate.
2. The official backbone is LV-ViT, whose branches are halved; here it is any backbone that is supported.
3. The auxiliary token labels of LV-ViT are not used, and its official distillation from a convolutional network, which
   does not run, is left out.
4. What Cropr's paper ran (losses, teacher) is not known.
"""

import torch
from torch.nn import functional as F

from suite.methods import (
    Context,
    Field,
    Method,
    MethodSettings,
    MixingMethod,
    MixingSettings,
    Observed,
    Output,
    Tensor,
    Tokens,
    initialise,
    nn,
)


class Settings(MixingSettings):
    """Weights w of the reconstruction and v of the distillation; `hidden_ratio`: channels of the MLP that slims."""

    auxiliary_trains_backbone = True
    hidden_ratio: float = Field(0.5, gt=0)
    reconstruction_weight: float = Field(0.0, ge=0)
    distillation_weight: float = Field(0.0, ge=0)

    def learns_from_teacher(self) -> bool:
        return self.reconstruction_weight > 0 or self.distillation_weight > 0


class Slimming(nn.Module):
    """Weights of K tokens for patches, (B, N, D)."""

    def __init__(self, width: int, tokens: int, ratio: float) -> None:
        super().__init__()
        hidden = int(width * ratio)
        layers = nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, tokens)
        self.weight = nn.Sequential(*layers)
        self.scale = nn.Parameter(torch.ones(1, 1, 1))
        initialise(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (self.weight(x) * self.scale).softmax(1).transpose(1, 2), x


class Reverse(nn.Module):
    """Restores N0 patches from K tokens."""

    def __init__(self, width: int, tokens: int, patches: int) -> None:
        super().__init__()
        self.norm1, self.mlp1 = nn.LayerNorm(width), mlp(tokens, 4 * patches, patches)
        self.norm2, self.mlp2 = nn.LayerNorm(width), mlp(width, 4 * width, width)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        restored: Tensor = self.mlp1(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        residual: Tensor = self.mlp2(self.norm2(restored))
        return restored + residual


class SiT(MixingMethod):
    """A slimming module for each block that removes patches, a reverse module for each that has fewer."""

    settings: Settings

    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__(context, settings)
        patches, restores = context.schedule.patches, settings.reconstruction_weight > 0
        slim = {layer: count for layer, count in enumerate(context.schedule.leaving) if restores and count < patches}
        modules = {str(layer): Reverse(context.width, count, patches) for layer, count in slim.items()}
        self.reverse = nn.ModuleDict(modules)

    def mixer(self, tokens: int) -> nn.Module:
        return Slimming(self.context.width, tokens, self.settings.hidden_ratio)

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = super().forward_block(block, tokens, layer)
        if not self.training or not self.settings.reconstruction_weight:
            return tokens
        restore = self.reverse[str(layer)] if str(layer) in self.reverse else nn.Identity()
        return tokens.with_auxiliary(restore(tokens.patches))

    def teacher(self) -> Method:
        return Observed(self.context, MethodSettings())

    def distillation_loss(self, student: Output, teacher: Output) -> Tensor:
        ours, theirs = (F.log_softmax(output.logits, -1) for output in (student, teacher))
        loss = self.settings.distillation_weight * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        pairs = zip(student.auxiliary, teacher.auxiliary, strict=False)
        errors = [F.mse_loss(restored, patches) for restored, patches in pairs]
        return loss + self.settings.reconstruction_weight * torch.stack(errors).mean() if errors else loss

    def deploy(self) -> None:
        self.reverse = nn.ModuleDict()


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """Two linear layers with GELU between."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
