"""Which part (train, validation, calibration, test) a sample lies in: safe against leaks, stable under growth.

A group is what may not be parted: samples of one creator, post or series, near-duplicates and what is nearly alike,
joined transitively. A keyed hash of the group decides its part, once: the ledger remembers, so a group that grows,
merges or shrinks never moves and the test split only grows. A new sample that would tie together two parts is left out,
for good.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trainer.data.snapshot import Sample
from trainer.data.types import PARTS, GroupedSample, Part, PartsOfSplit
from trainer.split.hash import facts_of, group_name, is_fact, place_fresh
from trainer.split.near_duplicates import close_pairs
from trainer.split.recovery import recover
from trainer.split.report import describe_split
from trainer.split.store import LEFT_OUT, Assignments, Place, add_assignments, open_ledger, read_assignments


@dataclass(frozen=True, slots=True)
class Split:
    """The samples of each part, those left out with the reason, and how the groups came about."""

    parts: PartsOfSplit
    left_out: dict[str, str]  # sha256 -> reason
    report: dict[str, Any]  # the card's data.split

    def samples(self, *parts: Part) -> list[GroupedSample]:
        """Samples of the named parts, of all parts without a name."""
        return [sample for part, members in self.parts.items() if not parts or part in parts for sample in members]


def split_samples(
    samples: Sequence[Sample],
    ledger: Path,
    *,
    key: str,
    near_duplicate_distance: int,
    published: Path | None = None,
    alike: Callable[[set[str]], Iterable[tuple[str, str]]] = lambda known: (),
) -> Split:
    """Assign each sample to a part; `ledger` (split.sqlite) remembers every assignment ever made.

    `key` becomes the ledger's when that is new; a lost or damaged one is made again from the versions in `published`.
    `alike` is told the known samples and gives pairs that are nearly alike to a network: they tie what is new, and
    never move what has its place. Samples that were deleted keep their rows, so that they, and their near-duplicates,
    come back to the part they were in.
    """
    ordered = sorted(samples, key=lambda sample: sample.sha256)
    with open_ledger(ledger, key, lambda new: recover(new, published) if published else 0) as connection:
        known = read_assignments(connection)
        links = _Links.of(ordered, known, near_duplicate_distance)
        links.tie_alike(alike(set(known.places)), known)
        places = _place_all(ordered, links, known)
        add_assignments(
            connection,
            ((sample.sha256, sample.phash, places[sample.sha256]) for sample in ordered),
            sorted(_facts_of_parts(ordered, places).items()),
        )
    return _as_split(ordered, places, links)


class _Links:
    """The graph of samples, their facts and remembered near-duplicates; nodes are texts."""

    def __init__(self) -> None:
        self.neighbours: dict[str, set[str]] = defaultdict(set)
        self.alike: set[tuple[str, str]] = set()

    @classmethod
    def of(cls, samples: Sequence[Sample], known: Assignments, distance: int) -> _Links:
        links = cls()
        for sample in samples:
            for fact in facts_of(sample):
                links._join(sample.sha256, fact)
        current = {sample.sha256: sample.phash for sample in samples}
        hashes = {**known.phashes, **current}
        names = list(hashes)
        for first, second in close_pairs([hashes[name] for name in names], distance):
            links._join(names[first], names[second])
        return links

    def tie_alike(self, pairs: Iterable[tuple[str, str]], known: Assignments) -> None:
        """Resemblance is no fact: where two known samples lie in different parts, it says nothing."""
        for first, second in pairs:
            places = {known.places[name] for name in (first, second) if name in known.places}
            if len(places) < 2 and second not in self.neighbours[first]:
                self._join(first, second)
                self.alike |= {(first, second), (second, first)}

    def _join(self, first: str, second: str) -> None:
        self.neighbours[first].add(second)
        self.neighbours[second].add(first)

    def component(self, start: str, without: set[str], closed: Mapping[str, Place] | None = None) -> set[str]:
        """All nodes tied to `start`: not by way of nodes in `without`, and not beyond those in `closed`."""
        reached, edge = {start}, [start]
        while edge:
            for node in self.neighbours.get(edge.pop(), ()):
                if node not in reached and node not in without:
                    reached.add(node)
                    if closed is None or node not in closed:
                        edge.append(node)
        return reached


def _place_all(samples: Sequence[Sample], links: _Links, known: Assignments) -> dict[str, Place]:
    """Places of all samples: the remembered ones, and new ones that contradict none of them."""
    new = {sample.sha256: sample for sample in samples if sample.sha256 not in known.places}
    fixed: dict[str, Place] = {**known.facts, **known.places}
    apart = {name for name, place in fixed.items() if place == LEFT_OUT}
    fresh: list[list[Sample]] = []
    waiting, queue = dict(new), deque(new)
    while queue:
        start = queue.popleft()
        if start not in waiting:
            continue
        component = links.component(start, apart, fixed)
        members = [waiting.pop(name) for name in sorted(component & waiting.keys())]
        parts = {fixed[name] for name in component if name in fixed}
        if not parts:
            fresh.append(members)
        elif len(parts) == 1:
            fixed.update({sample.sha256: next(iter(parts)) for sample in members})
        else:
            undecided = _place_torn(members, links, fixed)
            apart |= {sample.sha256 for sample in members if fixed.get(sample.sha256) == LEFT_OUT}
            waiting.update({sample.sha256: sample for sample in undecided})
            queue.extend(sample.sha256 for sample in undecided)
    places = {sample.sha256: fixed[sample.sha256] for sample in samples if sample.sha256 in fixed}
    return {**places, **place_fresh(fresh, samples, places, known.key)}


def _place_torn(members: Sequence[Sample], links: _Links, fixed: dict[str, Place]) -> list[Sample]:
    """Enter into `fixed` new samples that together touch several parts: each follows its own ties, oldest first.

    Who is tied to two parts is left out. Returns those that hung on the others by such a sample alone.
    """
    waiting = sorted(members, key=lambda sample: (sample.added, sample.sha256))
    while waiting:
        undecided = []
        for sample in waiting:
            touched = {fixed[node] for node in links.neighbours[sample.sha256] if node in fixed} - {LEFT_OUT}
            if not touched:
                undecided.append(sample)
                continue
            place = touched.pop() if len(touched) == 1 else LEFT_OUT
            fixed[sample.sha256] = place
            if place != LEFT_OUT:
                fixed.update({fact: place for fact in facts_of(sample) if fact not in fixed})
        if len(undecided) == len(waiting):
            return undecided
        waiting = undecided
    return []


def _as_split(samples: Sequence[Sample], places: Mapping[str, Place], links: _Links) -> Split:
    left_out = {
        sample.sha256: "ties together samples of two parts of the split"
        for sample in samples
        if places[sample.sha256] == LEFT_OUT
    }
    left_out.update(_contradictions(samples, places, links))
    groups: dict[str, str] = {}
    for sample in samples:
        if sample.sha256 not in groups and sample.sha256 not in left_out:
            component = links.component(sample.sha256, set(left_out))
            groups.update(dict.fromkeys(component, group_name(component)))
    parts: dict[Part, list[GroupedSample]] = {part: [] for part in PARTS}
    for sample in samples:
        if sample.sha256 not in left_out:
            part = cast("Part", places[sample.sha256])
            parts[part].append(GroupedSample(sample, groups[sample.sha256], part))
    return Split(parts, left_out, describe_split(parts, left_out, links.neighbours, links.alike))


def _contradictions(samples: Sequence[Sample], places: Mapping[str, Place], links: _Links) -> dict[str, str]:
    """Samples that an edit of the metadata, or of the settings, tied to another part: out of this training.

    They keep their place in the ledger. Of two tied samples the one that lies in the less guarded part goes.
    """
    guarded: tuple[Place, ...] = (LEFT_OUT, *PARTS)  # test last: it is the one to keep whole
    reasons = {}
    for sample in samples:
        own = places[sample.sha256]
        if own == LEFT_OUT:
            continue
        ties = links.neighbours.get(sample.sha256, set())
        tied = {node for tie in ties for node in (tie, *(links.neighbours[tie] if is_fact(tie) else ()))}
        if any(guarded.index(places[node]) > guarded.index(own) for node in tied if node in places):
            reasons[sample.sha256] = f"lies in {own} and is now tied to another part: its metadata was edited"
    return reasons


def _facts_of_parts(samples: Sequence[Sample], places: Mapping[str, Place]) -> dict[str, Part]:
    facts: dict[str, Part] = {}
    for sample in samples:
        place = places[sample.sha256]
        if place != LEFT_OUT:
            facts.update({fact: place for fact in facts_of(sample) if fact not in facts})
    return facts
