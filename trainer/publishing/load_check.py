"""Do a version's files load, and answer as they did when they were made?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.models.golden import golden_differences
from trainer.models.scorer import load_version
from trainer.publishing.registry_files import CARD_FILE, WEIGHTS_FILE
from trainer.stats.novelty import Novelty
from utils.errors import StopRunError
from utils.files import sha256_of_file


def problems_of(folder: Path) -> list[str]:
    """What keeps the version in `folder` from being used, in words; empty when nothing does."""
    try:
        card: dict[str, Any] = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        files = card["files"]
        golden = card["preprocessing"]["golden"]
    except (OSError, ValueError, KeyError) as error:
        return [f"{CARD_FILE} cannot be read: {error!r}"]
    problems = [f"{WEIGHTS_FILE} is not named by the card"] if WEIGHTS_FILE not in files else []
    for name, facts in files.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif sha256_of_file(file) != facts["sha256"]:
            problems.append(f"{name} is not the file that the card names")
    if problems:
        return problems
    try:
        model, _, preprocessing = load_version(folder)
    except StopRunError as error:
        return [str(error)]
    try:
        novelty = Novelty.from_card(card["novelty"]) if card.get("novelty") else None
    except (ValueError, KeyError, TypeError) as error:
        return [f"{CARD_FILE}: novelty cannot be read: {error!r}"]
    return golden_differences(golden, preprocessing, model, novelty)
