"""Settings for collecting from a sandbox: every limit lifted, every folder in the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils.config_loader import Config, Secrets

NAMES = ("unsplash", "pexels", "civitai", "openverse")
OTHERS = ("wikimedia", "wikimedia_ai")  # one stand-in for both, which offers everything again
KEYS = {"unsplash_access_key": "sandbox", "pexels_api_key": "sandbox", "civitai_api_key": "sandbox"}
KEY_VARIABLES = {"UNSPLASH_ACCESS_KEY": "sandbox", "PEXELS_API_KEY": "sandbox", "CIVITAI_API_KEY": "sandbox"}


def lifted_source(url: str, name: str, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "enabled": True,
        "queries": (),
        "base_url": f"{url}/{name.removesuffix('_ai')}",
        "image_hosts": (url.removeprefix("http://"),),
        "min_interval_seconds": 0,
        "requests_per_hour": 0,
        "requests_per_day": 0,
        "head_interval_seconds": 0,
        "image_interval_seconds": 0,
        "image_connections": 8,
        "max_per_creator": 0,
        "limit_per_query": 100_000,
    }
    return base | changes


def lifted_config(
    folder: Path,
    url: str,
    *,
    only: tuple[str, ...] = NAMES,
    every: dict[str, Any] | None = None,
    harvest: dict[str, Any] | None = None,
    storage: dict[str, Any] | None = None,
    keys: dict[str, str] | None = None,
    **sources: dict[str, Any],
) -> Config:
    """All of `only` enabled; `every` changes each source, a keyword changes the one of that name."""
    tables = {
        name: lifted_source(url, name, **{**(every or {}), **sources.get(name, {}), "enabled": name in only})
        for name in (*NAMES, *OTHERS)
    }
    folders = {"local_path": folder / "datasets", "models_path": folder / "models", "state_path": folder / "state"}
    return Config(
        storage={**folders, "min_free_gb": 0, **(storage or {})},
        sources=tables,
        harvest={"max_label_ratio": 0, "check_workers": 1, **(harvest or {})},
        secrets=Secrets.model_validate(KEYS if keys is None else keys),
    )
