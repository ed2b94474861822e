"""What an export tells of a picture, the same columns in every form.

All are texts or whole numbers; an empty text says that it is not known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

METADATA_COLUMN = "exposr_metadata"  # JSON of attribution and api_data, whole; its presence says that it is our export

COLUMNS: dict[str, str] = {  # name -> what it holds, in the order in which they are written
    "label": "real or ai_generated",
    "split": "train, validation, calibration, test or left_out",
    "source": "where the picture is from",
    "generator": "the generator of a generated picture",
    "creator": "who made or uploaded it; pictures of one creator are always in the same split",
    "post": "the post it was published in; pictures of one post are always in the same split",
    "series": "an album, a burst, one subject; always in the same split",
    "labelled_by": "person or source",
    "platform": "the site that it was collected from",
    "photographer": "name to be credited",
    "license": "licence of this picture",
    "license_url": "where the licence is",
    "url": "page of the picture",
    "sha256": "SHA-256 of the picture's bytes, hex",
    "width": "pixels, as stored",
    "height": "pixels, as stored",
    METADATA_COLUMN: "attribution and the source's own fields, as JSON",
}
WHOLE_NUMBERS = ("width", "height")
# `datasets` knows train, validation and test by name and passes over the rest; the column `split` is exact
FILE_PARTS = {"calibration": "validation"}
CREDIT_COLUMNS = ("platform", "photographer", "license", "license_url", "url")


@dataclass(frozen=True, slots=True)
class Exported:
    """One picture on its way out. `row` has every column of COLUMNS; `extension` comes with its dot."""

    sha256: str
    extension: str
    label: str
    split: str
    row: dict[str, Any] = field(repr=False)

    @property
    def part(self) -> str:
        """The part that file names tell."""
        return FILE_PARTS.get(self.split, self.split)

    @property
    def file_name(self) -> str:
        return f"{self.sha256}{self.extension}"


def describe(known: dict[str, Any], attribution: dict[str, Any], api_data: dict[str, Any]) -> dict[str, Any]:
    """The row of a picture: `known` has the columns that come from index and split."""
    credit = {name: value for name in CREDIT_COLUMNS if isinstance(value := attribution.get(name), str) and value}
    whole = json.dumps({"attribution": attribution, "api_data": api_data}, ensure_ascii=True, sort_keys=True)
    row = {**known, **credit, METADATA_COLUMN: whole}
    return {name: row.get(name) if row.get(name) is not None else "" for name in COLUMNS}
