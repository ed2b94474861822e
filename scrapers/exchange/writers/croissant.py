"""The Croissant description of an export (MLCommons, version 1.0): croissant.json beside the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scrapers.exchange.columns import COLUMNS, WHOLE_NUMBERS
from scrapers.exchange.writers.writer import Description

FILE_NAME = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# a reader joins two sources at most, so `split` tells by name alone which of these it is
SPLITS = {"train": "cr:TrainingSplit", "validation": "cr:ValidationSplit", "test": "cr:TestSplit"}
RECORDS = "picture"


def describe_dataset(
    name: str, text: str, fingerprint: str, date: str, licenses: Sequence[str], form: Description
) -> dict[str, Any]:
    """JSON-LD. `fingerprint` is the data fingerprint of the snapshot, `date` ISO 8601."""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": text,
        "conformsTo": CONFORMS_TO,
        "version": "1.0.0",
        "citeAs": f"{name}, exported {date}, data fingerprint {fingerprint}",
        "identifier": f"sha256:{fingerprint}",
        "datePublished": date,
        "license": list(licenses) or ["see the column license of each picture"],
        "distribution": list(form.distribution),
        "recordSet": [_splits(), _pictures(form)],
    }


def _splits() -> dict[str, Any]:
    rows: list[dict[str, str | None]] = [{"splits/name": name, "splits/url": url} for name, url in SPLITS.items()]
    rows += [{"splits/name": name, "splits/url": None} for name in ("calibration", "left_out")]
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "key": {"@id": "splits/name"},
        "dataType": "cr:Split",
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "dataType": "sc:URL"},
        ],
        "data": rows,
    }


def _pictures(form: Description) -> dict[str, Any]:
    fields = [_field("image", "the picture, byte for byte", "sc:ImageObject", form.image)]
    for name, text in COLUMNS.items():
        source = {**form.columns, "extract": {"column": name}}
        if name == "sha256" and form.join is not None:
            fields.append({**_field(name, text, "sc:Text", form.join), "references": source})
        else:
            fields.append(_field(name, text, "sc:Integer" if name in WHOLE_NUMBERS else "sc:Text", source))
    return {"@type": "cr:RecordSet", "@id": RECORDS, "name": RECORDS, "field": fields}


def _field(name: str, text: str, kind: str, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{RECORDS}/{name}",
        "name": name,
        "description": text,
        "dataType": kind,
        "source": source,
    }
