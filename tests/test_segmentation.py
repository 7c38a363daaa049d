"""Segmentation through mmengine and mmsegmentation: it learns, repeats itself, and its numbers are what they say."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import BACKBONES, build, draw_images
from torch import Tensor, nn
from torch.nn import functional as F

from suite.data.dataset import Examples
from suite.errors import UserError
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import modules
from suite.tasks.loop import TrainingFailed
from suite.tasks.segmentation.data import SegmentationData, in_memory
from suite.tasks.segmentation.model import ExactIoU, build_segmentor, patch_labels, patch_loss
from suite.tasks.segmentation.recipe import SegmentationRecipe
from suite.tasks.segmentation.train import GuardedOptimizer, evaluate, train
from suite.tasks.task import Epoch

METHODS = sorted(modules())
CLASSES = 11
NAMES = tuple(map(str, range(CLASSES)))
REMOVED = (9, 8, 0, 0)
SIZES = [(32, 32), (30, 26)]
RECIPE = SegmentationRecipe(epochs=2, batch_size=8, learning_rate=5e-3, warmup_epochs=0.25)


def make(count: int, height: int = 32, width: int = 32, classes: int = 8, seed: int = 0) -> Examples:
    """Noisy scenes in blocks of 8 pixels whose colour tells their class; some blocks are not labelled."""
    draw = np.random.default_rng(seed)
    colours = np.random.default_rng(9).integers(0, 256, (CLASSES, 3))
    blocks = draw.integers(0, classes, (count, 4, 4))
    maps = blocks.repeat(8, 1).repeat(8, 2)[:, :height, :width].astype(np.uint8)
    images = (0.7 * colours[maps] + draw.integers(0, 77, (*maps.shape, 3))).astype(np.uint8)
    maps[(draw.random(blocks.shape) < 0.1).repeat(8, 1).repeat(8, 2)[:, :height, :width]] = 255
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return Examples(pixels, {"labels": np.zeros(count, np.int64), "maps": maps})


@functools.cache
def few(height: int = 32, width: int = 32) -> SegmentationData:
    """Thirty-six scenes to train on, so that the last batch is a smaller one, and ten; classes 8 to 10 never occur."""
    return in_memory(make(36, height, width), make(10, height, width, seed=1), NAMES)


def fresh(method: str, backbone: str = "vit", **options: Any) -> ReducedModel:
    """The same model, with timm's own initialisation, every time it is called."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"queries": 64} if method == "cropr" else {}
    fusion = "last-layer" if method == "cropr" else "none"
    return reduce(BACKBONES[backbone](num_classes=CLASSES, **options), method, REMOVED, settings, fusion)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights as they are now."""
    return {key: value.clone() for key, value in model.state_dict().items()}


def preprocessed(model: ReducedModel, data: SegmentationData, indices: list[int], training: bool) -> dict[str, Any]:
    """Some of the training scenes as the model gets them."""
    items = [data.train[index] for index in indices]
    batch = {key: [item[key] for item in items] for key in ("inputs", "data_samples")}
    return build_segmentor(model, data).data_preprocessor(batch, training)  # type: ignore[no-any-return]


TRAINED = [  # with the size of the images, which are padded where they are smaller than the model takes
    *((method, "vit", (32, 32)) for method in ("cropr", "dynamicvit", "evit", "idlevit", "tome")),
    *(("variance", backbone, (29, 27)) for backbone in ("vit without class token", "dinov3", "eva02", "eva post-norm")),
    ("variance", "vit not square", (30, 18)),
]


@pytest.mark.parametrize(("method", "backbone", "size"), TRAINED)
def test_loss_falls(method: str, backbone: str, size: tuple[int, int]) -> None:
    """In two epochs on thirty-six scenes, whatever the method and the backbone, and every epoch has scores."""
    recipe = RECIPE.model_copy(update={"clip_gradient": None if backbone == "vit" else 1.0})
    epochs = train(fresh(method, backbone), few(*size), recipe, seed=0)
    assert [epoch.epoch for epoch in epochs] == [0, 1]
    assert epochs[1].loss < (0.9 if backbone == "vit" else 1) * epochs[0].loss
    assert epochs[1].learning_rate < epochs[0].learning_rate
    for epoch in epochs:
        assert epoch.parts.keys() <= {f"iou_{number}" for number in range(CLASSES)}
        assert 0 <= epoch.scores["miou"] <= epoch.scores["macc"] <= 100


@pytest.mark.parametrize("workers", [0, 2])
def test_training_is_deterministic_where_torch_insists(workers: int) -> None:
    """With torch's deterministic algorithms, as cells run, and with images loaded by other processes."""
    torch.use_deterministic_algorithms(True)
    try:
        runs = [
            train(fresh("evit"), few(), RECIPE.model_copy(update={"workers": workers}), seed=0),
            train(fresh("evit"), few(), RECIPE, seed=0),
        ]
    finally:
        torch.use_deterministic_algorithms(False)
    assert runs[0] == runs[1]


def test_learning_shows_in_scores() -> None:
    """Ten epochs find most pixels of scenes never seen."""
    model = fresh("variance")
    before = evaluate(model, few())
    after = train(model, few(), RECIPE.model_copy(update={"epochs": 10}), seed=0)[-1].scores
    assert after["miou"] > 50 > 10 > before.miou
    assert after["aacc"] > 70


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backbone", ["vit", "eva02"])
def test_scores_equal_an_independent_count(backbone: str, size: tuple[int, int]) -> None:
    """mIoU, mAcc, aAcc and IoU are those of a numpy count over timm's own features, with odd sizes and gaps."""
    data, model = few(*size), reduce(build(backbone, num_classes=CLASSES), "none")
    height, width = size
    scenes = data.validation.examples
    images = F.pad(
        torch.from_numpy((scenes.images - np.float32(127.5)) / np.float32(127.5)), (0, 32 - width, 0, 32 - height)
    )
    timm = model.backbone
    with torch.no_grad():
        logits = timm.head(timm.fc_norm(timm.forward_features(images)[:, timm.num_prefix_tokens :]))
    upsampled = F.interpolate(logits.transpose(1, 2).unflatten(2, (8, 8)), size=(32, 32), mode="bilinear")
    predicted = upsampled.argmax(1).numpy()[:, :height, :width]
    seen = scenes.targets["maps"] != 255
    truth, guess = scenes.targets["maps"][seen].astype(int), predicted[seen]
    table = np.zeros((CLASSES, CLASSES), int)
    np.add.at(table, (truth, guess), 1)
    right, labelled, union = table.diagonal(), table.sum(1), table.sum(0) + table.sum(1) - table.diagonal()
    scores = evaluate(model, data)
    expected = [100 * hit / total if total else None for hit, total in zip(right, union, strict=True)]
    assert [None if iou is None else pytest.approx(iou, rel=1e-12) for iou in expected] == list(scores.iou)
    assert scores.miou == pytest.approx(np.mean([iou for iou in expected if iou is not None]), rel=1e-12)
    assert scores.macc == pytest.approx(100 * (right[labelled > 0] / labelled[labelled > 0]).mean(), rel=1e-12)
    assert scores.aacc == pytest.approx(100 * right.sum() / labelled.sum(), rel=1e-12)


def test_scores_of_hand_made_maps() -> None:
    """A class that is only predicted counts as 0, one that never occurs is None, ignored pixels count nowhere."""
    metric = ExactIoU()
    metric.dataset_meta = {"classes": ("a", "b", "c", "d")}
    label, said = torch.tensor([[0, 0, 1, 255]]), torch.tensor([[0, 2, 1, 3]])
    metric.process({}, [{"pred_sem_seg": {"data": said}, "gt_sem_seg": {"data": label}}])
    scores = metric.evaluate(1)["validation/scores"]
    assert scores.iou == (50.0, 100.0, 0.0, None)
    assert (scores.miou, scores.macc) == (50.0, 75.0)
    assert scores.aacc == pytest.approx(200 / 3, rel=1e-15)
    metric.process({}, [{"pred_sem_seg": {"data": said}, "gt_sem_seg": {"data": torch.full((1, 4), 255)}}])
    with pytest.raises(ValueError, match="no pixel of the 1 validation images is labelled"):
        metric.evaluate(1)


def test_many_pixels_are_counted_exactly() -> None:
    """Areas beyond 2^24 pixels, where 32-bit floats skip every second number, are summed exactly."""
    metric = ExactIoU()
    big, one = torch.tensor([2.0**24, 0.0]), torch.tensor([1.0, 0.0])
    rows = [(big, big, big, big), *[(0 * one, one, one, one)] * 3]
    assert metric.compute_metrics(rows)["scores"].iou[0] == 100 * 2**24 / (2**24 + 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backbone", ["vit", "vit with registers, average", "eva02", "deit3"])
def test_keeping_all_is_timm_to_the_bit(method: str, backbone: str) -> None:
    """With nothing removed, logits of patches are timm's normalised features under timm's own head."""
    timm = build(backbone, num_classes=CLASSES)
    model = reduce(timm, method, None, {"queries": 64} if method == "cropr" else {}).eval()
    images = draw_images(timm, count=3)
    with torch.no_grad():
        found = build_segmentor(model, few()).eval().encode_decode(images)
        expected = timm.head(timm.fc_norm(timm.forward_features(images)[:, timm.num_prefix_tokens :]))
    maps = expected.transpose(1, 2).unflatten(2, (8, 8))
    assert torch.equal(found, F.interpolate(maps, size=(32, 32), mode="bilinear"))


@pytest.mark.parametrize("training", [True, False])
def test_images_are_padded_and_predictions_cut(training: bool) -> None:
    """Zeros on the right and at the bottom after normalisation, 255 in labels; predictions have the image's size."""
    data, model = few(30, 26), fresh("none").eval()
    batch = preprocessed(model, data, [0, 1], training)
    scenes = data.train.examples
    inside = torch.from_numpy((scenes.images[:2] - np.float32(127.5)) / np.float32(127.5))
    assert torch.equal(batch["inputs"], F.pad(inside, (0, 6, 0, 2)))
    labels = torch.from_numpy(scenes.targets["maps"][:2]).long()
    truth = torch.stack([sample.gt_sem_seg.data[0] for sample in batch["data_samples"]])
    assert torch.equal(truth, F.pad(labels, (0, 6, 0, 2), value=255) if training else labels)
    if not training:
        segmentor = build_segmentor(model, data).eval()
        with torch.no_grad():
            whole = segmentor.encode_decode(batch["inputs"])
            samples = segmentor(**batch, mode="predict")
        assert torch.equal(torch.stack([sample.seg_logits.data for sample in samples]), whole[:, :, :30, :26])


def test_nearest_labels_on_a_grid_that_does_not_divide() -> None:
    """Patch i of n reads the label at floor(i * height / n), as torch's nearest does."""
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 11, (2, 30, 26)))
    rows, columns = ([index * side // count for index in range(count)] for side, count in ((30, 7), (26, 5)))
    assert torch.equal(patch_labels(labels, (7, 5)), labels[:, rows][:, :, columns].flatten(1))


def test_ignored_pixels_do_not_count() -> None:
    """The loss is torch's mean over labelled pixels; without any it is 0 and trains nothing."""
    data, model = few(), fresh("none").train()
    segmentor = build_segmentor(model, data)
    batch = preprocessed(model, data, [0, 1, 2, 3], training=True)
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in batch["data_samples"]])
    assert 0 < (labels == 255).sum() < labels.numel() / 2
    losses = segmentor(**batch, mode="loss")
    logits = segmentor.encode_decode(batch["inputs"])
    torch.testing.assert_close(losses["decode.loss"], F.cross_entropy(logits, labels, ignore_index=255))
    target, said = patch_labels(labels, (8, 8)), logits[:, :, ::4, ::4].flatten(2)
    torch.testing.assert_close(patch_loss(said, target), F.cross_entropy(said, target, ignore_index=255))
    for sample in batch["data_samples"]:
        sample.gt_sem_seg.data.fill_(255)
    assert segmentor(**batch, mode="loss")["decode.loss"] == 0
    assert patch_loss(said, torch.full_like(target, 255)) == 0


def test_cropr_learns_one_label_for_each_patch() -> None:
    """The auxiliary loss is the sum over modules of the mean cross entropy of query m against the label of patch m."""
    data, model = few(30, 26), fresh("cropr").train()
    batch = preprocessed(model, data, [0, 1, 2], training=True)
    losses = build_segmentor(model, data).train()(**batch, mode="loss")
    labels = np.pad(data.train.examples.targets["maps"][:3], ((0, 0), (0, 2), (0, 6)), constant_values=255)[:, ::4, ::4]
    target = torch.from_numpy(labels.reshape(3, 64)).long()
    said = model.dense_outputs(batch["inputs"]).auxiliary
    assert [prediction.shape for prediction in said] == [(3, 64, CLASSES)] * 2
    expected = sum(F.cross_entropy(one.transpose(1, 2), target, ignore_index=255) for one in said)
    torch.testing.assert_close(losses["auxiliary.loss"], expected)


@pytest.mark.parametrize("method", ["none", "random"])
def test_same_seed_same_bits(method: str) -> None:
    """The same seed gives the same epochs and weights, whatever was drawn before; another one gives others."""
    runs = []
    for noise, seed in enumerate((3, 3, 4)):
        model = fresh(method, "vit stochastic")
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002  (the generator that transforms draw from)
        runs.append((train(model, few(), RECIPE, seed), weights(model)))
    (epochs, first), (again, same), (others, different) = runs
    assert again == epochs
    assert all(torch.equal(same[key], value) for key, value in first.items())
    assert [epoch.loss for epoch in others] != [epoch.loss for epoch in epochs]
    assert not torch.equal(different["backbone.head.weight"], first["backbone.head.weight"])


def images_seen(
    method: str, seed: int, recipe: SegmentationRecipe = RECIPE, data: SegmentationData | None = None
) -> list[Tensor]:
    """The batches a method trains on, in order."""
    data = data or few()
    torch.manual_seed(0)
    model, seen = reduce(BACKBONES["vit"](num_classes=len(data.classes)), method, REMOVED), []

    def spy(_module: object, inputs: tuple[Tensor]) -> None:
        if model.training:
            seen.append(inputs[0].clone())

    model.backbone.patch_embed.register_forward_pre_hook(spy)
    train(model, data, recipe, seed)
    return seen


def test_every_method_sees_the_same_batches() -> None:
    """Data order depends on the seed alone, so runs pair up across methods; every scene comes once per epoch."""
    first = images_seen("none", 0)
    assert [len(batch) for batch in first] == [8, 8, 8, 8, 4] * 2
    for method in ("random", "tome", "idlevit"):
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(images_seen(method, 0), first, strict=True))
    assert not torch.equal(images_seen("none", 1)[0], first[0])
    assert not torch.equal(first[0], first[5])
    for epoch in (first[:5], first[5:]):
        bytes_seen = (torch.cat(epoch) * 127.5 + 127.5).round().flatten(1)
        scenes = torch.from_numpy(few().train.examples.images).float().flatten(1)
        assert torch.equal(bytes_seen.sum(1).sort().values, scenes.sum(1).sort().values)
    assert len(torch.cat(images_seen("none", 0, RECIPE.model_copy(update={"images": 10})))) == 20


def test_training_starts_from_the_weights_it_is_given() -> None:
    """The Runner draws no new ones, not even for the head."""
    model, seen = fresh("evit"), []
    start = weights(model)

    def spy(_module: object, _inputs: object) -> None:
        seen.append(weights(model))

    model.backbone.patch_embed.register_forward_pre_hook(spy)
    train(model, few(), RECIPE, seed=0)
    assert all(torch.equal(seen[0][key], value) for key, value in start.items())
    assert not torch.equal(seen[-1]["backbone.head.weight"], start["backbone.head.weight"])


def test_a_curriculum_raises_the_counts() -> None:
    """Counts of each epoch while it trains; validation in an epoch removes as much, and the end is the schedule."""
    model, seen = fresh("variance"), []
    count = model.method.forward_block

    def spy(block: nn.Module, tokens: Any, layer: int) -> Any:
        seen.append((model.training, model.method.counts))
        return count(block, tokens, layer)

    model.method.forward_block = spy  # type: ignore[method-assign]
    train(model, few(), RECIPE.model_copy(update={"epochs": 4, "curriculum": "official"}), seed=0)
    epochs = [(1, 0, 0, 0), REMOVED, REMOVED, REMOVED]
    for training in (True, False):
        found = [counts for mode, counts in seen if mode == training]
        assert found == [counts for counts in epochs for _ in range(len(found) // 4)]


@pytest.mark.parametrize("decay", ["cosine", "polynomial"])
def test_the_learning_rate_falls_as_asked(decay: str) -> None:
    """At the last update of T it is (1/T)^0.9 of the peak, or what a cosine leaves there; the warm-up comes before."""
    options = {"decay": decay, "epochs": 3, "warmup_epochs": 1.0, "min_learning_rate": 0.0}
    rates = [epoch.learning_rate for epoch in train(fresh("none"), few(), RECIPE.model_copy(update=options), seed=0)]
    falling = [(1 - np.array([4, 9]) / 10) ** 0.9, (1 + np.cos(np.pi * np.array([4, 9]) / 10)) / 2][decay == "cosine"]
    np.testing.assert_allclose(rates, RECIPE.learning_rate * np.array([0.8, *falling]), rtol=1e-9)


def test_gradients_that_always_overflow_stop_training() -> None:
    """The scale of float16 is halved each time, and no step would ever be taken."""
    model, recipe = fresh("random"), RECIPE.model_copy(update={"precision": "float16"})
    broken = nn.Parameter(torch.zeros(1))
    optimizer = GuardedOptimizer(torch.optim.SGD([broken], lr=1.0), model, recipe, 1)

    def train_on() -> None:
        for _ in range(60):
            optimizer.update_params(broken.sqrt().sum())

    with pytest.raises(TrainingFailed, match=r"gradients are not finite in float16 .*; use precision: bfloat16"):
        train_on()
    assert broken.item() == 0


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_clipping_keeps_backbone_and_method_apart(precision: str) -> None:
    """A step is no longer than the limit, for the backbone and for the method's own modules."""
    model = fresh("cropr")
    before, recipe = weights(model), RECIPE.model_copy(update={"clip_gradient": 0.5, "precision": precision})
    optimizer = GuardedOptimizer(torch.optim.SGD(model.parameters(), lr=1.0), model, recipe, 1)
    optimizer.update_params(sum(1e4 * parameter.sum() for parameter in model.parameters()))
    for part in ("backbone.", "method."):
        moved = [(value - before[key]).flatten() for key, value in weights(model).items() if key.startswith(part)]
        assert torch.cat(moved).norm().item() == pytest.approx(0.5, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_training() -> None:
    """At once, or when it blows up on the way; the sentence says where, at what rate, and what to try."""
    model = fresh("none")
    with torch.no_grad():
        model.backbone.head.bias[0] = float("nan")
    with pytest.raises(TrainingFailed, match=r"became nan in epoch 0 \(update 0, learning rate .*lower learning_rate"):
        train(model, few(), RECIPE, seed=0)
    with pytest.raises(TrainingFailed, match=r"update [1-9], learning rate .*clip_gradient"):
        train(fresh("none"), few(), RECIPE.model_copy(update={"learning_rate": 1e30, "warmup_epochs": 0}), seed=0)


def test_progress_is_reported_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The callback gets every epoch as it ends; nothing is printed, no file and no start method stays behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    start = torch.multiprocessing.get_start_method()
    reported: list[Epoch] = []
    epochs = train(fresh("none"), few(), RECIPE, seed=0, report=reported.append)
    assert reported == epochs
    assert list(tmp_path.rglob("*")) == []
    assert capfd.readouterr() == ("", "")
    assert torch.multiprocessing.get_start_method() == start


def test_an_interrupt_passes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle ends training at once and still removes the temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reported: list[Epoch] = []

    def interrupt(epoch: Epoch) -> None:
        reported.append(epoch)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fresh("none"), few(), RECIPE, 0, interrupt)
    assert len(reported) == 1
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("method", ["variance", "tome", "cropr"])
def test_the_last_scores_are_those_of_the_deployed_model(method: str) -> None:
    """What training reports last is what the model, deployed, scores afterwards."""
    model = fresh(method)
    last = train(model, few(30, 26), RECIPE, seed=0)[-1].scores
    found = evaluate(model, few(30, 26))
    assert {name: getattr(found, name) for name in last} == last
    deployed = evaluate(model.deploy(), few(30, 26))
    assert deployed.miou == pytest.approx(last["miou"], abs=0.5)  # folded queries may swap two patches of equal score


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"num_classes": 10}, ValueError, "head has 10 classes but the data have 11; build it with num_classes=11"),
        ({"num_classes": 0}, TypeError, "one linear head, which this VisionTransformer does not have"),
        ({"img_size": 34}, ValueError, "34 x 34 pixels, which are not whole patches of 4 x 4; build it for 36 x 36"),
        ({"img_size": (32, 28)}, ValueError, "images of up to 32 x 32 pixels but the model takes 32 x 28; smaller"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    """The sentence says what was found and what would work."""
    model = reduce(BACKBONES["vit"](**({"num_classes": CLASSES} | change)), "none")
    for use in (lambda: train(model, few(), RECIPE, 0), lambda: evaluate(model, few())):
        with pytest.raises(kind, match=message):
            use()


def test_two_heads_and_teachers_are_refused() -> None:
    """A distilled DeiT has two heads; distillation has no teacher here."""
    with pytest.raises(TypeError, match="one linear head, which this VisionTransformerDistilled does not have"):
        train(reduce(BACKBONES["deit distilled"](num_classes=CLASSES), "none"), few(), RECIPE, 0)
    model = reduce(BACKBONES["vit"](num_classes=CLASSES), "idlevit", REMOVED, {"distillation_weight": 1.0})
    with pytest.raises(ValueError, match=r"IdleViT would learn from the unpruned model.*turn its distillation off"):
        train(model, few(), RECIPE, 0)


def test_a_label_that_is_no_class_is_refused() -> None:
    """The sentence names the label, the scenes and the numbers that would work."""
    scenes = make(3)
    scenes.targets["maps"][1, 2, 3] = 11
    with pytest.raises(UserError, match="the validation images: class 11 on 1 pixels; classes run from 0 to 10"):
        in_memory(make(3), scenes, NAMES)


def test_recipes_are_light_and_a_missing_engine_is_named() -> None:
    """Recipes import nothing heavy; without mmsegmentation a sentence says what to install."""
    program = """
import sys
import suite.tasks.segmentation.recipe
assert not {"torch", "timm", "mmseg", "mmengine", "cv2", "numpy"} & set(sys.modules)
sys.modules["mmseg"] = None
try:
    import suite.tasks.segmentation.train
except ValueError as error:
    print(type(error).__name__, error)
"""
    said = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert said.startswith("UserError segmentation needs mmsegmentation, which cannot be imported (")
    assert "'mmseg" in said
    assert said.endswith("); install the extra `segmentation` of cropr-suite\n")


def test_the_model_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, though mmengine would move it to the accelerator that it finds."""
    monkeypatch.setattr("mmengine.runner.runner.get_device", lambda: "meta")
    model = fresh("random")
    evaluate(model, few(30, 26))
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_more_images_than_there_are_is_refused() -> None:
    """With both numbers."""
    data = few(30, 26)
    recipe = RECIPE.model_copy(update={"images": len(data.train) + 1})
    with pytest.raises(ValueError, match=r"asks for the first 37 images .* there are 36"):
        train(fresh("random"), data, recipe, 0)
