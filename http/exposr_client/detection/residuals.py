"""The low-level branch: statistics of what fixed high-pass filters leave of a picture, where generators leave traces.

Nothing here is learnt. Per scale (the view, halved, quartered): soft histograms of high-pass residuals (SRM, Fridrich
and Kodovsky 2012) of brightness and colour, how residuals repeat over a few pixels (the neighbouring-pixel relations of
NPR, Tan et al. 2024) and between the colour channels, how evenly their energy lies; of the view itself, its period of
eight pixels, its spectrum by frequency and direction (Durall et al. 2020), and residuals in its plainest and in its
busiest cells (the contrast of textures of PatchCraft, Zhong et al. 2023). Every column is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pad

NAME = "residuals-2"  # another set of statistics is another name
LEAST_SIZE = 64  # pixels a side, below which the coarsest scale has too little to count
SCALES = 3
TILE = 64  # side of the tiles of the spectrum
RINGS, SECTORS = 20, 6
FREQUENCIES = (0.02, 0.5)  # cycles a pixel
PERIOD = 8  # pixels: JPEG's blocks, latent cells
CELL = 16  # side of the cells over which residual energy is compared, at the view's own scale
TEXTURE_CELL = 16  # side of the cells that are ordered by how much neighbours differ
TEXTURE_SHARE = 3  # the plainest third of them, and the busiest
LEVELS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # centres of the histograms' bins, in grey levels of 0..255
NEAR_LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))  # within a cell
LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 2), (0, 3), (3, 0), (0, 4), (4, 0))
THREE = (
    ((0, 0, 0), (0, -1, 1), (0, 0, 0)),
    ((0, 0, 0), (0, -1, 0), (0, 1, 0)),
    ((0, 0, 0), (0.5, -1, 0.5), (0, 0, 0)),
    ((0, 0.5, 0), (0, -1, 0), (0, 0.5, 0)),
    ((0, 0, 0), (0, -1, 0), (0, 0, 1)),
    ((-0.25, 0.5, -0.25), (0.5, -1, 0.5), (-0.25, 0.5, -0.25)),
)
FIVE = ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1))
SHAPES, REPEATS, COLOURS, SQUARE = [0, 1, 5, 6], [2, 3, 5, 6], [0, 1, 5], [5]  # which filters serve which statistic


class Residuals(nn.Module):
    """[n, 3, H, W] of sRGB values 0..255 (H and W at least LEAST_SIZE) to [n, WIDTH]. No state dict has it."""

    filters: Tensor
    levels: Tensor
    window: Tensor
    rings: Tensor

    def __init__(self) -> None:
        super().__init__()
        five = torch.tensor(FIVE, dtype=torch.float32)[None] / 12
        filters = torch.cat([pad(torch.tensor(THREE, dtype=torch.float32), (1, 1, 1, 1)), five])[:, None]
        hann = torch.hann_window(TILE)
        constants = {
            "filters": filters,
            "levels": torch.log1p(torch.tensor(LEVELS)),
            "window": hann[:, None] * hann,
            "rings": _rings(),
        }
        for name, tensor in constants.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        red, green, blue = pixels.float().unbind(1)
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        planes = torch.stack([grey, 0.564 * (blue - grey), 0.713 * (red - grey), red, green, blue], 1)
        columns = [self._period(grey), self._spectrum(grey), self._textures(grey)]
        for scale in range(SCALES):
            columns += self._scale(planes, CELL >> scale)
            planes = avg_pool2d(planes, 2)
        return torch.cat(columns, 1)

    def _scale(self, planes: Tensor, cell: int) -> list[Tensor]:
        residuals = conv2d(planes[:, :1], self.filters)
        energy = residuals.square().mean((2, 3))
        shapes = residuals[:, SHAPES] / (energy[:, SHAPES].sqrt()[..., None, None] + 0.1) * 6
        colours = conv2d(planes[:, 1:3].flatten(0, 1)[:, None], self.filters[COLOURS])
        cells = avg_pool2d(residuals[:, 5:7].square(), cell)
        return [
            self._histograms(residuals),
            torch.log(energy + 0.01),
            self._histograms(shapes),
            _repeats(residuals[:, REPEATS], energy[:, REPEATS]),
            self._histograms(colours.reshape(len(planes), -1, *colours.shape[2:])),
            _between_channels(conv2d(planes[:, 3:].flatten(0, 1)[:, None], self.filters[SQUARE]), len(planes)),
            torch.log(cells + 0.01).flatten(2).std(-1),
        ]

    def _histograms(self, maps: Tensor) -> Tensor:
        """Of the logarithm of magnitudes, with linear shares between neighbouring bins: [n, maps * bins]."""
        values = torch.log1p(maps.abs()).flatten(2)
        capped = torch.stack([values.clamp(max=level).mean(-1) for level in self.levels.tolist()], -1)
        above = capped.diff() / self.levels.diff()  # the mean share of what is above each bin's centre
        edges = torch.cat([torch.ones_like(above[..., :1]), above, torch.zeros_like(above[..., :1])], -1)
        return (edges[..., :-1] - edges[..., 1:]).flatten(1)

    def _period(self, grey: Tensor) -> Tensor:
        """How steps between neighbours vary with their place modulo PERIOD, whatever the place of the crop."""
        strengths = []
        for steps in (grey.diff(dim=2).abs().mean(1), grey.diff(dim=1).abs().mean(2)):
            whole = steps.shape[1] // PERIOD * PERIOD
            phases = steps[:, :whole].reshape(len(steps), -1, PERIOD).mean(1)
            phases = phases / (phases.mean(1, keepdim=True) + 1e-3)
            strengths.append(torch.fft.rfft(phases).abs()[:, 1:] / PERIOD)
        return torch.log((strengths[0] + strengths[1]) / 2 + 1e-3)

    def _spectrum(self, grey: Tensor) -> Tensor:
        tiles = grey.unfold(1, TILE, TILE // 2).unfold(2, TILE, TILE // 2).flatten(1, 2)
        tiles = (tiles - tiles.mean((2, 3), keepdim=True)) * self.window
        power = torch.log(torch.fft.rfft2(tiles).abs().square() + 1).mean(1).flatten(1) @ self.rings.T
        rings = power[:, :RINGS]
        level = rings.mean(1, keepdim=True)
        return torch.cat([level, rings - level, power[:, RINGS:]], 1)

    def _textures(self, grey: Tensor) -> Tensor:
        """Residuals of the cells with the least and with the most texture."""
        height, width = (side // TEXTURE_CELL * TEXTURE_CELL for side in grey.shape[1:])
        grey = grey[:, :height, :width]
        cells = _cells(conv2d(pad(grey[:, None], (2, 2, 2, 2)), self.filters))
        order = _cells(_activity(grey)[:, None]).mean((1, 3, 4)).argsort(dim=1, stable=True)
        count = max(1, order.shape[1] // TEXTURE_SHARE)
        columns = []
        for chosen in (order[:, :count], order[:, -count:]):
            residuals = cells.take_along_dim(chosen[:, None, :, None, None], 2)
            energy = residuals.square().mean((2, 3, 4))
            columns += [
                self._histograms(residuals),
                self._histograms(residuals / (energy.sqrt()[..., None, None, None] + 0.1) * 6),
                _repeats(residuals, energy, NEAR_LAGS),
                torch.log(energy + 0.01),
            ]
        return torch.cat(columns, 1)


def _cells(maps: Tensor) -> Tensor:
    """[n, k, H, W] in cells: [n, k, cells, TEXTURE_CELL, TEXTURE_CELL]."""
    return maps.unfold(2, TEXTURE_CELL, TEXTURE_CELL).unfold(3, TEXTURE_CELL, TEXTURE_CELL).flatten(2, 3)


def _activity(grey: Tensor) -> Tensor:
    """How much each pixel differs from the next ones down and to the right; 0 beyond the edge. [n, H, W]"""
    return pad(grey.diff(dim=1).abs(), (0, 0, 0, 1)) + pad(grey.diff(dim=2).abs(), (0, 1))


def _repeats(residuals: Tensor, energy: Tensor, lags: Sequence[tuple[int, int]] = LAGS) -> Tensor:
    """Correlation of residuals [n, k, …, H, W] with themselves some pixels away; `energy` is [n, k]."""
    height, width = residuals.shape[-2:]
    products = [
        (residuals[..., : height - down, : width - right] * residuals[..., down:, right:]).flatten(2).mean(2)
        for down, right in lags
    ]
    return torch.stack([product / (energy + 1e-3) for product in products], -1).flatten(1)


def _between_channels(residuals: Tensor, count: int) -> Tensor:
    """Correlation of the residuals of red, green and blue: sensors interpolate, decoders do not."""
    rows = residuals.reshape(count, 3, -1)
    rows = rows - rows.mean(-1, keepdim=True)
    rows = rows / (rows.square().mean(-1, keepdim=True).sqrt() + 1e-2)
    return torch.stack([(rows[:, i] * rows[:, j]).mean(-1) for i, j in ((0, 1), (0, 2), (1, 2))], -1)


def _rings() -> Tensor:
    """[RINGS + SECTORS, values of a tile's half spectrum]: means over rings, then axes minus diagonals."""
    down, right = torch.fft.fftfreq(TILE)[:, None], torch.fft.rfftfreq(TILE)[None]
    radius = (down**2 + right**2).sqrt()
    angle = torch.atan2(down.abs().expand_as(radius), right.expand_as(radius))
    on_axis = (angle < math.pi / 16) | (angle > 7 * math.pi / 16)
    on_diagonal = (angle - math.pi / 4).abs() < math.pi / 16
    rows = [_mean_over(ring) for ring in _bands(radius, RINGS)]
    rows += [_mean_over(ring & on_axis) - _mean_over(ring & on_diagonal) for ring in _bands(radius, SECTORS)]
    return torch.stack(rows).flatten(1)


def _bands(radius: Tensor, count: int) -> list[Tensor]:
    low, high = FREQUENCIES
    edges = [low + i * (high - low) / count for i in range(count + 1)]
    return [(radius >= start) & (radius < end) for start, end in pairwise(edges)]


def _mean_over(cells: Tensor) -> Tensor:
    return cells.float() / cells.sum().clamp(min=1)


WIDTH = (
    PERIOD // 2
    + 1
    + RINGS
    + SECTORS
    + 2 * 7 * (2 * len(LEVELS) + len(NEAR_LAGS) + 1)
    + SCALES
    * (
        7 * len(LEVELS)
        + 7
        + len(SHAPES) * len(LEVELS)
        + len(REPEATS) * len(LAGS)
        + 2 * len(COLOURS) * len(LEVELS)
        + 3
        + 2
    )
)
