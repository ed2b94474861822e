"""Sections of the configuration: model, training, gate."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from utils.config_sections import Section


class Model(Section):
    name: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9_]{0,31}$",
        description="Family name under which versions are published; none: the architecture's family (vit, mobilenetv2).",
    )
    architecture: str | None = Field(
        None,
        description="timm model name; none: a ViT by hardware, or the offline backbone where no weights can be had.",
    )
    pretrained: bool = Field(True, description="Start from pretrained weights where they can be had.")
    checkpoint: Path | None = Field(None, description="File or folder of backbone weights, instead of timm's hub.")


class Training(Section):
    mode: Literal["auto", "frozen", "lora", "full"] = Field(
        "auto",
        description="frozen: a head on cached embeddings; lora: adapters; full: all weights; auto: by data size.",
    )
    epochs: int | None = Field(None, ge=1, le=10_000, description="Passes over the data; none: by data size.")
    batch_size: int | None = Field(
        None, ge=1, le=4096, description="Images in one step of one device; none: by hardware."
    )
    devices: int | None = Field(None, ge=0, le=64, description="GPUs to use; none: all; 0: the CPU.")
    threads: int | None = Field(None, ge=1, description="CPU threads of the training; none: all cores.")
    memory_percent: float = Field(
        75.0,
        gt=0,
        le=100,
        description="Share of the service's memory (percent) beyond which a training is ended alone, as out of memory.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every random choice in a training.")


class Gate(Section):
    enabled: bool = Field(True, description="Publish only what is not worse; false publishes every finished training.")
    margin: float = Field(0.02, ge=0, le=0.5, description="AUC by which a candidate may be worse than the champion.")
