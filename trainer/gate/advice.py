"""What to collect so that the next training is not rejected for the same reason, in one line."""

from __future__ import annotations

from collections.abc import Sequence

# how an objection begins -> what helps; the first that fits is said
ADVICE = {
    "has learnt": "collect both labels in the same storage: the same format, JPEG quality and size, best the originals",
    "not surely better than chance on what it never saw": "collect more real sources and more generators, each in a "
    "folder of its own (real/<source>/…, ai_generated/<generator>/…)",
    "worse on what it never saw": "collect more real sources and more generators, each in a folder of its own",
    "not surely better than chance": "collect more pictures of both labels, by many hands, of the same kinds of "
    "subjects and in the same storage",
    "nothing can be said": "collect pictures of both labels by more creators, so that the test split gets some of each",
    "worse than a trivial probe": "collect real and generated pictures that show the same kinds of subjects",
    "does not beat a trivial probe": "collect real and generated pictures that show the same kinds of subjects",
    "audit": "look at what the audit says of these data (exposr-trainer runs)",
}
OTHERWISE = "collect more labelled pictures: a larger test split tells smaller differences"


def what_to_collect(objections: Sequence[str]) -> str:
    """Advice for the weightiest of the objections."""
    said = [objection.removeprefix("audit: ") for objection in objections]
    for beginning, advice in ADVICE.items():
        if any(objection.startswith(beginning) for objection in said):
            return advice
    return OTHERWISE
