from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "utils": ROOT / "utils",
    "scrapers": ROOT / "scrapers",
    "handlers": ROOT / "handlers",
    "trainer": ROOT / "trainer",
    "daemon": ROOT / "daemon",
    "exposr_api": ROOT / "http/exposr_api",
    "exposr_client": ROOT / "http/exposr_client",
}
MAY_IMPORT = {
    "utils": set[str](),
    "scrapers": {"utils"},
    "handlers": {"utils"},
    "trainer": {"utils", "exposr_client"},  # one definition of the network, for both
    "exposr_api": {"utils"},
    "exposr_client": set[str](),
    "daemon": {"utils", "scrapers", "handlers", "trainer", "exposr_api"},
}
# From the lowest to the highest: a room imports from itself and from those before it. What is not named stands above.
ROOMS = {
    "utils": ("errors", "files", "logs", "process", "config", "config_loader", "images"),
    "scrapers": ("errors", "candidate", "store", "http", "limits", "sources", "outcomes", "exchange"),
    "handlers": ("paths", "file_signature", "labels", "index", "watch"),
    "trainer": (
        *("interrupts", "quick_import", "distributed", "data", "split", "stats", "models", "shards"),
        *("context", "audit", "evaluation", "benchmarks", "gate", "fitting", "publishing"),
    ),
    "daemon": (
        *("state", "monitoring", "scheduling", "serving", "runs", "backup"),
        *("application", "exposition", "api_service", "remote", "supervisor", "demo", "export", "cli"),
    ),
    "exposr_api": ("answers", "description", "transport"),
    "exposr_client": ("errors", "trust", "downloads", "following", "detection"),
}
TOO_HEAVY_FOR_THE_DAEMON = {
    "torch",
    "torchvision",
    "timm",
    "sklearn",
    "scipy",
    "numpy",
    "PIL",
    "matplotlib",
    "accelerate",
}


def test_http_is_a_folder_of_packages_and_no_package() -> None:
    assert not (ROOT / "http/__init__.py").exists(), "it would shadow the standard library's http"
    code = "import http.client, http.server, urllib.request; print(http.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(ROOT) not in found.stdout


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_imports_point_one_way(package: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in PACKAGES[package].rglob("*.py")
        for name in imported_packages(file)
        if name in PACKAGES and name != package and name not in MAY_IMPORT[package]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "module", ["daemon.supervisor", "daemon.cli.main", "trainer.model_sync", "trainer.publishing.registry"]
)
def test_what_the_daemon_runs_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) & TOO_HEAVY_FOR_THE_DAEMON == set()


def test_the_guides_imports_bring_no_web_stack() -> None:
    code = "import sys, trainer.model_sync, utils.config_loader; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) & {"torch", "starlette", "uvicorn", "httpx"} == set()


def imports_within(package: str) -> dict[str, set[str]]:
    """Each module of the package, and the modules of the same package that it imports, also for types alone."""
    folder = PACKAGES[package]
    files = {name_of(package, file): file for file in folder.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for module, file in files.items():
        names = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {name if name in files else node.module for name in inside}
        found[module] = (names & files.keys()) - {module, package}
    return found


def name_of(package: str, file: Path) -> str:
    parts = file.relative_to(PACKAGES[package]).with_suffix("").parts
    return ".".join((package, *(part for part in parts if part != "__init__")))


def imported_packages(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
