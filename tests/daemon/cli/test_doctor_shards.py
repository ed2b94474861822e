from __future__ import annotations

from pathlib import Path
from typing import Any

from daemon.cli.doctor import Finding, diagnose
from utils.config_loader import Config


def found(config: Config, **training: Any) -> list[Finding]:
    changed = config.model_copy(update={"training": config.training.model_copy(update=training)})
    return [finding for finding in diagnose(changed) if "shards" in finding.render()]


def test_the_doctor_says_how_other_machines_get_their_pictures(config: Config, tmp_path: Path) -> None:
    assert found(config) == []
    (copies,) = found(config, nodes=2)
    assert (copies.level, "training.shards" in copies.advice) == ("note", True)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/manifest.json").write_text("{}")
    (reached,) = found(config, nodes=2, shards=str(tmp_path / "shards"))
    assert (reached.level, "1 files" in reached.what) == ("ok", True)
    (absent,) = found(config, nodes=2, shards="nosuch://bucket/x")
    assert (absent.is_blocking, "pip install" in absent.what) == (True, True)
