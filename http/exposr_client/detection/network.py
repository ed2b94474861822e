"""The network of a version, built from its card: a timm model alone, or with the low-level branch beside it.

Trainer and client build it by this one function, so there is one definition of what is published. Both kinds answer to
`forward_features`, `forward_head(…, pre_logits=True)` and `get_classifier`, as timm's models do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from exposr_client.detection import residuals


class TwoBranchNetwork(nn.Module):
    """One linear layer over what the backbone makes of a view and what its residuals count."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """`backbone` gives [n, num_features] (it has no classifier); `mean` and `std` are those of its input."""
        super().__init__()
        self.backbone = backbone
        self.residuals = residuals.Residuals()
        width = int(backbone.head_hidden_size)  # type: ignore[arg-type]
        self.head = nn.Linear(width + residuals.WIDTH, 1)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward_features(self, batch: Tensor) -> Tensor:
        """[n, d]: the backbone's features, then the residuals' statistics, both before the linear layer."""
        with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
            counted = self.residuals((batch.float() * self.std + self.mean) * 255)
        seen: Tensor = self.backbone(batch)
        return torch.cat([seen.float(), counted], 1)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        if pre_logits:
            return features
        logits: Tensor = self.head(features)
        return logits

    def forward(self, batch: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(batch))

    def get_classifier(self) -> nn.Linear:
        return self.head


def build_network(
    name: str, arguments: Mapping[str, Any], branch: str | None, mean: Sequence[float], std: Sequence[float]
) -> nn.Module:
    """One logit, random weights. `branch`: None or `residuals.NAME`. Raises what timm raises, else ValueError."""
    if branch is None:
        plain: nn.Module = timm.create_model(name, pretrained=False, **arguments)
        return plain
    if branch != residuals.NAME:
        raise ValueError(f"architecture.branch is {branch!r}, this code knows {residuals.NAME!r}")
    backbone = timm.create_model(name, pretrained=False, **{**arguments, "num_classes": 0})
    return TwoBranchNetwork(backbone, mean, std)
