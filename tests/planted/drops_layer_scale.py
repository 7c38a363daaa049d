"""Wrong: it writes the block out by hand and forgets LayerScale."""

from dataclasses import replace

from timm.models.vision_transformer import Block

from suite.methods import Projection, ScoringMethod, ScoringSettings, Tensor, Tokens, nn


class Settings(ScoringSettings):
    """No settings of its own."""


class DropsLayerScale(ScoringMethod):
    """Patches of small norm leave after the block."""

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return tokens.patches.norm(dim=-1)

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        if type(block) is not Block:
            return super().forward_block(block, tokens, layer)
        x = tokens.x + block.drop_path1(block.attn(block.norm1(tokens.x)))
        x = x + block.drop_path2(block.mlp(block.norm2(x)))
        return self._reduce(block, replace(tokens, x=x), None, layer)
