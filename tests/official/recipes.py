"""Run the official training loops on a small model for a few updates, and keep what they did.

Usage: recipes.py [--cropr FOLDER] [--mae FOLDER] [--evit FOLDER] [--idlevit FOLDER] [--out FOLDER]

Each folder is a checkout of the official repository at the commit in SOURCES. Images, weights and random draws are
those that this suite's training draws from the same names, so that updates can be compared one by one: see
`tests/test_recipes.py`. The loops are the official ones, on a processor and in float64, because AdamW makes steps of
one size of gradients that are round-off; where they call for a GPU, that call does nothing.
"""

import argparse
import contextlib
import functools
import importlib.util
import io
import json
import math
import multiprocessing
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "cropr": ("https://github.com/benbergner/cropr", "2f8b624c397f8d894b24010a96d574a53866f180", "cls"),
    "mae": ("https://github.com/facebookresearch/mae", "efb2a8062c206524e35e47d04501ed4f544c0ae8", ""),
    "evit": ("https://github.com/youweiliang/evit", "5ca95a7cf4a8637193284895c5bc0dd9dc365982", ""),
    "idlevit": ("https://github.com/Ackesnal/IdleViT", "d46c1c2d9fc28eb044b0690fc9d53d35c0629d0d", ""),
}
SEED, WEIGHTS, IMAGES = 0, 1, 2
UPDATES, EPOCHS, BATCH, PARTS, CLASSES, SIDE = 4, 3, 8, 2, 10, 32  # updates of an epoch; images of an update, in parts
GRADIENTS = (0, 5, UPDATES * EPOCHS - 1)  # updates whose gradients are kept
SIZES = {"patch_size": 4, "embed_dim": 48, "num_heads": 4, "depth": 5, "num_classes": CLASSES, "img_size": SIDE}
MIXING = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "label_smoothing": 0.1, "num_classes": CLASSES}
RATES = {"blr": 0.032, "min_lr": 1e-6, "weight_decay": 0.05, "layer_decay": 0.75, "warmup_epochs": 1, "epochs": EPOCHS}
DROP_PATH, AVERAGE = 0.2, 0.9


def _module(path: str) -> Any:
    """A file of this suite that needs no other of it."""
    spec = importlib.util.spec_from_file_location(f"ours_{Path(path).stem}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batches(epoch: int, parts: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The parts of an epoch's batches, in order; whoever takes one finds the draws that belong to it."""
    seeds, drawn = _module("suite/seeds.py"), _module("suite/kinds/official/weights.py").images
    for update in range(epoch * UPDATES, (epoch + 1) * UPDATES):
        pixels = torch.from_numpy(drawn(BATCH, SIDE, SIDE, IMAGES + update)).double()
        labels = (torch.arange(BATCH) * 3 + update) % CLASSES
        for part, one in enumerate(zip(pixels.chunk(parts), labels.chunk(parts), strict=True)):
            mixing = seeds.seed_for("mixing", SEED, update, part)
            random.seed(mixing)
            np.random.seed(mixing % 2**32)  # noqa: NPY002 -- timm draws from it
            torch.manual_seed(seeds.seed_for("part", SEED, update, part))
            yield one


class Loader:
    """What the official loops take for a data loader of one epoch."""

    def __init__(self, epoch: int, parts: int = PARTS) -> None:
        self.epoch, self.parts = epoch, parts

    def __len__(self) -> int:
        return UPDATES * self.parts

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return batches(self.epoch, self.parts)


class Watched:
    """Notes what happens in an official loop: losses, rates, and gradients as every step finds them."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, criterion: nn.Module, parts: int = PARTS):
        self.model, self.optimizer, self.criterion, self.parts = model, optimizer, criterion, parts
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.gradients: dict[str, dict[str, list[float]]] = {}
        self.now: list[float] = []
        self.step = optimizer.step
        optimizer.step = self._step  # type: ignore[method-assign]

    def loss(self, *arguments: Any) -> torch.Tensor:
        """The criterion; main and auxiliary losses of all parts are added up."""
        found: torch.Tensor = self.criterion(*arguments)
        self.now.append(found.item())
        return found

    def _step(self, *arguments: Any, **options: Any) -> Any:
        if len(self.losses) in GRADIENTS:
            self.gradients[str(len(self.losses))] = {
                name: [parameter.grad.norm().item(), (parameter.grad * self.start[name]).sum().item()]
                for name, parameter in self.model.named_parameters()
                if parameter.grad is not None
            }
        self.losses.append(math.fsum(self.now) / self.parts)
        self.now = []
        scale = self.optimizer.param_groups[0].get("lr_scale", 1.0)
        self.rates.append(self.optimizer.param_groups[0]["lr"] / scale)
        for group in self.optimizer.param_groups:
            assert math.isclose(group["lr"], self.rates[-1] * group.get("lr_scale", 1.0))
        return self.step(*arguments, **options)

    def found(self) -> dict[str, Any]:
        """All of it, and what every parameter's rate is multiplied by, with its weight decay."""
        groups = {
            self.names[id(parameter)]: [group.get("lr_scale", 1.0), group["weight_decay"]]
            for group in self.optimizer.param_groups
            for parameter in group["params"]
        }
        return {"losses": self.losses, "rates": self.rates, "groups": groups, "gradients": self.gradients}


def cropr() -> dict[str, Any]:
    """Cropr's classification: `main.py` and `engine.py`, with and without its modules."""
    models = _module("suite/kinds/official/models.py")
    from engine import train_one_epoch
    from timm.data.mixup import Mixup
    from timm.loss import SoftTargetCrossEntropy
    from utils import cosine_scheduler, param_groups_lrd
    from vision_transformer import VisionTransformer

    found = {}
    for name, rate in (("cropr", 8), ("cropr-unpruned", None)):
        settings = models.cropr_settings(rate)
        model = VisionTransformer(settings, mlp_ratio=4.0, drop_path_rate=DROP_PATH, global_pool="avg", **SIZES)
        shapes, arguments = _fill(model), SimpleNamespace(accum_steps=PARTS, epochs=EPOCHS, max_norm=None)
        groups = param_groups_lrd(model, RATES["weight_decay"], model.no_weight_decay(), RATES["layer_decay"])
        optimizer = torch.optim.AdamW(groups)
        watched = Watched(model, optimizer, SoftTargetCrossEntropy())
        rates = cosine_scheduler(
            RATES["blr"] * BATCH / 256, RATES["min_lr"], EPOCHS, UPDATES, warmup_epochs=RATES["warmup_epochs"]
        )
        for epoch in range(EPOCHS):
            mixup = Mixup(**MIXING)
            train_one_epoch(model, Loader(epoch), optimizer, watched.loss, rates, epoch, None, mixup, arguments)
        options = {"pruning_rate": rate, "heads": SIZES["num_heads"]}
        found[name] = {"layout": "cropr", "options": options, "shapes": shapes} | watched.found()
    return found


def mae() -> dict[str, Any]:
    """MAE's fine-tuning: `main_finetune.py` and `engine_finetune.py`, whose model is built for an older timm."""
    sys.modules["torch._six"] = SimpleNamespace(inf=math.inf)  # type: ignore[assignment] -- of an older torch
    from engine_finetune import train_one_epoch
    from models_vit import VisionTransformer
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy
    from util.lr_decay import param_groups_lrd

    class Model(VisionTransformer):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.head(self.forward_features(pixels))  # later heads of timm would pool again

    norm = functools.partial(nn.LayerNorm, eps=1e-6)
    model = Model(global_pool=True, mlp_ratio=4, qkv_bias=True, norm_layer=norm, drop_path_rate=DROP_PATH, **SIZES)
    shapes = _fill(model)
    arguments = SimpleNamespace(accum_iter=PARTS, lr=RATES["blr"] * BATCH / 256, **RATES)
    groups = param_groups_lrd(model, RATES["weight_decay"], model.no_weight_decay(), RATES["layer_decay"])
    optimizer = torch.optim.AdamW(groups, lr=arguments.lr)
    watched = Watched(model, optimizer, SoftTargetCrossEntropy())

    def scaled(loss: torch.Tensor, *_: Any, update_grad: bool, **options: Any) -> None:
        loss.backward()  # as their scaler does where nothing is scaled
        if update_grad:
            optimizer.step()

    for epoch in range(EPOCHS):
        loader, mixup = Loader(epoch), Mixup(**MIXING)
        train_one_epoch(
            model, watched.loss, loader, optimizer, torch.device("cpu"), epoch, scaled, None, mixup, args=arguments
        )
    return {"mae": {"layout": "", "options": {}, "shapes": shapes} | watched.found()}


def evit() -> dict[str, Any]:
    """EViT's fine-tuning: `main.py` and `engine.py`, in evaluation mode, as that has it."""
    models = _module("suite/kinds/official/models.py")
    sys.modules |= dict.fromkeys(("einops", "torchprofile"), mock.MagicMock())  # of what is not called here
    from engine import train_one_epoch
    from losses import DistillationLoss
    from timm.loss import SoftTargetCrossEntropy

    rates = (1, 0.7, 0.7, 0.7, 1)
    model = models.evit(rates, fuse=True, drop_path_rate=DROP_PATH, **SIZES)
    criterion = DistillationLoss(SoftTargetCrossEntropy(), None, "none", 0.5, 1.0)
    arguments = SimpleNamespace(base_keep_rate=0.7, shrink_start_epoch=0, shrink_epochs=0)
    options = {"keep_rate": list(rates), "fuse_token": True, "heads": SIZES["num_heads"], "image_size": SIDE}
    more = {"writer": mock.MagicMock(), "args": arguments, "set_training_mode": False}
    return {"evit": _deit_style("evit", model, options, train_one_epoch, criterion, more)}


def idlevit() -> dict[str, Any]:
    """IdleViT's training: `main.py` and `engine.py`, with token cut loss and a teacher of the same weights."""
    models = _module("suite/kinds/official/models.py")
    from engine import train_one_epoch
    from losses import IdleViTTotalLoss
    from timm.loss import SoftTargetCrossEntropy
    from vit import VisionTransformer

    layers, ratios = [1, 2, 3, 4], [0.7, 0.5, 0.5, 0.3]
    model, teacher = models.idlevit(layers, ratios, **SIZES), VisionTransformer(**SIZES)
    _fill(teacher)
    criterion = IdleViTTotalLoss(
        SoftTargetCrossEntropy(), teacher.eval().requires_grad_(False), ratios, layers, "both", 20.0, True, 5.0
    )
    options = {"idle_layers": layers, "keep_ratios": ratios, "heads": SIZES["num_heads"], "base_rate": None}
    more = {"set_training_mode": True}
    return {"idlevit": _deit_style("idlevit", model, options, train_one_epoch, criterion, more)}


def _deit_style(
    layout: str, model: nn.Module, options: dict[str, Any], train: Any, criterion: nn.Module, more: dict[str, Any]
) -> dict[str, Any]:
    """A training as DeiT's `main.py` has it: rates by epoch, averaged weights, no accumulation."""
    from timm.data import Mixup
    from timm.optim import create_optimizer
    from timm.scheduler import create_scheduler
    from timm.utils import ModelEma

    shapes, average = _fill(model), ModelEma(model, decay=AVERAGE)
    rates = {
        "lr": RATES["blr"] * BATCH / 256,
        "warmup_lr": 1e-6,
        "cooldown_epochs": 0,
        "decay_rate": 0.1,
        "layer_decay": None,
        "warmup_epochs": 0,
    }
    arguments = SimpleNamespace(opt="adamw", momentum=0.9, sched="cosine", **RATES | rates)
    optimizer = create_optimizer(arguments, model)
    scheduler, _ = create_scheduler(arguments, optimizer)
    watched = Watched(model, optimizer, criterion, parts=1)

    def scaled(loss: torch.Tensor, *_: Any, **__: Any) -> None:
        loss.backward()  # as timm's scaler does where nothing is scaled
        optimizer.step()

    for epoch in range(EPOCHS):
        loader, mixup = Loader(epoch, parts=1), Mixup(**MIXING)
        train(model, watched.loss, loader, optimizer, torch.device("cpu"), epoch, scaled, None, average, mixup, **more)
        scheduler.step(epoch)
    averaged = {name: parameter.norm().item() for name, parameter in average.ema.named_parameters()}
    return {"layout": layout, "options": options, "shapes": shapes} | watched.found() | {"averaged": averaged}


def _fill(model: nn.Module) -> dict[str, list[int]]:
    """Fill every tensor of the model's state, and have it compute in float64; returns their shapes."""
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    drawn = _module("suite/kinds/official/weights.py").fill(shapes, WEIGHTS)
    model.load_state_dict({name: torch.from_numpy(values) for name, values in drawn.items()})
    model.double()
    return shapes


RECORDED: dict[str, Callable[[], dict[str, Any]]] = {"cropr": cropr, "mae": mae, "evit": evit, "idlevit": idlevit}


def record(name: str, folder: Path, out: Path) -> None:
    """Write a file for each training of a repository."""
    sys.path.insert(0, str(ROOT))
    import suite.torchvision_operators  # noqa: F401 -- lets timm be imported whatever torchvision is there

    # isort: split
    import timm

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the official code is older than the libraries, which say so
    repository, commit, inner = SOURCES[name]
    sys.path.insert(0, str(folder / inner))
    stay = mock.patch.object(torch.Tensor, "cuda", lambda self, **_: self)
    quiet = mock.patch.object(torch.cuda, "synchronize", return_value=None)
    alone = mock.patch.object(torch.distributed, "get_rank", return_value=1)
    with contextlib.redirect_stdout(io.StringIO()), stay, quiet, alone:
        found = RECORDED[name]()
    facts = {"source": {"repository": repository, "commit": commit}}
    facts |= {"versions": {"torch": torch.__version__.split("+")[0], "timm": timm.__version__}}
    for case, values in found.items():
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in (facts | values).items()]
        (out / f"{case}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
        sys.stderr.write(f"recorded {case}\n")


def main() -> None:
    """Record every repository for which a folder is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, source in SOURCES.items():
        parser.add_argument(f"--{name}", type=Path, help=" at ".join(source[:2]))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "recipes")
    chosen = parser.parse_args()
    for name in SOURCES:
        if (folder := getattr(chosen, name)) is not None:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                fresh.submit(record, name, folder.resolve(), chosen.out.resolve()).result()


if __name__ == "__main__":
    main()
