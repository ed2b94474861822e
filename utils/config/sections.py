"""Sections of the configuration: storage, schedule, triggers, intake, API, Core, logging.

Every field has a default, a unit in its name and a description; `config.example.toml` is written from these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """A frozen table of settings that can also be read like a dict: `config["storage"]["models_path"]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def __getitem__(self, key: str) -> Any:
        if key not in type(self).model_fields:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in type(self).model_fields

    def keys(self) -> Iterator[str]:
        return iter(type(self).model_fields)

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key) if key in self else default


class Storage(Section):
    local_path: Path = Field(Path("./datasets"), description="Folder of the images; people may drop files here.")
    models_path: Path = Field(Path("./models"), description="Folder of the published versions and registry.json.")
    benchmarks_path: Path = Field(
        Path("./benchmarks"),
        description="Folder of benchmarks, <name>/real/… and <name>/ai_generated/…: measured with every version, never "
        "trained on.",
    )
    state_path: Path = Field(Path("./state"), description="Folder of index, run history, keys, quotas and cursors.")
    min_free_gb: float = Field(
        2.0, ge=0, description="Collecting and training stop while a disk has less free space than this (GB)."
    )
    max_thumbnails_mb: float = Field(
        1000.0, ge=1, description="Maximum size of the console's thumbnails below state_path (MB)."
    )
    max_dataset_gb: float = Field(0.0, ge=0, description="Collecting stops at this size of the data (GB); 0: no limit.")
    min_free_inodes_percent: float = Field(1.0, ge=0, le=50, description="The same for free inodes (percent).")

    @field_validator("local_path", "models_path", "benchmarks_path", "state_path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()


class Scheduler(Section):
    scrape_interval_hours: float = Field(12.0, gt=0, le=24 * 365, description="Hours between two collections.")
    train_interval_days: float = Field(7.0, gt=0, le=3650, description="Days after which a training is due.")
    reconcile_interval_seconds: float = Field(
        60.0, gt=0, le=3600, description="Seconds between two scans of the data folder that no event asked for."
    )


class Triggers(Section):
    growth_images: int = Field(500, ge=1, description="A training is due after this many new labelled images, or")
    growth_fraction: float = Field(
        0.10, gt=0, le=100, description="after growth by this share of the last training's data, whichever comes first."
    )
    min_per_class: int = Field(25, ge=2, description="No training with fewer usable images of either label.")
    cooldown_minutes: float = Field(60.0, ge=0, description="Minutes between two training attempts, at least.")
    drift: bool = Field(
        True,
        description="Collect once a day while Exposr-Core sees significantly more uncertain pictures than validation.",
    )
    max_backoff_days: float = Field(
        28.0, gt=0, description="Failed and rejected trainings double the wait before the next one, up to this (days)."
    )


class Intake(Section):
    settle_seconds: float = Field(
        2.0, gt=0, le=600, description="A file that cannot be decoded is reported after being unchanged for this long."
    )
    workers: int = Field(2, ge=1, le=64, description="Processes that check images.")
    check_timeout_seconds: float = Field(
        20.0, gt=0, le=600, description="Time limit for the check of one image (seconds)."
    )
    check_memory_mb: int = Field(1536, ge=256, description="Memory limit of one check process (MB).")
    max_file_mb: float = Field(60.0, gt=0, description="Larger files are rejected (MB).")
    min_side: int = Field(32, ge=1, description="Shortest allowed side (pixels).")
    max_side: int = Field(16_384, ge=64, description="Longest allowed side (pixels).")
    max_megapixels: float = Field(50.0, gt=0, description="Largest allowed area (megapixels).")
    near_duplicate_distance: int = Field(
        4,
        ge=0,
        le=8,
        description="Images whose perceptual hashes (64 bit) differ in at most this many bits are the same picture.",
    )
    real_folders: tuple[str, ...] = Field(
        ("photo", "photos", "photographs", "0_real"),
        description="Folder names that label pictures below as real, besides real; case and separators are ignored.",
    )
    generated_folders: tuple[str, ...] = Field(
        ("ai", "ai_art", "ai_images", "aigc", "fake", "fakes", "deepfakes", "generated", "synthetic", "1_fake"),
        description="Folder names that label pictures below as generated, besides ai_generated.",
    )
    watcher: Literal["auto", "inotify", "polling"] = Field(
        "auto", description="How changes are detected; auto polls on network file systems, where inotify cannot work."
    )

    @field_validator("real_folders", "generated_folders")
    @classmethod
    def _single_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name.strip(" ._-") or "/" in name:
                raise ValueError(f"{name!r} is not a folder name")
        return names

    @model_validator(mode="after")
    def _one_label_each(self) -> Self:
        real, generated = (
            {" ".join(re.split("[ ._-]+", name.lower())) for name in names}
            for names in (("real", *self.real_folders), ("ai_generated", *self.generated_folders))
        )
        if both := real & generated:
            raise ValueError(f"{', '.join(sorted(both))}: names of both labels in real_folders and generated_folders")
        return self


class Api(Section):
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8001, ge=0, le=65535, description="Port to listen on; 0 takes a free one (tests).")
    keys_file: Path | None = Field(
        None, description="File with accepted API keys, one a line (mode 0600). None: see docs/operations.md, Keys."
    )
    pointer_hours: float = Field(
        72.0,
        gt=0,
        description="Hours for which the signed pointer to the current model is valid; it is renewed long before.",
    )
    max_event_clients: int = Field(64, ge=1, description="Open /events connections, at most.")
    session_hours: float = Field(
        168.0, gt=0, le=24 * 365, description="Hours after which people must sign in to the console again."
    )
    root_path: str = Field(
        "",
        pattern=r"^((/[A-Za-z0-9._~-]+)+)?$",
        description="Path under which a reverse proxy shows the service, such as /trainer. Pages work without it.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses and networks of proxies whose X-Forwarded-For, -Proto and -Prefix headers are trusted.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ip_network(proxy)  # its ValueError says what is wrong
        return proxies


class Core(Section):
    enabled: bool = Field(
        False, description="In each training, compare with Exposr-Core's detector on a sample of the test split."
    )
    endpoint: str | None = Field(None, description="URL of Exposr-Core's detect endpoint, http(s)://host/detect.")
    sample_size: int = Field(64, ge=1, le=10_000, description="Pictures sent in one training, at most.")
    timeout_seconds: float = Field(5.0, gt=0, description="Time limit for the answer to one picture (seconds).")
    total_timeout_seconds: float = Field(120.0, gt=0, description="Time limit for the whole comparison (seconds).")

    @field_validator("endpoint")
    @classmethod
    def _http(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return endpoint


class Logging(Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
