from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.config.example import render_example
from utils.config_loader import Config, config_from_job, load_config
from utils.errors import ConfigError

ROOT = Path(__file__).parents[2]


def write(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_the_documented_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(environ={})
    assert config.api.port == 8001
    assert config.storage.models_path == tmp_path / "models"
    assert (config.triggers.growth_images, config.triggers.min_per_class) == (500, 25)
    assert not any(config.sources[name].enabled for name in config.sources.keys())  # noqa: SIM118


def test_it_can_be_indexed_as_the_integration_guide_does(config: Config) -> None:
    assert config["storage"]["models_path"] == config.storage.models_path
    assert os.path.join(config["storage"]["models_path"], "registry.json")  # noqa: PTH118
    assert config["api"].get("nothing") is None
    with pytest.raises(KeyError):
        config["nothing"]


def test_the_environment_stands_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[api]\nport = 9000\nhost = "0.0.0.0"\n[sources.pexels]\nqueries = ["tram"]\n')
    config = load_config(file, environ={"EXPOSR_API__PORT": "9001", "EXPOSR_SOURCES__PEXELS__ENABLED": "true"})
    assert (config.api.port, config.api.host) == (9001, "0.0.0.0")
    assert config.sources.pexels.enabled
    assert config.sources.pexels.queries == ("tram",)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[api]\nprt = 1\n", ("api.prt", "did you mean port")),
        ("[api]\nport = 70000\n", ("api.port", "70000", "65535")),
        ("[sorage]\nx = 1\n", ("sorage", "did you mean storage")),
        ("api = 3\n", ("api",)),
        ("[core]\nendpoint = 'ftp://x'\n", ("core.endpoint", "http://")),
        ("[gate]\nenabled = 'perhaps'\n", ("gate.enabled", "perhaps")),
        ("not toml", ("is not TOML",)),
    ],
)
def test_a_wrong_file_is_refused_with_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, named: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_config(write(tmp_path, text), environ={})
    for part in named:
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("EXPOSR_API__PORT", "abc", "api.port = 'abc'"),
        ("EXPOSR_API__PRT", "1", "did you mean port"),
        ("EXPOSR_NOTHING__PORT", "1", "no section 'nothing'"),
        ("EXPOSR_SOURCES__PEXELS__QUERIES", "a,b", "JSON"),
    ],
)
def test_a_wrong_variable_is_refused(variable: str, value: str, named: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_config(environ={variable: value})
    assert named in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "nothing.toml")


def test_a_key_in_the_file_is_refused_without_being_repeated(tmp_path: Path) -> None:
    file = write(tmp_path, '[sources.pexels]\napi_key = "hush-hush"\n')
    with pytest.raises(ConfigError) as refusal:
        load_config(file, environ={})
    assert "hush-hush" not in str(refusal.value)
    assert "PEXELS_API_KEY" in str(refusal.value)


def test_secrets_come_from_the_environment_and_show_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(environ={"PEXELS_API_KEY": "hush-hush", "TRAINER_API_KEY": "hush-hush"})
    assert config.secrets.pexels_api_key is not None
    assert config.secrets.pexels_api_key.get_secret_value() == "hush-hush"
    logging.getLogger("test").warning("%s %r", config, config)
    assert "hush-hush" not in f"{config} {config!r} {config.secrets!r} {config.model_dump()} {caplog.text}"


def test_systemd_credentials_stand_over_the_environment(tmp_path: Path) -> None:
    (tmp_path / "pexels-api-key").write_text("from-systemd\n")
    config = load_config(environ={"CREDENTIALS_DIRECTORY": str(tmp_path), "PEXELS_API_KEY": "from-environment"})
    assert config.secrets.pexels_api_key is not None
    assert config.secrets.pexels_api_key.get_secret_value() == "from-systemd"


def test_a_job_gets_the_same_settings_and_no_secret(config: Config) -> None:
    dumped = config.model_dump(mode="json")
    assert "secrets" not in dumped
    assert config_from_job(dumped).storage == config.storage


def test_the_example_file_is_complete_and_current() -> None:
    assert (ROOT / "config.example.toml").read_text(encoding="utf-8") == render_example(), (
        "write it anew: exposr-trainer example-config > config.example.toml"
    )


def test_the_example_file_gives_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(ROOT / "config.example.toml", environ={}) == load_config(environ={})


def test_every_setting_is_explained() -> None:
    lines = render_example().splitlines()
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith("# ") and number:
            assert lines[number - 1].startswith("#"), f"no explanation above: {line}"


@given(st.text(), st.text())
def test_no_variable_makes_anything_but_a_configuration_or_a_config_error(name: str, value: str) -> None:
    try:
        load_config(environ={f"EXPOSR_{name}__X": value, "EXPOSR_API__PORT": value})
    except ConfigError:
        return
