"""Comparison with the deployed model: what Exposr-Core's detect endpoint says about a sample of the test split.

It informs and never decides: whatever Core does (down, slow, garbage, another service) ends in a result with the reason
in words, within `core.total_timeout_seconds`, and never in an exception.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from trainer.evaluation.operating_points import MIDDLE
from utils.config.sections import Core
from utils.images.decoding.kinds import HEAD_BYTES, KINDS, sniff
from utils.logs import get_logger

MAX_ANSWER_BYTES = 64 * 1024
FAILURES_IN_A_ROW = 3  # after that Core is taken to be down, and not asked again in this training
SAMPLE_SEED = 0  # the same test split gives the same sample
Z_95 = 1.959964  # two-sided 95 % of the normal distribution

Share = dict[str, float | int]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """Core's P(ai_generated) of the picture with this index."""

    index: int
    probability: float
    model_version: str


@dataclass(slots=True)
class Asked:
    """What came back so far; kept when the time is up."""

    answers: list[Answer] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    stopped: str = ""


class CoreFailure(Exception):
    """One picture got no usable answer; the message is counted."""


def compare_with_core(
    core: Core, images: Sequence[Path], candidate_probabilities: Sequence[float], labels: Sequence[int]
) -> dict[str, Any]:
    """Accuracy of the deployed model and its agreement with the candidate on at most `core.sample_size` pictures.

    `candidate_probabilities` are calibrated P(ai_generated), `labels` 1 for ai_generated and 0 for real, both in the
    order of `images`. Shares come as `{value, count, n, low, high}` with 95 % Wilson intervals; None when n is 0.
    """
    if core.endpoint is None:
        return _report("", 0, Asked(stopped="core.endpoint is not set"), candidate_probabilities, labels)
    chosen = sorted(random.Random(SAMPLE_SEED).sample(range(len(images)), min(core.sample_size, len(images))))
    asked = Asked()
    try:
        asyncio.run(_ask_all(core, core.endpoint, images, chosen, asked))
    except Exception as error:  # whatever it is, it is no reason to lose a finished training
        log.exception("core_comparison_failed")
        asked.stopped = f"the comparison itself failed: {type(error).__name__}: {error}"
    report = _report(_without_secrets(core.endpoint), len(chosen), asked, candidate_probabilities, labels)
    log.info("core_compared", answered=len(asked.answers), of=len(chosen), reason=report["reason"])
    return report


async def _ask_all(core: Core, endpoint: str, images: Sequence[Path], chosen: Sequence[int], asked: Asked) -> None:
    """One picture after the other, so that a Core in production feels no more than one more user."""
    in_a_row = 0
    try:
        async with (
            asyncio.timeout(core.total_timeout_seconds),
            httpx.AsyncClient(timeout=core.timeout_seconds) as client,
        ):
            for index in chosen:
                try:
                    asked.answers.append(await _ask(client, endpoint, images[index], index, core.timeout_seconds))
                    in_a_row = 0
                except CoreFailure as failure:
                    asked.failures[str(failure)] += 1
                    in_a_row += 1
                if in_a_row == FAILURES_IN_A_ROW:
                    asked.stopped = f"gave up after {in_a_row} failures in a row"
                    return
    except TimeoutError:
        asked.stopped = f"the time was up: core.total_timeout_seconds is {core.total_timeout_seconds:g}"


async def _ask(client: httpx.AsyncClient, endpoint: str, image: Path, index: int, timeout_seconds: float) -> Answer:
    try:
        data = image.read_bytes()
    except OSError as error:
        raise CoreFailure(f"the picture cannot be read: {error.strerror}") from error
    kind = sniff(data[:HEAD_BYTES])
    media_type = KINDS[kind].media_type if kind is not None else "application/octet-stream"
    upload = {"file": (f"sample{image.suffix}", data, media_type)}
    try:
        # httpx's own timeout is for each read: a trickle would never end
        async with asyncio.timeout(timeout_seconds), client.stream("POST", endpoint, files=upload) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise CoreFailure(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CoreFailure(f"no answer: {type(error).__name__}") from error
    except TimeoutError as error:
        raise CoreFailure(f"no answer within {timeout_seconds:g} s") from error
    return _read_answer(response.status_code, bytes(body), index)


def _read_answer(status: int, body: bytes, index: int) -> Answer:
    if status != 200:
        raise CoreFailure(f"status {status}")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CoreFailure("an answer that is not JSON") from error
    probability = answer.get("ai_probability") if isinstance(answer, dict) else None
    if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
        raise CoreFailure("an answer without ai_probability from 0 to 1")
    return Answer(index, float(probability), str(answer.get("model_version", "unknown"))[:64])


def _report(
    endpoint: str, sent: int, asked: Asked, candidate_probabilities: Sequence[float], labels: Sequence[int]
) -> dict[str, Any]:
    pairs = [
        (answer.probability >= MIDDLE, candidate_probabilities[answer.index] >= MIDDLE, labels[answer.index] == 1)
        for answer in asked.answers
    ]
    deployed_accuracy = _share([deployed == truth for deployed, _, truth in pairs])
    candidate_accuracy = _share([candidate == truth for _, candidate, truth in pairs])
    agreement = _share([deployed == candidate for deployed, candidate, _ in pairs])
    reason = _reason(sent, asked)
    return {
        "meaning": _meaning(deployed_accuracy, candidate_accuracy, agreement, reason),
        "endpoint": endpoint,
        "complete": len(asked.answers) == sent and not asked.stopped,
        "reason": reason,
        "sample": sent,
        "answered": len(asked.answers),
        "failures": dict(asked.failures),
        "deployed_versions": dict(Counter(answer.model_version for answer in asked.answers)),
        "threshold": MIDDLE,
        "deployed_accuracy": deployed_accuracy,
        "candidate_accuracy": candidate_accuracy,
        "agreement": agreement,
        "only_deployed_right": sum(deployed == truth != candidate for deployed, candidate, truth in pairs),
        "only_candidate_right": sum(candidate == truth != deployed for deployed, candidate, truth in pairs),
    }


def _reason(sent: int, asked: Asked) -> str:
    if len(asked.answers) == sent and not asked.stopped:
        return ""
    counted = ", ".join(f"{text} ({count})" for text, count in asked.failures.most_common())
    return "; ".join(part for part in (asked.stopped, counted) if part)


def _meaning(deployed: Share | None, candidate: Share | None, agreement: Share | None, reason: str) -> str:
    """For the report, in words."""
    if deployed is None or candidate is None or agreement is None:
        return f"The deployed detector could not be compared: {reason or 'there were no pictures'}."
    sentence = (
        f"Asked about {deployed['n']} test pictures, the deployed detector judged {deployed['count']} rightly "
        f"({deployed['low']:.0%} to {deployed['high']:.0%}), this candidate {candidate['count']} "
        f"({candidate['low']:.0%} to {candidate['high']:.0%}); they agree on {agreement['count']}. "
        "The deployed detector may have been trained on some of these pictures."
    )
    return sentence + (f" Not all were answered: {reason}." if reason else "")


def _share(hits: Sequence[bool]) -> Share | None:
    """A share with its Wilson interval, which stays honest for few pictures and for 0 and 1."""
    if not hits:
        return None
    n, count = len(hits), sum(hits)
    value, z2 = count / n, Z_95**2
    centre = (value + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(value * (1 - value) / n + z2 / (4 * n * n))
    return {"value": value, "count": count, "n": n, "low": max(0.0, centre - half), "high": min(1.0, centre + half)}


def _without_secrets(endpoint: str) -> str:
    """The endpoint without user, password and query: it goes into the published card."""
    try:
        return str(httpx.URL(endpoint).copy_with(userinfo=b"", query=None))
    except httpx.InvalidURL:
        return "not a URL"
