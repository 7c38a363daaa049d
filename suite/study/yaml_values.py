"""What a YAML text says: what its readers disagree about, what is no plain value and what never ends is refused."""

from __future__ import annotations

import copy
import functools
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import yaml

from suite.strict import Place, dotted

DEEPEST, MOST = 50, 100_000  # levels, and values with those that aliases stand for
DIGITS = 18  # of the longest whole number
THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:_\d{3})+(?:\.\d*)?(?:[eE][-+]?\d+)?")  # how _ may stand in a number
PREFIX = "tag:yaml.org,2002:"
PLAIN = {
    yaml.ScalarNode: {"str", "int", "float", "bool", "null", "merge"},
    yaml.SequenceNode: {"seq"},
    yaml.MappingNode: {"map"},
}
OF_A_READER = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)  # what PyYAML lets through
Problem = tuple[Place, str]


class Unreadable(ValueError):
    """A text is no YAML, or nests too deeply to be looked at."""


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, with 1e-3 a number, as in YAML 1.2."""


_Loader.add_implicit_resolver(
    f"{PREFIX}float", re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$"), list("-+.0123456789")
)
RESOLVER = _Loader("")


def compose(text: str) -> yaml.Node | None:
    """The nodes of a text as they are written; None if it is empty.

    Raises:
        Unreadable: if it is no YAML.
    """
    try:
        return _Loader(text).get_single_node()
    except RecursionError as error:
        raise Unreadable(f"it nests more than {DEEPEST} levels deep") from error
    except (yaml.YAMLError, *OF_A_READER) as error:
        raise Unreadable(" ".join(str(error).split())) from error


def construct(root: yaml.Node | None) -> Any:
    """What nodes say in which `wrong` finds nothing.

    Raises:
        Unreadable: for a mapping that cannot be, such as one that merges what is none.
    """
    try:
        return None if root is None else _Loader("").construct_document(copy.deepcopy(root))  # it merges in place
    except (yaml.YAMLError, *OF_A_READER) as error:
        raise Unreadable(" ".join(str(error).split())) from error


def value_of(text: str) -> Any:
    """What one value says, such as that of an option of the command line.

    Raises:
        Unreadable: if it is no YAML, or says something that is refused in a file too; either is a sentence.
    """
    try:
        root = compose(text)
        found = wrong(root)
        if not found:
            return construct(root)
    except Unreadable as error:
        raise Unreadable(f"the value is not readable as YAML: {error}") from error
    place, message = found[0]
    raise Unreadable(f"{dotted(place)}: {message}" if place else message)


def wrong(root: yaml.Node | None) -> list[Problem]:
    """Place and sentence of everything that is refused; what an alias stands for is looked at once."""
    if root is None:
        return []
    sizes: dict[int, int] = {}
    found = list(_wrong(root, (), sizes, ()))
    if not found and sizes[id(root)] > MOST:
        return [((), f"its aliases stand for more than {MOST} values")]
    return found


def _wrong(node: yaml.Node, place: Place, sizes: dict[int, int], around: tuple[int, ...]) -> Iterator[Problem]:
    """Of a node and all in it; `sizes` gets how many values each stands for, `around` are the nodes that it is in."""
    if id(node) in around:
        yield place, "a YAML alias contains itself"
    elif len(around) > DEEPEST:
        yield place, f"it nests more than {DEEPEST} levels deep"
    elif id(node) not in sizes:
        if message := _wrong_tag(node) or (_wrong_scalar(node) if isinstance(node, yaml.ScalarNode) else ""):
            yield place, message
        parts = list(_parts(node, place))
        for part, its_place in parts:
            yield from _wrong(part, its_place, sizes, (*around, id(node)))
        sizes[id(node)] = 1 + sum(sizes.get(id(part), 0) for part, _ in parts)
        yield from _wrong_keys(node, place)


def _parts(node: yaml.Node, place: Place) -> Iterator[tuple[yaml.Node, Place]]:
    if isinstance(node, yaml.SequenceNode):
        yield from ((value, (*place, index)) for index, value in enumerate(node.value))
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            its_place = (*place, key.value) if isinstance(key, yaml.ScalarNode) else place
            yield from ((key, its_place), (value, its_place))


def _wrong_keys(node: yaml.Node, place: Place) -> Iterator[Problem]:
    """Keys that are none, and those written twice in one mapping; what it merges (`<<`) is not written there."""
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if not isinstance(key, yaml.ScalarNode):
            yield place, "a key must be a text, found a list or a mapping"
        elif key.value in seen:
            several = "; merge several in a list, <<: [*one, *other]" if key.tag == f"{PREFIX}merge" else ""
            line = key.start_mark.line + 1
            yield (*place, key.value), f"the key stands twice; the second is in line {line}{several}"
        else:
            seen.add(key.value)


def _wrong_tag(node: yaml.Node) -> str:
    kind = node.tag.removeprefix(PREFIX)
    if kind in PLAIN[type(node)] or (isinstance(node, yaml.ScalarNode) and _is_date(node)):
        return ""
    if kind == "value":
        return "= stands for nothing in YAML; write it in quotes"
    return f"the tag {node.tag.replace(PREFIX, '!!')} has no meaning here; write a text, a number, a list or a mapping"


def _is_date(node: yaml.ScalarNode) -> bool:
    return bool(node.tag == f"{PREFIX}timestamp")


def _wrong_scalar(node: yaml.ScalarNode) -> str:
    text, kind = node.value, node.tag.removeprefix(PREFIX)
    if bad := next((one for one in text if unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t\r"), ""):
        return f"it has the character U+{ord(bad):04X}, which no text here can have"
    shown = text if len(text) < 40 else f"{text[:40]}…"
    meant = str(RESOLVER.resolve(yaml.ScalarNode, text, (True, False))).removeprefix(PREFIX)  # type: ignore[no-untyped-call]
    if _is_date(node):
        return f"{shown} is read as a date by YAML; write it in quotes" if meant == kind else f"{shown!r} is no date"
    if kind in ("int", "float", "bool", "null") and meant not in (kind, "int" if kind == "float" else kind):
        return f"{shown!r} is no {kind}"
    return _wrong_number(text, shown) if kind in ("int", "float") else ""


def _wrong_number(text: str, shown: str) -> str:
    """A number that is not read as it is written: in base 60, in base 8 as it begins with 0, without its _."""
    sign = "-" if text.startswith("-") else ""
    quoted, digits = f"or, for a text, '{shown}' in quotes", text.lstrip("-+").replace("_", "")
    if ":" in text:
        value = functools.reduce(lambda all_before, part: 60 * all_before + float(part), digits.split(":"), 0.0)
        return f"{shown} is {sign}{value:.15g} in YAML, which reads : as base 60; write {sign}{value:.15g}, {quoted}"
    if digits in ("0b", "0x"):
        return f"{shown} is no number; write its digits, {quoted}"
    if len(digits) > DIGITS and not set(digits) & set(".eE"):
        return f"{shown} has {len(digits)} digits; a whole number here has at most {DIGITS}"
    if digits.isdecimal() and digits[0] == "0" and digits.strip("01234567") == "" and int(digits) != int(digits, 8):
        read, meant = f"{sign}{int(digits, 8)}", f"{sign}{int(digits)}"
        return f"{shown} is {read} in YAML, which reads a leading 0 as base 8; write {meant}, {quoted}"
    if "_" in text and not THOUSANDS.fullmatch(text):
        return f"{shown} is {sign}{digits} in YAML, where _ only parts thousands; write {sign}{digits}, {quoted}"
    return ""
