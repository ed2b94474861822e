"""Where a backbone's pretrained weights come from: a configured file or folder, the hub, or the offline package.

Offline is the normal case: the hub is asked once, for at most HUB_SECONDS, and its absence is no error.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError
from timm.models import load_state_dict, load_state_dict_from_hf
from torch import Tensor

from trainer.models.shortlist import WEIGHTS_FILE, Listed, OfflinePackage
from utils.errors import OperatorError

HUB_SECONDS = 3.0
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")  # timm's own order
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")

StateDict = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Weights:
    """A state dict as it was found; `by_order` means its names are another library's and only the order agrees."""

    state: StateDict
    source: str
    by_order: bool = False


class WeightsMissingError(OperatorError):
    """The weights of a backbone cannot be had here; the message says why."""


class Hub:
    """Asks whether the hub answers once, when that is first needed."""

    @cached_property
    def answers(self) -> bool:
        return hub_answers()


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder in timm's `local-dir:` form: config.json names the architecture, a file beside it holds the weights."""

    architecture: str
    arguments: Mapping[str, Any]
    view: Mapping[str, Any]  # mean, std, input_size as in timm's pretrained_cfg
    weights: Path


def read_local_folder(folder: Path) -> LocalFolder:
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        architecture = str(config["architecture"])
    except (OSError, ValueError, KeyError) as error:
        raise OperatorError(
            f"model.checkpoint: {file} must be JSON with the key architecture, as timm writes it: {error!r}"
        ) from error
    named = [folder / name for name in WEIGHT_FILES]
    others = [path for suffix in WEIGHT_SUFFIXES for path in sorted(folder.glob(f"*{suffix}"))]
    weights = next((path for path in (*named, *others) if path.is_file()), None)
    if weights is None:
        raise OperatorError(f"model.checkpoint: {folder} holds no weights ({', '.join(WEIGHT_FILES)})")
    view = config.get("pretrained_cfg") or {}
    return LocalFolder(architecture, config.get("model_args") or {}, view, weights)


def weights_of_file(file: Path) -> Weights:
    """A state dict out of .safetensors or of a torch file (plain, or under state_dict/model, EMA preferred)."""
    try:
        return Weights(load_state_dict(str(file)), f"file {file.name}")
    except Exception as error:  # torch and safetensors raise many kinds for a file that is not theirs
        raise OperatorError(f"model.checkpoint: {file} cannot be read as weights: {error}") from error


def weights_of(listed: Listed, hub: Hub) -> Weights:
    """From its package, the hub's local cache or the hub. Raises WeightsMissingError."""
    if listed.package and (file := listed.package.path()):
        return _weights_of_package(listed.package, file)
    if not listed.repository:
        name = listed.package.name if listed.package else listed.name
        raise WeightsMissingError(f"the package {name} is not installed")
    return _weights_of_hub(listed.repository, hub)


def _weights_of_hub(repository: str, hub: Hub) -> Weights:
    cached = isinstance(try_to_load_from_cache(repository, WEIGHTS_FILE), str)
    if not cached and not hub.answers:
        raise WeightsMissingError("not on this machine, and the hub does not answer")
    try:
        return Weights(load_state_dict_from_hf(repository), f"hub {repository}")
    except GatedRepoError as error:
        raise WeightsMissingError(
            f"gated: accept its licence at https://huggingface.co/{repository} and set HF_TOKEN"
        ) from error
    except Exception as error:  # whatever the hub library raises, training goes on without
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsMissingError(f"the hub does not give it: {first}") from error


def _weights_of_package(package: OfflinePackage, file: Path) -> Weights:
    state = torch.load(file, map_location="cpu", weights_only=True)
    return Weights(dict(state), f"package {package.name} {importlib.metadata.version(package.name)}", by_order=True)


def hub_answers() -> bool:
    """One request, at most HUB_SECONDS, name resolution included; False at once when HF_HUB_OFFLINE is set."""
    if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
        return False
    url = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/") + "/api/models/timm/resnet18.a1_in1k"
    answered: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=HUB_SECONDS) as response:  # noqa: S310
                answered.append(response.status == 200)
        except (OSError, ValueError):
            answered.append(False)

    # in a thread, since the system's name resolution knows no time limit
    thread = threading.Thread(target=ask, name="hub-probe", daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    return bool(answered and answered[0])


def digest_of(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes: the same for the same weights wherever they came from."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
