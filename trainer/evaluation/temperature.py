"""One temperature that makes logits honest probabilities: temperature scaling (Guo et al., ICML 2017).

A weak prior around 1 keeps it finite where few pictures are told apart perfectly.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from trainer.data.types import Floats
from trainer.stats.predictions import Ints

TEMPERATURES = (0.05, 20.0)
PRIOR_SPREAD = 1.0  # standard deviation of log(temperature)


def log_loss(logits: Floats, targets: Ints, temperature: float) -> float:
    """Mean over the samples, in nats, stable for large logits."""
    signed = np.where(targets == 1, -logits, logits) / temperature
    return float(np.logaddexp(0, signed).mean())


def fit_temperature(logits: Floats, targets: Ints) -> float:
    """The most probable temperature, given the logits and the prior."""

    def cost(log_temperature: float) -> float:
        data = len(logits) * log_loss(logits, targets, float(np.exp(log_temperature)))
        return data + (log_temperature / PRIOR_SPREAD) ** 2 / 2

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(cost, bounds=(low, high), method="bounded").x))
