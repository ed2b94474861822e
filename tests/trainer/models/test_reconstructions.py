"""Pairs: an autoencoder is read or refused, what it gives back looks like its photograph, and is only learnt from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from autoencoders import tiny
from judging import make_sample
from pictures import encoded, scene, stored
from PIL import Image

from trainer.data.images import ImageFolder
from trainer.data.types import GroupedSample
from trainer.models.autoencoder import Autoencoder, load_autoencoder
from trainer.models.reconstructions import Reconstructions
from utils.errors import OperatorError


def test_a_tiny_autoencoder_is_read_off_its_weights(tmp_path: Path) -> None:
    encoder, decoder = tiny(tmp_path / "tae")
    autoencoder = load_autoencoder(str(tmp_path / "tae"))
    pixels = torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        assert torch.allclose(autoencoder.pass_through(pixels), decoder(encoder(pixels)), atol=1e-6)
    assert autoencoder.name == "tae"
    odd = scene(1, 70, 45)
    assert autoencoder.reconstruct(odd).size == odd.size


@pytest.mark.parametrize("files", [[], ["a_encoder.pth"], ["a_encoder.pth", "b_decoder.pth"]])
def test_what_is_no_autoencoder_is_the_operators_to_mend(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        torch.save({"0.weight": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(OperatorError, match=r"training\.pairs"):
        load_autoencoder(str(tmp_path))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    for half in ("encoder", "decoder"):
        torch.save({"0.weight": torch.zeros(4, 5, 3, 3)}, tmp_path / f"a_{half}.pth")
    with pytest.raises(OperatorError, match="no tiny autoencoder"):
        load_autoencoder(str(tmp_path))


@pytest.mark.parametrize("kind", ["AutoencoderTiny", "AutoencoderKL"])
def test_what_diffusers_writes_is_read(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    if kind == "AutoencoderTiny":
        small: Any = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
    else:
        small = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)
    small.save_pretrained(tmp_path)
    autoencoder = load_autoencoder(str(tmp_path))
    picture = scene(3, 40, 33)
    given_back = autoencoder.reconstruct(picture)
    assert given_back.size == picture.size
    assert np.asarray(given_back).tolist() != np.asarray(picture).tolist()


def test_a_diffusers_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(OperatorError, match=r"UNet2DModel|pip install"):
        load_autoencoder(str(tmp_path))


def test_photographs_are_given_back_in_their_own_storage_the_same_each_time(tmp_path: Path) -> None:
    tiny(tmp_path / "tae")
    images = ImageFolder(tmp_path)
    autoencoder = load_autoencoder(str(tmp_path / "tae"))
    reconstructions = Reconstructions(autoencoder, images, seed=0)
    sample = stored(tmp_path, "a.jpg", encoded(scene(2, 80, 64), quality=60), "real")
    photo = images.open(sample)
    first, again = (np.asarray(reconstructions.of(sample, photo, photo.size)) for _ in range(2))
    assert first.tolist() == again.tolist()
    lossless = stored(tmp_path, "a.png", encoded(photo, "PNG"), "real")
    assert np.asarray(reconstructions.of(lossless, photo, photo.size)).tolist() != first.tolist()
    other = Reconstructions(autoencoder, images, seed=1)
    assert other.key() != reconstructions.key()


def test_a_shrunk_photographs_codec_leaves_the_traces_that_it_left_in_the_photograph(tmp_path: Path) -> None:
    """An autoencoder that changes nothing gives back the photograph's own traces, not those of a codec at its size."""
    images = ImageFolder(tmp_path)
    unchanged = Reconstructions(Autoencoder("same", "0", lambda pixels: pixels), images, seed=0)
    sample = stored(tmp_path, "a.jpg", encoded(scene(2, 480, 384), quality=30), "real")
    photo = images.open(sample)
    resized = photo.resize((160, 128), Image.Resampling.BICUBIC)
    shown = np.asarray(resized, dtype=float)
    right, wrong = unchanged.of(sample, resized, photo.size), images.storage(sample).saved(resized)
    assert np.abs(np.asarray(right) - shown).mean() < 0.5 * np.abs(np.asarray(wrong) - shown).mean()


def test_only_photographs_are_reconstructed_and_what_comes_out_is_generated(tmp_path: Path) -> None:
    tiny(tmp_path / "tae")
    reconstructions = Reconstructions(load_autoencoder(str(tmp_path / "tae")), ImageFolder(tmp_path), seed=0)
    train = [
        GroupedSample(make_sample(f"{target}-{n}", target), f"g{n}", "train") for target in (0, 1) for n in range(3)
    ]
    made = reconstructions.members(train)
    assert {member.sample.sha256 for member in made} == {m.sample.sha256 for m in train if m.sample.target == 0}
    assert {(member.sample.target, member.sample.generator) for member in made} == {(1, "reconstruction by tae")}
