"""What the split did, for the card: groups, parts, and the leaks that a split by single image would have had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trainer.data.types import GroupedSample, Part
from trainer.split.hash import SHARES, hashed_part, is_fact
from utils.metadata import LABELS

LINK_KINDS = ("creator", "post", "series", "near_duplicate", "alike")
NAIVE_KEY = "one by one"  # of the split by single image that is only counted, never used


def describe_split(
    parts: Mapping[Part, Sequence[GroupedSample]],
    left_out: Mapping[str, str],
    neighbours: Mapping[str, set[str]],
    alike: Collection[tuple[str, str]] = (),
) -> dict[str, Any]:
    """The card's `data.split`.

    `would_leak`: the share of test samples that would have a tie into train, had images been split one by one.
    """
    samples = [grouped for members in parts.values() for grouped in members]
    sizes = Counter(grouped.group for grouped in samples)
    return {
        "shares": dict(SHARES),
        "parts": {
            part: {
                "samples": len(members),
                "groups": len({grouped.group for grouped in members}),
                **{label: sum(grouped.sample.label == label for grouped in members) for label in LABELS},
            }
            for part, members in parts.items()
        },
        "groups": len(sizes),
        "largest_group": max(sizes.values(), default=0),
        "left_out": dict(Counter(left_out.values())),
        "would_leak": _naive_leaks(samples, neighbours, alike),
    }


def _naive_leaks(
    samples: Sequence[GroupedSample], neighbours: Mapping[str, set[str]], alike: Collection[tuple[str, str]]
) -> dict[str, float]:
    naive = {grouped.sample.sha256: hashed_part(grouped.sample.sha256, NAIVE_KEY) for grouped in samples}
    trained = {name for name, part in naive.items() if part == "train"}
    tested = [name for name, part in naive.items() if part == "test"]
    leaks: Counter[str] = Counter()
    for name in tested:
        kinds = set()
        for tie in neighbours.get(name, ()):
            if not is_fact(tie):
                if tie in trained:
                    kinds.add("alike" if (name, tie) in alike else "near_duplicate")
            elif not trained.isdisjoint(neighbours[tie]):
                kinds.add(tie.split(":", 1)[0])
        leaks.update(kinds)
    return {kind: round(leaks[kind] / max(len(tested), 1), 4) for kind in LINK_KINDS}
