"""Which output of a model each class folder is: by the order of names, checked, or by a list that the user gives."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite.errors import UserError

Order = str | Path | Sequence[str]
BY_TEXT, BY_NUMBER = "text", "number"
WNID = re.compile(r"n\d{8}")
IMAGENET = 1000  # classes
CHOICE = "--classes"


def ordered(folders: Sequence[str], where: Path, order: Order | None) -> tuple[tuple[str, ...], str]:
    """Names of the classes in the order of a model's outputs, and what that order is.

    Args:
        folders: names of the class folders.
        where: the folder that they are in.
        order: "text" or "number" for the order of the folders' names; a file with a name in each line, or with a JSON
            list of names or mapping between names and numbers; or the names. By default names as text, as torchvision
            has it, where nothing speaks against it.

    Raises:
        UserError: if the order of names is not clearly the meant one, or the list does not fit the folders.
    """
    if order is None:
        return tuple(sorted(folders)), _checked(folders, where)
    if order == BY_TEXT:
        return tuple(sorted(folders)), "in the order of their names as text"
    if order == BY_NUMBER:
        return tuple(sorted(folders, key=_numbers)), "in the order of the numbers in their names"
    names, source = (_read(Path(order)), str(order)) if isinstance(order, str | Path) else (list(order), "classes")
    return _fitted(names, folders, source, where), f"in the order of {source}"


def _numbers(name: str) -> tuple[tuple[int, ...], str]:
    return tuple(map(int, re.findall(r"\d+", name))), name


def _checked(folders: Sequence[str], where: Path) -> str:
    """What the order of names as text is; UserError where another order may be meant."""
    shapes = {name: re.sub(r"\d+", "#", name) for name in folders}
    usual, count = Counter(shapes.values()).most_common(1)[0]
    alike = [name for name in folders if shapes[name] == usual and 2 * count > len(folders)]
    text, numbered = sorted(alike), sorted(alike, key=_numbers)
    if text != numbered:
        raise UserError(
            f"{where} has numbered folders, which are {_some(text)} in the order of text and {_some(numbered)} in that "
            f"of numbers; say which is the model's: {CHOICE} {BY_TEXT}, as torchvision sorts, or {CHOICE} {BY_NUMBER}"
        )
    return _imagenet(sorted(folders), where) if len(folders) == IMAGENET else "in the order of their names"


def _imagenet(text: list[str], where: Path) -> str:
    import suite.torchvision_operators  # noqa: F401  (before timm, see there)

    # isort: split
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    official = info.label_names()
    if text == official:
        return "ImageNet's own order"
    cure = f"give {CHOICE} a file of their names in the order of the model's outputs, or {BY_TEXT} if that is it"
    if all(WNID.fullmatch(name) for name in text):
        foreign, lacking = sorted(set(text) - set(official)), sorted(set(official) - set(text))
        raise UserError(
            f"{where} has 1000 folders named as in ImageNet, but {_some(foreign)} are none of its 1000 classes and "
            f"{_some(lacking)} are missing; mend the names, or {cure}"
        )
    words = {_plain(word) for line in info.label_descriptions() for word in line.split(",")}
    if sum(_plain(name) in words for name in text) > IMAGENET / 2:
        raise UserError(f"{where} has ImageNet's classes by their words, whose alphabet is not its order; {cure}")
    return "in the order of their names, which is not ImageNet's"


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().lower()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _read(path: Path) -> list[str]:
    """Names of classes out of a file.

    Raises:
        UserError: if it is none, or not one name for each number.
    """
    if not path.is_file():
        raise UserError(
            f"{CHOICE}: there is no file {path}; give one with a class in each line, {BY_TEXT} or {BY_NUMBER}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        content = json.loads(text) if text[:1] in ("[", "{") else text.splitlines()
    except ValueError as error:
        raise UserError(f"{path} is neither text with a class in each line nor JSON: {error}") from error
    names = _from_mapping(content, path) if isinstance(content, dict) else content
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"{path} must have the name of a class in every line or entry, and not be empty")
    return [name.strip() for name in names]


def _from_mapping(content: dict[str, Any], path: Path) -> list[Any]:
    """Names in the order of their numbers, from {name: number} or {number: name}."""
    if all(isinstance(value, int) for value in content.values()):
        numbers = {value: name for name, value in content.items()}
    else:
        numbers = {int(key) if key.isdecimal() else -1: value for key, value in content.items()}
    if sorted(numbers) != list(range(len(content))):
        raise UserError(f"{path} must have each number from 0 to {len(content) - 1} once, one for each class")
    return [numbers[number] for number in range(len(content))]


def _fitted(names: list[str], folders: Sequence[str], source: str, where: Path) -> tuple[str, ...]:
    """The names as the folders write them; those without a folder stay."""
    own = {unicodedata.normalize("NFC", folder): folder for folder in folders}
    fitted = tuple(own.get(unicodedata.normalize("NFC", name), name) for name in names)
    if len(set(fitted)) < len(fitted):
        twice = next(name for name in fitted if fitted.count(name) > 1)
        raise UserError(f"{source} names the class {twice} twice; name each class once")
    if foreign := sorted(set(folders) - set(fitted)):
        raise UserError(f"{source} does not name the folders {_some(foreign)} of {where}; add them, or take them away")
    return fitted
