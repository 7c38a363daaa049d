"""A reduced model as mmsegmentation knows models: backbone, linear head, and a segmentor that adds its losses."""

from __future__ import annotations

from typing import Any

import suite.tasks.segmentation.engine  # noqa: F401  (before mmsegmentation, see there)

# isort: split
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmseg.models import EncoderDecoder, SegDataPreProcessor
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from suite.data.labels import IGNORED
from suite.reduction.model import ReducedModel
from suite.tasks.loop import precise
from suite.tasks.segmentation.data import SegmentationData
from suite.tasks.segmentation.pixels import check_readable, on_grid, read_features


@MODELS.register_module()
class ReducedBackbone(BaseModule):  # type: ignore[misc]
    """Images, (B, 3, height, width), to one map of features, (B, D, rows, columns).

    With logit fusion two more maps follow: logits predicted for removed patches, and which patches were kept.
    """

    def __init__(self, model: ReducedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.outputs(images)[0]

    def outputs(self, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The maps that the head reads, together with the outputs that only training needs."""
        dense = self.model.dense_outputs(images)
        values = [read_features(self.model.backbone, dense.features)]
        if dense.predicted is not None:
            values += [dense.predicted, dense.is_kept.unsqueeze(-1)]
        return tuple(on_grid(value, self.model.method.context.grid) for value in values), dense.auxiliary


@MODELS.register_module()
class PatchwiseLinearHead(BaseDecodeHead):  # type: ignore[misc]
    """Cropr's official head: one linear layer for every patch, then bilinear upsampling.

    The layer is the timm backbone's own `head`, so the weights of both are one `state_dict` of timm's.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(
            in_channels=linear.in_features,
            channels=linear.in_features,
            num_classes=linear.out_features,
            out_channels=linear.out_features,
            dropout_ratio=0,  # the backbone's `head_drop` comes before
            loss_decode={"type": "CrossEntropyLoss", "avg_non_ignore": True},
            ignore_index=IGNORED,
            align_corners=False,
            init_cfg=None,  # or mmengine draws new weights when training starts
        )
        del self.conv_seg
        self.linear = linear

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits for every patch, (B, classes, rows, columns)."""
        features, *fused = inputs
        logits = on_grid(self.linear(features.flatten(2).transpose(1, 2)), features.shape[2:])
        if not fused:
            return logits
        predicted, kept = fused
        return torch.where(kept, logits, predicted)


@MODELS.register_module()
class ReducedSegmentor(EncoderDecoder):  # type: ignore[misc]
    """mmsegmentation's encoder-decoder, whose loss also has what the method adds.

    It predicts in `precision`; that of the loss is the optimizer's business.
    """

    def __init__(self, precision: str, **parts: Any) -> None:
        super().__init__(**parts)
        self.precision = precision

    def predict(self, inputs: Tensor, data_samples: list[Any] | None = None) -> list[Any]:
        """Data samples with logits and labels for every pixel of the images as they were."""
        with precise(self, self.precision):
            found: list[Any] = super().predict(inputs, data_samples)
        return found

    def loss(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Cross entropy of every labelled pixel, and the method's auxiliary loss on labels of patches."""
        maps, auxiliary = self.backbone.outputs(inputs)
        losses: dict[str, Tensor] = self._decode_head_forward_train(maps, data_samples)
        labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        target = patch_labels(labels, maps[0].shape[2:])
        extra = self.backbone.model.method.auxiliary_loss(auxiliary, target, patch_loss)
        return losses if extra is None else losses | {"auxiliary.loss": extra}


def patch_labels(labels: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Label of each patch, (B, N0), by nearest neighbour as torch has it, from label maps, (B, height, width)."""
    return F.interpolate(labels.unsqueeze(1).float(), size=tuple(grid), mode="nearest").flatten(1).long()


def patch_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy over labelled patches; 0, and not a number, if there are none."""
    total = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="sum")
    return total / (target != IGNORED).sum().clamp(min=1)


def build_segmentor(model: ReducedModel, data: SegmentationData, precision: str = "float32") -> ReducedSegmentor:
    """Put a reduced model under mmsegmentation, for data whose images are padded to the size it takes.

    Images are padded on the right and at the bottom, with zeros after normalisation and labels to ignore, and
    predictions are cut back.

    Raises:
        TypeError: for a backbone without one linear head.
        ValueError: if the model does not fit the data.
    """
    check_model(model, data)
    size = tuple(model.backbone.patch_embed.img_size)
    preprocessing = {
        "type": SegDataPreProcessor,
        "mean": data.mean,
        "std": data.deviation,
        "bgr_to_rgb": data.blue_first,
        "size": size,
        "pad_val": 0,
        "seg_pad_val": IGNORED,
        "test_cfg": {"size": size},
    }
    segmentor = ReducedSegmentor(
        precision,
        backbone={"type": ReducedBackbone, "model": model},
        decode_head={"type": PatchwiseLinearHead, "linear": model.backbone.head},
        data_preprocessor=preprocessing,
        test_cfg=ConfigDict(
            mode="whole" if data.stride is None else "slide", crop_size=size, stride=(data.stride,) * 2
        ),
    )
    segmentor.to(next(model.parameters()).device)  # where images will go
    return segmentor


def check_model(model: ReducedModel, data: SegmentationData) -> None:
    """Refuse a model that cannot segment these data.

    Raises:
        TypeError, ValueError: with what was found and what would work.
    """
    backbone, settings = model.backbone, model.method.settings
    check_readable(backbone)
    if backbone.head.out_features != len(data.classes):
        raise ValueError(
            f"the backbone's head has {backbone.head.out_features} classes but the data have {len(data.classes)}; "
            f"build it with num_classes={len(data.classes)}"
        )
    if settings.learns_from_teacher():
        raise ValueError(
            f"{type(model.method).__name__} would learn from the unpruned model, which segmentation does not offer; "
            "turn its distillation off"
        )
    size = tuple(backbone.patch_embed.img_size)
    if any(found > side for found, side in zip(data.largest, size, strict=True)):
        raise ValueError(
            f"the data have images of up to {data.largest[0]} x {data.largest[1]} pixels but the model takes "
            f"{size[0]} x {size[1]}; smaller images are padded, larger ones need a model built for them"
        )
