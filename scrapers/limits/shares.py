"""Shares: no person and no generator may have more than its part of what is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from scrapers.candidate import Candidate
from scrapers.store.item_store import ItemStore

SLACK_IMAGES = 500  # a generator may have this many whatever its share


class GeneratorMix:
    """Generated pictures by generator, shared by the sources of one run."""

    def __init__(self, stored: Mapping[str, int], share: float) -> None:
        self._kept = Counter(dict(stored))
        self._share = share

    def is_full(self, generator: str) -> bool:
        """Whether one more would be too much of this generator. A single generator has nobody to leave room for."""
        kept = self._kept[generator]
        others = sum(1 for count in (self._kept - Counter({generator: kept})).values() if count)
        if not self._share or not others or kept < SLACK_IMAGES:
            return False
        return kept + 1 > self._share * (self._kept.total() + 1)

    def add(self, generator: str, count: int = 1) -> None:
        self._kept[generator] += count


class Shares:
    """One source's: what is under way counts as kept until it is known better."""

    def __init__(self, item_store: ItemStore, source: str, max_per_creator: int, mix: GeneratorMix) -> None:
        self._item_store = item_store
        self._source = source
        self._max_per_creator = max_per_creator
        self._mix = mix
        self._creators_under_way: Counter[str] = Counter()

    def refusal(self, candidate: Candidate) -> str | None:
        """The code of the share that is used up; None: it may be fetched."""
        creator, generator = candidate.creator, candidate.generator
        if creator is not None and self._max_per_creator:
            kept = self._item_store.stored_by_creator(self._source, creator) + self._creators_under_way[creator]
            if kept >= self._max_per_creator:
                return "creator_cap"
        if generator is not None and self._mix.is_full(generator):
            return "generator_share"
        return None

    def start(self, candidate: Candidate) -> None:
        if candidate.creator is not None:
            self._creators_under_way[candidate.creator] += 1
        if candidate.generator is not None:
            self._mix.add(candidate.generator)

    def end(self, candidate: Candidate, *, stored: bool) -> None:
        if candidate.creator is not None:
            self._creators_under_way[candidate.creator] -= 1
            self._creators_under_way += Counter()  # forget those at zero
        if candidate.generator is not None and not stored:
            self._mix.add(candidate.generator, -1)
