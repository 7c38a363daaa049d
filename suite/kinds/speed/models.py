"""The models that are timed side by side: both unpruned references and each row, on one backbone's weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from suite.errors import UserError
from suite.measure.count import count
from suite.measure.speed import references
from suite.study.configuration import Configuration


def build_side_by_side(rows: Mapping[str, Configuration]) -> tuple[dict[str, nn.Module], tuple[int, int]]:
    """Both references and every row, deployed, on the processor in float32, with random weights that all share.

    Rows are on one backbone for one task, and may differ in what is pooled. Returns models by name, the references
    first, and height and width of images in pixels; UserError for whatever of a row cannot be, or does not fit.
    """
    first = next(iter(rows.values()))
    backbone = first.build_backbone("cpu")
    known = {first.backbone.model_dump_json(): backbone}
    models = references(first.read_out_unpruned(backbone))
    for name, row in rows.items():
        key = row.backbone.model_dump_json()
        if key not in known:
            known[key] = row.build_backbone("cpu")
            known[key].patch_embed, known[key].blocks = backbone.patch_embed, backbone.blocks
        if name not in models:
            models[name] = row.read_out(row.build("cpu", backbone=known[key]))
    return models, backbone.patch_embed.img_size


def macs_of(rows: Mapping[str, Configuration]) -> dict[str, float]:
    """Multiply-accumulates of an image (convention `full`) of each row; UserError naming the row if one cannot be."""
    found = {}
    for name, row in rows.items():
        try:
            found[name] = float(count(row.build(), row.read_out).macs.full)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    return found
