"""What a candidate is worth and whether it is published: calibration, evaluation, audit, gate, in this order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from trainer.audit.audit import run_audit
from trainer.benchmarks.folders import Benchmarks
from trainer.benchmarks.measure import BenchmarkResult, measure_pictures
from trainer.context import RunContext
from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder
from trainer.data.snapshot import Snapshot
from trainer.data.types import Candidate, Outcome, Scorer
from trainer.evaluation.calibration import Calibration, calibrate, temperature_of
from trainer.evaluation.core_comparison import compare_with_core
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.familiarity import fit_novelty
from trainer.evaluation.leave_sources_out import NOTHING_LEFT_OUT, leave_sources_out
from trainer.evaluation.opinions import (
    Novelties,
    Opinion,
    form_opinions,
    measure_novelties,
    read_unlabelled,
    write_opinions,
)
from trainer.evaluation.reported import judge_reported, read_reported
from trainer.gate.gate import Champion, decide
from trainer.models.scorer import ModelScorer
from trainer.publishing.card import Assessment
from trainer.publishing.fresh_process import FreshProcess
from trainer.publishing.publish import publish
from trainer.publishing.registry import Registry
from trainer.publishing.registry_files import CARD_FILE, Entry, name_of
from trainer.split.split import Split
from trainer.stats.novelty import Novelty
from trainer.stats.predictions import CachedScorer, Scored, score
from utils.clock import SystemClock
from utils.errors import StopRunError
from utils.job_protocol import OPINIONS_FILE, UNLABELLED_FILE
from utils.logs import get_logger

log = get_logger(__name__)


def judge_and_publish(
    context: RunContext,
    snapshot: Snapshot,
    split: Split,
    family: str,
    candidate: Candidate,
    augmentation: Augmentation,
    benchmarks: Benchmarks,
) -> Outcome:
    """Publish the candidate, or say why not; either way the gate's numbers are in the outcome."""
    registry = Registry(context.config.storage.models_path)
    with FreshProcess() as fresh:  # gets ready meanwhile
        assessment, opinions, novelties = _judge(context, registry, split, candidate, augmentation, benchmarks)
        decision = assessment.decision
        details: dict[str, Any] = {"gate": decision.to_card(), "mode": candidate.mode, "notes": candidate.notes}
        if assessment.evaluation.core is not None:
            details["core"] = assessment.evaluation.core
        if assessment.evaluation.reported is not None:
            details["reported"] = assessment.evaluation.reported
        if not decision.publish:
            write_opinions(context.config.storage.state_path / OPINIONS_FILE, opinions, "", novelties)
            said = f"{'; '.join(decision.reasons)}. What helps: {decision.collect}"
            return Outcome("rejected", said, {"reasons": decision.reasons, "collect": decision.collect, **details})
        context.interrupts.defer_signals()  # once begun, publishing ends with an outcome
        entry = publish(
            registry,
            family,
            candidate,
            assessment,
            snapshot,
            split.parts,
            split.report,
            context.config,
            SystemClock().now(),
            fresh,
            context.report("publish"),
            context.run,
        )
    write_opinions(context.config.storage.state_path / OPINIONS_FILE, opinions, name_of(entry), novelties)
    return _published(entry, candidate.mode, details)


def published_before(context: RunContext) -> Outcome | None:
    """The outcome of a run that was interrupted after it had published its version; None for any other."""
    registry = Registry(context.config.storage.models_path)
    for line in registry.sweep():  # finishes a publishing that was begun
        log.info("registry_swept", what=line)
    entry = registry.published_by(context.run)
    return _published(entry, "before it was interrupted", {"gate": entry["gate"]}) if entry else None


def _published(entry: Entry, how: str, details: dict[str, Any]) -> Outcome:
    auc = entry["test_auc"]
    worth = "test AUC not measurable" if auc is None else f"test AUC {auc:.3f}"
    facts = {"model": entry["model"], "version": entry["version"]}
    return Outcome("succeeded", f"published {name_of(entry)}: {worth}, {how}", details | facts)


def _judge(
    context: RunContext,
    registry: Registry,
    split: Split,
    candidate: Candidate,
    augmentation: Augmentation,
    benchmarks: Benchmarks,
) -> tuple[Assessment, list[Opinion], Novelties]:
    config = context.config

    def scorer_of(images: ImageFolder) -> CachedScorer:
        model, architecture, view = candidate.model, candidate.architecture, candidate.preprocessing
        return CachedScorer(ModelScorer(model, architecture, view, images, context.cache, context.device))

    scorer = scorer_of(context.images)
    left_out = NOTHING_LEFT_OUT
    if config.evaluation.leave_one_out:
        context.report("evaluate")(0, 1, "each source and each generator left out in turn")
        temperature = temperature_of(scorer, split.parts)
        left_out = leave_sources_out(scorer, split.parts, candidate.refit, config.evaluation, temperature)
    calibration = calibrate(scorer, split.parts, config.evaluation, left_out)
    unlabelled = read_unlabelled(context.folder / UNLABELLED_FILE, context.images.folder)
    opinions = form_opinions(scorer, split.parts, calibration.temperature, left_out, unlabelled)
    novelty = fit_novelty(scorer, split.parts, left_out)
    novelties = measure_novelties(scorer, novelty, split.parts, unlabelled)
    evaluation = evaluate(
        scorer, split.parts, calibration, config.evaluation, context.report("evaluate"), left_out, novelty
    )
    if config.core.enabled:
        test = evaluation.scored_test
        files = [context.images.folder / member.sample.path for member in test.samples]
        compared = compare_with_core(config.core, files, test.probabilities.tolist(), test.targets.tolist())
        evaluation = evaluation.with_core(compared)
    evaluation = evaluation.with_reported(
        judge_reported(
            scorer, split.samples(), calibration.temperature, calibration.points, read_reported(context.folder)
        )
    )
    measured_on = _on_benchmarks(scorer_of, benchmarks, calibration, novelty)
    evaluation = evaluation.with_benchmarks({name: result.card for name, result in measured_on.items()})
    audit = run_audit(
        split.samples(),
        scorer,
        augmentation,
        context.images.folder,
        config.audit,
        context.report("audit"),
        config.training.seed,
        context.cache,
    )
    for warning in audit.warnings:
        log.warning("audit_warning", what=warning)
    report = context.report("gate")
    report(0, 1, "champion and candidate on the same test split")
    champion = _champion(context, registry)
    compared = _against_champion(context, registry, champion, benchmarks, measured_on)
    decision = decide(evaluation, audit, champion, config.gate, compared)
    report(1, 1, "; ".join(decision.reasons))
    return Assessment(calibration, evaluation, audit, decision), opinions, novelties


def _on_benchmarks(
    scorer_of: Callable[[ImageFolder], Scorer],
    benchmarks: Benchmarks,
    calibration: Calibration,
    novelty: Novelty | None,
) -> dict[str, BenchmarkResult]:
    return {
        name: measure_pictures(
            scorer_of(ImageFolder(pictures.folder)),
            pictures.members,
            calibration.temperature,
            calibration.points,
            novelty,
        )
        for name, pictures in benchmarks.items()
    }


def _against_champion(
    context: RunContext,
    registry: Registry,
    champion: Champion | None,
    benchmarks: Benchmarks,
    found: Mapping[str, BenchmarkResult],
) -> dict[str, tuple[Scored, Scored]]:
    """Candidate and champion on each benchmark's pictures; nothing without a champion."""
    if champion is None:
        return {}
    folder = registry.version_folder(*champion.name.split("/"))
    compared: dict[str, tuple[Scored, Scored]] = {}
    for name, pictures in benchmarks.items():
        rival = ModelScorer.from_version(folder, ImageFolder(pictures.folder), context.cache, context.device)
        compared[name] = found[name].scored, score(rival, pictures.members, champion.temperature)
    return compared


def _champion(context: RunContext, registry: Registry) -> Champion | None:
    entry = registry.champion()
    if entry is None:
        return None
    name = f"{entry['model']}/{entry['version']}"
    folder = registry.version_folder(str(entry["model"]), str(entry["version"]))
    try:
        scorer = ModelScorer.from_version(folder, context.images, context.cache, context.device)
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        unseen = (entry.get("unseen_auc") or {}).get("value")
        return Champion(name, scorer, float(card["calibration"]["temperature"]), unseen)
    except (StopRunError, OSError, ValueError, KeyError) as error:
        # a champion that cannot be loaded serves nobody: the candidate is judged as a first version
        log.error("champion_unusable", champion=name, error=str(error))
        return None
