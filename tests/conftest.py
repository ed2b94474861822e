"""Fixtures that the tests of several folders share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from fake_clock import FakeClock
from utils.config_loader import Config, load_config

# modules that take some seconds, in many small tests: `scripts/test --quick` leaves them out like slow tests
HEAVY = {
    *("test_console_browser", "test_console_pages", "test_publish", "test_registry", "test_job", "test_gate"),
    *("test_scrape_run", "test_scrape_faults", "test_scrape_job", "test_scrape_command", "test_dataset"),
    *("test_crash_anywhere", "test_export", "test_lifecycle", "test_counting", "test_odd_paths", "test_check_pool"),
    *("test_reference_core", "test_dataset_readers", "test_follow", "test_audit", "test_import_command"),
    *("test_backbone_choice", "test_pairs"),
}
LAB = "lab"  # one machine under systemd for all tests that need one


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest begin first."""
    for item in items:
        if item.path.stem in HEAVY:
            item.add_marker(pytest.mark.slow)
    groups = {item: group_of(item.nodeid) for item in items}
    slow = {groups[item] for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (groups[item] != LAB, groups[item] not in slow))


def group_of(nodeid: str) -> str:
    """A module's tests stay in one process, so that they share what is costly."""
    module = nodeid.split("::")[0]
    return LAB if module.endswith("_in_lab.py") else module


class ByModule(LoadScopeScheduling):
    """pytest-xdist's own groups have no effect with pytest 9.2, which ignores the changed names that they go by."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByModule:
    return ByModule(config, log)


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The defaults, with every folder inside the test's own."""
    return load_config(
        environ={
            "EXPOSR_STORAGE__LOCAL_PATH": str(tmp_path / "datasets"),
            "EXPOSR_STORAGE__MODELS_PATH": str(tmp_path / "models"),
            "EXPOSR_STORAGE__STATE_PATH": str(tmp_path / "state"),
            "EXPOSR_STORAGE__MIN_FREE_GB": "0",
            "EXPOSR_API__PORT": "0",
        }
    )
