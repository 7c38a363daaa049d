"""Base of everything a user writes in a YAML file: frozen, and unknown keys are refused with the nearest valid ones."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from suite.errors import suggest


class Strict(BaseModel):
    """A frozen model that refuses unknown keys by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in value:
                if key not in cls.model_fields:
                    hint = suggest(str(key), cls.model_fields) if cls.model_fields else "no keys are valid here"
                    raise PydanticCustomError("unknown_key", "unknown key; {hint}", {"key": key, "hint": hint})
        return value
