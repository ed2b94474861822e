"""Backbones: weights from a file, a folder, the offline package or nowhere, and never half of them unnoticed."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from exposr_client.detection import residuals
from trainer.models.backbones import backbone_state, branch_width, classifier_of, family_of, features_of, load_backbone
from trainer.models.lora import add_adapters, fold_adapters
from trainer.models.pretrained import digest_of, hub_answers
from trainer.models.shortlist import OFFLINE, Listed, OfflinePackage
from utils.config.training import Model
from utils.errors import OperatorError


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def teacher() -> torch.nn.Module:
    torch.manual_seed(5)
    return timm.create_model("test_vit", pretrained=False, num_classes=7)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_of_weights_fills_every_key_but_the_head(tmp_path: Path, suffix: str) -> None:
    state = teacher().state_dict()
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": state}, file)
    else:
        save_file(state, file)
    backbone = load_backbone(Model(architecture="test_vit", checkpoint=file), on_gpu=False, seed=0)
    loaded = backbone_state(backbone.model)
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())
    assert backbone.pretrained["matched_keys"] == backbone.pretrained["backbone_keys"] == len(loaded)
    assert backbone.pretrained["sha256"] == digest_of(loaded)
    assert classifier_of(backbone.model).out_features == 1


def test_positions_are_resampled_when_the_input_has_another_size(tmp_path: Path) -> None:
    save_file(teacher().state_dict(), tmp_path / "weights.safetensors")
    settings = Model(architecture="test_vit", checkpoint=tmp_path / "weights.safetensors", image_size=64)
    backbone = load_backbone(settings, on_gpu=False, seed=0)
    assert backbone.architecture["kwargs"] == {"img_size": 64, "num_classes": 1}
    assert backbone.model(torch.zeros(1, 3, 64, 64)).shape == (1, 1)


def test_a_local_folder_names_its_own_architecture(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "test_vit", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}})
    )
    save_file(teacher().state_dict(), tmp_path / "model.safetensors")
    backbone = load_backbone(Model(checkpoint=tmp_path), on_gpu=False, seed=0)
    assert backbone.architecture["name"] == "test_vit"
    assert backbone.preprocessing.mean == (0.1, 0.2, 0.3)
    with pytest.raises(OperatorError, match="holds test_vit"):
        load_backbone(Model(checkpoint=tmp_path, architecture="resnet18"), on_gpu=False, seed=0)


def test_missing_keys_stop_the_training(tmp_path: Path) -> None:
    state = teacher().state_dict()
    del state["blocks.3.mlp.fc1.weight"]
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(OperatorError, match=r"1 of \d+ keys are missing.*blocks\.3\.mlp\.fc1\.weight"):
        load_backbone(Model(architecture="test_vit", checkpoint=tmp_path / "weights.safetensors"), on_gpu=False, seed=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"architecture": "vit_of_dreams"}, "timm has no such model"),
        ({"architecture": "test_vit.of_dreams"}, "of_dreams"),
        ({"checkpoint": "nowhere.pth"}, "no such file"),
        ({"architecture": "vgg11", "checkpoint": "nowhere.pth"}, "no such file"),
    ],
)
def test_what_cannot_be_used_is_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        load_backbone(Model.model_validate({"pretrained": False, **settings}), on_gpu=False, seed=0)


def test_a_file_that_holds_no_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("not weights")
    with pytest.raises(OperatorError, match="cannot be read as weights"):
        load_backbone(Model(architecture="test_vit", checkpoint=tmp_path / "weights.pth"), on_gpu=False, seed=0)


def test_random_weights_are_said_to_be_random_and_follow_the_seed() -> None:
    settings = Model(architecture="test_vit", pretrained=False)
    first, again, other = (load_backbone(settings, on_gpu=False, seed=seed) for seed in (1, 1, 2))
    assert first.pretrained["source"] == "random"
    assert "random weights" in first.pretrained["note"]
    assert not first.is_pretrained
    assert first.pretrained["sha256"] == again.pretrained["sha256"] != other.pretrained["sha256"]


def package_of(listed: Listed) -> OfflinePackage:
    assert listed.package is not None
    return listed.package


@pytest.mark.parametrize("listed", OFFLINE, ids=lambda listed: listed.architecture)
def test_offline_a_package_fills_every_key_of_its_architecture(listed: Listed) -> None:
    if not package_of(listed).is_installed:
        pytest.skip("needs the offline weights package")
    backbone = load_backbone(Model(architecture=listed.architecture), on_gpu=False, seed=0)
    assert backbone.pretrained["source"].startswith(f"package {package_of(listed).name}")
    assert backbone.pretrained["matched_keys"] == backbone.pretrained["backbone_keys"] > 300


@pytest.mark.skipif(not any(package_of(listed).is_installed for listed in OFFLINE), reason="needs an offline package")
def test_offline_the_best_package_stands_in_under_its_own_family() -> None:
    backbone = load_backbone(Model(), on_gpu=False, seed=0)
    best = next(listed for listed in OFFLINE if package_of(listed).is_installed)
    assert backbone.architecture["name"] == best.architecture
    assert backbone.family == family_of(best.architecture) != "tf"
    assert load_backbone(Model(name="detector"), on_gpu=False, seed=0).family == "detector"
    assert load_backbone(Model(architecture="test_vit"), on_gpu=False, seed=0).pretrained["source"] == "random"


def test_families_are_named_after_their_architecture() -> None:
    names = {"vit_tiny_patch16_224.augreg_in21k": "vit", "mobilenetv2_100": "mobilenetv2", "test_vit": "vit"}
    assert {name: family_of(name) for name in names} == names


def test_a_hub_that_never_answers_costs_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not hub_answers()  # at once: HF_HUB_OFFLINE
        monkeypatch.delenv("HF_HUB_OFFLINE")
        started = time.monotonic()
        assert not hub_answers()
        assert time.monotonic() - started < 30  # a bound, not a measurement: it must not hang


def test_adapters_change_nothing_until_trained_and_leave_a_plain_network() -> None:
    model = timm.create_model("test_vit", pretrained=False, num_classes=1, img_size=64).eval()
    names = list(model.state_dict())
    batch = torch.randn(2, 3, 64, 64)
    before = model(batch)
    assert add_adapters(model) > 10
    assert torch.allclose(model(batch), before)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".up"):
                parameter.add_(0.05)
    adapted = model(batch)
    assert not torch.allclose(adapted, before)
    fold_adapters(model)
    assert sorted(model.state_dict()) == sorted(names)
    assert torch.allclose(model(batch), adapted, atol=1e-5)
    plain = timm.create_model("test_vit", pretrained=False, num_classes=1, img_size=64).eval()
    plain.load_state_dict(model.state_dict(), strict=True)
    assert torch.allclose(plain(batch), adapted, atol=1e-5)


def test_features_times_head_are_the_logit() -> None:
    model = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=1).eval()
    batch = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(classifier_of(model)(features_of(model, batch)), model(batch), atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "size"), [("hiera_tiny_224", 320), ("fastvit_t8", 320), ("test_convnext", 96), ("test_vit", 96)]
)
def test_any_timm_model_works_at_a_size_or_is_refused_with_a_reason(architecture: str, size: int) -> None:
    settings = Model(architecture=architecture, pretrained=False, image_size=size)
    try:
        backbone = load_backbone(settings, on_gpu=False, seed=0)
    except OperatorError as refusal:
        assert "model.architecture" in str(refusal)
        return
    with torch.inference_mode():
        assert backbone.model(torch.zeros(2, 3, size, size)).shape == (2, 1)


def test_the_branch_stands_beside_the_backbone_and_leaves_nothing_in_the_weights() -> None:
    settings = Model(architecture="test_vit", pretrained=False, image_size=64)
    both = load_backbone(settings, on_gpu=False, seed=0)
    alone = load_backbone(settings.model_copy(update={"branch": False}), on_gpu=False, seed=0)
    assert both.architecture["branch"] == residuals.NAME
    assert "branch" not in alone.architecture
    assert digest_of(backbone_state(both.model)) == digest_of(backbone_state(alone.model))
    assert branch_width(both.model) == residuals.WIDTH
    assert set(both.model.state_dict()) == {f"backbone.{key}" for key in backbone_state(alone.model)} | {
        "head.weight",
        "head.bias",
    }
    batch = torch.randn(2, 3, 64, 64)
    features = features_of(both.model.eval(), batch)
    assert torch.allclose(classifier_of(both.model)(features), both.model(batch), atol=1e-5)
    assert torch.equal(features[:, : -residuals.WIDTH], features_of(alone.model.eval(), batch))
