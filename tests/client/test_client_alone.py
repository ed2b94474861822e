"""The client installs alone, imports nothing heavy, exports what it promises, and names what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import exposr_client

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torchvision", "timm", "PIL", "numpy", "pydantic", "starlette", "cryptography")


def python(code: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(path)} if path else {}
    return subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_it_installs_alone_with_its_type_marker(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT / "http/exposr_client", source, ignore=ignored)
    site = tmp_path / "site"
    install = [
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--target",
        str(site),
        str(source),
    ]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, timeout=60)
    installed = {file.name for file in (site / "exposr_client").glob("*.*")}
    assert installed == {file.name for file in (ROOT / "http/exposr_client").glob("*.py")} | {"py.typed"}
    found = python("import exposr_client; print(exposr_client.__file__)", site)
    assert found.stdout.strip() == str(site / "exposr_client" / "__init__.py"), found.stderr


def test_it_imports_httpx_and_nothing_heavy() -> None:
    code = f"import sys, exposr_client; print([name for name in {HEAVY} if name in sys.modules])"
    found = python(code)
    assert found.stdout.strip() == "[]", found.stderr


@pytest.mark.parametrize("missing", ["timm", "torch", "PIL", "numpy"])
def test_a_missing_library_is_named_with_the_command(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from exposr_client import Detector, MissingLibraryError\n"
        "try:\n    Detector()\nexcept MissingLibraryError as error:\n    print(error)\n"
    )
    found = python(code)
    assert missing in found.stdout, found.stderr
    assert "pip install torch timm pillow numpy" in found.stdout


def test_every_exported_name_exists_and_every_error_is_exported() -> None:
    from exposr_client import errors

    assert exposr_client.__all__ == sorted(exposr_client.__all__)
    for name in exposr_client.__all__:
        assert getattr(exposr_client, name)
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes <= set(exposr_client.__all__)
    drawn = errors.__doc__ or ""
    assert all(name in drawn for name in classes)
