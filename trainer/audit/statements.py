"""What the probes of the shortcut audit mean, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.audit.swapped import Swapped
from trainer.stats.intervals import Measured

LEARNT_NAMES = {"format": "file format", "jpeg_quality": "JPEG quality", "image_size": "image size"}
WEAK, CLEAR = 0.65, 0.90  # AUC below which a probe tells labels apart weakly, and from which almost perfectly


def metadata_words(before: Measured, after: Measured) -> str:
    if before.value is None or after.value is None:
        return f"could not be asked: {before.why or after.why}"
    return (
        f"format, size, quality and EXIF alone tell the labels apart {_strength(before)} (AUC {before.value:.2f}) in "
        f"the files as they lie, and {_strength(after)} (AUC {after.value:.2f}) in what the model is shown"
    )


def shortcut_words(
    name: str,
    before: Measured,
    after: Measured,
    model: Measured | None,
    swapped: Swapped | None,
    *,
    learnt: bool | None,
) -> str:
    left = "" if after.value is None else f"; {after.value:.2f} for a probe of augmented views"
    words = f"the label can be told from {name} alone (AUC {before.value:.2f}{left})"
    if model is None or model.value is None or model.low is None or model.high is None or swapped is None:
        return words
    if learnt:
        verdict = "the model has learnt it"
    else:
        verdict = "the model has not learnt it" if model.high < WEAK else "no sign that the model has learnt it"
    return (
        f"{words}; with test pictures stored as most real and as most generated ones come, the model's scores tell the "
        f"two ways apart with AUC {model.value:.2f} ({model.low:.2f} to {model.high:.2f}){_falls(swapped)}: {verdict}"
    )


def learnt_words(shortcuts: Sequence[Mapping[str, Any]]) -> list[str]:
    """One objection for each shortcut that the model has learnt, by name; properties of one storage count once."""
    found: dict[str, tuple[list[str], Mapping[str, Any]]] = {}
    for shortcut in shortcuts:
        if shortcut["learnt"]:
            names, _ = found.setdefault(repr(shortcut["swapped"]), ([], shortcut["swapped"]))
            names.append(LEARNT_NAMES[shortcut["property"]])
    return [
        f"has learnt {' and '.join(sorted(names))}: stored the way the other label comes, the test pictures are told "
        f"apart with AUC {swapped['swapped']['value']:.2f} ({swapped['swapped']['low']:.2f} to "
        f"{swapped['swapped']['high']:.2f}), as they are with {swapped['plain']['value']:.2f}"
        for names, swapped in found.values()
    ]


def _falls(swapped: Swapped) -> str:
    if swapped.plain.value is None or swapped.swapped.value is None:
        return ""
    return (
        f"; each label stored the way the other one comes, the AUC is {swapped.swapped.value:.2f}, as they are "
        f"{swapped.plain.value:.2f}"
    )


def content_words(measured: Measured) -> str:
    if measured.value is None:
        return f"could not be asked: {measured.why}"
    return (
        f"32-pixel thumbnails alone tell the labels apart {_strength(measured)} (AUC {measured.value:.2f}) to a "
        "linear probe: at least so much of the label is subject and colour; a network may find more of it"
    )


def control_words(measured: Measured, sources: list[str]) -> str:
    if measured.value is None:
        return f"could not be asked: {measured.why}"
    is_chance = measured.low is not None and measured.low <= 0.5
    sense = "nothing says that it goes by where pictures come from" if is_chance else "so much may be due to the source"
    return (
        f"the model's features tell {sources[0]} from {sources[1]}, both real, {_strength(measured)} "
        f"(AUC {measured.value:.2f}): {sense}"
    )


def permuted_words(measured: Measured) -> str:
    if measured.value is None:
        return f"could not be asked: {measured.why}"
    return f"with labels dealt at random the same features score AUC {measured.value:.2f}; 0.5 is as it should be"


def _strength(measured: Measured) -> str:
    if measured.low is not None and measured.low <= 0.5:
        return "no better than chance"
    return (
        "weakly" if (measured.value or 0) < 0.65 else "clearly" if (measured.value or 0) < 0.9 else "almost perfectly"
    )
