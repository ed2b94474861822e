"""The checkers of what was downloaded or imported, with the limits that hold for every image of the data folder."""

from __future__ import annotations

from utils.config_loader import Config
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckLimits


def make_check_pool(config: Config) -> CheckPool:
    limits, intake = CheckLimits.from_settings(config.intake), config.intake
    return CheckPool(config.harvest.check_workers, limits, intake.check_timeout_seconds, intake.check_memory_mb)
