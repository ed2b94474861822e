"""The API keys: from the environment, from `api.keys_file`, else one made at the first start.

A made key lies in `<state>/keys/api_key` (0600). The log says where keys come from, never what they are.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from exposr_api.auth import Keys
from utils.config_loader import Config
from utils.errors import ConfigError, OperatorError
from utils.files import write_atomically
from utils.logs import get_logger

log = get_logger(__name__)

KEYS_FOLDER = "keys"
API_KEY_FILE = "api_key"
SESSION_SECRET_FILE = "session_secret"  # noqa: S105 - a file name
KEY_BYTES = 32  # of randomness in a made key
MAX_KEYS_FILE_BYTES = 1 << 20
MAX_KEY_LENGTH = 512


class NoKeyError(ConfigError):
    """`api.keys_file` can be read and holds no key."""


def load_keys(config: Config) -> Keys:
    """The accepted keys; makes one when none is configured. Raises OperatorError that says what to do."""
    return Keys(_accepted_keys(config), load_session_secret(config))


def reload_keys(config: Config, keys: Keys) -> tuple[int, int]:
    """Accept what is configured now: how many keys are new, and how many are gone.

    A file whose last key was taken out lets nobody in with it. One that cannot be read raises ConfigError.
    """
    try:
        return keys.replace(_accepted_keys(config))
    except NoKeyError as error:
        log.error("api_keys_file_empty", reason=str(error))
        return keys.replace(_environment_key(config))


def load_session_secret(config: Config) -> bytes:
    """What signs the sessions of the console; made at the first start, so that they outlive a restart."""
    file = config.storage.state_path / KEYS_FOLDER / SESSION_SECRET_FILE
    text = _read_made_key(file) or _make_key(file, "session_secret_made")
    return text.encode()


def _accepted_keys(config: Config) -> list[str]:
    configured = configured_keys(config)
    if configured:
        log.info("api_keys", count=len(configured), made=False)
        return configured
    file = made_key_file(config)
    key = _read_made_key(file) or _make_key(file)
    log.info("api_keys", count=1, made=True, file=str(file))
    return [key]


def usable_key(config: Config) -> str | None:
    """A key with which a command on this machine may call the running service; None before its first start."""
    configured = configured_keys(config)
    return configured[0] if configured else _read_made_key(made_key_file(config))


def configured_keys(config: Config) -> list[str]:
    """The keys from the environment and from `api.keys_file`, without repetition."""
    keys = _environment_key(config)
    if config.api.keys_file is not None:
        keys.extend(_read_keys_file(config.api.keys_file))
    return list(dict.fromkeys(keys))


def _environment_key(config: Config) -> list[str]:
    key = config.secrets.trainer_api_key
    return [] if key is None else [_checked(key.get_secret_value(), "TRAINER_API_KEY")]


def made_key_file(config: Config) -> Path:
    return config.storage.state_path / KEYS_FOLDER / API_KEY_FILE


def private_folder(folder: Path) -> Path:
    """`folder`, made when missing, closed to everybody else."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def _read_keys_file(file: Path) -> list[str]:
    where = f"api.keys_file = {file}"
    try:
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & stat.S_IROTH:
                log.warning("api_keys_file_readable_by_all", file=str(file), advice=f"chmod 600 {file}")
            text = stream.read(MAX_KEYS_FILE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: cannot be read: {error}; it holds one key a line") from error
    lines = [line.strip() for line in text.splitlines()]
    keys = [_checked(line, where) for line in lines if line and not line.startswith("#")]
    if not keys:
        raise NoKeyError(f"{where}: holds no key; write one key a line, or leave api.keys_file out to have one made")
    return keys


def _checked(key: str, where: str) -> str:
    """Only what every HTTP client can send in a header."""
    if not (key.isascii() and key.isprintable() and " " not in key and len(key) <= MAX_KEY_LENGTH):
        raise ConfigError(f"{where}: a key is up to {MAX_KEY_LENGTH} printable ASCII characters without spaces")
    return key


def _read_made_key(file: Path) -> str | None:
    try:
        key = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{file}: cannot be read: {error}; remove it to have a new key made") from error
    if not key:
        raise OperatorError(f"{file}: is empty; remove it to have a new key made")
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        file.chmod(0o600)
        log.warning("api_key_file_was_open", file=str(file), advice="others could read this key; make a new one")
    return key


def _make_key(file: Path, event: str = "api_key_made") -> str:
    key = secrets.token_urlsafe(KEY_BYTES)
    private_folder(file.parent)
    try:
        write_atomically(file, f"{key}\n".encode(), mode=0o600)
    except OSError as error:
        raise OperatorError(f"{file}: cannot be written: {error.strerror}; check storage.state_path") from error
    log.info(event, file=str(file))
    return key
