"""Draws the raw results of `bench/growth.py` as plots of growth, with logarithmic axes.

python -P bench/plots.py RESULTS.json ... [--out docs/images]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 45
COLORS = ("#0b63c4", "#c2410c", "#15803d", "#7e22ce")
PLOTS: dict[str, tuple[str, str, dict[str, str]]] = {  # file: title, unit, what is shown of each size
    "growth-drop": (
        "One dropped picture until it counts",
        "seconds",
        {"flat_p99_s": "flat folder, p99", "deep_p99_s": "deep tree, p99", "flat_median_s": "flat folder, median"},
    ),
    "growth-restart": (
        "Restart",
        "seconds",
        {"compared_s": "first comparison ends", "find_after_s": "find -printf", "answers_s": "counts answered"},
    ),
    "growth-space": (
        "Memory of the service",
        "MB",
        {"peak_memory_mb": "at the peak", "memory_mb": "after the deletion"},
    ),
    "growth-disk": ("State on disk", "bytes a picture", {"state_bytes_per_picture": "state"}),
}

Series = Mapping[str, Sequence[tuple[float, float]]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("results", type=Path, nargs="+")
    options.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs/images")
    given = options.parse_args()
    sizes = [size for file in given.results for size in json.loads(file.read_text(encoding="utf-8"))]
    sizes.sort(key=lambda size: size["pictures"])
    for name, (title, unit, shown) in PLOTS.items():
        series = {label: [(size["pictures"], size[key]) for size in sizes] for key, label in shown.items()}
        (given.out / f"{name}.svg").write_text(draw_plot(title, unit, series), encoding="utf-8")


def draw_plot(title: str, unit: str, series: Series) -> str:
    """An SVG of lines over the number of pictures; both axes logarithmic, in whole decades."""
    points = [point for line in series.values() for point in line]
    low_x, high_x = decades([x for x, _ in points])
    low_y, high_y = decades([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / (high_x - low_x)
        up = (math.log10(y) - low_y) / (high_y - low_y)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)} ({escape(unit)})</text>',
    ]
    for power in range(low_x, high_x + 1):
        x, bottom = place(10**power, 10**low_y)
        parts.append(f'<line x1="{x:.0f}" y1="{TOP}" x2="{x:.0f}" y2="{bottom:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.0f}" y="{bottom + 18:.0f}" text-anchor="middle">{10**power:,}</text>')
    for power in range(low_y, high_y + 1):
        x, y = place(10**low_x, 10**power)
        parts.append(f'<line x1="{x:.0f}" y1="{y:.0f}" x2="{WIDTH - RIGHT}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 8:.0f}" y="{y + 4:.0f}" text-anchor="end">{10.0**power:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">pictures</text>')
    label_y = -math.inf
    for color, (label, line) in zip(COLORS, sorted(series.items(), key=lambda one: -one[1][-1][1]), strict=False):
        placed = [place(x, y) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in placed]
        label_y = max(placed[-1][1] + 4, label_y + 15)
        text = f"{escape(label)}: {line[-1][1]:.3g}"
        parts.append(f'<text x="{placed[-1][0] + 10:.0f}" y="{label_y:.0f}" fill="{color}">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])


def decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten below and above."""
    low = math.floor(math.log10(min(values)))
    return low, max(low + 1, math.ceil(math.log10(max(values))))


if __name__ == "__main__":
    main()
