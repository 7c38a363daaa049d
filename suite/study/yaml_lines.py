"""Places in a YAML file: keys and indices from the top, the lines where they are, and changes of what stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from suite.errors import UserError
from suite.strict import Place, dotted
from suite.study.yaml_values import PREFIX, Unreadable, compose, construct, wrong

LARGEST = 2**18  # bytes of a file


def read_yaml(path: Path) -> tuple[yaml.Node | None, Any]:
    """The nodes of a YAML file as they are written, with their lines, and what it says; None for both if it is empty.

    Raises:
        UserError: if it is not YAML, or something in it is refused, see `yaml_values`; with all lines.
    """
    if (size := path.stat().st_size) > LARGEST:
        raise UserError(f"{path} has {size} bytes, and no study has more than {LARGEST}; name a study's file")
    try:
        root = compose(path.read_text(encoding="utf-8"))
        found, content = wrong(root), None
        if not found:
            content = construct(root)
    except (Unreadable, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    if found:
        raise UserError("\n".join(f"{path}:{line_of(root, at)}: {dotted(at) or 'study'}: {why}" for at, why in found))
    return root, content


def line_of(node: yaml.Node | None, place: Place) -> int:
    """Line, from 1, of the deepest part of `place` that the file has."""
    line = 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = _entry(node, str(step))
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _entry(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value of what a mapping says or merges under a name."""
    own: list[tuple[yaml.Node, yaml.Node]] = [(key, value) for key, value in node.value if key.value == name]
    if own:
        return own[0]
    merged = [value for key, value in node.value if key.tag == f"{PREFIX}merge"]
    every = [one for value in merged for one in (value.value if isinstance(value, yaml.SequenceNode) else [value])]
    found = (_entry(one, name) for one in every if isinstance(one, yaml.MappingNode) and one is not node)
    return next((one for one in found if one), None)


def changed(content: Any, place: Place, value: Any) -> Any:
    """A copy of what a file says with another value at a place; keys that are not there are added.

    Parts of a file that stand for each other (YAML's aliases) are copied, so that one place changes alone.

    Raises:
        IndexError: for an entry that a list does not have.
    """
    if not place:
        return value
    step, rest = place[0], place[1:]
    if isinstance(content, list):
        if not isinstance(step, int) or step >= len(content):
            raise IndexError(f"a list of {len(content)} has no entry {step!r}; entries are counted from 0")
        return [changed(part, rest, value) if index == step else part for index, part in enumerate(content)]
    known = content if isinstance(content, dict) else {}
    return known | {str(step): changed(known.get(str(step)), rest, value)}
