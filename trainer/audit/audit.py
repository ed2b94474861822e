"""The shortcut audit: could the label be guessed without looking for what generators leave behind?

    metadata_probe   a forest on file properties, as the files lie and as the model sees them after the augmentation
    content_probe    a linear model on 32-pixel thumbnails: content and colour without detail
    control_probe    the model's own features told to separate two *real* sources: what pipelines alone give away
    permuted         the model's features on labels dealt at random: what leaks from fitting to asking

Every probe is cross-validated by group. Shortcuts are named by the AUC of single properties, and the model is asked
whether it has learnt them (counterfactuals.py); duplicates and dominant creators are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.audit.counterfactuals import SIZE, Way, told_apart, ways_of
from trainer.audit.file_properties import Properties, file_properties, view_properties
from trainer.audit.objection import Objection
from trainer.audit.statements import (
    content_words,
    control_words,
    learnt_words,
    metadata_words,
    permuted_words,
    shortcut_words,
)
from trainer.audit.swapped import Swapped, swap
from trainer.data.augmentation import Augmentation
from trainer.data.types import Floats, GroupedSample, Report, Scorer
from trainer.models.embedding_cache import EmbeddingCache
from trainer.split.near_duplicates import close_pairs
from trainer.stats.folds import Folds
from trainer.stats.intervals import Measured, missing
from trainer.stats.predictions import Ints, choose, group_codes
from trainer.stats.probes import (
    auc_of,
    cross_predicted,
    feature_head,
    folds_of,
    forest,
    main_colours,
    permuted_auc,
    single_tree,
    thumbnail_head,
)
from trainer.stats.projection import Projection
from utils.config.training import Audit as Settings

PERMUTED_RUNS = 5
LEAST_IMAGES = 10  # of a real source, for the control
RESAVED = ("format", "jpeg_quality", "image_size", "aspect", "exif")  # without bits per pixel, which follow the content
CHANCE_TOLERANCE = 0.1  # beyond 0.5, for the permuted run
NEAR_DUPLICATE_BITS = 4
NAMES = {
    "format": "the file format",
    "jpeg_quality": "the JPEG quality",
    "image_size": "the image size",
    "aspect": "the aspect ratio",
    "exif": "the presence of EXIF",
    "bits_per_pixel": "the bits per pixel",
}


@dataclass(frozen=True, slots=True)
class Audit:
    """`problems` keep a version from being published, `warnings` are for people. `probes` holds P(ai_generated) by
    sha256 as guessed without the model, for the gate."""

    card: dict[str, Any]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    probes: dict[str, dict[str, float]]

    def to_card(self) -> dict[str, Any]:
        return self.card | {"problems": list(self.problems), "warnings": list(self.warnings)}


@dataclass(frozen=True, slots=True)
class _Asked:
    """The pictures that the audit looks at, once."""

    samples: list[GroupedSample]
    targets: Ints
    groups: Ints
    folds: Folds

    @classmethod
    def of(cls, samples: list[GroupedSample], folds: int, seed: int) -> _Asked:
        targets = np.array([member.sample.target for member in samples], dtype=np.int64)
        groups = group_codes([member.group for member in samples])
        return cls(samples, targets, groups, folds_of(targets, groups, folds, seed))

    def guess(self, model: Any, table: Floats) -> Floats | None:
        return cross_predicted(model, table, self.targets, self.folds)

    def auc(self, guesses: Floats | None) -> Measured:
        return auc_of(guesses, self.targets, self.groups)


def run_audit(
    samples: Sequence[GroupedSample],
    scorer: Scorer,
    augmentation: Augmentation,
    folder: Path,
    settings: Settings,
    report: Report,
    seed: int = 0,
    cache: EmbeddingCache | None = None,
) -> Audit:
    """Audit the samples of all parts; `folder` is the data folder that their paths are relative to."""
    if not settings.enabled:
        return _skipped()
    asked = _Asked.of(choose(samples, settings.max_images), settings.folds, seed)
    report(0, 4, "audit: file properties")
    rows = [member.sample for member in asked.samples]
    before = file_properties(rows, folder)
    after, thumbnails, read = view_properties(rows, folder, augmentation, augmentation.preprocessing, seed, cache)
    seen = asked
    if len(read) < len(asked.samples):
        seen = _Asked.of([asked.samples[index] for index in read], settings.folds, seed)
    report(1, 4, "audit: shortcuts")
    guesses_after = seen.guess(forest(seed), after.table())
    guesses_content = seen.guess(thumbnail_head(), main_colours(thumbnails, seed))
    resaved = Properties({name: after.columns[name] for name in RESAVED}).table()
    measured = {
        "before": asked.auc(asked.guess(forest(seed), before.table())),
        "after": seen.auc(guesses_after),
        "content": seen.auc(guesses_content),
        "after_resaved": seen.auc(seen.guess(forest(seed), resaved)),
    }
    shortcuts = _shortcuts(before, asked, after, seen, scorer, settings, seed)
    report(2, 4, "audit: controls")
    embeddings = scorer.embeddings(asked.samples)
    features = Projection.of(embeddings)(embeddings)  # knows no label, so every group may be in it
    measured["control"], sources = _control(features, asked, settings, seed)
    measured["permuted"] = permuted_auc(
        feature_head(), features, asked.targets, asked.groups, settings.folds, PERMUTED_RUNS, seed
    )
    report(3, 4, "audit: duplicates and creators")
    duplicates, creators = _duplicates(samples), _creators(samples, settings)
    card = {
        "n": len(asked.samples),
        "metadata_probe": _metadata_card(measured),
        "content_probe": _probe_card(measured["content"], content_words(measured["content"])),
        "control_probe": _probe_card(measured["control"], control_words(measured["control"], sources)),
        "permuted": _probe_card(measured["permuted"], permuted_words(measured["permuted"])),
        "shortcuts": shortcuts,
        "duplicates": duplicates,
        "creators": creators,
        "sources": _sources(samples),
    }
    report(4, 4, "audited")
    probes = {
        name: dict(zip((member.sample.sha256 for member in seen.samples), values.tolist(), strict=True))
        for name, values in (("metadata_probe", guesses_after), ("content_probe", guesses_content))
        if values is not None
    }
    return Audit(
        card,
        _problems(measured, shortcuts, duplicates, augmentation.settings.enabled, settings),
        _warnings(measured, shortcuts, creators, settings),
        probes,
    )


def _skipped() -> Audit:
    words = "the audit is switched off (audit.enabled)"
    nothing = _probe_card(missing(words), words)
    metadata = {"auc_before": None, "auc_after": None, "meaning": words}
    names = ("content_probe", "control_probe", "permuted")
    return Audit({"n": 0, "metadata_probe": metadata, **dict.fromkeys(names, nothing)}, (), (words,), {})


def _shortcuts(
    before: Properties,
    asked: _Asked,
    after: Properties,
    seen: _Asked,
    scorer: Scorer,
    settings: Settings,
    seed: int,
) -> list[dict[str, Any]]:
    """Properties that alone tell the labels apart, strongest first, with what the augmentation leaves of them for a
    probe to find, and with whether the model has learnt them."""
    found = []
    measured: dict[tuple[Way, Way], Measured] = {}
    swapped: dict[tuple[Way, Way], Swapped] = {}
    for name, columns in before.columns.items():
        auc = asked.auc(asked.guess(single_tree(seed), columns))
        if not _tells(auc, settings):
            continue
        left = seen.auc(seen.guess(single_tree(seed), after.columns[name]))
        ways = ways_of(name, asked.samples, before.columns["jpeg_quality"][:, 0])
        if ways and ways not in measured:
            measured[ways] = told_apart(ways, asked.samples, scorer)
            swapped[ways] = swap(ways, asked.samples, scorer)
        model = measured[ways] if ways else None
        turned = swapped[ways] if ways else None
        learnt = _is_learnt(name, model, turned, settings) if model and turned else None
        found.append(
            {
                "property": name,
                "auc_before": auc.to_card(),
                "auc_after": left.to_card(),
                "model_auc": model.to_card() if model else None,
                "swapped": turned.to_card() if turned else None,
                "learnt": learnt,
                "meaning": shortcut_words(NAMES[name], auc, left, model, turned, learnt=learnt),
            }
        )
    return sorted(found, key=lambda shortcut: -shortcut["auc_before"]["value"])


def _is_learnt(name: str, model: Measured, swapped: Swapped, settings: Settings) -> bool:
    """Whether the AUC with swapped storage falls to chance, or significantly loses more than the margin.

    Resizing also changes traces of generators, so for sizes the scores must separate the sizes, too."""
    falls = swapped.falls_to_chance() or swapped.surely_loses(settings.swapped_margin)
    return falls and (name not in SIZE or _tells(model, settings))


def _tells(measured: Measured, settings: Settings) -> bool:
    return (measured.value or 0) >= settings.shortcut_auc and (measured.low or 0) > 0.5


def _control(features: Floats, asked: _Asked, settings: Settings, seed: int) -> tuple[Measured, list[str]]:
    """The model's features asked to separate the two largest real sources."""
    counts = Counter(member.sample.source for member in asked.samples if member.sample.target == 0)
    sources = [name for name, count in counts.most_common(2) if count >= LEAST_IMAGES]
    if len(sources) < 2:
        return missing(f"needs two real sources of {LEAST_IMAGES} pictures each"), sources
    chosen = [
        index
        for index, member in enumerate(asked.samples)
        if member.sample.target == 0 and member.sample.source in sources
    ]
    is_second = np.array([int(asked.samples[index].sample.source == sources[1]) for index in chosen], dtype=np.int64)
    groups = group_codes([asked.samples[index].group for index in chosen])
    folds = folds_of(is_second, groups, settings.folds, seed)
    return auc_of(cross_predicted(feature_head(), features[chosen], is_second, folds), is_second, groups), sources


def _duplicates(samples: Sequence[GroupedSample]) -> dict[str, Any]:
    """Near-duplicate pairs (perceptual hash) and how many of them lie in different parts: none, if the split holds."""
    pairs, across, examples = 0, 0, []
    for first, second in close_pairs([member.sample.phash for member in samples], NEAR_DUPLICATE_BITS):
        pairs += 1
        if samples[first].part != samples[second].part:
            across += 1
            examples.append([samples[first].sample.path, samples[second].sample.path])
    if across:
        words = (
            f"{across} of {pairs} near-duplicate pairs lie in different parts: the test split's numbers are too good"
        )
    else:
        words = f"{pairs or 'no'} near-duplicate pairs, none across the parts of the split"
    return {"pairs": pairs, "across_parts": across, "examples": examples[:10], "meaning": words}


def _creators(samples: Sequence[GroupedSample], settings: Settings) -> dict[str, Any]:
    """The largest creator of each label, and how many groups a label has: pictures of one hand teach that hand."""
    found: dict[str, Any] = {"dominant": []}
    for target, label in ((0, "real"), (1, "ai_generated")):
        members = [member for member in samples if member.sample.target == target]
        groups = len({member.group for member in members})
        named = Counter(member.sample.creator for member in members if member.sample.creator)
        creator, count = named.most_common(1)[0] if named else (None, 0)
        share = count / len(members) if members else 0.0
        found[label] = {
            "n": len(members),
            "groups": groups,
            "largest_creator": creator,
            "largest_share": round(share, 4),
        }
        if share > settings.creator_share and count > 1:
            words = f"creator {creator} made {share:.0%} of the {label} pictures: the model may learn that creator"
            found["dominant"].append({"label": label, "creator": creator, "share": round(share, 4), "meaning": words})
    return found


def _sources(samples: Sequence[GroupedSample]) -> dict[str, Any]:
    by_source: dict[str, Counter[str]] = {}
    for member in samples:
        by_source.setdefault(member.sample.source, Counter())[member.sample.label] += 1
    mixed = [name for name, labels in by_source.items() if len(labels) > 1]
    words = (
        f"{', '.join(sorted(mixed))} carry both labels"
        if mixed
        else "every source carries one label only, so that source and label cannot be told apart by these data alone"
    )
    return {"labels": {name: dict(labels) for name, labels in sorted(by_source.items())}, "meaning": words}


def _problems(
    measured: dict[str, Measured],
    shortcuts: list[dict[str, Any]],
    duplicates: dict[str, Any],
    is_augmented: bool,
    settings: Settings,
) -> tuple[Objection, ...]:
    problems = [Objection("learnt_shortcut", sentence) for sentence in learnt_words(shortcuts)]
    before = measured["before"]
    if not is_augmented and before.low is not None and before.low > settings.metadata_auc:
        sentence = (
            f"file properties tell the labels apart (AUC {before.value:.2f}, interval from {before.low:.2f}) and the "
            "augmentation is switched off (training.augmentation.enabled)"
        )
        problems.append(Objection("data", sentence))
    permuted = measured["permuted"]
    if permuted.low is not None and permuted.low > 0.5 + CHANCE_TOLERANCE:
        sentence = f"random labels can be predicted (AUC {permuted.value:.2f}): the groups leak"
        problems.append(Objection("data", sentence))
    if duplicates["across_parts"]:
        problems.append(Objection("data", f"duplicates: {duplicates['meaning']}"))
    return tuple(problems)


def _warnings(
    measured: dict[str, Measured], shortcuts: list[dict[str, Any]], creators: dict[str, Any], settings: Settings
) -> tuple[str, ...]:
    warnings = [str(shortcut["meaning"]) for shortcut in [*shortcuts, *creators["dominant"]]]
    left = measured["after_resaved"]
    if left.low is not None and left.low > settings.metadata_auc:
        warnings.append(
            f"block traces in what the model is shown go with the label (AUC {left.value:.2f}, interval from "
            f"{left.low:.2f}): smooth pictures show them more, so this may be content or what the augmentation left"
        )
    return tuple(warnings)


def _probe_card(measured: Measured, words: str) -> dict[str, Any]:
    card = measured.to_card()
    return {"auc": card.pop("value"), **card, "meaning": words}


def _metadata_card(measured: dict[str, Measured]) -> dict[str, Any]:
    before, after = measured["before"].to_card(), measured["after"].to_card()
    return {
        "auc_before": before["value"],
        "auc_after": after["value"],
        "before": before,
        "after": after,
        "after_resaved": measured["after_resaved"].to_card(),
        "meaning": metadata_words(measured["before"], measured["after"]),
    }
