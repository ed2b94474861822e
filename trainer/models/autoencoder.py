"""Autoencoders of image generators: what a photograph looks like after their encoder and decoder.

Three forms are read: a folder or hub id of diffusers (AutoencoderKL, AutoencoderTiny; needs the extra `pairs`), and a
folder with the two files of a tiny autoencoder, `<name>_encoder.pth` and `<name>_decoder.pth` (TAESD, TAEF1, TAEF2: a
stack of 3 x 3 convolutions by number, which is read off the names and shapes of the weights).
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.models import load_state_dict
from torch import Tensor
from torch.nn.functional import conv2d, group_norm, interpolate, pad, relu

from trainer.models.pretrained import digest_of
from utils.errors import OperatorError

MULTIPLE = 32  # pixels; sides are padded to it, which every encoder's strides divide
POOL_GROUPS = 4  # of the group norm in a tiny autoencoder's middle blocks
CLASSES = ("AutoencoderKL", "AutoencoderTiny")
TINY_FILE = re.compile(r"(?P<name>.+)_(?P<half>encoder|decoder)\.(pth|safetensors)")

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """`digest` is that of its weights; `pass_through` maps values in 0..1 [n, 3, H, W] to the same shape."""

    name: str
    digest: str
    pass_through: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def reconstruct(self, image: Image.Image) -> Image.Image:
        """The RGB picture after encoder and decoder, at its own size."""
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1)[None].float() / 255
        right, below = -image.width % MULTIPLE, -image.height % MULTIPLE
        padded = pad(pixels, (0, right, 0, below), mode="replicate")
        out = self.pass_through(padded)[0, :, : image.height, : image.width].clamp(0, 1)
        return Image.fromarray((out * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def load_autoencoder(place: str) -> Autoencoder:
    """Raises OperatorError when there is nothing at `place` that can be read."""
    folder = Path(place)
    if folder.is_dir() and not (folder / "config.json").is_file():
        return _tiny(folder)
    try:
        diffusers: Any = importlib.import_module("diffusers")
    except ImportError as error:
        raise OperatorError(
            f"training.pairs = {place!r} needs diffusers: pip install 'exposr-trainer[pairs]' ({error})"
        ) from error
    try:
        kind = json.loads((folder / "config.json").read_text())["_class_name"] if folder.is_dir() else None
        kind = kind or diffusers.AutoencoderKL.load_config(place)["_class_name"]
        if kind not in CLASSES:
            raise ValueError(f"it is a {kind}, not one of {', '.join(CLASSES)}")
        model = getattr(diffusers, kind).from_pretrained(place).eval()
    except Exception as error:  # diffusers and the hub raise many kinds
        raise OperatorError(f"training.pairs = {place!r} cannot be read as an autoencoder: {error}") from error

    def pass_through(pixels: Tensor) -> Tensor:
        encoded = model.encode(pixels * 2 - 1)
        latents = encoded.latents if kind == "AutoencoderTiny" else encoded.latent_dist.mode()
        decoded: Tensor = model.decode(latents).sample
        return (decoded + 1) / 2

    return Autoencoder(folder.name, digest_of(model.state_dict()), pass_through)


def _tiny(folder: Path) -> Autoencoder:
    halves: dict[str, State] = {}
    names = set()
    for file in sorted(folder.iterdir()):
        if match := TINY_FILE.fullmatch(file.name):
            names.add(match["name"])
            try:
                state = load_state_dict(str(file), use_ema=False)
                halves[match["half"]] = {key: value.float() for key, value in state.items()}
            except Exception as error:  # torch and safetensors raise many kinds for a file that is not theirs
                raise OperatorError(f"training.pairs: {file} cannot be read as weights: {error}") from error
    if len(names) != 1 or len(halves) != 2:
        raise OperatorError(
            f"training.pairs = {str(folder)!r}: needs config.json and weights as diffusers writes them, or one pair of"
            " <name>_encoder.pth and <name>_decoder.pth"
        )
    encoder, decoder = halves["encoder"], halves["decoder"]
    weights = {f"{half}.{key}": value for half, state in halves.items() for key, value in state.items()}

    def pass_through(pixels: Tensor) -> Tensor:
        return _decoded(decoder, _encoded(encoder, pixels))

    autoencoder = Autoencoder(names.pop(), digest_of(weights), pass_through)
    try:
        autoencoder.reconstruct(Image.new("RGB", (MULTIPLE, MULTIPLE)))
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        raise OperatorError(f"training.pairs = {str(folder)!r}: no tiny autoencoder that is known: {error}") from error
    return autoencoder


def _encoded(state: State, values: Tensor) -> Tensor:
    """A convolution without a bias halves the sides."""
    for number in _numbers(state):
        if f"{number}.conv.0.weight" in state:
            values = _block(state, number, values)
        else:
            bias = state.get(f"{number}.bias")
            values = conv2d(values, state[f"{number}.weight"], bias, stride=2 if bias is None else 1, padding=1)
    return values


def _decoded(state: State, latents: Tensor) -> Tensor:
    """Latents are softly clamped to -3..3; a convolution without a bias follows a doubling of the sides."""
    values = torch.tanh(latents / 3) * 3
    numbers = _numbers(state)
    for number in numbers:
        if f"{number}.conv.0.weight" in state:
            values = _block(state, number, values)
            continue
        bias = state.get(f"{number}.bias")
        if bias is None:
            values = interpolate(values, scale_factor=2, mode="nearest")
        values = conv2d(values, state[f"{number}.weight"], bias, padding=1)
        if number == numbers[0]:
            values = relu(values)
    return values


def _block(state: State, number: int, values: Tensor) -> Tensor:
    if f"{number}.pool.0.weight" in state:
        pooled = conv2d(values, state[f"{number}.pool.0.weight"])
        pooled = group_norm(pooled, POOL_GROUPS, state[f"{number}.pool.1.weight"], state[f"{number}.pool.1.bias"])
        values = values + conv2d(relu(pooled), state[f"{number}.pool.3.weight"])
    inner = values
    for step in (0, 2, 4):
        if step:
            inner = relu(inner)
        inner = conv2d(inner, state[f"{number}.conv.{step}.weight"], state[f"{number}.conv.{step}.bias"], padding=1)
    skip = state.get(f"{number}.skip.weight")
    return relu(inner + (values if skip is None else conv2d(values, skip)))


def _numbers(state: State) -> list[int]:
    return sorted({int(key.partition(".")[0]) for key in state})
