"""IdleViT: patches that are not selected sit a block out, unchanged, and may be selected again later.

Xu et al., "No Token Left Behind: Efficient Vision Transformer via Dynamic Token Idling", arXiv 2310.05654;
github Ackesnal/IdleViT.

Before the attention of a block, every patch (idle ones included) is scored by the mean over heads of the class token's
logits q_class k_n; the best K and the prefix run the block, all others pass it by. The stages of the official code are
the schedule rule `stages`; with plain counts, as many patches sit out a block as a dropper has removed before it.

Departures:
1. Training works on the selected tokens only, like evaluation; the official training code masks the dense model, which
   is equal up to rounding.
2. Without the token cut loss and the distillation.
3. Gradients flow in evaluation mode too; the official one runs idle blocks without gradients.
"""

from torch import Tensor, nn

from suite.reduction import blocks
from suite.reduction.method import Method
from suite.reduction.settings import MethodSettings
from suite.reduction.tokens import Tokens


class Settings(MethodSettings):
    """IdleViT has no settings besides its schedule."""

    reduces = "idles"
    needs = ("class token",)


class IdleViT(Method):
    """score_n = mean over heads of q_class k_n, out of the block's own norm and projection."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        left_out = sum(self.counts[:layer])
        if not left_out:
            return blocks.run(block, tokens)
        projection = blocks.project(block, tokens)
        keep: Tensor = projection.class_logits().topk(tokens.count - left_out, sorted=False).indices
        active, _ = blocks.attend(block, tokens, projection, keep)
        return tokens.write_back(blocks.feed_forward(block, active), keep)
