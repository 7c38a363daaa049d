"""IdleViT: patches that are not selected sit a block out, unchanged, and may be selected again later.

Xu et al., "No Token Left Behind: Efficient Vision Transformer via Dynamic Token Idling", arXiv 2310.05654;
github Ackesnal/IdleViT (d46c1c2).

Before the attention of a block, every patch (idle ones included) is scored by the mean over heads of the class token's
logits q_class k_n; the best K and the prefix run the block, all others pass it by. The stages of the official code are
the schedule rule `stages`; with plain counts, as many patches sit out a block as a dropper has removed before it.

In training, a token cut loss keeps attention inside the selected and inside the idle tokens, and the unpruned model may
teach: w KL(student || teacher) on logits, and 100 w MSE on the normalised features of the class token.

As published:
- DeiT-S, 0.7 (`--base_rate 0.7`): `{stages: 0.7, first: 3, length: 3}`.
- With distillation (`--distill --distillw 5`): `distillation_weight: 5`.

Departures:
1. Training works on the selected tokens only, like evaluation; the official training code masks the dense model, which
   is equal up to rounding.
2. The token cut loss is the mean over all idle blocks. The official code deletes from a list while it walks along it,
   so it sums every second one and divides by all of them (`cut_blocks: official`).
3. Distillation is off by default, so that all methods learn from the same labels; the official default weight is 5, and
   the official code cannot train without it.
4. Gradients flow in evaluation mode too; the official one runs idle blocks without gradients.
5. The number of patches at work only shrinks from block to block, and the first block has all of them; the official
   code can be given any ratios, and idle blocks with none between them.
6. Where keys are neither normalised nor rotated, the key projection is folded into the class token's query, which ranks
   patches equally, and idle patches are not projected at all; the official evaluation computes their keys. Only the
   token cut loss needs them.
7. All prefix tokens are selected, and between groups none of their keys is counted; officially there is only the class
   token, which is treated so.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from suite.methods import (
    Criterion,
    Field,
    Literal,
    Method,
    MethodSettings,
    Output,
    Tensor,
    Tokens,
    attend,
    class_logits,
    feed_forward,
    nn,
    project,
    run,
)


class Settings(MethodSettings):
    """Weights of the token cut loss and of the distillation; `cut` says which of the cut loss's two parts count."""

    strength_parameter = "stages"
    version = 3
    reduces = "idles"
    needs = ("class token",)
    auxiliary_trains_backbone = True
    cut_weight: float = Field(20.0, ge=0)
    cut: Literal["both", "intra", "inter"] = "both"
    cut_blocks: Literal["all", "official"] = "all"
    distillation_weight: float = Field(0.0, ge=0)

    def learns_from_teacher(self) -> bool:
        return self.distillation_weight > 0


class IdleViT(Method):
    """score_n = mean over heads of q_class k_n, out of the block's own norm and projection."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        idle = sum(self.counts[:layer])
        if not idle:
            return run(block, tokens)
        cuts = self.training and self.settings.cut_weight > 0
        logits, projection = class_logits(block, tokens, project(block, tokens) if cuts else None)
        keep = logits.topk(tokens.count - idle, sorted=False).indices
        if cuts and projection is not None:
            loss = token_cut_loss(projection.mean_logits(), tokens.with_prefix(keep), tokens.prefix, self.settings.cut)
            tokens = tokens.with_auxiliary(loss)
        active, _ = attend(block, tokens, projection, keep)
        return tokens.write_back(feed_forward(block, active), keep)

    def auxiliary_loss(self, auxiliary: Sequence[Tensor], target: Tensor, criterion: Criterion) -> Tensor | None:
        counted = auxiliary[::2] if self.settings.cut_blocks == "official" else auxiliary
        return self.settings.cut_weight * torch.stack(list(counted)).sum() / len(auxiliary) if counted else None

    def distillation_loss(self, student: Output, teacher: Output) -> Tensor:
        ours, theirs = (F.log_softmax(output.logits, -1) for output in (student, teacher))
        features = F.mse_loss(F.normalize(student.feature), F.normalize(teacher.feature))
        divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return self.settings.distillation_weight * (divergence + 100 * features)


def token_cut_loss(logits: Tensor, selected: Tensor, prefix: int, cut: Literal["both", "intra", "inter"]) -> Tensor:
    """Loss of one block, from its mean logits, (B, T, T), and its `selected` tokens, (B, P+K), prefix included.

    W = softmax(logits); m_i = 1 for a selected token. intra = MSE(sum_j m_i m_j W_ij, m_i); inter =
    MSE(sum_j |m_i - m_j| W_ij, 0) without the prefix's keys j.
    """
    weight = logits.softmax(-1)
    mask = torch.zeros_like(logits[:, 0]).scatter(1, selected, 1.0)
    to_selected = torch.einsum("bij,bj->bi", weight, mask)
    to_idle = torch.einsum("bij,bj->bi", weight, 1 - mask)
    intra = F.mse_loss(mask * to_selected, mask)
    across = mask * to_idle + (1 - mask) * (to_selected - weight[:, :, :prefix].sum(-1))
    inter = across.square().mean()
    return {"both": intra + inter, "intra": intra, "inter": inter}[cut]
