"""Options and helpers that the commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from handlers.labels import folders
from utils.config_loader import Config, load_config

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="PATH", help="TOML file; default: ./config.toml, /etc/exposr-trainer/config.toml."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


def read_config(path: Path | None) -> Config:
    config = load_config(path)
    folders.adopt(config.intake)
    return config


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
