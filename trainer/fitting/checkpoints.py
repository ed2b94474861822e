"""The state of a fine-tuning on disk: whole or not at all, and only ever continued by the training that wrote it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from utils.files import write_atomically
from utils.job_protocol import SCRATCH_FOLDER
from utils.logs import get_logger

log = get_logger(__name__)

CHECKPOINT_FILE = f"{SCRATCH_FOLDER}/checkpoint.pt"


def save_checkpoint(folder: Path, owner: str, state: dict[str, Any]) -> None:
    """`owner` names the data and settings that the state belongs to."""
    buffer = io.BytesIO()
    torch.save({"owner": owner, **state}, buffer)
    file = folder / CHECKPOINT_FILE
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, buffer.getvalue(), mode=0o600)


def load_checkpoint(folder: Path, owner: str) -> dict[str, Any] | None:
    """The last state of the same training; None when there is none, another training's, or a damaged one."""
    file = folder / CHECKPOINT_FILE
    if not file.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        known = state.pop("owner")
    except Exception as error:  # what torch raises for a damaged file is of many kinds
        log.error("checkpoint_damaged", file=str(file), reason=f"{type(error).__name__}: {error}"[:300])
        return None
    if known != owner:
        log.warning("checkpoint_of_another_training", file=str(file))
        return None
    return state
