"""The description of the API."""

from __future__ import annotations

from typing import Any


def openapi_document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    return {"openapi": "3.1.0", "info": {"title": "Exposr Trainer", "version": "1"}, "paths": {}}
