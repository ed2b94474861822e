"""What to collect so that the next training is not rejected for the same reason, in one line."""

from __future__ import annotations

from collections.abc import Sequence

# the beginning of an objection -> the advice; the first match is used
ADVICE = {
    "has learnt": "collect both labels in the same format, JPEG quality and size, preferably as original files",
    "not significantly better than chance on what it never saw": "collect more real sources and more generators, each "
    "in its own folder (real/<source>/…, ai_generated/<generator>/…)",
    "worse on what it never saw": "collect more real sources and more generators, each in its own folder",
    "not significantly better than chance": "collect more pictures of both labels, by many creators, of the same kinds "
    "of subjects and in the same formats and sizes",
    "nothing can be said": "collect pictures of both labels by more creators, so that the test split gets some of each",
    "worse than a trivial probe": "collect real and generated pictures that show the same kinds of subjects",
    "does not beat a trivial probe": "collect real and generated pictures that show the same kinds of subjects",
    "audit": "read the audit's problems (exposr-trainer runs RUN)",
}
OTHERWISE = "collect more labelled pictures: a larger test split tells smaller differences"


def what_to_collect(objections: Sequence[str]) -> str:
    """Advice for the weightiest of the objections."""
    said = [objection.removeprefix("audit: ") for objection in objections]
    for beginning, advice in ADVICE.items():
        if any(objection.startswith(beginning) for objection in said):
            return advice
    return OTHERWISE
