"""Words for labels: the usual ones, and those that an operator explains."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from utils.errors import OperatorError
from utils.metadata import LABELS, Label

USUAL_NAMES: dict[Label, tuple[str, ...]] = {
    "real": (
        *("real", "real_images", "photo", "photos", "photograph", "photographs", "nature", "natural", "authentic"),
        *("human", "0_real"),
    ),
    "ai_generated": (
        *("ai_generated", "ai", "ai_images", "aigc", "fake", "fake_images", "generated", "synthetic", "artificial"),
        *("deepfake", "1_fake"),
    ),
}
UNLABELLED = "none"
SEPARATORS = re.compile(r"[\s\-]+")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a label's value, or a folder, stands for; `name`: the source or generator that it tells as well."""

    label: Label | None
    name: str = ""


def usual_label(folded: str) -> Label | None:
    """The label that a word, as `fold` leaves it, has everywhere."""
    return next((label for label, names in USUAL_NAMES.items() if folded in names), None)


def fold(text: str) -> str:
    """Letters of one size, one separator: how names are compared."""
    return SEPARATORS.sub("_", text.strip().lower())


def read_meanings(pairs: Iterable[str]) -> dict[str, Meaning]:
    """`VALUE=LABEL` and `VALUE=LABEL/NAME`. Raises OperatorError that says what is wrong."""
    meanings = {}
    for value, meant in _pairs(pairs, "VALUE=LABEL or VALUE=LABEL/NAME"):
        label, _, name = meant.partition("/")
        meanings[fold(value)] = Meaning(as_label(label), name.strip())
    return meanings


def read_renames(pairs: Iterable[str]) -> dict[str, str]:
    """`OLD=NEW`, by the folded old name."""
    return {fold(old): new for old, new in _pairs(pairs, "OLD=NEW")}


def _pairs(pairs: Iterable[str], form: str) -> Iterable[tuple[str, str]]:
    for pair in pairs:
        left, equals, right = pair.rpartition("=")
        if not equals or not left.strip() or not right.strip():
            raise OperatorError(f"{pair!r}: the form is {form}")
        yield left.strip(), right.strip()


def as_label(text: str) -> Label | None:
    """None for unlabelled on purpose. Raises OperatorError for any other word."""
    if fold(text) == UNLABELLED:
        return None
    label = next((label for label in LABELS if label == fold(text)), None)
    if label is None:
        raise OperatorError(f"{text!r} is no label; labels are {', '.join(LABELS)} and {UNLABELLED}")
    return label
