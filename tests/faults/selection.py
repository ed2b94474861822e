"""How much of the faults is tried: a quick selection, or all with EXPOSR_FAULTS=all (docs/reliability.md)."""

from __future__ import annotations

import os

ALL = os.environ.get("EXPOSR_FAULTS") == "all"
