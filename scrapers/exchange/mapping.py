"""What a dataset's columns and folders mean here: label, source, generator, groups, credit. Pure decisions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scrapers.candidate import clean, text_or_none, trimmed
from scrapers.exchange.columns import CREDIT_COLUMNS, METADATA_COLUMN
from scrapers.exchange.meanings import Meaning, as_label, fold, usual_label
from scrapers.exchange.readers.reader import Item
from utils.errors import SkipItemError
from utils.metadata import LABELS, Label, LabelSource

USUAL_COLUMNS: dict[str, tuple[str, ...]] = {
    "label": ("label", "labels", "class", "target", "label_name", "cls"),
    "generator": ("generator", "generator_name", "model", "model_name", "base_model"),
    "source": ("source", "source_dataset"),
    "creator": ("creator", "photographer", "author", "artist", "user", "username"),
    "license": ("license", "licence", "license_name", "rights"),
    "license_url": ("license_url", "licence_url"),
    "url": ("url", "page_url", "foreign_landing_url", "image_url", "source_url", "link"),
}


class UnmappedError(SkipItemError):
    """A label, or the lack of one, that nobody has explained; `value` is counted."""

    def __init__(self, value: str) -> None:
        super().__init__(f"its label is {value!r}" if value else "has no label")
        self.value = value


@dataclass(frozen=True, slots=True)
class Told:
    """One picture of a dataset, understood. `label` None: unlabelled on purpose."""

    label: Label | None
    label_source: LabelSource | None
    source: str
    generator: str | None
    attribution: dict[str, Any]
    api_data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a dataset is to be understood, as the operator says it; empty: by the usual names.

    `name` is the dataset's, and the source of what names none. `meanings` are `VALUE=LABEL` or `VALUE=LABEL/NAME`,
    `renames` are `OLD=NEW` for sources and generators. `columns` says which column holds what of USUAL_COLUMNS.
    """

    name: str
    label: str = ""
    source: str = ""
    generator: str = ""
    license: str = ""
    labelled_by: LabelSource = "source"
    root_name: str = ""
    meanings: Mapping[str, Meaning] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)

    def understand(self, item: Item) -> Told:
        """Raises UnmappedError where no label is known, SkipItemError where folders contradict each other."""
        columns = {str(name): value for name, value in item.columns.items()}
        if METADATA_COLUMN in columns:
            return self._take_back(columns)
        by_folder, series = self._by_folder(item.path)
        meaning = self._label(columns, by_folder)
        if meaning.label == "ai_generated":
            generator = self.generator or self._named(columns, "generator") or meaning.name or by_folder.name
            source = self.source or self._named(columns, "source") or self.name
        else:
            generator = self._named(columns, "generator")
            source = self.source or self._named(columns, "source") or meaning.name or by_folder.name or self.name
        source, made_by = self._renamed(source), self._renamed(generator) or None
        who = self._named(columns, "creator")
        attribution = {
            "platform": self.name,
            "photographer": who or None,
            "license": self._named(columns, "license") or self.license or None,
            "license_url": self._named(columns, "license_url") or None,
            "url": self._named(columns, "url") or None,
        }
        api_data = {
            "generator": made_by,
            "creator": f"{source}:{who}" if who else None,
            "series": self._series(meaning.label, made_by or source, series),
            "columns": {name: value for name, value in columns.items() if not isinstance(value, (dict, list))},
        }
        return self._told(meaning.label, source, made_by, attribution, api_data)

    def _series(self, label: Label | None, name: str, below: str) -> str | None:
        """As the same folders in the data folder would tell it."""
        return f"{label}/{name}/{below}" if label and below else None

    def _told(
        self,
        label: Label | None,
        source: str,
        generator: str | None,
        attribution: dict[str, Any],
        api_data: dict[str, Any],
        labelled_by: LabelSource | None = None,
    ) -> Told:
        return Told(
            label=label,
            label_source=(labelled_by or self.labelled_by) if label is not None else None,
            source=source,
            generator=generator,
            attribution=trimmed(_present(attribution)),
            api_data=trimmed(_present(api_data), droppable=("columns",)),
        )

    def _take_back(self, columns: Mapping[str, Any]) -> Told:
        """A row of our own export: what is null there stays unknown."""
        whole = _as_object(columns[METADATA_COLUMN])
        value = text_or_none(columns.get("label")) or ""
        label = next((label for label in LABELS if label == value), None)
        if label is None:
            raise UnmappedError(value)
        credit = {name: text_or_none(columns.get(name)) for name in CREDIT_COLUMNS}
        groups = {name: text_or_none(columns.get(name)) for name in ("generator", "creator", "post", "series")}
        own = {key: value for key, value in _as_object(whole.get("api_data")).items() if key not in groups}
        by_person = columns.get("labelled_by") == "person"
        return self._told(
            label,
            text_or_none(columns.get("source")) or self.name,
            groups["generator"],
            {**credit, **_as_object(whole.get("attribution"))},
            {**groups, **own},
            "person" if by_person else "source",
        )

    def _label(self, columns: Mapping[str, Any], by_folder: Meaning) -> Meaning:
        if self.label:
            return Meaning(as_label(self.label))
        value = self._value(columns, "label")
        if value is None:
            if by_folder.label is None:
                raise UnmappedError("")
            return by_folder
        text = str(clean(value)).strip()
        meaning = self._meaning(text)
        if meaning is None and by_folder.label is not None and "label" not in self.columns:
            return by_folder  # a class number beside folders that say it in words
        if meaning is None:
            raise UnmappedError(text)
        return meaning

    def _meaning(self, text: str) -> Meaning | None:
        folded = fold(text)
        if folded in self.meanings:
            return self.meanings[folded]
        label = usual_label(folded)
        return Meaning(label) if label is not None else None

    def _by_folder(self, path: str) -> tuple[Meaning, str]:
        """What the folders on the way say, and the series: the folders below the one that names the source."""
        folders = [part for part in path.split("/")[:-1] if part not in ("", ".", "..")]
        found = self._label_folder(folders)
        if found is None:
            folders = [self.root_name, *folders]
            found = self._label_folder(folders[:1])
        if found is None:
            return Meaning(None), ""
        place, meaning = found
        below = folders[place + 1 :]
        name = meaning.name or (below.pop(0) if below else "")
        return Meaning(meaning.label, name), "/".join(below)

    def _label_folder(self, folders: Iterable[str]) -> tuple[int, Meaning] | None:
        """The first folder that names a label; one that the operator has explained stands over the usual names."""
        named = [(place, meaning) for place, part in enumerate(folders) if (meaning := self._meaning(part)) is not None]
        explained = [pair for pair in named if fold(list(folders)[pair[0]]) in self.meanings]
        chosen = explained or named
        if len({meaning.label for _, meaning in chosen}) > 1:
            raise SkipItemError("its folders name both labels; say which one counts with --map FOLDER=LABEL")
        return chosen[0] if chosen else None

    def _value(self, columns: Mapping[str, Any], kind: str) -> Any:
        """The value of the column that holds `kind`; None when it is missing or empty."""
        named = self.columns.get(kind)
        if named:
            if named not in columns:
                raise SkipItemError(f"has no column {named!r}")
            found = columns[named]
        else:
            lower = {name.lower(): value for name, value in columns.items()}
            found = next((lower[name] for name in USUAL_COLUMNS[kind] if lower.get(name) not in (None, "")), None)
        return None if found == "" else found

    def _named(self, columns: Mapping[str, Any], kind: str) -> str:
        """As text; a web address names neither a source nor a generator."""
        text = text_or_none(self._value(columns, kind)) or ""
        return "" if "://" in text and not kind.endswith("url") else text

    def _renamed(self, name: str) -> str:
        return self.renames.get(fold(name), name)


def _as_object(value: Any) -> dict[str, Any]:
    """An object, or the JSON text of one; anything else says nothing."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _present(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
