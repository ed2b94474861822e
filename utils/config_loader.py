"""Configuration: one TOML file, environment over it, secrets apart. A wrong key or value stops the start.

    config = load_config()                       # config.toml here or in /etc/exposr-trainer, else the defaults
    config.storage.models_path == config["storage"]["models_path"]

Any key can be set by `EXPOSR_<SECTION>__<KEY>`. Secrets come from the environment or from systemd credentials only.
This module imports neither torch nor the web stack, so that Exposr-Core can use it.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from utils.config.field import Feedback
from utils.config.notify import Notify
from utils.config.sections import Api, Core, Intake, Logging, Scheduler, Section, Storage, Triggers
from utils.config.sources import Harvest, Sources
from utils.config.training import Audit, Evaluation, Gate, Model, Training
from utils.errors import ConfigError

ENV_PREFIX = "EXPOSR_"
ENV_DELIMITER = "__"
CONFIG_VARIABLE = "EXPOSR_CONFIG"
DEFAULT_FILES = (Path("config.toml"), Path("/etc/exposr-trainer/config.toml"))
_URL_USER = re.compile(r"://[^/@\s]*@")
SECRET_WORDS = ("key", "token", "secret", "password")
SECRET_VARIABLES = {
    "trainer_api_key": ("TRAINER_API_KEY", "EXPOSR_TRAINER_API_KEY"),
    "unsplash_access_key": ("UNSPLASH_ACCESS_KEY",),
    "pexels_api_key": ("PEXELS_API_KEY",),
    "civitai_api_key": ("CIVITAI_API_KEY",),
}


class Secrets(BaseModel):
    """Keys from the environment or from systemd credentials (`trainer-api-key`, `pexels-api-key`, …)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trainer_api_key: SecretStr | None = None
    unsplash_access_key: SecretStr | None = None
    pexels_api_key: SecretStr | None = None
    civitai_api_key: SecretStr | None = None


class Config(BaseSettings, Section):
    """All settings of the service; see config.example.toml for each."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    storage: Storage = Field(default_factory=Storage)
    scheduler: Scheduler = Field(default_factory=Scheduler)
    triggers: Triggers = Field(default_factory=Triggers)
    intake: Intake = Field(default_factory=Intake)
    api: Api = Field(default_factory=Api)
    sources: Sources = Field(default_factory=Sources)
    harvest: Harvest = Field(default_factory=Harvest)
    model: Model = Field(default_factory=Model)
    training: Training = Field(default_factory=Training)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    audit: Audit = Field(default_factory=Audit)
    gate: Gate = Field(default_factory=Gate)
    core: Core = Field(default_factory=Core)
    feedback: Feedback = Field(default_factory=Feedback)
    notify: Notify = Field(default_factory=Notify, exclude=True)  # no job needs it, and its address may be a secret
    logging: Logging = Field(default_factory=Logging)
    secrets: Secrets = Field(default_factory=Secrets, exclude=True, repr=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # load_config names its sources itself, so that errors can say which one it was


def load_config(path: str | Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read the TOML file (`path`, else $EXPOSR_CONFIG, else the first of DEFAULT_FILES there is) and the environment.

    Raises ConfigError with every wrong key and value. Relative paths are taken from the current folder.
    """
    env = os.environ if environ is None else environ
    file = _find_file(path, env)
    from_file = _read_toml(file) if file else {}
    _refuse_secrets(from_file, str(file), Config)
    _refuse_unknown_variables(env)
    try:
        from_env = _EnvironmentSource(env)()
    except SettingsError as error:
        raise ConfigError(f'environment: {error}; lists are written as JSON, for example \'["a", "b"]\'') from error
    try:
        merged = _merge(from_file, from_env)
        return Config(**merged, secrets=_read_secrets(env))
    except ValidationError as error:
        where = f"{file} and the environment" if file else "the environment"
        raise ConfigError(_explain(error, where)) from error


def config_from_job(settings: dict[str, Any]) -> Config:
    """The configuration a job process was given (`Config.model_dump(mode="json")`), with this process's secrets."""
    return Config(**settings, secrets=_read_secrets(os.environ))


class _EnvironmentSource(EnvSettingsSource):
    """pydantic-settings' reading of the environment, over the mapping that was handed in."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._given = {name.lower(): value for name, value in env.items()}
        super().__init__(Config, env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: value for name, value in self._given.items() if ENV_DELIMITER in name}


def _find_file(path: str | Path | None, env: Mapping[str, str]) -> Path | None:
    named = path or env.get(CONFIG_VARIABLE)
    if named:
        file = Path(named)
        if not file.is_file():
            raise ConfigError(f"{file}: no such configuration file; config.example.toml shows every key")
        return file
    return next((file for file in DEFAULT_FILES if file.is_file()), None)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error


def _refuse_secrets(table: dict[str, Any], file: str, section: Any, prefix: str = "") -> None:
    """An unknown key that looks like a secret is refused here, so that its value never reaches an error message."""
    known = getattr(section, "model_fields", {})
    for key, value in table.items():
        if isinstance(value, dict):
            _refuse_secrets(value, file, known[key].annotation if key in known else None, f"{prefix}{key}.")
        elif key not in known and any(word in key.lower() for word in SECRET_WORDS):
            names = ", ".join(variables[0] for variables in SECRET_VARIABLES.values())
            raise ConfigError(f"{file}: {prefix}{key}: keys do not belong in this file; set {names} in the environment")


def _refuse_unknown_variables(env: Mapping[str, str]) -> None:
    sections = [name for name in Config.model_fields if name != "secrets"]
    for variable in env:
        if not variable.upper().startswith(ENV_PREFIX) or ENV_DELIMITER not in variable:
            continue
        section = variable[len(ENV_PREFIX) :].split(ENV_DELIMITER)[0].lower()
        if section not in sections:
            raise ConfigError(f"{variable}: there is no section {section!r}; sections are {', '.join(sections)}")


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _read_secrets(env: Mapping[str, str]) -> Secrets:
    found: dict[str, SecretStr] = {}
    folder = env.get("CREDENTIALS_DIRECTORY")
    for name, variables in SECRET_VARIABLES.items():
        file = Path(folder) / name.replace("_", "-") if folder else None
        values = [_read_credential(file)] if file else []
        values += [env[variable] for variable in variables if variable in env]
        text = next((value.strip() for value in values if value.strip()), None)
        if text is not None:
            found[name] = SecretStr(text)
    return Secrets(**found)


def _read_credential(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: this credential cannot be read: {error}; run systemd/install again") from error


def _explain(error: ValidationError, where: str) -> str:
    lines = [f"wrong configuration in {where}:"]
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {key}: no such key; {_allowed_keys(problem['loc'])}")
        else:
            shown = "(hidden)" if _is_secret(problem["loc"]) else _URL_USER.sub("://(hidden)@", repr(problem["input"]))
            lines.append(f"  {key} = {shown}: {problem['msg']}")
    return "\n".join(lines)


def _is_secret(location: tuple[int | str, ...]) -> bool:
    """Whether the field takes a secret, whose value must not reach a message."""
    section: Any = Config
    for part in location:
        field = getattr(section, "model_fields", {}).get(str(part))
        if field is None:
            return False
        section = field.annotation
    return section is SecretStr or SecretStr in get_args(section)


def _allowed_keys(location: tuple[int | str, ...]) -> str:
    section: Any = Config
    for part in location[:-1]:
        field = section.model_fields.get(str(part))
        if field is None:
            break
        section = field.annotation
    known = sorted(name for name in section.model_fields if name != "secrets")
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}allowed are {', '.join(known)}"
