"""LoRA (Hu et al. 2021): low-rank additions to linear layers and 1 x 1 convolutions, folded into them afterwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainer.models.backbones import classifier_of

RANK = 8  # DDA's choice; 4 to 16 differ little
SCALE = 1.0  # alpha / rank


class LowRank(nn.Module):
    """weight + SCALE * up @ down, with `up` zero at first, so that nothing changes until it is trained."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        self.down = nn.Parameter(torch.empty(RANK, columns))
        self.up = nn.Parameter(torch.zeros(rows, RANK))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + SCALE * (self.up @ self.down).view_as(weight)


def add_adapters(model: nn.Module) -> int:
    """Freeze everything but the head and the norms, add an adapter to each other such layer; returns how many."""
    head = classifier_of(model)
    adapted = 0
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in list(model.modules()):
        if module is head:
            module.requires_grad_(True)
        elif isinstance(module, nn.Linear | nn.Conv2d) and _is_dense(module):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight))
            adapted += 1
        elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            module.requires_grad_(True)
    return adapted


def _is_dense(module: nn.Linear | nn.Conv2d) -> bool:
    """A matrix over channels: every linear layer, and the 1 x 1 convolutions that are not grouped."""
    return isinstance(module, nn.Linear) or (module.kernel_size == (1, 1) and module.groups == 1)


def fold_adapters(model: nn.Module) -> None:
    """Make the weights plain again, with what was added."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
