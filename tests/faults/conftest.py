"""Makes the helper modules of other folders' tests importable here."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
HELPERS = [str(TESTS / folder) for folder in ("handlers", "scrapers", "trainer", "client")]
sys.path += [folder for folder in HELPERS if folder not in sys.path]
