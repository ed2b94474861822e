"""Where the API's keys come from, and that none of them is ever shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from daemon.serving.keys import load_keys, load_session_secret, made_key_file, reload_keys, usable_key
from utils.config_loader import Api, Config, Secrets, Storage
from utils.errors import ConfigError, OperatorError


def config_with(tmp_path: Path, *, key: str | None = None, keys_file: Path | None = None) -> Config:
    return Config(
        storage=Storage(state_path=tmp_path / "state"),
        api=Api(keys_file=keys_file),
        secrets=Secrets(trainer_api_key=SecretStr(key) if key is not None else None),
    )


def keys_file_with(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "keys.txt"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return file


def test_without_configuration_a_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    config = config_with(tmp_path)
    assert usable_key(config) is None
    with capture_logs() as logged:
        keys = load_keys(config)
    key = usable_key(config)
    assert key is not None
    assert len(key) >= 43
    assert keys.accepts(key.encode())
    file = made_key_file(config)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert load_keys(config).accepts(key.encode())
    assert str(file) in str(logged)
    assert key not in str(logged)


def test_a_configured_key_counts_alone(tmp_path: Path) -> None:
    made = config_with(tmp_path)
    load_keys(made)
    old = usable_key(made)
    assert old is not None
    config = config_with(tmp_path, key="test_api_key")
    keys = load_keys(config)
    assert keys.accepts(b"test_api_key")
    assert not keys.accepts(old.encode())
    assert usable_key(config) == "test_api_key"


def test_the_keys_file_has_one_key_a_line_and_adds_to_the_environment(tmp_path: Path) -> None:
    file = keys_file_with(tmp_path, "# of Core\n\n  first-key  \nsecond-key\r\nfirst-key\n")
    keys = load_keys(config_with(tmp_path, key="from-environment", keys_file=file))
    assert len(keys) == 3
    assert all(keys.accepts(key) for key in (b"first-key", b"second-key", b"from-environment"))
    assert not keys.accepts(b"# of Core")
    assert not made_key_file(config_with(tmp_path)).exists()


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing else\n"])
def test_a_keys_file_without_a_key_stops_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"api\.keys_file = .*keys\.txt: holds no key; write one"):
        load_keys(config_with(tmp_path, keys_file=keys_file_with(tmp_path, text)))


def test_a_keys_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"api\.keys_file = .*cannot be read"):
        load_keys(config_with(tmp_path, key="another", keys_file=tmp_path / "missing"))


@pytest.mark.parametrize("key", ["two words", "schlüssel", "tab\tkey", "x" * 513, "nul\x00"])
def test_a_key_that_clients_cannot_send_is_refused_without_being_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="printable ASCII") as refused:
        load_keys(config_with(tmp_path, key=key))
    assert key not in str(refused.value)


def test_a_keys_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_bytes(b"\xff\xfek\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_keys(config_with(tmp_path, keys_file=file))


def test_a_made_key_that_others_could_read_is_closed_again(tmp_path: Path) -> None:
    config = config_with(tmp_path)
    load_keys(config)
    made_key_file(config).chmod(0o644)
    with capture_logs() as logged:
        load_keys(config)
    assert stat.S_IMODE(made_key_file(config).stat().st_mode) == 0o600
    assert "api_key_file_was_open" in [line["event"] for line in logged]


def test_an_emptied_key_file_is_an_error_and_not_an_open_door(tmp_path: Path) -> None:
    config = config_with(tmp_path)
    load_keys(config)
    made_key_file(config).write_text("\n")
    with pytest.raises(OperatorError, match="is empty; remove it"):
        load_keys(config)


def test_a_reload_takes_keys_out_and_in(tmp_path: Path) -> None:
    file = keys_file_with(tmp_path, "first-key\nsecond-key\n")
    config = config_with(tmp_path, keys_file=file)
    keys = load_keys(config)
    keys_file_with(tmp_path, "second-key\nthird-key\n")
    assert reload_keys(config, keys) == (1, 1)
    assert [keys.accepts(key) for key in (b"first-key", b"second-key", b"third-key")] == [False, True, True]
    assert reload_keys(config, keys) == (0, 0)


def test_a_file_whose_last_key_was_taken_out_lets_nobody_in(tmp_path: Path) -> None:
    file = keys_file_with(tmp_path, "only-key\n")
    keys = load_keys(config_with(tmp_path, keys_file=file, key="from-the-environment"))
    keys_file_with(tmp_path, "# none\n")
    assert reload_keys(config_with(tmp_path, keys_file=file, key="from-the-environment"), keys) == (0, 1)
    assert not keys.accepts(b"only-key")
    assert keys.accepts(b"from-the-environment")


def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    file = keys_file_with(tmp_path, "only-key\n")
    config = config_with(tmp_path, keys_file=file)
    keys = load_keys(config)
    file.unlink()
    with pytest.raises(ConfigError):
        reload_keys(config, keys)
    assert keys.accepts(b"only-key")


def test_a_made_key_is_changed_by_deleting_it(tmp_path: Path) -> None:
    config = config_with(tmp_path)
    keys = load_keys(config)
    old = usable_key(config)
    assert old is not None
    made_key_file(config).unlink()
    assert reload_keys(config, keys) == (1, 1)
    assert not keys.accepts(old.encode())


def test_the_session_secret_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    config = config_with(tmp_path)
    secret = load_session_secret(config)
    assert len(secret) >= 43
    assert load_session_secret(config) == secret
    file = made_key_file(config).with_name("session_secret")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
