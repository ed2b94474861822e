"""The network of a training: a timm model by name with one logit, its weights checked key by key, and its serving view.

architecture given            weights from the checkpoint, else the offline package that has them, else the hub
none, checkpoint is a folder  the folder's own architecture
none                          the default ViT where weights can be had, else the best of the offline packages
no weights anywhere           random weights, and it is said so

Beside it, unless `model.branch` says otherwise, the low-level branch of `exposr_client.detection.residuals`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from exposr_client.detection import residuals
from exposr_client.detection.network import TwoBranchNetwork
from trainer.data.preprocessing import Preprocessing
from trainer.models.pretrained import (
    Hub,
    StateDict,
    Weights,
    WeightsMissingError,
    digest_of,
    read_local_folder,
    weights_of,
    weights_of_file,
)
from trainer.models.shortlist import DEFAULT_ON_CPU, DEFAULT_ON_GPU, OFFLINE, Listed, listed_as
from utils.config.training import Model as ModelSettings
from utils.errors import OperatorError, StopRunError
from utils.logs import get_logger

log = get_logger(__name__)

ANY_SIZE = 256  # input of networks that take any size: native crops keep the traces that shrinking destroys
SHRINK_TO = 1.5  # short_side_max by default, in input sizes


@dataclass(frozen=True, slots=True)
class Backbone:
    """`model` has one logit from a fresh head; `architecture` and `pretrained` are the card's.

    `name` is that of the shortlist, or timm's.
    """

    name: str
    family: str
    model: nn.Module
    architecture: dict[str, Any]
    pretrained: dict[str, Any]
    preprocessing: Preprocessing

    @property
    def is_pretrained(self) -> bool:
        return bool(self.pretrained["source"] != "random")


@dataclass(frozen=True, slots=True)
class _Source:
    """What a network is built from: `view` is timm's configuration of its view; without weights they are random."""

    name: str
    arguments: dict[str, Any]
    view: Mapping[str, Any]
    weights: Weights | None
    size: int | None = None


def load_backbone(settings: ModelSettings, *, on_gpu: bool, seed: int) -> Backbone:
    """Raises OperatorError when the configured architecture or checkpoint cannot be used."""
    return _built(_choose(settings, on_gpu), settings, seed)


def load_listed(listed: Listed, settings: ModelSettings, hub: Hub, *, seed: int) -> Backbone:
    """Raises WeightsMissingError, or OperatorError when it cannot be used with `settings`."""
    return _built(_source_of(listed, hub), settings, seed)


def _built(source: _Source, settings: ModelSettings, seed: int) -> Backbone:
    name, view, arguments = source.name, source.view, source.arguments
    size = settings.image_size or source.size or _default_size(view)
    if _has_fixed_size(view) and size != int(view["input_size"][-1]):
        arguments = {**arguments, "img_size": size}
    arguments = {**arguments, "num_classes": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _create(name.split(".")[0], arguments, size)
        pretrained = _fill(model, name, source.weights) if source.weights else _random_note(settings)
        pretrained["sha256"] = digest_of(backbone_state(model))
        preprocessing = Preprocessing(
            size=size,
            short_side_max=max(size, settings.short_side_max or round(SHRINK_TO * size)),
            mean=_three(view.get("mean", (0.5,) * 3)),
            std=_three(view.get("std", (0.5,) * 3)),
        )
        architecture: dict[str, Any] = {"library": "timm", "name": name.split(".")[0], "kwargs": arguments}
        if settings.branch and size >= residuals.LEAST_SIZE:
            model.reset_classifier(0)  # type: ignore[operator]
            model = TwoBranchNetwork(model, preprocessing.mean, preprocessing.std)
            architecture["branch"] = residuals.NAME
    log.info("backbone_loaded", architecture=name, source=pretrained["source"], keys=pretrained["matched_keys"])
    return Backbone(
        name=name,
        family=settings.name or family_of(name),
        model=model.eval(),
        architecture=architecture,
        pretrained=pretrained,
        preprocessing=preprocessing,
    )


def family_of(architecture: str) -> str:
    """The name under which versions are published: vit, mobilenetv2, convnext, …"""
    base = architecture.split(".")[0].removeprefix("test_").removeprefix("tf_")
    return re.sub(r"[^a-z0-9]", "", base.split("_")[0].lower()) or "model"


def classifier_of(model: nn.Module) -> nn.Linear:
    """The final layer, whose one output is the logit."""
    head = model.get_classifier()  # type: ignore[operator]
    if not isinstance(head, nn.Linear) or head.out_features != 1:
        raise OperatorError(f"model.architecture: its classifier is {head}, a linear layer with one output is needed")
    return head


def features_of(model: nn.Module, batch: Tensor) -> Tensor:
    """What the final linear layer gets, [n, d]."""
    features: Tensor = model.forward_head(model.forward_features(batch), pre_logits=True)  # type: ignore[operator]
    return features


def branch_width(model: nn.Module) -> int:
    """How many of the features, the last ones, are the low-level branch's."""
    return residuals.WIDTH if isinstance(model, TwoBranchNetwork) else 0


def is_transformer(model: nn.Module) -> bool:
    return hasattr(model.backbone if isinstance(model, TwoBranchNetwork) else model, "patch_embed")


def backbone_state(model: nn.Module) -> StateDict:
    """The state dict without the final layer, under timm's own names."""
    if isinstance(model, TwoBranchNetwork):
        return dict(model.backbone.state_dict())
    head = {f"{name}." for name in _head_names(model)}
    return {key: value for key, value in model.state_dict().items() if not key.startswith(tuple(head))}


def _choose(settings: ModelSettings, on_gpu: bool) -> _Source:
    checkpoint = settings.checkpoint
    if checkpoint is not None and checkpoint.is_dir():
        folder = read_local_folder(checkpoint)
        if settings.architecture and settings.architecture.split(".")[0] != folder.architecture:
            raise OperatorError(
                f"model.architecture is {settings.architecture}, but {checkpoint} holds {folder.architecture}"
            )
        view = {**_view_of(folder.architecture), **folder.view}
        return _Source(folder.architecture, dict(folder.arguments), view, weights_of_file(folder.weights))
    usual = DEFAULT_ON_GPU if on_gpu else DEFAULT_ON_CPU
    name = settings.architecture or usual.name
    if not timm.is_model(name.split(".")[0]):
        close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "see timm.list_models()"
        raise OperatorError(f"model.architecture = {name!r}: timm has no such model; {close}")
    if checkpoint is not None:
        if not checkpoint.is_file():
            raise OperatorError(f"model.checkpoint = {checkpoint}: no such file or folder")
        return _Source(name, {}, _view_of(name), weights_of_file(checkpoint))
    if settings.pretrained:
        hub = Hub()
        for listed in (listed_as(name) or _unlisted(name),) if settings.architecture else (usual, *OFFLINE):
            try:
                return _source_of(listed, hub)
            except WeightsMissingError as error:
                log.info("weights_missing", architecture=listed.name, reason=str(error))
    return _Source(name, {}, _view_of(name), None)


def _source_of(listed: Listed, hub: Hub) -> _Source:
    return _Source(listed.name, {}, _view_of(listed.name), weights_of(listed, hub), listed.size)


def _unlisted(name: str) -> Listed:
    """Any other model of timm's, with the weights that timm has for it."""
    config = _view_of(name)
    return Listed(name, str(config.get("license")), str(config.get("hf_hub_id") or ""))


@torch.inference_mode()
def _create(name: str, arguments: Mapping[str, Any], size: int) -> nn.Module:
    """The network, having answered once: what timm can make, it cannot always run at every size."""
    with torch.inference_mode(False):
        try:
            model: nn.Module = timm.create_model(name, pretrained=False, **arguments)
        except Exception as error:  # timm's models raise many kinds for arguments that they do not take
            raise OperatorError(
                f"model.architecture = {name!r} cannot be made with {dict(arguments)}: {error}"
            ) from error
        classifier_of(model)
    try:
        answer = model.eval()(torch.zeros(1, 3, size, size))
    except Exception as error:
        raise OperatorError(
            f"model.architecture = {name!r} cannot be run on {size} x {size} pixels: {error}"
        ) from error
    if answer.shape != (1, 1):
        raise OperatorError(f"model.architecture = {name!r}: it answers {tuple(answer.shape)} instead of one logit")
    return model


def _fill(model: nn.Module, name: str, weights: Weights) -> dict[str, Any]:
    """Load `weights` and say how many keys matched; raises OperatorError when a backbone key is left random.

    timm itself loads without strictness as soon as the number of classes differs, and only logs what is missing.
    """
    expected = backbone_state(model)
    state = _named_by_order(model, weights.state) if weights.by_order else _converted(model, weights.state)
    found = {key: value for key, value in state.items() if key in expected and value.shape == expected[key].shape}
    missing = sorted(expected.keys() - found.keys() - {key for key in expected if key.endswith("num_batches_tracked")})
    if missing:
        raise OperatorError(
            f"the weights of {weights.source} do not fit {name}: {len(missing)} of {len(expected)} keys are missing or"
            f" have another shape, first {missing[0]}"
        )
    model.load_state_dict(found, strict=False)
    return {"source": weights.source, "matched_keys": len(found), "backbone_keys": len(expected), "note": ""}


def _converted(model: nn.Module, state: StateDict) -> StateDict:
    """`state` through the architecture's own checkpoint filter (position embeddings, other libraries' names)."""
    prefixed = [key for key in state if key.startswith("vit.")]
    if len(prefixed) > len(state) // 2:  # Community Forensics' checkpoint
        state = {key.removeprefix("vit."): value for key, value in state.items()}
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    converted: StateDict = convert(state, model) if convert else state
    return converted


def _named_by_order(model: nn.Module, state: StateDict) -> StateDict:
    """torchvision's tensors under timm's names: the order is the same, and every shape but the head's must be."""
    ours = model.state_dict()
    if len(ours) != len(state):
        raise StopRunError(f"weights by order: {len(state)} tensors, {len(ours)} are needed")
    return dict(zip(ours, state.values(), strict=True))


def _random_note(settings: ModelSettings) -> dict[str, Any]:
    why = "as configured" if not settings.pretrained else "no weights could be had: no hub, no checkpoint, no package"
    return {"source": "random", "matched_keys": 0, "backbone_keys": 0, "note": f"random weights, {why}"}


def _view_of(name: str) -> Mapping[str, Any]:
    """timm's configuration of a model's view, with what the shortlist says otherwise."""
    listed = listed_as(name)
    # the shortlist has tags that timm does not know
    known = name if listed is None or timm.is_model_pretrained(name) else listed.architecture
    try:
        config: Mapping[str, Any] = timm.get_pretrained_cfg(known, allow_unregistered=True).to_dict()
    except RuntimeError as error:
        raise OperatorError(f"model.architecture = {name!r}: {error}") from error
    return listed.view(config) if listed else config


def _head_names(model: nn.Module) -> set[str]:
    head = classifier_of(model)
    return {name for name, module in model.named_modules() if module is head}


def _default_size(view: Mapping[str, Any]) -> int:
    size = int(view.get("input_size", (3, 224, 224))[-1])
    return size if _has_fixed_size(view) else max(size, ANY_SIZE)


def _has_fixed_size(view: Mapping[str, Any]) -> bool:
    """timm says of each architecture whether it takes one input size; another one is then an argument, `img_size`."""
    return bool(view.get("fixed_input_size"))


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
