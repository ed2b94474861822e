"""How a model is trained: by what there is to learn from and what there is to compute on. Pure decisions, with reasons.

pictures of the rarer label in train     strategy
below PROBE_ONLY_BELOW, or random weights  frozen: a head on cached embeddings
below FINE_TUNE_FROM                       frozen; middle when its cross-validated AUC is below PROBE_SATISFIES
below FULL_FROM                            middle: LoRA in a transformer, a small convolutional network whole
above, on a GPU                            full
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.data.types import Mode
from utils.config.training import Training as Settings

PROBE_ONLY_BELOW = 40  # fine-tuning on fewer pictures of a label memorises them
PROBE_SATISFIES = 0.90  # AUC over held-out groups
FINE_TUNE_FROM = 1_000
FULL_FROM = 20_000
FROZEN_VIEWS = 6  # views of each picture that a head is fitted on: its "epochs"
RANDOM_FULL_FROM = 2_000  # from random weights, a network that is trained whole loses to one that is not on fewer

STEPS = {"lora": 3_000, "full": 4_500}  # the budget that the default number of epochs aims at
CPU_PICTURES = 5_000  # pictures a fine-tuning looks at on a CPU, all epochs together
EPOCHS_MAX = {True: 60, False: 24}  # on a GPU or not
EPOCHS_MIN = 3


@dataclass(frozen=True, slots=True)
class Strategy:
    mode: Mode
    epochs: int
    reason: str


def first_strategy(
    settings: Settings, *, minority: int, train: int, pretrained: bool, on_gpu: bool, small: bool
) -> Strategy:
    """The strategy to begin with; `minority` counts the train pictures of the rarer label, `train` all of them.

    `small` is a convolutional network, which the middle strategy trains whole.
    """
    if settings.mode != "auto":
        return _strategy(settings, settings.mode, "as configured by training.mode", train, on_gpu)
    if not pretrained and (minority < RANDOM_FULL_FROM or not on_gpu):
        return _strategy(
            settings, "frozen", "random weights, and too little to train a network from nothing", train, on_gpu
        )
    if not pretrained:
        return _strategy(settings, "full", "random weights: all of them are trained", train, on_gpu)
    if minority < FINE_TUNE_FROM:
        return _strategy(
            settings, "frozen", f"{minority} pictures of the rarer label: begin with a head", train, on_gpu
        )
    if minority < FULL_FROM or not on_gpu:
        return _strategy(settings, _middle(small), f"{minority} pictures of the rarer label", train, on_gpu)
    return _strategy(settings, "full", f"{minority} pictures of the rarer label and a GPU", train, on_gpu)


def next_strategy(
    settings: Settings,
    frozen_auc: float | None,
    *,
    by_sources: bool,
    minority: int,
    train: int,
    pretrained: bool,
    on_gpu: bool,
    small: bool,
) -> Strategy | None:
    """Where to climb when the head's AUC on what was left out does not satisfy; None: stay.

    `by_sources`: whole sources were left out, else groups. A CPU then stays: it can fine-tune a small network on the
    sources that it has, and gains nothing on the next one (docs/training.md, The strategy).
    """
    if settings.mode != "auto" or not pretrained or minority < PROBE_ONLY_BELOW:
        return None
    if frozen_auc is None or frozen_auc >= PROBE_SATISFIES:
        return None
    if by_sources and not on_gpu:
        return None
    left_out = "left-out sources" if by_sources else "left-out groups"
    reason = f"a head on frozen features reached AUC {frozen_auc:.2f} on {left_out}, below {PROBE_SATISFIES:g}"
    return _strategy(settings, _middle(small), reason, train, on_gpu)


def _middle(small: bool) -> Mode:
    return "full" if small else "lora"


def _strategy(settings: Settings, mode: Mode, reason: str, train: int, on_gpu: bool) -> Strategy:
    return Strategy(mode, settings.epochs or _epochs(mode, train, on_gpu), reason)


def _epochs(mode: Mode, train: int, on_gpu: bool) -> int:
    if mode == "frozen":
        return FROZEN_VIEWS
    pictures = STEPS[mode] * 96 if on_gpu else CPU_PICTURES
    return max(EPOCHS_MIN, min(EPOCHS_MAX[on_gpu], round(pictures / max(train, 1))))
