"""config.example.toml, written from the settings themselves: every key, its default, its meaning."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from utils.config.sections import Section
from utils.config_loader import SECRET_VARIABLES, Config

WIDTH = 118
HEADER = """\
# Exposr Trainer: every setting with its default. Copy what you change to config.toml, here or in /etc/exposr-trainer.
# Each can also be set in the environment: EXPOSR_<SECTION>__<KEY>, for example EXPOSR_API__PORT=9000.
# A wrong key or value stops the start and says what is allowed.
#
# Keys are never written here. They come from the environment (or from systemd credentials of the same names in
# lower case with dashes):
"""


def render_example() -> str:
    """The whole file; what has no default is shown commented out."""
    lines = [HEADER.rstrip()]
    lines += [f"#   {' or '.join(variables)}" for variables in SECRET_VARIABLES.values()]
    for name, field in Config.model_fields.items():
        if name != "secrets":
            lines += _table(name, field.annotation, field.get_default(call_default_factory=True))
    return "\n".join(lines) + "\n"


def _table(path: str, section: Any, values: Section) -> list[str]:
    keys = {name: field for name, field in section.model_fields.items() if not isinstance(values[name], Section)}
    lines = ["", f"[{path}]"] if keys else []
    for name, field in keys.items():
        lines += _key(name, field, values[name], _description(section, name))
    for name, field in section.model_fields.items():
        if name not in keys:
            lines += _table(f"{path}.{name}", field.annotation, values[name])
            if field.description:
                heading = lines.index(f"[{path}.{name}]")
                lines.insert(heading, f"# {field.description}")
    return lines


def _description(section: type[Section], name: str) -> str:
    """A subclass that only changes a default keeps the meaning that its base wrote."""
    bases = (base for base in section.__mro__ if issubclass(base, Section) and name in base.model_fields)
    return next((text for base in bases if (text := base.model_fields[name].description)), "")


def _key(name: str, field: FieldInfo, value: Any, description: str) -> list[str]:
    comment = textwrap.wrap(description, WIDTH - 2)
    shown = (
        f"# {name} ="
        if value is None
        else f"{name} = {_toml(field.default if isinstance(field.default, Path) else value)}"
    )
    return [*(f"# {line}" for line in comment), shown]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(
        f"./{value}" if isinstance(value, Path) and not value.is_absolute() else str(value), ensure_ascii=False
    )
