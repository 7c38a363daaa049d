"""Base of everything a user writes in a YAML file, and what is wrong with it in sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from suite.errors import UserError, suggest

Place = tuple[str | int, ...]  # keys and indices from the top
REQUIRED = "this key is required"


class Strict(BaseModel):
    """A frozen model that refuses unknown keys, with the nearest valid ones, and booleans where none is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys_and_booleans(cls, value: Any) -> Any:
        for key, item in value.items() if isinstance(value, dict) else ():
            if key not in cls.model_fields:
                hint = suggest(str(key), cls.model_fields) if cls.model_fields else "no keys are valid here"
                raise PydanticCustomError("at_key", "unknown key; {hint}", {"key": key, "hint": hint})
            items = item if isinstance(item, list) else [item]
            if cls.model_fields[key].annotation is not bool and any(isinstance(part, bool) for part in items):
                context = {"key": key, "found": str(item)}
                raise PydanticCustomError("at_key", "expected a number or text, found {found}", context)
        return value


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
    place, message = tuple(detail["loc"]), detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "at_key":
        return (*place, detail["ctx"]["key"]), message
    if detail["type"] == "missing":
        return place, REQUIRED
    found = detail["input"]
    shown = isinstance(found, str | int | float | list | tuple | type(None))
    if shown and "found" not in message and repr(found) not in message:
        message += f", found {found!r}"
    return place, message
