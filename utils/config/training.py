"""Sections of the configuration: model, training, gate."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from utils.config.sections import Section


class Augmentation(Section):
    """How training views are re-encoded, rescaled and cropped, alike for both labels (docs/training.md, The
    augmentation)."""

    enabled: bool = Field(
        True, description="Augment training views; false trains on crops of the pictures as they are."
    )
    histories: bool = Field(
        True, description="First save each view in the format of a random picture of the data, whatever its label."
    )
    untouched_share: float = Field(0.15, ge=0, le=1, description="Share of views that are only cropped and mirrored.")
    rescale_share: float = Field(0.7, ge=0, le=1, description="Share of the other views that are rescaled.")
    short_side_min_share: float = Field(
        0.5, gt=0, le=1, description="Smallest short side after rescaling, as a share of the model's input size."
    )
    enlarge_max: float = Field(1.3, ge=1, le=4, description="Largest factor by which rescaling enlarges.")
    recode_share: float = Field(0.85, ge=0, le=1, description="Share of those views that are re-encoded.")
    second_recode_share: float = Field(0.3, ge=0, le=1, description="Share that is re-encoded once more.")
    quality_min: int = Field(30, ge=1, le=100, description="Lowest quality of a re-encoding.")
    quality_max: int = Field(95, ge=1, le=100, description="Highest quality of a re-encoding.")
    webp_share: float = Field(0.25, ge=0, le=1, description="Share of re-encodings in WebP; the others are JPEG.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.quality_min > self.quality_max:
            raise ValueError(f"quality_min {self.quality_min} is above quality_max {self.quality_max}")
        return self


class Model(Section):
    name: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9_]{0,31}$",
        description="Family name of published versions; none: that of the architecture (vit, mobilenetv2).",
    )
    architecture: str | None = Field(
        None,
        description="timm model name; none: chosen by left-out sources from a shortlist (docs/training.md, Backbones).",
    )
    pretrained: bool = Field(True, description="Start from pretrained weights if they are available.")
    checkpoint: Path | None = Field(None, description="File or folder of backbone weights, instead of timm's hub.")
    branch: bool = Field(
        True, description="Low-level branch beside the backbone: statistics of high-pass residuals and spectrum."
    )
    image_size: int | None = Field(
        None, ge=32, le=1024, description="Side of the model's square input (pixels); none: by architecture."
    )
    short_side_max: int | None = Field(
        None, ge=32, le=4096, description="Larger pictures are shrunk to this short side; none: 1.5 x image_size."
    )


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
        description="Share of the service's memory (percent); a training that needs more is ended as out of memory.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every random choice in a training.")
    checkpoint_seconds: float = Field(
        20.0,
        ge=0,
        description="Seconds between two checkpoints of a fine-tuning; a crash loses at most this much work.",
    )
    learning_rate: float | None = Field(None, gt=0, le=1, description="Peak learning rate; none: by mode.")
    cache_gb: float = Field(5.0, ge=0, description="Embeddings kept for later trainings, at most (GB).")
    workers: int | None = Field(
        None, ge=0, le=64, description="Processes for each device that load training pictures; none: by hardware."
    )
    launch: Literal["auto", "single", "torchrun"] = Field(
        "auto", description="How ranks are started; auto: torchrun when there is more than one device or node."
    )
    nodes: int = Field(1, ge=1, le=1024, description="Machines that train together; see docs/training.md.")
    rendezvous_endpoint: str | None = Field(
        None, pattern=r"^[^:\s]+:\d+$", description="host:port at which the machines of one training meet."
    )
    shards: str | None = Field(
        None,
        description="Folder (absolute path) or URL (s3://bucket/folder) of shards, from which machines without a copy "
        "of the images read training pictures; none: each machine needs a copy. See docs/training.md.",
    )
    split_key: str = Field(
        "exposr",
        min_length=1,
        description="Key of the split's hash; kept in the split's own store from the first use on.",
    )
    group_distance: int = Field(
        6,
        ge=0,
        le=12,
        description="Pictures with perceptual hashes (64 bit) this close, in bits, are in the same split.",
    )
    pairs: str | None = Field(
        None,
        min_length=1,
        description="Autoencoder whose reconstructions of training photos are learnt as generated: a folder, or a "
        "hub id that diffusers reads; none: no pairs.",
    )
    group_alike: bool = Field(
        True, description="Pictures with nearly the same embedding (pretrained backbone) are in the same split."
    )
    augmentation: Augmentation = Field(
        default_factory=Augmentation, description="Re-encoding, rescaling and cropping of training views."
    )

    @field_validator("shards")
    @classmethod
    def _a_place_without_secrets(cls, place: str | None) -> str | None:
        if place is None:
            return None
        scheme, separator, rest = place.partition("://")
        if "@" in rest.partition("/")[0]:
            raise ValueError("a URL with a user or password; credentials belong in the environment")
        if not separator and not Path(place).is_absolute():
            raise ValueError(f"{place!r} is neither an absolute path nor a URL such as s3://bucket/folder")
        if separator and (not scheme.isidentifier() or not rest or "::" in place):
            raise ValueError(f"{place!r} is no URL of one place, such as s3://bucket/folder")
        return place


class Evaluation(Section):
    bootstrap_samples: int = Field(
        1000, ge=100, le=100_000, description="Replicates of the cluster bootstrap behind every interval."
    )
    false_positive_budget: float = Field(
        0.05, gt=0, lt=0.5, description="Share of real pictures of the worst source that may be called ai_generated."
    )
    miss_budget: float = Field(
        0.05, gt=0, lt=0.5, description="Share of pictures of the worst generator that may be called real."
    )
    abstain_band: float = Field(
        0.10, ge=0, lt=1, description="Least width of the band of probabilities around 0.5 that is called uncertain."
    )
    source_images: int = Field(
        20,
        ge=1,
        description="A source or generator sets a threshold of its own from this many calibration pictures on.",
    )
    robustness: bool = Field(
        True, description="Measure the test split again under JPEG, WebP, resize, blur, noise, crop."
    )
    robustness_images: int = Field(
        200, ge=2, description="Test pictures in each condition of the robustness sweep, at most."
    )
    leave_one_out: bool = Field(
        True, description="Measure on each generator and real source with a head that never saw it."
    )
    leave_one_out_slices: int = Field(6, ge=2, description="Generators, and real sources, left out in turn, at most.")
    max_images: int = Field(
        4000, ge=20, description="Most pictures whose embeddings the leave-one-out runs and the audit use."
    )


class Audit(Section):
    enabled: bool = Field(
        True, description="Search for shortcuts: format, size, content or creators that predict the label."
    )
    max_images: int = Field(2000, ge=20, description="Pictures that the audit looks at, at most.")
    folds: int = Field(5, ge=2, le=20, description="Folds of the probes' cross-validation, by group.")
    shortcut_auc: float = Field(
        0.65,
        gt=0.5,
        lt=1,
        description="A property that separates the labels with a higher AUC is named as a shortcut.",
    )
    swapped_margin: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="AUC that may significantly be lost when each label is stored in the other label's way.",
    )
    metadata_auc: float = Field(
        0.60, gt=0.5, lt=1, description="AUC of file properties: an objection without augmentation, a warning after it."
    )
    creator_share: float = Field(
        0.5, gt=0, le=1, description="A creator with a larger share of a label's pictures is named as a shortcut."
    )


class Gate(Section):
    enabled: bool = Field(
        True, description="Publish only versions that are not worse; false publishes every finished training."
    )
    margin: float = Field(0.02, ge=0, le=0.5, description="AUC by which a candidate may be worse than the champion.")
    accuracy_margin: float = Field(0.05, ge=0, le=0.5, description="The same for the balanced accuracy.")
    loss_margin: float = Field(0.10, ge=0, description="The same for the log loss, above the champion's (nats).")
    confidence: float = Field(
        0.95, gt=0.5, lt=1, description="One-sided confidence with which a candidate must be within the margins."
    )
    slice_images: int = Field(50, ge=2, description="A generator or real source is a large slice from this many on.")
    slice_margin: float = Field(0.05, ge=0, le=1, description="Accuracy that a large slice may lose.")
    max_calibration_error: float = Field(
        0.10, gt=0, le=1, description="Highest calibration error (ECE) of the test split, from calibration_images on."
    )
    calibration_images: int = Field(200, ge=1, description="Test pictures from which the calibration error is judged.")
    first_groups: int = Field(
        30,
        ge=1,
        description="With at least this many groups of either label in the test split, a first version must beat the "
        "trivial probes; with fewer it must not be significantly worse.",
    )
    first_confidence: float = Field(
        0.999,
        gt=0.5,
        lt=1,
        description="One-sided confidence with which a first version must be better than chance on the test split.",
    )
    keep_versions: int = Field(
        50, ge=1, description="Versions that stay published; older ones without an alias are removed."
    )
