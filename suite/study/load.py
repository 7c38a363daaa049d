"""Read a study's YAML file and say exactly what is wrong with it: file, line, path, what was found, what would work."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from suite.errors import UserError, suggest
from suite.strict import Place, dotted, problems
from suite.study import records
from suite.study.kind import Kind, Loaded, kinds
from suite.study.yaml_lines import changed, doubled_keys, line_of, read_yaml

FOLDER, RESULTS = Path("studies"), Path("results")
DEFAULT_KIND = "training"
STUDY, CHANGES = "study", "changes"  # in provenance.json: a study's file if not in `studies/`, and what was changed
SUFFIXES = (".yaml", ".yml")
LONGEST = 100  # characters of a suffix of a results folder
UNSAFE = re.compile(r"[^\w.=,\[\]-]", re.ASCII)  # characters that not every file system has in names


def study_names() -> list[str]:
    """Names of the studies in `studies/`."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_study(name: str) -> Path:
    """The file of a study that is named by its path, by its name in `studies/`, or by its results folder.

    Raises:
        UserError: if there is no such file, with the nearest names.
    """
    for path in (Path(name), FOLDER / f"{name}.yaml"):
        if path.suffix in SUFFIXES and path.is_file():
            return path
    if stated := records.stated(RESULTS / name, STUDY):
        return find_study(str(stated))
    if not study_names():
        raise UserError(f"there is no study {name!r}: no such file, and no studies/ in {Path.cwd()}")
    raise UserError(f"there is no study {name!r}: no such file, and none in studies/; {suggest(name, study_names())}")


def remember(loaded: Loaded) -> None:
    """State in `provenance.json` what finds a study by its results: a file outside of `studies/`, and its changes."""
    if loaded.changes or not _is_known(loaded.path):
        records.state(RESULTS / loaded.name, {STUDY: _file_of(loaded), CHANGES: list(loaded.changes)})


def argument_of(loaded: Loaded) -> str:
    """What the command line calls a study, once its changes are stated in its results."""
    return loaded.name if loaded.changes or _is_known(loaded.path) else str(loaded.path)


def words_of(loaded: Loaded) -> str:
    """What the command line calls a study where it has no results: its file and its changes."""
    return shlex.join([_file_of(loaded), *(word for change in loaded.changes for word in ("--set", change))])


def _file_of(loaded: Loaded) -> str:
    return loaded.path.stem if _is_known(loaded.path) else str(loaded.path)


def _is_known(path: Path) -> bool:
    """Whether a file lies in `studies/`, however its path is written."""
    return path.resolve().parent == FOLDER.resolve()


def results_of(name: str) -> Path:
    """The results folder of a study, which is named by its path or its name; its file may be gone.

    Raises:
        UserError: if there is neither such a folder nor such a study, with the nearest names.
    """
    folder = RESULTS / title_of(name)
    if not folder.is_dir():
        find_study(name)
    return folder


def title_of(name: str) -> str:
    """The name of a study, or of its results folder, that is named by its path or its name."""
    return Path(name).stem if name.endswith(SUFFIXES) else Path(name).name


def find(name: str) -> Loaded | None:
    """As `load`, without changes; None if the study's file is gone."""
    try:
        find_study(name)
    except UserError:
        return None
    return load(name)


def load(name: str, changes: Sequence[str] = ()) -> Loaded:
    """Read and check a study.

    Args:
        name: its path, its name in `studies/`, or that of a results folder, which has changes of its own.
        changes: such as `finetune.epochs=2`; they are made before the study is checked and name the results folder.

    Raises:
        UserError: naming every problem found.
    """
    path, stated = find_study(name), records.stated(RESULTS / name, CHANGES)
    changes = (*map(str, stated if isinstance(stated, list) else ()), *changes)
    made = _parsed(changes)
    root, content = _read(path)
    try:
        found = list(doubled_keys(root, ()))
        for place, value in made.items():
            try:
                content = changed(content, place, value)
            except IndexError as error:
                found.append((place, str(error)))
        said, known = content.get("kind", DEFAULT_KIND), {name: kind for name, kind in kinds().items() if kind.schema}
        kind = known.get(str(said))
        if kind is None:
            message = f"unknown kind of study {said!r}; {suggest(str(said), known)}"
            raise _refused(path, root, changes, [*found, (("kind",), message)])
        study = _checked(kind, content, path, found)
    except RecursionError as error:
        raise UserError(f"{path}: a YAML alias contains itself") from error
    if found or study is None:
        raise _refused(path, root, changes, found)
    return Loaded(path, path.stem + _suffix(changes), study, kind, changes)


def refusal(loaded: Loaded, place: Place, message: object) -> UserError:
    """What is wrong at a place of a study that was read before."""
    return _refused(loaded.path, _read(loaded.path)[0], loaded.changes, [(place, str(message))])


def _read(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    root, content = read_yaml(path)
    if root is None or not isinstance(content, dict):
        raise UserError(f"{path}: a study is a mapping of keys; see studies/quickstart.yaml for one")
    return root, content


def _checked(kind: Kind, content: dict[str, Any], path: Path, found: list[tuple[Place, str]]) -> Any:
    """The study; problems are added to those found before."""
    assert kind.schema is not None
    try:
        study = kind.schema.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        found += problems(error)
        return None
    found += kind.problems(study)
    return study


def _refused(path: Path, root: yaml.Node, changes: Sequence[str], found: Sequence[tuple[Place, str]]) -> UserError:
    """One line for each problem: the change that it lies in, or file and line, and all changes, which may cause it."""
    said = {place: f"--set {change}" for place, change in zip(_parsed(changes), changes, strict=True)}
    lines, with_all = [], f" with {' '.join(said.values())}" if said else ""
    for place, message in found:
        change = next((text for part, text in said.items() if place[: len(part)] == part), None)
        where = change or f"{path}:{line_of(root, place)}{with_all}"
        lines.append(f"{where}: {dotted(place) or 'study'}: {message}")
    return UserError("\n".join(lines))


def _parsed(changes: Sequence[str]) -> dict[Place, Any]:
    """Place and value of each change."""
    made: dict[Place, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        place = tuple(int(step) if step.isdecimal() else step for step in key.split("."))
        if not equals or "" in place:
            raise UserError(f"--set {change}: a change names a key and a value, such as finetune.epochs=2")
        if place in made:
            raise UserError(f"--set {change}: {key} is changed twice")
        try:
            made[place] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {change}: the value is not readable as YAML: {error}") from error
    return made


def _suffix(changes: Sequence[str]) -> str:
    """What is added to the name of a results folder; characters that file names cannot have give way to a digest."""
    text = "".join(f"+{change}" for change in sorted(changes))
    safe = "".join(f"+{UNSAFE.sub('_', change)}" for change in sorted(changes))
    if safe == text and len(text) <= LONGEST:
        return text
    return f"{safe[: LONGEST - 20]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
