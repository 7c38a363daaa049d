"""Read a study's YAML file and say exactly what is wrong with it: file, line, path, what was found, what would work."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from suite.data.recipe import DigitScenes
from suite.errors import UserError, suggest
from suite.kinds.costs.schema import CostStudy
from suite.kinds.speed.schema import SpeedStudy
from suite.kinds.training.schema import STUDIES, Backbone, ScheduleRule, Study
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule, common_rate
from suite.study.row_schedule import resolved, schedule_of
from suite.study.yaml_lines import Place, dotted, doubled_keys, line_of
from suite.tasks.recipe import TrainingRecipe

FOLDER = Path("studies")
KINDS: dict[object, type[Study | CostStudy | SpeedStudy]] = {**STUDIES, "costs": CostStudy, "speed": SpeedStudy}


def study_names() -> list[str]:
    """Names of the studies in `studies/`."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_study(name: str) -> Path:
    """The file of a study that is named by its path or by its name in `studies/`.

    Raises:
        UserError: if there is no such file, with the nearest names.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    if (FOLDER / f"{name}.yaml").is_file():
        return FOLDER / f"{name}.yaml"
    if not study_names():
        raise UserError(f"there is no study {name!r}: no such file, and no studies/ in {Path.cwd()}")
    raise UserError(f"there is no study {name!r}: no such file, and none in studies/; {suggest(name, study_names())}")


def title_of(name: str) -> str:
    """The study's name: that of its file."""
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name


def is_of_costs(name: str) -> bool:
    """Whether there is a study of that name whose task is costs, right or wrong otherwise."""
    return _task_of(name) == "costs"


def is_of_speed(name: str) -> bool:
    """As `is_of_costs`, for the task speed."""
    return _task_of(name) == "speed"


def _task_of(name: str) -> object:
    try:
        content = yaml.safe_load(find_study(name).read_text(encoding="utf-8"))
    except (UserError, yaml.YAMLError, UnicodeDecodeError):
        return None
    return content.get("task") if isinstance(content, dict) else None


def load_study(name: str) -> Study:
    """Read and check a study that has cells, without importing anything heavy.

    Raises:
        UserError: naming every problem found.
    """
    study = _load(name)
    if isinstance(study, CostStudy):
        raise UserError(f"{find_study(name)} is a study of costs and has no cells; compute its table: suite run {name}")
    if isinstance(study, SpeedStudy):
        raise UserError(f"{find_study(name)} is a study of speed, without training; make its table: suite run {name}")
    return study


def load_costs(name: str) -> CostStudy:
    """Read a study of costs; whether its rows can be computed shows only when they are.

    Raises:
        UserError: naming every problem found.
    """
    study = _load(name)
    if not isinstance(study, CostStudy):
        raise UserError(f"{find_study(name)} is no study of costs, its task is {study.task}")
    return study


def load_speed(name: str) -> SpeedStudy:
    """Read and check a study of speed.

    Raises:
        UserError: naming every problem found.
    """
    study = _load(name)
    if not isinstance(study, SpeedStudy):
        raise UserError(f"{find_study(name)} is no study of speed, its task is {study.task}")
    return study


def _load(name: str) -> Study | CostStudy | SpeedStudy:
    path = find_study(name)
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        content = None if root is None else yaml.SafeLoader("").construct_document(root)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a study is a mapping of keys; see studies/quickstart.yaml for one")
    study: Study | CostStudy | SpeedStudy | None = None
    task = content["task"] if isinstance(content.get("task"), str) else None
    try:
        problems = list(doubled_keys(root, ()))
        study = KINDS.get(task, Study).model_validate(content)
    except ValidationError as error:
        said = _readable(error)
        known = task in KINDS  # of another task, other keys would be valid
        problems += said if known else [problem for problem in said if problem[0] == ("task",)]
    except RecursionError as error:
        raise UserError(f"{path}: a YAML alias contains itself") from error
    if isinstance(study, Study):
        problems += _contradictions(study)
    if isinstance(study, SpeedStudy):
        from suite.kinds.speed import checks as speed_checks  # which needs `size_of` from here

        problems += speed_checks.contradictions(study)
    if problems or study is None:
        lines = [f"{path}:{line_of(root, place)}: {dotted(place)}: {message}" for place, message in problems]
        raise UserError("\n".join(lines))
    return study


def check_backbone(name: str) -> None:
    """Let timm build the study's backbone without its weights, which imports torch; `load_study` does not do that.

    Raises:
        UserError: if timm does not know the model or an option, its blocks are not supported, or it cannot segment
            where it should.
    """
    from suite.reduction.backbone import on_meta, sizes
    from suite.tasks.segmentation.pixels import check_readable

    path, study = find_study(name), load_study(name)
    backbone = study.backbone
    line = line_of(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), ("backbone",))
    try:
        model = on_meta(backbone.name, backbone.options, study.classes)
        if study.task == "segmentation":
            check_readable(model)
    except (UserError, TypeError, ValueError) as error:
        raise UserError(f"{path}:{line}: backbone: {error}") from error
    found, said = sizes(model), backbone.size()
    if said not in (None, found):
        raise UserError(f"{path}:{line}: backbone: side, patches, depth are {found} in timm, {said} in the options")


def size_of(backbone: Backbone) -> tuple[int, int, int]:
    """Image side, patches and depth of a backbone; asks timm only if the options do not say them.

    Raises:
        UserError: if timm cannot build it.
    """
    size = backbone.size()
    if size is None:
        from suite.reduction.backbone import on_meta, sizes

        size = sizes(on_meta(backbone.name, backbone.options, classes=1))
    return size


def _readable(error: ValidationError) -> list[tuple[Place, str]]:
    """Place and message of each error; a list that only lacks its faulty members is not called too short as well."""
    details = [detail | {"loc": _in_data(detail)} for detail in error.errors()]
    broken = {detail["loc"][:1] for detail in details if detail["loc"][1:]}
    return [_said(detail) for detail in details if detail["type"] != "too_short" or detail["loc"] not in broken]


def _in_data(detail: Any) -> Place:
    """The place, inside `data` without the recipe's name that pydantic puts in, and at `recipe` if that is wrong."""
    place: Place = detail["loc"]
    if place[:1] != ("data",):
        return place
    return (*place, "recipe") if detail["type"].startswith("union_tag") else (place[0], *place[2:])


def _said(detail: Any) -> tuple[Place, str]:
    place, message = tuple(detail["loc"]), detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "at_key":
        return (*place, detail["ctx"]["key"]), message
    if detail["type"] in ("missing", "union_tag_not_found"):
        return place, "this key is required"
    if detail["type"] == "union_tag_invalid":
        return place, f"Input should be {detail['ctx']['expected_tags']}, found {detail['ctx']['tag']!r}"
    found = detail["input"]
    if isinstance(found, str | int | float | list | tuple | type(None)) and "found" not in message:
        message += f", found {found!r}"
    return place, message


def _contradictions(study: Study) -> Iterator[tuple[Place, str]]:
    """What is wrong between parts that are right on their own."""
    for key in ("seeds", "methods", "focus"):
        values = [row.label if key == "methods" else row for row in getattr(study, key)]
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (key, index), f"{value!r} is there twice; every row needs its own name, every seed stands once"
    reduced = [row.label for row in study.methods if settings_class(row.method).reduces != "nothing"]
    for index, name in enumerate(study.focus):
        if name not in reduced:
            yield ("focus", index), f"no reduced row is called {name!r}; {suggest(name, reduced)}"
    recipes: dict[Place, TrainingRecipe] = {("finetune",): study.finetune}
    recipes |= {("base", "recipe"): study.base.recipe} if study.base else {}
    for place, recipe in recipes.items():
        if isinstance(study.data, DigitScenes) and (recipe.images or 0) > study.data.train:
            message = f"{recipe.images} images to train on, but data.train makes only {study.data.train}"
            yield (*place, "images"), message
        if study.task == "classification" and (recipe.device, recipe.precision) != ("cpu", "float32"):
            yield place, f"classification trains on cpu in float32 so far, found {recipe.device}, {recipe.precision}"
    if study.task == "classification" and not isinstance(study.data, DigitScenes):
        yield ("data", "recipe"), f"{study.data.recipe} has label maps and no classes of images; segment it"
        return
    try:
        side, patches, depth = size_of(study.backbone)
    except UserError as error:
        yield ("backbone",), str(error)
        return
    yield from _wrong_size(study, side, patches)
    yield from _impossible_schedules(study, patches, depth)


def _wrong_size(study: Study, side: int, patches: int) -> Iterator[tuple[Place, str]]:
    """The backbone's size is that of the images, which segmentation pads to whole patches."""
    wanted, patch = study.data.side, side // math.isqrt(patches)
    if study.task == "segmentation":
        wanted = -(-wanted // patch) * patch
    if side != wanted:
        key = "canvas" if isinstance(study.data, DigitScenes) else "size"
        padded = "" if wanted == study.data.side else f", {wanted} in whole patches"
        place = ("backbone", "options", "img_size")
        yield place, f"the backbone takes {side} pixels, data.{key} is {study.data.side}{padded}"


def _impossible_schedules(study: Study, patches: int, depth: int) -> Iterator[tuple[Place, str]]:
    names, seen = [rule.name for rule in study.schedules], list[Schedule]()
    for index, rule in enumerate(study.schedules):
        if len(names) > 1 and (rule.name is None or rule.name in names[:index]):
            yield ("schedules", index), "with several schedules each needs a name of its own"
        if rule.budget is not None:
            yield from _impossible_rows(study, rule, patches, depth)
            continue
        try:
            counts = resolved(study, rule, patches, depth)
            if study.finetune.curriculum == "official":
                common_rate(counts.removed)
        except ValueError as error:
            yield ("schedules", index), str(error)
            continue
        if counts in seen:
            yield ("schedules", index), f"the same counts as an earlier schedule: {list(counts.removed)}"
        seen.append(counts)
        yield from _impossible_rows(study, rule, patches, depth)


def _impossible_rows(study: Study, rule: ScheduleRule, patches: int, depth: int) -> Iterator[tuple[Place, str]]:
    seen: dict[Any, str] = {}
    for index, row in enumerate(study.methods):
        try:
            settings = settings_class(row.method)(**row.settings)
            schedule = schedule_of(study, rule, row, patches, depth)
            settings.check(schedule, row.fusion)
            if rule.budget is not None and study.finetune.curriculum == "official" and any(schedule.removed):
                common_rate(schedule.removed)
            if study.task == "classification" and row.fusion not in ("none", "last-layer"):
                message = f"{row.fusion} brings patches back for dense tasks; a classification has none or last-layer"
                yield ("methods", index, "fusion"), message
            if study.task == "segmentation":
                settings.check_dense(schedule.patches)
            if study.task == "segmentation" and settings.learns_from_teacher():
                yield (
                    ("methods", index, "settings"),
                    "segmentation has no teacher to learn from; leave distillation out",
                )
            first = seen.setdefault((row.method, row.fusion, repr(settings)), row.label)
            if first != row.label:
                yield ("methods", index), f"{row.label!r} is the same as {first!r}: one method with the same settings"
        except ValidationError as error:
            for place, message in _readable(error):
                yield ("methods", index, "settings", *place), f"{message} (method {row.method})"
        except ValueError as error:
            yield ("methods", index), f"{row.label}: {error}"
