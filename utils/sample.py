"""A usable labelled picture, as the index knows it and as a training gets it."""

from __future__ import annotations

from dataclasses import dataclass

from utils.metadata import Label


@dataclass(frozen=True, slots=True)
class Sample:
    """`path` is relative to the data folder; `phash` is 16 hex digits; `added` is ISO 8601.

    `generator`, `creator` and `post` come from the metadata's `api_data`; where that is silent, the folders tell the
    generator, and the series, which are the folders below it.
    """

    id: str
    path: str
    sha256: str
    size_bytes: int
    label: Label
    source: str
    format: str
    width: int
    height: int
    has_exif: bool
    phash: str | None = None
    creator: str | None = None
    post: str | None = None
    generator: str | None = None
    series: str | None = None
    added: str = ""

    @property
    def target(self) -> int:
        """1 for ai_generated, 0 for real: the model's logit is that of 1."""
        return int(self.label == "ai_generated")
