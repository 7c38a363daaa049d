"""Which output of a model each class folder is: by the order of names, checked, or by a list that the user gives."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite.errors import UserError

Order = str | Path | Sequence[str]
BY_TEXT, BY_NUMBER = "text", "number"
WNID = re.compile(r"n\d{8}")
NUMBER = re.compile(r"^-?\d+|\d+")
NUMBERED = (
    re.compile(r"(\d{1,9})[\s,;:=]+(.+)"),
    re.compile(r"(.+?)[\s,;:=]+(\d{1,9})"),
)  # lines with a number for the class
IMAGENET = 1000  # classes
IMAGENET_IMAGES = 1_281_167  # of ILSVRC 2012, to train on
CHOICE = "--classes"


def ordered(folders: Sequence[str], where: Path, order: Order | None) -> tuple[tuple[str, ...], str]:
    """Names of the classes in the order of a model's outputs, and what that order is.

    Args:
        folders: names of the class folders.
        where: the folder that they are in.
        order: "text" or "number" for the order of the folders' names; a file with a name in each line, or a number and
            a name, or with a JSON list of names or mapping between names and numbers; or the names. By default names as
            text, as torchvision has it, where nothing speaks against it.

    Raises:
        UserError: if the order of names is not clearly the meant one, or the list does not fit the folders.
    """
    if order is None:
        return tuple(sorted(folders)), _checked(folders, where)
    if order == BY_TEXT:
        return tuple(sorted(folders)), "in the order of their names as text"
    if order == BY_NUMBER:
        return tuple(sorted(folders, key=_numbers)), "in the order of the numbers in their names"
    names, source = (
        (_read(Path(order), folders), str(order)) if isinstance(order, str | Path) else (list(order), "classes")
    )
    return _fitted(names, folders, source, where), f"in the order of {source}"


def in_a_study(sentence: str) -> str:
    """A sentence that says what to write on the command line, with the keys of a study in its place."""
    with_order = re.sub(rf"{CHOICE} ({BY_TEXT}|{BY_NUMBER})\b", r"data.order: \1", sentence)
    return with_order.replace(CHOICE, "data.classes")


def _numbers(name: str) -> tuple[tuple[int, ...], str]:
    return tuple(map(int, NUMBER.findall(name))), name


def _has_two_orders(names: Sequence[str]) -> bool:
    """Whether names that are alike up to a number are in another order by that number than by text."""
    alike = defaultdict[str, list[tuple[int, str]]](list)
    for name in names:
        for found in NUMBER.finditer(name):
            alike[name[: found.start()]].append((int(found[0]), name))
    return any(sorted(group) != sorted(group, key=lambda item: item[1]) for group in alike.values())


def _checked(folders: Sequence[str], where: Path) -> str:
    """What the order of names as text is; UserError where another order may be meant."""
    text = sorted(folders)
    if _has_two_orders(folders):
        raise UserError(
            f"{where} has numbered folders, which are {_some(text)} in the order of text and "
            f"{_some(sorted(folders, key=_numbers))} in that of numbers; say which is the model's: {CHOICE} {BY_TEXT}, "
            f"as torchvision sorts, {CHOICE} {BY_NUMBER}, or {CHOICE} FILE with their names"
        )
    how = "in the order of their names"
    how += ", capitals before small letters" if text != sorted(text, key=lambda name: (name.lower(), name)) else ""
    return _imagenet(text, where, how) if len(folders) == IMAGENET else how


def _imagenet(text: list[str], where: Path, how: str) -> str:
    import suite.torchvision_operators  # noqa: F401  (before timm, see there)

    # isort: split
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    official = info.label_names()
    if [_without_words(name) for name in text] == official:
        return "ImageNet's own order"
    cure = (
        f"give {CHOICE} FILE with their names in the order of the model's outputs, or {CHOICE} {BY_TEXT} if that is it"
    )
    if all(WNID.fullmatch(name) for name in text):
        foreign, lacking = sorted(set(text) - set(official)), sorted(set(official) - set(text))
        raise UserError(
            f"{where} has 1000 folders named as in ImageNet, but {_some(foreign)} are none of its 1000 classes and "
            f"{_some(lacking)} are missing; mend the names, or {cure}"
        )
    words = {_plain(word) for line in info.label_descriptions() for word in line.split(",")}
    if sum(_plain(name) in words for name in text) > IMAGENET / 2:
        raise UserError(f"{where} has ImageNet's classes by their words, whose alphabet is not its order; {cure}")
    return f"{how}, which is not ImageNet's"


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().lower()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _read(path: Path, folders: Sequence[str]) -> list[Any]:
    """Names of classes out of a file.

    Raises:
        UserError: if it is none, or not one name for each number.
    """
    if not path.is_file():
        raise UserError(
            f"{CHOICE}: there is no file {path}; give one with a class in each line, {CHOICE} {BY_TEXT} or {CHOICE} "
            f"{BY_NUMBER}"
        )
    own = {_same(folder) for folder in folders}
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        content = json.loads(text) if text[:1] in ("[", "{") else _lines(text, own)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is neither text with a class in each line nor JSON: {error}") from error
    return _one_of_each(_from_mapping(content, path) if isinstance(content, dict) else content, own)


def _lines(text: str, own: set[str]) -> list[str] | dict[str, Any]:
    """The lines that are not empty; by number, where each has one that is no part of a folder's name."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not own & set(map(_same, lines)):
        first, last = ([pattern.fullmatch(line) for line in lines] for pattern in NUMBERED)
        pairs = [found.groups() for found in first if found] or [found.groups()[::-1] for found in last if found]
        if len(pairs) == len(lines) == len({number for number, _ in pairs}):
            return {str(int(number)): _without_words(name) for number, name in pairs}
    return [line if _same(line) in own else _without_words(line) for line in lines]


def _without_words(name: str) -> str:
    """The id of a class of ImageNet without its words, in `n01440764 tench, Tinca tinca`; other names as they are."""
    found = re.match(rf"({WNID.pattern})[\s,;:_-]", name)
    return found[1] if found else name


def _one_of_each(names: list[Any], own: set[str]) -> list[Any]:
    """Of entries that are lists of names those at the place where most are folders; other entries as they are."""
    width = len(names[0]) if names and isinstance(names[0], list) else 0
    if not width or not all(isinstance(name, list) and len(name) == width for name in names):
        return names
    columns: list[list[Any]] = [list(column) for column in zip(*names, strict=True)]
    return max(columns, key=lambda column: sum(isinstance(name, str) and _same(name) in own for name in column))


def _from_mapping(content: dict[str, Any], path: Path) -> list[Any]:
    """Names in the order of their numbers, from {name: number} or {number: name}, by itself or in a model's config."""
    for key in ("id2label", "label2id"):  # of Hugging Face
        if isinstance(content.get(key), dict):
            return _from_mapping(content[key], path)
    pairs = [(_number(key), value) for key, value in content.items()]
    if all(number < 0 for number, _ in pairs) or all(type(value) is int for value in content.values()):
        pairs = [(_number(value), name) for name, value in content.items()]
    if sorted(number for number, _ in pairs) != list(range(len(content))):
        raise UserError(f"{path} must have each number from 0 to {len(content) - 1} once, one for each class")
    return [name for _, name in sorted(pairs, key=lambda pair: pair[0])]


def _number(value: Any) -> int:
    """A whole number, also as text; -1 for all else."""
    short = isinstance(value, str) and value.isdecimal() and len(value) < 10
    return int(value) if short or type(value) is int else -1


def _same(name: str) -> str:
    """One form of names that differ by how accents are written, or by white space around them."""
    return unicodedata.normalize("NFC", name).strip()


def _fitted(names: list[Any], folders: Sequence[str], source: str, where: Path) -> tuple[str, ...]:
    """The names as the folders write them; those without a folder stay."""
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"{source} must have the name of a class in every line or entry, and not be empty")
    own = {_same(folder): folder for folder in folders}
    fitted = tuple(own.get(_same(name), name.strip()) for name in names)
    if len(set(fitted)) < len(fitted):
        twice = next(name for name in fitted if fitted.count(name) > 1)
        raise UserError(f"{source} names the class {twice} twice; name each class once")
    if foreign := sorted(set(folders) - set(fitted)):
        raise UserError(f"{source} does not name the folders {_some(foreign)} of {where}; add them, or take them away")
    return fitted
