"""A tiny autoencoder of the known form, in torch's own modules."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

CHANNELS, LATENTS = 8, 4


class Block(nn.Module):
    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width_in, width_out, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width_out, width_out, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width_out, width_out, 3, padding=1),
        )
        self.skip = nn.Conv2d(width_in, width_out, 1, bias=False) if width_in != width_out else nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(values) + self.skip(values))


class SoftClamp(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.tanh(values / 3) * 3


def tiny(folder: Path) -> tuple[nn.Module, nn.Module]:
    """A tiny autoencoder of the known form with one halving, in torch's own modules, and its files."""
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 3, padding=1),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, stride=2, bias=False),
        Block(CHANNELS, LATENTS),
    )
    decoder = nn.Sequential(
        SoftClamp(),
        nn.Conv2d(LATENTS, CHANNELS, 3, padding=1),
        nn.ReLU(),
        Block(CHANNELS, CHANNELS),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
        nn.Conv2d(CHANNELS, 3, 3, padding=1),
    )
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(encoder.state_dict(), folder / "tae_encoder.pth")
    torch.save(decoder.state_dict(), folder / "tae_decoder.pth")
    return encoder.eval(), decoder.eval()
