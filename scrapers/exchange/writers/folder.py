"""Image folders: <part>/<label>/<sha256>.<ext>, and <part>/metadata.jsonl, as `datasets` and timm read them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from scrapers.exchange.columns import Exported
from scrapers.exchange.writers.writer import PICTURE_TYPES, SHA256_REGEX, Description

METADATA_FILE = "metadata.jsonl"


class FolderWriter:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, TextIO] = {}
        self._open = ExitStack()

    def add(self, picture: Exported, data: bytes) -> None:
        part = picture.part
        path = f"{picture.label}/{picture.file_name}"
        file = self._folder / part / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        self._table(part).write(json.dumps({"file_name": path, **picture.row}, ensure_ascii=True) + "\n")

    def finish(self) -> Description:
        self._open.close()
        name = {"fileProperty": "filename"}
        return Description(
            distribution=[
                {
                    "@type": "cr:FileSet",
                    "@id": "pictures",
                    "encodingFormat": list(PICTURE_TYPES),
                    "includes": ["*/real/*", "*/ai_generated/*"],
                },
                {
                    "@type": "cr:FileSet",
                    "@id": "metadata",
                    "encodingFormat": "application/jsonlines",
                    "includes": f"*/{METADATA_FILE}",
                },
            ],
            image={"fileSet": {"@id": "pictures"}, "extract": {"fileProperty": "content"}},
            columns={"fileSet": {"@id": "metadata"}},
            join={"fileSet": {"@id": "pictures"}, "extract": name, "transform": {"regex": SHA256_REGEX}},
        )

    def _table(self, part: str) -> TextIO:
        if part not in self._tables:
            self._tables[part] = self._open.enter_context(
                (self._folder / part / METADATA_FILE).open("w", encoding="utf-8")
            )
        return self._tables[part]
