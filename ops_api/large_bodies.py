"""Bodies of megabytes: documented as their model, and checked in a thread, so that nobody else waits meanwhile.

The framework checks a body on the event loop, and after the transaction of the request has begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Marks a body that is told as a model, and taken as it is: `checked` is called on it, in a thread."""

    model: type[BaseModel]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take anything."""
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell the model."""
        return handler(self.model.__pydantic_core_schema__)


def checked(model: type[Model], said: Any) -> Model:
    """Return a body as its model. Raises `RequestValidationError`, as the framework does."""
    try:
        return model.model_validate(said)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
