from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "bench").glob("*.md"),
    *ROOT.glob("examples/*/*.md"),
]
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")

PLACE = re.compile(r"`([\w/]+\.py):([\w.]+)`")  # `folder/module.py:Class.function`


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_names_the_two_commands_and_both_can_be_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("scripts/demo", "scripts/test"):
        assert command in readme
        assert os.access(ROOT / command, os.X_OK)
    assert len(readme.splitlines()) < 80


def test_every_page_is_reachable_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (ROOT / "docs").glob("*.md")]
    linked = {link.rpartition("/")[2] for page in PAGES for link in LINK.findall(page.read_text(encoding="utf-8"))}
    assert [page for page in pages if page not in linked] == []
    assert "docs/operations.md" in readme


def test_the_functions_that_the_architecture_names_exist() -> None:
    places = PLACE.findall((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert len(places) > 40
    assert [f"{file}:{name}" for file, name in places if name not in defined_in(ROOT / file)] == []


def defined_in(file: Path) -> set[str]:
    """The classes and functions of a module, methods as Class.method; none where there is no such module."""
    if not file.is_file():
        return set()
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    outer = [node for node in tree.body if isinstance(node, kinds)]
    inner = {f"{node.name}.{child.name}" for node in outer for child in node.body if isinstance(child, kinds)}
    return {node.name for node in outer} | inner
