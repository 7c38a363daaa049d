"""Base of everything a user writes in a YAML file, and what is wrong with it in sentences."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from suite.errors import UserError, suggest

Place = tuple[str | int, ...]  # keys and indices from the top
REQUIRED = "this key is required"
LONGEST = 200  # characters of what was found
WHOLE_LISTS: set[str] = set()  # keys of lists of whole numbers
MAPPING, LIST = "must be a mapping of keys", "a list is needed, such as {example}"
WHOLE, NUMBER, TRUTH = "must be a whole number", "must be a number", "must be true or false"
SENTENCES = {  # by pydantic's type of error, with what it knows of the limits
    "missing": REQUIRED,
    "literal_error": "unknown value {found!r}; {hint}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} or fewer entries",
    "model_type": MAPPING,
    "dict_type": MAPPING,
    "list_type": LIST,
    "tuple_type": LIST,
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_from_float": WHOLE,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "bool_type": TRUTH,
    "bool_parsing": TRUTH,
    "string_type": "must be text{quoted}",
    "path_type": "must be the path of a file",
}


class Strict(BaseModel):
    """A frozen model that refuses unknown keys, with the nearest valid ones, and booleans where none is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        WHOLE_LISTS.update(name for name, field in cls.model_fields.items() if _lists_numbers(field.annotation))

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys_and_booleans(cls, value: Any) -> Any:
        _refuse_cut_texts(value)
        for key, item in value.items() if isinstance(value, dict) else ():
            if key not in cls.model_fields:
                hint = suggest(str(key), cls.model_fields) if cls.model_fields else "no keys are valid here"
                raise PydanticCustomError("at_key", "unknown key; {hint}", {"key": key, "hint": hint})
            items, annotation = item if isinstance(item, list) else [item], cls.model_fields[key].annotation
            if bool not in (annotation, *get_args(annotation)) and any(isinstance(part, bool) for part in items):
                context = {"key": key, "found": str(item)}
                message = "expected a number or text, found {found}; a text such as no or on is written in quotes"
                raise PydanticCustomError("at_key", message, context)
        return value


def _lists_numbers(annotation: Any) -> bool:
    """Whether it is of a list of whole numbers, or of one or nothing."""
    parts = get_args(annotation)
    if get_origin(annotation) in (list, tuple):
        return (get_args(parts[0])[0] if get_origin(parts[0]) is Annotated else parts[0]) is int
    return any(map(_lists_numbers, parts))


def _refuse_cut_texts(value: Any) -> None:
    """A text in ( ) that stood in braces without quotes is cut at its commas, which makes keys of its parts."""
    items = list(value.items()) if isinstance(value, dict) else []
    for index, (key, item) in enumerate(items):
        if not (isinstance(item, str) and item.startswith("(") and ")" not in item):
            continue
        rest = [str(part) for part, nothing in items[index + 1 :] if nothing is None]
        end = next((place for place, part in enumerate(rest) if part.endswith(")")), None)
        if end is not None:
            text = ",".join([item, *rest[: end + 1]])
            message = f'in braces a text with commas needs quotes; write {key}: "{text}"'
            raise PydanticCustomError("at_key", "{message}", {"key": key, "message": message})


def problems(error: ValidationError) -> list[tuple[Place, str]]:
    """Place and message of each error; a list that only lacks its faulty members is not called too short as well."""
    details = error.errors()
    broken = {detail["loc"][:1] for detail in details if detail["loc"][1:]}
    return [_problem(detail) for detail in details if detail["type"] != "too_short" or detail["loc"] not in broken]


def explain(error: ValidationError) -> str:
    """What is wrong with each part, on one line."""
    return "; ".join(f"{dotted(place)}: {message}" if place else message for place, message in problems(error))


@contextmanager
def explained(what: str = "") -> Iterator[None]:
    """Whatever pydantic refuses inside becomes a UserError, with `what` in front."""
    try:
        yield
    except ValidationError as error:
        raise UserError(f"{what}: {explain(error)}" if what else explain(error)) from error


def dotted(place: Place) -> str:
    """A place as a reader writes it."""
    return ".".join(map(str, place))


def _problem(detail: Any) -> tuple[Place, str]:
    place, found, known = tuple(detail["loc"]), detail["input"], dict(detail.get("ctx", {}))
    if detail["type"] == "at_key":
        return (*place, known["key"]), detail["msg"]
    if detail["type"] == "literal_error":
        known |= {"found": found, "hint": suggest(str(found), re.findall(r"'([^']*)'", known["expected"]))}
    number = isinstance(found, int | float)
    whole = number or (place and place[-1] in WHOLE_LISTS and not (isinstance(found, str) and found.isdecimal()))
    known |= {"example": "[0, 1, 2]" if whole else f"[{found}]" if isinstance(found, str) else "[a, b]"}
    known |= {"quoted": "; write it in quotes" if number else ""}
    sentence = SENTENCES.get(detail["type"])
    message = detail["msg"].removeprefix("Value error, ") if sentence is None else sentence.format(**known)
    shown = message != REQUIRED and isinstance(found, str | int | float | list | tuple | type(None))
    if shown and "found" not in message and repr(found) not in message:
        message += f", found {_brief(found)}"
    return place, message


def _brief(found: object) -> str:
    text = repr(found)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
