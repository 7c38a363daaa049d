"""Files of weights: what they are, which of several weights are taken, and what is taken off their names."""

from __future__ import annotations

import gzip
import io
import math
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from backbones import build
from safetensors.torch import save_file
from torch import Tensor

from suite import official
from suite.cli.app import main
from suite.errors import UserError
from suite.reduction.checkpoints import Checkpoint

NAMES = ("pos_embed", "blocks.0.norm1.weight", "blocks.0.attn.qkv.weight", "norm.bias")


def weights(value: float, prefix: str = "") -> dict[str, Tensor]:
    """Weights that are all of one value."""
    return {f"{prefix}{name}": torch.full((2, 3), value) for name in NAMES}


def flat(raw: dict[str, Tensor], averaged: Callable[[str], str]) -> dict[str, Tensor]:
    """Raw weights, 1, and beside them averaged ones, 2, under such names."""
    return raw | {averaged(name): value + 1 for name, value in raw.items()}


RAW, EMA = weights(1), weights(2)
BOTH: list[tuple[Any, str, str]] = [  # a file, its raw and its averaged weights
    ({"model": RAW, "model_ema": EMA, "epoch": 3}, "model", "model_ema"),
    ({"model_ema": EMA, "model": RAW}, "model", "model_ema"),
    ({"state_dict": RAW, "state_dict_ema": EMA}, "state_dict", "state_dict_ema"),
    ({"state_dict": RAW, "ema_state_dict": EMA | {"steps": torch.tensor(9)}}, "state_dict", "ema_state_dict"),
    ({"model": RAW, "ema": EMA}, "model", "ema"),
    ({"net": RAW, "EMA": {"module": EMA, "decay": 0.99}}, "net", "EMA"),
    (
        {"weights": RAW, "averaged_model": weights(2, "module.") | {"n_averaged": torch.tensor(9)}},
        "weights",
        "averaged",
    ),
    ({"model": RAW, "swa_model": weights(2, "module.")}, "model", "swa_model"),
    ({**RAW, "model_ema": EMA}, "top", "model_ema"),
    ({"state_dict": weights(1, "model.") | weights(2, "ema_model.")}, "state_dict", "state_dict.averaged"),
    ({"state_dict": weights(1, "model.") | weights(2, "model_ema.")}, "state_dict", "state_dict.averaged"),
    (weights(1, "module.") | weights(2, "module.ema_"), "top", "averaged"),
    (weights(1, "module.") | weights(2, "ema.") | {"ema.num_updates": torch.tensor(9)}, "top", "averaged"),
    (flat(RAW, lambda name: "ema_" + name.replace(".", "_")), "top", "averaged"),
    (flat(RAW, lambda name: "model_ema." + name.replace(".", "")), "top", "averaged"),
    *(  # mmcv 1
        ({"state_dict": flat(weights(1, prefix), lambda name: "ema_" + name.replace(".", "_"))}, "state_dict", where)
        for prefix, where in (("backbone.", "state_dict.averaged"), ("module.backbone.", "state_dict.averaged"))
    ),
    ({"model": RAW, "optimizer_ema": EMA}, "model", "optimizer_ema"),
    ({"model": RAW, "optim": {"ema": weights(7)}, "ema_optim": {"model": EMA}}, "model", "ema_optim"),
]


@pytest.mark.parametrize(("content", "raw", "averaged"), BOTH)
def test_raw_and_averaged_weights_lie_in_one_file(content: Any, raw: str, averaged: str) -> None:
    """Raw ones are taken, and both are named; either can be asked for."""
    optimizer = {"state": {name: {"exp_avg": value} for name, value in weights(7).items()}, "param_groups": []}
    content = content | {"optimizer": optimizer, "best": {"score": torch.tensor(0.8)}, "scheduler": {"base": [1]}}
    found = Checkpoint.read(content)
    assert found.chosen == raw
    assert [name.startswith(averaged) for name in found.others] == [True]
    assert found.said.startswith(f"{raw}")
    assert f"(the file has {found.others[0]} too; choose with --weights NAME" in found.said
    for name, value in ((None, 1), (raw, 1), (found.others[0], 2)):
        read = Checkpoint.read(content, name)
        assert set(read.weights) == set(NAMES)
        assert {float(x) for tensor in read.weights.values() for x in tensor.flatten()} == {value}


@pytest.mark.parametrize(("flag", "taken"), [(True, "model_ema"), (False, "model"), (None, "model"), (1, "model")])
def test_a_file_says_which_weights_are_better(flag: Any, taken: str) -> None:
    """Averaged ones are taken where its `ema_best` is true and nobody asks for others, and that is said."""
    content = {"model": RAW, "model_ema": EMA, "ema_best": flag}
    found, asked = Checkpoint.read(content), Checkpoint.read(content, "model")
    assert (found.chosen, asked.chosen) == (taken, "model")
    assert ("model_ema, better by its ema_best (the file has model too; choose" in found.said) == (flag is True)
    assert asked.said == "model (the file has model_ema too)"
    assert Checkpoint.read({"model": RAW, "ema_best": True}).said == "model"


DEEP: dict[str, Any] = {"callbacks": {"a": {"b": {"c": {"EMA": {"weights": EMA}}}}}}
LIST = list(EMA.values())


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"ema": {"decay": 0.99, "shadow_params": LIST}}, "ema"),
        ({"ema": {"decay": torch.tensor(0.99), "collected_params": [], "shadow_params": LIST}}, "ema"),
        ({"ema": LIST}, "ema"),
        ({"averages": {"shadow_params": tuple(LIST)}}, "averages"),
        ({"means": {"shadow_params": tuple(LIST)}}, "means.shadow_params"),
        ({"optimizer_ema": [{"params": LIST}]}, "optimizer_ema"),
        ({"callbacks": [{"ema_weights": LIST}]}, "callbacks.0.ema_weights"),
        (DEEP, "callbacks.a.b.c.EMA"),
        ({"ema": EMA, "swa": {0: LIST}}, "swa"),
        ({"ema": {"decay": 0.99, "loss": [torch.tensor(0.5)]}}, ""),
        ({"optimizer": {"state": {0: {"exp_avg": RAW}}, "ema": LIST}, "opt": {"state": {0: {"exp_avg": RAW}}}}, ""),
        ({"ema": EMA, "loss_avg": [0.5]}, ""),
        ({"model_emas": [{"params": EMA}]}, "model_emas"),
        ({"ema9999": LIST}, "ema9999"),
    ],
)
def test_averaged_weights_that_cannot_be_chosen_are_said(content: dict[str, Any], where: str) -> None:
    """In lists, without names, too deep; what an optimiser keeps are none."""
    said = Checkpoint.read({"model": RAW} | content).said
    assert said.startswith("model")
    assert (f"the file has averaged weights under {where} that cannot be chosen" in said) == bool(where)
    assert ("cannot be chosen" in said) == bool(where)
    assert ("the file has ema too; choose" in said) == (content.get("ema") is EMA)


def test_averaged_weights_alone_that_cannot_be_chosen_are_refused() -> None:
    """By where they are; in Python raw ones beside them are taken with a warning."""
    with pytest.raises(UserError, match=r"has averaged weights under ema alone, without names or too deep; save them"):
        Checkpoint.read({"ema": {"shadow_params": LIST}})
    model = build("vit", num_classes=3)
    ours = {"model": model.state_dict(), "ema": [*model.parameters()]}
    with pytest.warns(UserWarning, match=r"weights: model \(the file has averaged weights under ema that cannot be"):
        official.load(ours, "tome", r=0, heads=4)


@pytest.mark.parametrize(
    ("content", "raw", "averaged"),
    [
        (weights(1, "module.") | weights(2, "module.ema_"), "module.", "module."),
        (weights(1, "module.") | weights(2, "ema."), "module.", ""),
        (flat(weights(1, "backbone."), lambda name: "ema_" + name.replace(".", "_")), "backbone.", "backbone."),
        (weights(1, "net.") | weights(2, "wrap.ema."), "net.", "wrap."),
        (flat(RAW, lambda name: f"ema.{name}"), "", ""),
    ],
)
def test_the_prefix_of_split_weights_is_said(content: dict[str, Tensor], raw: str, averaged: str) -> None:
    """Of raw and averaged ones; whoever chose is not told how to."""
    for asked, name, prefix in ((None, "top", raw), ("top", "top", raw), ("averaged", "averaged", averaged)):
        found = Checkpoint.read(content, asked)
        assert (found.chosen, found.prefix, set(found.weights)) == (name, prefix, set(NAMES))
        other = "averaged" if name == "top" else "top"
        taken = f", without the prefix {prefix} of all names" if prefix else ""
        cure = "" if asked else "; choose with --weights NAME, in a study start_weights"
        assert found.said == f"{name}{taken} (the file has {other} too{cure})"


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.uint8, torch.bool])
def test_whole_numbers_are_no_weights(kind: torch.dtype) -> None:
    """They would be loaded as small numbers or zeros; where the model has whole numbers they are right."""
    model = build("vit", num_classes=3)
    model.register_buffer("index", torch.arange(3))
    content = model.state_dict() | {"head.bias": torch.ones(3, dtype=kind)}
    with pytest.raises(UserError, match=r"it has whole numbers in head.bias, which are no weights without a scale"):
        Checkpoint.read(content).load_into(model)
    Checkpoint.read(model.state_dict()).load_into(model)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16])
def test_weights_of_8_bits_are_refused(kind: torch.dtype) -> None:
    """Their scale lies elsewhere."""
    content = {name: value.to(kind) for name, value in RAW.items()}
    if kind.itemsize > 1:
        assert Checkpoint.read(content).weights["pos_embed"].dtype == torch.float32
        return
    with pytest.raises(UserError, match=r"has pos_embed in 8 bits, which are no weights without a scale; save it as"):
        Checkpoint.read(content)


@pytest.mark.parametrize("summed", [True, False])
def test_overwritten_weights_are_damaged(tmp_path: Path, summed: bool) -> None:
    """As the check sums of a zip show, which torch does not look at; files that have none are read as they are."""
    path = tmp_path / "a.pth"
    torch.serialization.set_crc32_options(summed)
    try:
        torch.save({"model": {name: torch.full((99, 9), 0.5) for name in NAMES}}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert Checkpoint.read(path).weights.keys() == set(NAMES)
    content = bytearray(path.read_bytes())
    where = content.index(torch.full((9,), 0.5).numpy().tobytes())
    content[where : where + 40] = bytes(40)
    path.write_bytes(content)
    if not summed:
        assert Checkpoint.read(path).weights["pos_embed"][0, 0] == 0
        return
    with pytest.raises(UserError, match=r"a.pth is damaged \(Bad CRC-32 for file 'a/data/0'\); download or copy it"):
        Checkpoint.read(path)


@pytest.mark.parametrize(
    ("content", "asked", "message"),
    [
        (
            {"student": RAW, "teacher": EMA},
            None,
            "has several sets of weights, student, teacher; choose one with --wei",
        ),
        ({"model": RAW, "model_ema": EMA}, "model_emma", "has no weights called 'model_emma'; did you mean model_ema"),
        ({"model": RAW}, "ema", "has no weights called 'ema'; "),
        (RAW, "model", "has no weights called 'model'; "),
    ],
)
def test_weights_that_are_not_clear_are_refused(content: Any, asked: str | None, message: str) -> None:
    """With the names that there are."""
    with pytest.raises(UserError, match=message):
        Checkpoint.read(content, asked)


@pytest.mark.parametrize("content", [{"model_ema": EMA}, {"ema": {"module": EMA}}, {"teacher": EMA, "epoch": 3}])
def test_the_only_weights_are_taken(content: Any) -> None:
    """Whatever they are called, and that is said."""
    found = Checkpoint.read(content)
    assert (found.others, found.said) == ((), found.chosen)
    assert found.chosen.split(".")[0] in content


@pytest.mark.parametrize(
    "prefix",
    ["module.", "backbone.", "model.", "net.", "encoder.", "_orig_mod.", "visual.trunk.", "module._orig_mod.backbone."],
)
def test_a_prefix_of_all_names_is_taken_off(prefix: str) -> None:
    """And said."""
    found = Checkpoint.read({"model": weights(1, prefix)})
    assert set(found.weights) == set(NAMES)
    assert found.said == f"model, without the prefix {prefix} of all names"


def test_a_prefix_of_some_names_is_shown() -> None:
    """The names stay, and the message says how they begin."""
    content = weights(1, "backbone.") | {"head.fc.weight": torch.zeros(2), "head.fc.bias": torch.zeros(2)}
    for layout in ("tome", None):
        with pytest.raises(UserError, match=r"its names begin with backbone \(4 of 6\), head \(2 of 6\)$"):
            official.load(content, layout, r=0)
    assert set(Checkpoint.read({f"blocks.{place}.weight": torch.zeros(1) for place in range(3)}).weights) == {
        f"blocks.{place}.weight" for place in range(3)
    }


def archive(names: dict[str, bytes]) -> bytes:
    """A zip of such files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in names.items():
            file.writestr(name, content)
    return buffer.getvalue()


def tape(*names: str) -> bytes:
    """A tar of such files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    return buffer.getvalue()


def script() -> bytes:
    """What torch.jit.save writes, as far as it shows."""
    return archive({"model/constants.pkl": b"", "model/data.pkl": b"", "model/code/__torch__.py": b"def f(): pass"})


def numpy_file(save: Callable[..., None]) -> bytes:
    """What numpy writes."""
    buffer = io.BytesIO()
    save(buffer, np.zeros(3))
    return buffer.getvalue()


OTHER: list[tuple[bytes, str]] = [
    (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 88000000\n",
        "pointer of Git LFS .*git lfs pull",
    ),
    (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is an HTML page; download the file itself"),
    (b'{"error": "not found"}', "is a JSON text; download the file itself"),
    (b'{"metadata": {}, "weight_map": {"a": "b"}}', "is the index of weights that lie in several files; join them"),
    (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is an XML text"),
    (b"404: Not Found\n", "is a text that begins '404: Not Found'; a checkpoint is a file of torch or"),
    (b"", r"is empty \(0 bytes\)"),
    ((10**9).to_bytes(8, "little") + b"{" * 99, "is of a kind that is not known here"),
    (b"\x90\0\0", "is only 3 bytes long"),
    (bytes(5000), r"is empty at its beginning \(zeros\)"),
    (script(), "is a TorchScript archive, which is code; load it with torch.jit.load and save its state_dict"),
    (archive({"a/extra/serialized_exported_program.json": b"{}"}), r"is a program of torch.export \(.pt2\)"),
    (archive({"vit.pth": b"x", "README": b"x"}), "is a zip archive of vit.pth, README; unpack it"),
    (tape("sys_info", "pickle", "storages", "tensors"), "was saved by torch 0.1, as a tar that may hold code"),
    (tape("vit.pth", "README"), "is a tar archive of vit.pth, README; unpack it"),
    (archive({"a": b""}).replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\x99"), r"is damaged \(zip file version 15.3\)"),
    (tape("a").replace(b"ustar\0", b"ustar\1").replace(b"0000", b"9999", 1), "is a damaged tar archive"),
    (gzip.compress(b"x" * 99), "is packed by gzip; unpack it with gunzip"),
    (numpy_file(np.save), "is an array of numpy; a checkpoint is"),
    (numpy_file(np.savez), r"is an archive of numpy arrays \(.npz\)"),
    (b"GGUF\3\0\0\0" + bytes(99), "is a GGUF file"),
    (b"\x08\x08\x12\x07pytorch\x1a\x052.0.0", "is an ONNX model"),
    (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
    (pickle.dumps({"blocks.0": np.zeros(3)}), "is a pickle of Python that torch.save did not write"),
    (np.random.default_rng(0).bytes(5000), "is of a kind that is not known here"),
]


@pytest.mark.parametrize("name", ["weights.pth", "weights.SAFETENSORS"])
@pytest.mark.parametrize(("content", "message"), OTHER, ids=[message for _, message in OTHER])
def test_what_a_file_is_shows_in_its_bytes(tmp_path: Path, content: bytes, message: str, name: str) -> None:
    """Whatever its suffix; what is whole is not called cut off."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        Checkpoint.read(tmp_path / name)
    assert "cut off" not in str(raised.value)
    assert "\n" not in str(raised.value)


SAVE: dict[str, Callable[[Any, Path], None]] = {
    "torch": torch.save,
    "old torch": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    "safetensors": save_file,
}


@pytest.mark.parametrize("name", ["a.pth", "a.PTH", "a.safetensors", "a.SafeTensors", "a.bin", "a"])
@pytest.mark.parametrize("kind", SAVE)
def test_weights_are_read_whatever_the_suffix(tmp_path: Path, kind: str, name: str) -> None:
    """By content."""
    SAVE[kind](RAW, tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / name)
    assert Checkpoint.read(tmp_path / name).weights.keys() == RAW.keys()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", SAVE)
def test_what_was_cut_off_is_said_to_be(tmp_path: Path, kind: str, share: float) -> None:
    """Wherever that was."""
    SAVE[kind]({name: torch.rand(99, 9) for name in NAMES}, tmp_path / "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"a.pth was cut off.*; download or copy it again"):
        Checkpoint.read(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("more", "options", "what"),
    [
        ({"best": np.str_("x")}, {}, "numpy.dtypes.StrDType"),
        ({}, {"pickle_protocol": 4}, "Unsupported operand 149"),
        ({}, {"pickle_protocol": 5}, "Unsupported operand 149"),
        ({"folder": Path("x")}, {}, "pathlib"),
        ({"folder": Path("x")}, {"_use_new_zipfile_serialization": False}, "pathlib"),
    ],
)
def test_a_whole_file_that_needs_code_is_not_called_damaged(
    tmp_path: Path, more: dict[str, Any], options: dict[str, int], what: str
) -> None:
    """Downloading it again would not help."""
    torch.save({"model": RAW} | more, tmp_path / "a.pth", **options)
    with pytest.raises(UserError, match=rf"a.pth holds Python objects besides weights \(.*{what}.*where you trust it"):
        Checkpoint.read(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor([1, math.nan]), "has values in head.bias that are not finite"),
        (torch.tensor([1, -math.inf]), "has values in head.bias that are not finite"),
        (torch.ones(2, dtype=torch.complex64), "has head.bias in a form that is not supported"),
        (torch.eye(2).to_sparse(), "has head.bias in a form that is not supported"),
        (torch.ones(2, device="meta"), "has head.bias in a form that is not supported"),
    ],
)
def test_numbers_that_no_model_can_use_are_refused(value: Tensor, message: str) -> None:
    """By the name of their tensor."""
    with pytest.raises(UserError, match=message):
        Checkpoint.read(RAW | {"head.bias": value})


def test_counters_are_one_number() -> None:
    """A tensor of that name with several is of the weights."""
    content = RAW | {"blocks.0.decay": torch.ones(3), "decay": torch.tensor(0.99)}
    assert set(Checkpoint.read(content).weights) == {*NAMES, "blocks.0.decay"}


def test_another_protocol_of_pickle_is_read_in_silence(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Protocol 3, of which torch warns."""
    torch.save({"model": RAW}, tmp_path / "a.pth", pickle_protocol=3)
    assert set(Checkpoint.read(tmp_path / "a.pth").weights) == set(NAMES)
    assert not recwarn.list


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason stays."""
    torch.save(RAW, tmp_path / "a.pth")
    monkeypatch.setattr(torch, "load", Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(PermissionError):
        Checkpoint.read(tmp_path / "a.pth")


def test_what_lies_very_deep_is_not_looked_at() -> None:
    """Python would not go that far."""
    deep: dict[str, Any] = {"a": LIST}
    for _ in range(5000):
        deep = {"a": deep}
    assert Checkpoint.read({"model": RAW, "callbacks": deep}).said == "model"


def test_a_damaged_file_is_not_called_cut_off(tmp_path: Path) -> None:
    """All bytes are there, some are others."""
    for kind, save in SAVE.items():
        save(RAW, tmp_path / kind)
        content = bytearray((tmp_path / kind).read_bytes())
        where = 60 if kind != "torch" else content.index(b"data.pkl") + 80
        content[where : where + 40] = b"\xff" * 40
        (tmp_path / kind).write_bytes(content)
        with pytest.raises(UserError, match=r"is (a )?damaged"):
            Checkpoint.read(tmp_path / kind)


def test_evaluate_says_and_chooses_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a file whose raw weights say the class a and whose averaged ones say b; in Python it is a warning."""
    from test_image_folder import class_folders, saying

    root = class_folders(tmp_path / "data", "a", "c")
    class_folders(root, "b", each=6)
    path = tmp_path / "both.pth"
    torch.save({"model": saying(0, 3).state_dict(), "model_ema": saying(1, 3).state_dict(), "epoch": 3}, path)
    command = ["--layout", "tome", "--option", "r=0", "--option", "heads=4", "--checkpoint", path, "--data", root]
    for more, line, top1 in (
        ([], "weights: model (the file has model_ema too; choose with", 12.5),
        (["--weights", "model_ema"], "weights: model_ema (the file has model too)\n", 75),
    ):
        monkeypatch.setattr(sys, "argv", ["suite", "evaluate", *map(str, command), *more])
        with pytest.raises(SystemExit):
            main()
        said = capsys.readouterr().out
        assert line in said
        assert f"{top1:.2f} %" in said
    with pytest.warns(UserWarning, match=r"weights: model \(the file has model_ema too"):
        official.load(path, "tome", r=0, heads=4)
    assert official.load(path, "tome", weights="model_ema", r=0, heads=4).backbone.head.bias[1] == 1
