"""The published description of the API, without what the framework says of refusals that contracts shape otherwise."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

_FRAMEWORKS = "#/components/schemas/HTTPValidationError"


class DescribedApp(FastAPI):
    """An app whose OpenAPI names every refusal as it is answered (`ops_api.shapes`)."""

    def openapi(self) -> dict[str, Any]:
        """Return the description; made once."""
        if self.openapi_schema is None:
            described = super().openapi()
            for operations in described["paths"].values():
                for operation in operations.values():
                    _drop(operation["responses"])
            schemas = described.get("components", {}).get("schemas", {})
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
        return super().openapi()


def _drop(responses: dict[str, Any]) -> None:
    """Take out the framework's own 422: where it stands, the contract answers with another status."""
    schema = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("$ref") == _FRAMEWORKS:
        del responses["422"]
