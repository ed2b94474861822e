"""Parts for groups that were never seen before: by a keyed hash of the group's name, with a floor for small data.

The hash makes the split the same wherever the same data and key are. On its own it would leave parts of a small data
set without a label, so groups that are new in this run, and only those, are moved until each part has its floor; with
some hundred groups a label nothing needs moving. Large groups go to train: a test split of one creator says little.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainer.data.snapshot import Sample
from trainer.data.types import PARTS, Part
from trainer.split.store import Place
from utils.metadata import LABELS, Label

SHARES: dict[Part, float] = {"train": 0.6, "validation": 0.1, "calibration": 0.1, "test": 0.2}
FLOOR_SHARE = 0.75  # of a part's share, in samples of each label
FILL_ORDER: tuple[Part, ...] = ("train", "test", "calibration", "validation")  # who gets a scarce label first
LARGE_GROUP_SHARE = 0.1
LARGE_GROUP_SAMPLES = 4  # smaller groups are never large


def facts_of(sample: Sample) -> list[str]:
    """What ties a sample to others, apart from its looks."""
    facts = {"creator": sample.creator, "post": sample.post}
    found = [f"{kind}:{sample.source}/{value}" for kind, value in facts.items() if value]
    return [*found, f"series:{sample.series}"] if sample.series else found


def is_fact(node: str) -> bool:
    return ":" in node  # a sha256 has none


def group_name(nodes: Iterable[str]) -> str:
    """The first creator, else the first post, else the first sha256: what changes least as a group grows."""
    return min(nodes, key=lambda node: (not is_fact(node), node))


def hashed_position(name: str, key: str) -> float:
    """In [0, 1), uniform over names."""
    digest = hmac.new(key.encode(), name.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hashed_part(name: str, key: str) -> Part:
    position, above = hashed_position(name, key), 0.0
    for part, share in SHARES.items():
        above += share
        if position < above:
            return part
    return "test"


@dataclass(slots=True)
class _Group:
    name: str
    members: Sequence[Sample]
    part: Part
    sizes: Counter[Label]


def place_fresh(
    groups: Sequence[Sequence[Sample]], samples: Sequence[Sample], places: Mapping[str, Place], key: str
) -> dict[str, Place]:
    """Parts of the new `groups`; `places` holds those of the samples that have one already."""
    totals: Counter[Label] = Counter(sample.label for sample in samples)
    fresh = []
    for members in groups:
        nodes = {node for sample in members for node in (sample.sha256, *facts_of(sample))}
        name = group_name(nodes)
        sizes: Counter[Label] = Counter(sample.label for sample in members)
        part = "train" if _is_large(sizes, totals) else hashed_part(name, key)
        fresh.append(_Group(name, members, part, sizes))
    fresh.sort(key=lambda group: hashed_position(group.name, key))
    placed = {part: Counter[Label]() for part in PARTS}
    for sample in samples:
        place = places.get(sample.sha256)
        if place in placed:
            placed[place][sample.label] += 1
    for label in LABELS:
        _fill(label, fresh, placed, totals[label])
    return {sample.sha256: group.part for group in fresh for sample in group.members}


def _is_large(sizes: Counter[Label], totals: Counter[Label]) -> bool:
    return any(size > max(LARGE_GROUP_SAMPLES, LARGE_GROUP_SHARE * totals[label]) for label, size in sizes.items())


def _fill(label: Label, fresh: Sequence[_Group], placed: Mapping[Part, Counter[Label]], total: int) -> None:
    """Move new groups until each part has its floor of `label`, as far as there are groups to move."""
    have = {part: placed[part][label] + sum(g.sizes[label] for g in fresh if g.part == part) for part in PARTS}
    floor = {part: max(1, int(FLOOR_SHARE * share * total)) for part, share in SHARES.items()}

    def movable(part: Part) -> _Group | None:
        """The best new group to give to `part`: out of the fullest part, small before large."""
        short = floor[part] - have[part]
        later = FILL_ORDER[FILL_ORDER.index(part) + 1 :]
        options = [
            group
            for group in fresh
            if group.part != part
            and group.sizes[label] > 0
            and (
                have[group.part] - group.sizes[label] >= floor[group.part]
                or (have[part] == 0 and (group.part in later or have[group.part] > group.sizes[label]))
            )
        ]
        return min(
            options,
            key=lambda group: (
                len(group.sizes),  # a group of both labels would change the other label's balance too
                abs(group.sizes[label] - short) if have[part] == 0 else group.sizes[label],
                floor[group.part] - have[group.part],
            ),
            default=None,
        )

    for part in FILL_ORDER:
        while have[part] < floor[part] and (group := movable(part)) is not None:
            have[group.part] -= group.sizes[label]
            have[part] += group.sizes[label]
            group.part = part
