"""The checkers of what was downloaded or imported, with the limits that hold for every image of the data folder."""

from __future__ import annotations

from dataclasses import replace

from utils.config_loader import Config
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckLimits


def make_check_pool(config: Config, min_side: int = 0) -> CheckPool:
    """`min_side`: the shortest side (pixels) where more is wanted than intake.min_side."""
    limits, intake = CheckLimits.from_settings(config.intake), config.intake
    limits = replace(limits, min_side=max(limits.min_side, min_side))
    return CheckPool(config.harvest.check_workers, limits, intake.check_timeout_seconds, intake.check_memory_mb)
