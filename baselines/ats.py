"""ATS: patches are sampled by their significance, so that images keep different numbers of them.

Fayyaz et al., "Adaptive Token Sampling for Efficient Vision Transformers", arXiv 2111.15667; github
adaptivetokensampling/ATS (9271257). Compared by Haurum et al., "Which Tokens to Use?", arXiv 2308.04657; github
JoakimHaurum/TokenReduction (88fe07e), `ats.py`.

In the attention of a block, S_n = sum over heads of a_hn |v_hn|, with the class token's attention a and the values v,
in shares of the sum over n. For each of K points (j - 1/2) / K, the patch whose cumulated S is nearest is sampled.
Those sampled attend to all and go on; the others leave. K is what the schedule leaves. Several points may sample one
patch, so an image keeps at most K. Images are padded to K, which is what they cost.

As published:
- DeiT-S, TokenReduction, 0.7: `{stages: 0.7, first: 4, length: 3}`, `reading: comparison`.
- ViT-L, at most Cropr's R=8 (its Table 1): `{constant: 8, blocks: 0-21, extra_first: 1}`; what that ran is not known.

Departures:
1. The paper's text was not at hand. `reading: paper`, the default, is what the comparison's comments say of it. Its
   code leaves out the highest of K + 1 points (`reading: comparison`), except where rounding errors bring it back: in
   the blocks `with_highest` all of K points are there.
2. In the official code (`reading: official`) S_n = sum_h a_hn |v_n|, v_n of all heads; it is cumulated in ascending
   order; and the points are evenly spread from the second value to the last. It has as many points as first patches in
   every block, so that data alone decide how many stay; here there are K.
3. Images are padded to K; officially, and in the comparison, to the longest of the batch, for which the GPU must be
   waited for. Padding is no key and does not count, so no image depends on others; officially it may.
4. Nearest is exact, where the comparison's distances are off by up to 3e-4 in single precision; of equal values, which
   take patches without significance, the last may be sampled instead of the first.
5. Attention is as in the block, before dropout; the official code adds 1e-6 to it, as DynamicViT does.
6. Of an image in which no patch is significant the first K stay; officially that is not a number.
7. All prefix tokens stay; officially there is only the class token.
"""

import torch
from torch.nn import functional as F

from suite.methods import (
    Fusion,
    Literal,
    Method,
    MethodSettings,
    Place,
    Projection,
    Schedule,
    Tensor,
    Tokens,
    attend,
    feed_forward,
    nn,
    others,
    project,
    run,
)


class Settings(MethodSettings):
    """`reading` of the sampling, and for that of the comparison the blocks `with_highest` point: see the departures."""

    strength_parameter = "stages"
    needs = ("class token",)
    is_adaptive = True
    reading: Literal["paper", "comparison", "official"] = "paper"
    with_highest: tuple[int, ...] = ()

    def can_stash(self) -> bool:
        return True

    def removal_stage(self) -> Place:
        return "within"

    def check(self, schedule: Schedule, fusion: Fusion) -> None:
        if fusion == "logits":
            raise ValueError(
                "logits fusion needs removed patches to be stashed where they leave, but this method pads with them "
                "where an image keeps fewer than others; use last-layer or concatenation"
            )
        super().check(schedule, fusion)


class ATS(Method):
    """Sampling in every block that removes patches."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        if not self.counts[layer]:
            return self.hold(tokens, run(block, tokens))
        projection = project(block, tokens)
        gone = self.leaving(projection, tokens.count - self.counts[layer], layer)
        in_order = gone * tokens.count + torch.arange(tokens.count, device=gone.device)  # padding is last
        keep = in_order.topk(tokens.count - self.counts[layer], largest=False).indices
        tokens = tokens.without(gone)
        tokens = tokens.stash(keep, others(keep, tokens.count)) if self.stashes else tokens.select(keep)
        attended, _ = attend(block, tokens, projection.asked_by(tokens.with_prefix(keep)))
        return self.hold(tokens, feed_forward(block, attended))

    def hold(self, before: Tokens, after: Tokens) -> Tokens:
        """Padding that will rejoin keeps the features with which it left."""
        if not self.stashes or before.absent is None:
            return after
        return after.with_patches(torch.where(before.absent.unsqueeze(-1), before.patches, after.patches))

    @torch.no_grad()
    def leaving(self, projection: Projection, points: int, layer: int) -> Tensor:
        """Which patches no point samples, (B, N)."""
        reading = self.settings.reading
        score = significance(projection, joint=reading == "official")
        if reading == "official":
            return not_nearest_in_order(score, points)
        apart = 1 / (points + (reading == "comparison" and layer not in self.settings.with_highest))
        values = score.cumsum(1)
        return not_nearest(values, 0.5, values[:, -1:] * (2 * apart), points)


def significance(projection: Projection, joint: bool) -> Tensor:
    """Of each patch, (B, N), 0 for padding; the norm is that of the values of all heads if `joint`."""
    attention, value = projection.class_rows().float(), projection.value[:, :, projection.prefix :]
    norm: Tensor = torch.linalg.vector_norm(value, dim=-1).float()
    return attention.sum(1) * norm.square().sum(1).sqrt() if joint else (attention * norm).sum(1)


def not_nearest(values: Tensor, first: float, twice: Tensor, points: int) -> Tensor:
    """Which of rising values, (B, N), are not the nearest to any of so many points, (B, N).

    The points are first + j, j = 0, 1, ..., in units of half of `twice`, (B, 1). None of them is looked at: it is known
    how many are below the middle between two values, and a value is nearest to those between two middles.
    """
    below = ((values[:, 1:] + values[:, :-1]) / twice + (1 - first)).floor().clamp(0, points)
    return F.pad(below, (0, 1), value=points) <= F.pad(below, (1, 0))


def not_nearest_in_order(score: Tensor, points: int) -> Tensor:
    """The same of scores, (B, N), cumulated in ascending order: the points go from the second value to the last."""
    ordered, order = score.masked_fill(score == 0, float("inf")).sort(1)  # nothing is near to padding
    values = ordered.cumsum(1)
    second, last = values[:, 1:2], score.sum(1, keepdim=True)
    gone = not_nearest(values - second, 0, (last - second) * (2 / max(points - 1, 1)), points)
    return torch.empty_like(gone).scatter(1, order, gone)
