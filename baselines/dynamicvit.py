"""DynamicViT: predictors say which patches stay; training masks the others, evaluation removes as many as scheduled.

Rao et al., "DynamicViT: Efficient Vision Transformers with Dynamic Token Sparsification", arXiv 2106.02034; github
raoyongming/DynamicViT (1322e62).

After a block that removes patches: h = GELU(W LN(x)); the second half of its channels becomes their mean over the
patches that are left; an MLP and a log-softmax make of that log pi_n, to keep and to drop. In evaluation the patches of
highest pi_keep stay. In training all do, and D_s = D_{s-1} * Gumbel-softmax(log pi)_keep, one-hot with the gradient of
the soft one, says which ones later blocks see (`Projection.masked`): any number of an image.

Ratio loss: w mean_s mean_images (mean_n D_s - rho_s)^2, where rho_s is the share of patches that the schedule leaves.
Distillation, from the unpruned model: v KL(teacher || student) on logits, and v MSE on patches after the final norm,
over those that stay.

As published:
- DeiT-S, 0.7 (`--base_rate 0.7`): `{stages: 0.7, first: 3, length: 3}`, `distillation_weight: 0.5`, and a recipe whose
  `learning_rate` is a hundredth of its `method_learning_rate`, officially 1e-3.
- DeiT-B, 0.7 (`--base_rate 0.7 --drop_path 0.2 --ratio_weight 5.0`): the same with `ratio_weight: 5`.

Departures:
1. Distillation is off by default, so that all methods learn from the same labels; officially v is 0.5.
2. Officially the backbone learns at a hundredth of the predictors' rate, and not at all for 5 epochs; the recipe's
   `method_learning_rate` is for the former, and the latter is left out.
3. Counts are whole: of 196 patches rho_1 is 137 / 196; officially 0.7.
4. An image that keeps nothing has a mean of zeros; officially it is not a number.
5. Average pooling and dense read-outs skip masked patches in training; officially the class token is read.
6. With last-layer fusion or concatenation masked patches do not change in training until they rejoin.
7. Patches are taught by MSE as officially on DeiT, not by KL as on LV-ViT; ConvNeXt and Swin are no backbones here.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from suite.methods import (
    Context,
    Criterion,
    Field,
    Literal,
    Method,
    MethodSettings,
    ObservedLast,
    Output,
    Projection,
    ScoringMethod,
    ScoringSettings,
    Tensor,
    Tokens,
    initialise,
    nn,
    run,
)


class Settings(ScoringSettings):
    """Weights w of the ratio loss and v of the distillation."""

    strength_parameter = "stages"
    masks_in_training = True
    auxiliary_trains_backbone = True
    stage: Literal["post"] = "post"
    action: Literal["prune"] = "prune"
    ratio_weight: float = Field(2.0, ge=0)
    distillation_weight: float = Field(0.0, ge=0)

    def learns_from_teacher(self) -> bool:
        return self.distillation_weight > 0


class Predictor(nn.Module):
    """Logarithms of the probabilities to keep and to drop patches, (B, N, D), as (B, N, 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        first, second, third = nn.Linear(width, width // 2), nn.Linear(width // 2, width // 4), nn.Linear(width // 4, 2)
        self.out_conv = nn.Sequential(first, nn.GELU(), second, nn.GELU(), third)
        initialise(self)

    def forward(self, x: Tensor, policy: Tensor | None = None) -> Tensor:
        own, others = self.in_conv(x).chunk(2, -1)
        if policy is None:
            mean = others.mean(1, keepdim=True)
        else:
            weight = policy / policy.sum(1, keepdim=True).clamp(min=1)
            mean = weight.unsqueeze(1).to(others.dtype) @ others
        return self.out_conv(torch.cat([own, mean.expand_as(own)], -1)).log_softmax(-1)  # type: ignore[no-any-return]


class DynamicViT(ScoringMethod):
    """score_n = log pi_n of keep."""

    settings: Settings

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__(context, settings)
        layers = [str(layer) for layer, count in enumerate(context.schedule.removed) if count]
        self.predictors = nn.ModuleDict({layer: Predictor(context.width) for layer in layers})

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return self.predictors[str(layer)](tokens.patches)[..., 0]  # type: ignore[no-any-return]

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        if not self.training:
            return super().forward_block(block, tokens, layer)
        policy, after = tokens.policy, run(block, tokens)
        if policy is not None and self.stashes:
            after = after.with_patches(torch.where(policy.unsqueeze(-1) > 0, after.patches, tokens.patches))
        if not self.reduces_in(layer):
            return after
        logits = self.predictors[str(layer)](after.patches, policy)
        kept = F.gumbel_softmax(logits.float(), hard=True)[..., 0]
        kept = kept if policy is None else kept * policy
        return after.mask(kept).with_auxiliary(kept)

    def observe_last(self, tokens: Tokens) -> Tokens:
        taught = self.training and self.settings.learns_from_teacher()
        return tokens.with_auxiliary(tokens.patches) if taught else tokens

    def auxiliary_loss(self, auxiliary: Sequence[Tensor], target: Tensor, criterion: Criterion) -> Tensor | None:
        left, losses = self.context.schedule.patches, []
        for kept, count in zip(auxiliary, filter(None, self.counts), strict=False):
            left -= count
            losses.append((kept.mean(1) - left / self.context.schedule.patches).square().mean())
        return self.settings.ratio_weight * torch.stack(losses).mean() if losses else None

    def teacher(self) -> Method:
        return ObservedLast(self.context, MethodSettings())

    def distillation_loss(self, student: Output, teacher: Output) -> Tensor:
        (*policies, ours), theirs = student.auxiliary, teacher.auxiliary[-1]
        stays = policies[-1].detach() if policies else torch.ones_like(ours[..., 0])
        errors = (F.mse_loss(ours, theirs, reduction="none").mean(-1) * stays).sum() / stays.sum().clamp(min=1)
        guess, truth = (F.log_softmax(output.logits, -1) for output in (student, teacher))
        divergence = F.kl_div(guess, truth, reduction="batchmean", log_target=True)
        return self.settings.distillation_weight * (divergence + errors)
