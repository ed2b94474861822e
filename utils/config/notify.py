"""Section of the configuration: telling people."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from utils.config.sections import Section

NTFY_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")


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

    @field_validator("format")
    @classmethod
    def _has_a_topic(cls, value: str, info: ValidationInfo) -> str:
        """A check of `format`, since a message about `url` would show it."""
        url = info.data.get("url")
        topic = urlsplit(url.get_secret_value()).path.rstrip("/").rpartition("/")[2] if url is not None else ""
        if value == "ntfy" and url is not None and not NTFY_TOPIC.fullmatch(topic):
            raise ValueError("notify.url has to end with the topic: up to 64 letters, digits, - and _")
        return value
