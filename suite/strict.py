"""Base of everything a user writes in a YAML file: frozen, and unknown keys are refused with the nearest valid ones."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from suite.errors import suggest


class Strict(BaseModel):
    """A frozen model that refuses unknown keys by name, and true or false where neither is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys_and_switches(cls, value: Any) -> Any:
        for key, item in value.items() if isinstance(value, dict) else ():
            if key not in cls.model_fields:
                hint = suggest(str(key), cls.model_fields) if cls.model_fields else "no keys are valid here"
                raise PydanticCustomError("at_key", "unknown key; {hint}", {"key": key, "hint": hint})
            items = item if isinstance(item, list) else [item]
            if cls.model_fields[key].annotation is not bool and any(isinstance(part, bool) for part in items):
                context = {"key": key, "found": str(item)}
                raise PydanticCustomError("at_key", "true and false have no place here, found {found}", context)
        return value
