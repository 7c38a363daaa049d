"""Open a file of weights by what its bytes say it is, without running code from it."""

from __future__ import annotations

import argparse
import json
import re
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suite.errors import UserError
from suite.signatures import head_of, known

_numpy_scalar = np.float64(0).__reduce__()[0]
HARMLESS: list[Any] = [  # what training scripts store beside weights: their arguments, and scores as numpy numbers
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd"),
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
]
ZIP, TAR = b"PK\x03\x04", b"ustar"
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # before torch 1.6: pickles, of which this number is the first
AGAIN = "download or copy it again"
SAVE = "save its state_dict alone with torch.save and give that"
TRAINED = "cropr_suite"  # where weights that a study kept say what model they are of
CHUNK = 1 << 20  # bytes that are read at a time
LONGEST_HEADER = 100_000_000  # of safetensors


def open_file(path: Path) -> Any:
    """The content of a file of torch or safetensors.

    Raises:
        UserError: if it is missing, is something else, was cut off, or holds code.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: {'it is a folder' if path.is_dir() else 'no such file'}")
    head = head_of(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER:
        return _safetensors(path)
    if head.startswith(ZIP):
        _check_zip(path)
    elif head[257:262] == TAR:
        _refuse_tar(path)
    elif not (head and OLD_TORCH.startswith(head[: len(OLD_TORCH)])):
        raise UserError(f"{path} is {_other(head)}")
    return _torch(path)


def _other(head: bytes) -> str:
    if head.startswith(b"\x80"):
        return f"a pickle of Python that torch.save did not write; where you trust it, load it and {SAVE}"
    if len(head) < 16 and not known(head):
        return f"only {len(head)} bytes long; {AGAIN}"
    return _cured(known(head) or f"of a kind that is not known here (it begins {head[:8].hex(' ')})")


def _cured(what: str) -> str:
    return what if ";" in what else f"{what}; a checkpoint is a file of torch or safetensors"


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, "pt") as file:
            known = (file.metadata() or {}).get(TRAINED)
        return {"args": json.loads(known), "model": load_file(path)} if known else load_file(path)
    except SafetensorError as error:
        size, wanted = path.stat().st_size, _length(path)
        if size < wanted:
            raise UserError(f"{path} was cut off: it has {size} of {wanted} bytes; {AGAIN}") from error
        raise UserError(f"{path} is a damaged file of safetensors ({error}); {AGAIN}") from error


def _length(path: Path) -> int:
    """Bytes that a file of safetensors should have, as far as its header can be read."""
    with path.open("rb") as file:
        after = 8 + int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(after - 8))
            return int(after + max(value["data_offsets"][1] for key, value in header.items() if key != "__metadata__"))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return after


def _check_zip(path: Path) -> None:
    """Refuse a zip that is not what torch.save writes."""
    try:
        names = _names(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is damaged ({error}); {AGAIN}") from error
    if names is None:
        raise UserError(f"{path} was cut off: the list of what is in it, at its end, is missing; {AGAIN}")
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        raise UserError(f"{path} is a TorchScript archive, which is code; load it with torch.jit.load and {SAVE}")
    if "data.pkl" not in last:
        raise UserError(f"{path} is {_cured(_archive(names))}")
    try:
        _check_sums(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {AGAIN}") from error


def _check_sums(path: Path) -> None:
    """Read all of a zip, which torch does without its check sums; those of 0 were not computed when it was saved."""
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            with archive.open(part) as file:
                while part.CRC and file.read(CHUNK):
                    pass


def _names(path: Path) -> list[str] | None:
    """Files in a zip; None if it does not go on to its end."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _archive(names: list[str]) -> str:
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of numpy arrays (.npz)"
    if any(name.endswith("serialized_exported_program.json") or "models/" in name for name in names):
        return f"a program of torch.export (.pt2), not weights; load it with torch.export.load and {SAVE}"
    return f"a zip archive of {_shown(names)}; unpack it and give the file of weights in it"


def _shown(names: list[str]) -> str:
    return ", ".join(repr(name)[1:-1] for name in names[:3]) or "nothing"


def _refuse_tar(path: Path) -> None:
    try:
        with tarfile.open(path, "r:") as archive:
            names = archive.getnames()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path} is a damaged tar archive ({error}); {AGAIN}") from error
    if {"storages", "tensors", "pickle"} & set(names):
        raise UserError(
            f"{path} was saved by torch 0.1, as a tar that may hold code; where you trust it, load it with "
            f"torch.load(..., weights_only=False) and {SAVE}"
        )
    raise UserError(f"{path} is a tar archive of {_shown(names)}; unpack it and give the weights in it")


def _torch(path: Path) -> Any:
    try:
        with (
            torch.serialization.safe_globals(HARMLESS),
            warnings.catch_warnings(action="ignore"),
            path.open("rb") as file,  # of a path torch would look at the suffix
        ):
            return torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # torch raises half a dozen types for a broken file
        with torch.serialization.safe_globals(HARMLESS):
            foreign = _code_in(path, error)
        if foreign:
            raise UserError(
                f"{path} holds Python objects besides weights ({foreign}), and loading those could run code from the "
                "file; where you trust it, save its state_dict alone with torch.save and load that"
            ) from error
        cut = isinstance(error, EOFError) or re.search(r"EOF|truncated|Ran out of input", str(error))
        raise UserError(f"{path} {'was cut off' if cut else 'is damaged'} ({type(error).__name__}); {AGAIN}") from error


def _code_in(path: Path, error: Exception) -> str:
    """Names of the Python objects that made loading fail, without running them; empty if that was not the reason."""
    try:
        with path.open("rb") as file:
            found = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # not a file that torch can look into
        found = []
    objects = r"GLOBAL ([\w.]+)|got <class '([\w.]+)'|(Unsupported operand 149)"  # which protocol 4 begins with
    found = [*found] or ["".join(parts) for parts in re.findall(objects, str(error))]
    return ", ".join(sorted(found)[:3])
