"""The check that keeping some patches is the same as masking all others.

Patches leave in one block only. From there on the model must be timm's own blocks on the whole grid, where the keys
of all removed patches are masked. A rotary table that is gathered wrongly shows here, and a part of the block that is
left out only where patches leave. The same holds in training, where a method only masks patches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from suite.contract.case import EVERYWHERE, ONCE, Broken, Case, Inapplicable, distance, require_near
from suite.measure.tokens import count_tokens
from suite.reduction.attention import TimmModule
from suite.reduction.blocks import POST_NORM
from suite.reduction.model import ReducedModel
from suite.reduction.tokens import Tokens

WHERE = next(block for block, count in enumerate(ONCE) if count)
MASKED = torch.tensor(float("-inf"))
REASONS = {
    "nothing": "it removes nothing",
    "masks": "it masks by its own rule, which only it knows",
}


@torch.no_grad()
def check_kept(case: Case) -> None:
    """The block where patches leave, and all later ones, are timm's own, with removed patches masked.

    Once tokens carry sizes, the log-size of each is added to its logits as a key (ToMe, section 3), unless the method
    says that it attends to all alike. Where patches idle, every block is compared by itself. Where a method masks
    patches in training, the same must hold there.
    """
    if case.settings.reduces in REASONS:
        raise Inapplicable(REASONS[case.settings.reduces])
    if case.settings.reduces == "idles":
        model = case.model(EVERYWHERE)
        _check_idling(model, list(model.steps(case.images())), _tables(model.backbone, case.images()))
        return
    for fusion in case.fusions():
        model, images = case.model(ONCE, fusion), case.images()
        attending = count_tokens(model, images).attention
        steps = list(model.steps(images, track=True))
        tables = _tables(model.backbone, images)
        _check_leaving(model, steps, tables[WHERE], attending, case)
        sized = case.settings.attends_by_size()
        _check_later(model, steps if sized else [replace(tokens, size=None) for tokens in steps], tables)
        if case.settings.masks_in_training:
            _check_masked(case.model(ONCE, fusion).train(), images, tables)


@dataclass(frozen=True)
class Grid:
    """Some tokens at their places in the whole grid.

    Attributes:
        x: (B, P+N0+F, D); the F tokens without a position come last. Zero where there is no token.
        places: of the tokens in x, (B, P+N).
        bias: on the logits of each key, (B, P+N0+F): log-size, or minus infinity where there is no token.
    """

    x: Tensor
    places: Tensor
    bias: Tensor

    def run(self, block: TimmModule, table: Tensor | None) -> Grid:
        """The block as timm has it; a token without a position is not rotated."""
        arguments = {"attn_mask": self.bias[:, None, None].expand(-1, -1, self.x.shape[1], -1)}
        if table is not None:
            prefix = block.attn.num_prefix_tokens
            sine = table.new_zeros(self.x.shape[1] - prefix - len(table), table.shape[1] // 2)
            arguments["rope"] = torch.cat([table, torch.cat([sine, sine + 1], 1)])
        return replace(self, x=block(self.x, **arguments))

    def at(self, places: Tensor) -> Tensor:
        """Features at places, (B, K), as (B, K, D)."""
        return self.x.gather(1, places.unsqueeze(-1).expand(-1, -1, self.x.shape[2]))

    def put(self, x: Tensor, places: Tensor, bias: Tensor) -> Grid:
        """Also these tokens, (B, K, D), at places, (B, K)."""
        rows = places.unsqueeze(-1).expand_as(x)
        places_now = torch.cat([self.places, places], 1)
        return Grid(self.x.scatter(1, rows, x), places_now, self.bias.scatter(1, places, bias))


def _spread(tokens: Tokens, patches: int) -> Grid:
    """Tokens scattered into the whole grid."""
    position, prefix = tokens.where, tokens.prefix
    if position.shape != tokens.patches.shape[:2] or position.max() >= patches:
        raise Broken(f"positions of shape {tuple(position.shape)}, up to {int(position.max())}, fit no token")
    nowhere = position < 0
    places = prefix + torch.where(nowhere, patches + nowhere.cumsum(1) - 1, position)
    places = torch.cat([torch.arange(prefix).expand(len(places), -1), places], 1)
    if any(len(row.unique()) < len(row) for row in places):
        raise Broken("two tokens claim the same position")
    length = prefix + patches + int(nowhere.sum(1).max())
    size = torch.ones(position.shape) if tokens.size is None else tokens.size
    empty = Grid(
        tokens.x.new_zeros(len(places), length, tokens.x.shape[2]), places[:, :0], MASKED.expand(len(places), length)
    )
    return empty.put(tokens.x, places, pad(size.log(), (prefix, 0)))


def _check_leaving(
    model: ReducedModel, steps: list[Tokens], table: Tensor | None, attending: tuple[int, ...], case: Case
) -> None:
    """The tokens that leave the block where patches are removed have gone through all of the block.

    If fewer than all tokens attend there, the removed ones may be masked. Merged, fused and padding ones are excused.
    """
    block, before, after = model.backbone.blocks[WHERE], steps[WHERE - 1], steps[WHERE]
    patches = before.count
    grid, full = _spread(after, patches), _spread(before, patches)
    alone = pad(case.alone(after), (after.prefix, 0), value=True)
    if not alone.any():
        return
    expected = [full.run(block, table)]
    if attending[WHERE : WHERE + 1] != (before.x.shape[1],):
        if not (alone[:, after.prefix :] | (False if after.absent is None else after.absent)).all():
            return  # merged before they attend: these keys cannot be known here
        expected.append(replace(full, bias=grid.bias).run(block, table))
    found, alike = after.x[alone], [option.at(grid.places.clamp(max=full.x.shape[1] - 1))[alone] for option in expected]
    nearest = min(alike, key=lambda option: distance(found, option))
    tolerance = max(1e-5, case.rounding if after.size is None else 0.0)
    require_near(found, nearest, "tokens that stay in the block where others leave, against timm's block,", tolerance)


def _check_later(model: ReducedModel, steps: list[Tokens], tables: list[Tensor | None]) -> None:
    """All blocks after that one are timm's own, with the removed patches masked."""
    start, last, patches = steps[WHERE], steps[-1], steps[0].count
    grid = _spread(start, patches)
    for layer in range(WHERE + 1, len(steps)):
        if layer == len(steps) - 1:
            grid = _rejoined(grid, start)
        grid = grid.run(model.backbone.blocks[layer], tables[layer])
    expected = grid.at(_spread(last, patches).places)
    require_near(last.x, expected, "kept tokens after the last block, against timm's blocks with the others masked,")


def _rejoined(grid: Grid, start: Tokens) -> Grid:
    """Also what was stashed, as it was then, and what stayed as padding."""
    if start.stashed is None or start.stashed_position is None:
        return grid
    places = start.stashed_position + start.prefix
    grid = grid.put(start.stashed, places, torch.zeros(places.shape))
    if start.absent is None:
        return grid
    places = start.where + start.prefix
    x = torch.where(start.absent.unsqueeze(-1), start.patches, grid.at(places))
    return grid.put(x, places, torch.zeros(places.shape))


def _check_masked(model: ReducedModel, images: Tensor, tables: list[Tensor | None]) -> None:
    """In training, patches that are not masked compute as if the others had left; these may rejoin as they were.

    Blocks that do not normalise what attends get smaller weights, or logits would be so large that the eps of
    `Projection.masked` shows.
    """
    for block in model.backbone.blocks:
        for parameter in block.attn.parameters() if type(block) in POST_NORM else ():
            parameter.mul_(0.3)
    steps = list(model.steps(images))
    start, last = steps[WHERE], steps[-1]
    if start.policy is None or not (start.policy <= 0).any():
        raise Broken("it says that it masks patches in training, and masks none; use Tokens.mask")
    whole = _spread(start, steps[0].count)
    hidden = torch.zeros_like(whole.bias).scatter(1, whole.places, pad(start.policy <= 0, (start.prefix, 0)).float())
    grid = replace(whole, bias=whole.bias.masked_fill(hidden > 0, MASKED))
    for layer in range(WHERE + 1, len(steps)):
        if layer == len(steps) - 1 and last.policy is None:
            grid = replace(whole, x=torch.where(hidden.unsqueeze(-1) > 0, whole.x, grid.x))
        grid = grid.run(model.backbone.blocks[layer], tables[layer])
    seen = (grid.bias > MASKED).gather(1, grid.places)
    expected = grid.at(_spread(last, steps[0].count).places)
    what = (
        "patches that are not masked, after the last block in training, against timm's blocks with the others masked,"
    )
    require_near(last.x[seen], expected[seen], what)


def _check_idling(model: ReducedModel, steps: list[Tokens], tables: list[Tensor | None]) -> None:
    """In every block, tokens that change do so as in timm's, among themselves or with idle ones as keys."""
    for layer in range(1, len(steps)):
        before, after, block = steps[layer - 1], steps[layer], model.backbone.blocks[layer]
        active = (after.x != before.x).any(-1)
        everything = _spread(before, before.count)
        alone = replace(everything, bias=torch.where(active, 0.0, MASKED))
        alike = [option.run(block, tables[layer]).x[active] for option in (alone, everything)]
        nearest = min(alike, key=lambda option: distance(after.x[active], option))
        require_near(after.x[active], nearest, f"tokens that are not idle in block {layer}, against timm's block,")


def _tables(backbone: TimmModule, images: Tensor) -> list[Tensor | None]:
    """Rotary table of each block, (N0, d), by timm's own embedding."""
    embedded = backbone._pos_embed(backbone.patch_embed(images))
    return [embedded[1] if isinstance(embedded, tuple) else None] * len(backbone.blocks)
