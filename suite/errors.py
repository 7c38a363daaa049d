"""The one exception a user is meant to read, and words for others."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Found = TypeVar("Found")
EXTRAS = {  # modules that an extra of this package brings
    "study": {
        *(
            "jinja2",
            "markupsafe",
            "matplotlib",
            "mlflow",
            "ray",
            "scikit_posthocs",
            "seaborn",
            "sqlalchemy",
            "tabulate",
        ),
    },
    "segmentation": {"mmcv", "mmengine", "mmseg"},
    "export": {"onnx", "onnxruntime", "onnxscript"},
}
NOT_ON_WINDOWS = {"fcntl", "resource"}
PACKAGES = {"MySQLdb": "mysqlclient", "psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary"}  # by module


class UserError(ValueError):
    """Something the user asked for cannot be done; the message says what, why and what would work.

    The command line prints the message without a traceback and exits with code 2.
    """


def suggest(found: str, valid: Iterable[str]) -> str:
    """Say which of the `valid` names are nearest to `found`, or list them when none is near."""
    names = sorted(valid)
    if not names:
        return "there is none"
    near = difflib.get_close_matches(found, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"valid: {', '.join(names)}" if len(names) <= 30 else f"none of the {len(names)} valid names is near"


def named(name: str, known: Mapping[str, Found], what: str) -> Found:
    """What is called `name`; `what` says what it is, such as "task".

    Raises:
        UserError: if nothing is, with the nearest names.
    """
    if name not in known:
        raise UserError(f"unknown {what} {name!r}; {suggest(name, known)}")
    return known[name]


def not_installed(error: ImportError) -> str:
    """Which module is missing, and what brings it: an extra only if it does."""
    name = error.name or str(error)
    top = name.partition(".")[0]
    if top in NOT_ON_WINDOWS:
        return f"this system has no {top}; the suite runs on Linux and macOS, and on Windows inside WSL"
    if top in ("suite", "baselines"):
        return f"{name} is missing from this installation; install all of it: pip install --force-reinstall cropr-suite"
    for extra, modules in EXTRAS.items():
        if top in modules:
            return f"{name} is not installed; all that {extra} needs: pip install 'cropr-suite[{extra}]'"
    return f"{name} is not installed; get it with: pip install {PACKAGES.get(top, top)}"


def refused(error: OSError) -> str:
    """What the system did not allow, and with which file as far as it says so."""
    why = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"cannot use {error.filename}: {why}" if error.filename else f"the system refuses: {why}"


def describe(error: BaseException) -> str:
    """Type and message of an exception, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
