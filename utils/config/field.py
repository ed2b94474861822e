"""Sections of the configuration: what comes back from Exposr-Core."""

from __future__ import annotations

from pydantic import Field

from utils.config.sections import Section


class Feedback(Section):
    """Pictures that Exposr-Core reports as wrongly judged (docs/feedback.md)."""

    enabled: bool = Field(True, description="Take reports at POST /feedback.")
    max_per_hour: int = Field(600, ge=1, description="Reports taken in an hour; more are told when to come back.")
    max_waiting: int = Field(1000, ge=1, description="Reported pictures that may wait for a person's label.")
    max_waiting_mb: float = Field(2000.0, gt=0, description="Their size together, at most (MB).")
