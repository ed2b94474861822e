"""Payloads as no API sends them: one or more members of a sound page replaced, nested, removed, repeated or renamed."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    2**63,
    10**400,
    "",
    " ",
    "\x00",
    "\ud800",
    "\u202eevil\u202c",
    "a" * 100_000,
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "http://127.0.0.1:99999/x.jpg",
    "https://[::1/x.jpg",
    "https://user:pw@images.pexels.com/x",
    "javascript:alert(1)",
    "9" * 5000,
    "2026-13-45T99:99:99Z",
    "{" * 50,
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"value": {"value": []}},
    list(range(300)),
    {str(number): number for number in range(300)},
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _paths(member, (*path, index))


def _replaced(value: Any, path: tuple[Any, ...], rng: random.Random) -> Any:
    """`value` with something odd at `path`."""
    if not path:
        return copy.deepcopy(rng.choice(ODD))
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    key, how = path[-1], rng.randrange(7)
    if how == 0 and isinstance(holder, dict):
        del holder[key]
    elif how == 1:
        holder[key] = [holder[key]]
    elif how == 2:
        holder[key] = {"value": holder[key]}
    elif how == 3 and isinstance(holder, list):
        holder.extend(copy.deepcopy(holder[:3]))
    elif how == 4 and isinstance(holder[key], str):
        position = rng.randrange(len(holder[key]) + 1)
        holder[key] = holder[key][:position] + str(rng.choice(ODD)) + holder[key][position:]
    else:
        holder[key] = copy.deepcopy(rng.choice(ODD))
    return value


def mutations(payload: Any, count: int, seed: int = 0) -> Iterator[Any]:
    """`count` payloads that follow from `payload` and the seed, each with one to three faults."""
    rng = random.Random(seed)
    for _ in range(count):
        mutated = copy.deepcopy(payload)
        for _ in range(rng.choice((1, 1, 2, 3))):
            mutated = _replaced(mutated, rng.choice(list(_paths(mutated))), rng)
        yield mutated
