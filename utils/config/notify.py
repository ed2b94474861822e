"""Section of the configuration: telling people."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from utils.config.sections import Section


class Notify(Section):
    """One webhook for notices: new versions, rejections, failing sources, full disks, drift."""

    url: SecretStr | None = Field(
        None,
        description="Address that notices are posted to; it may be a secret and is never logged. None: no notices.",
    )
    format: Literal["json", "ntfy", "slack", "matrix"] = Field(
        "json", description="Form of the JSON body, see docs/operations.md: plain, or what one of these expects."
    )

    @field_validator("url")
    @classmethod
    def _http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address that starts with http:// or https://")
        return url
