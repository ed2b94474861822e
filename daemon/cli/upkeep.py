"""Commands for upkeep: backup, restore, the example configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.options import ConfigOption, read_config


def register(app: typer.Typer) -> None:
    for command in (backup, restore):
        app.command()(command)
    app.command("example-config")(example_config)


def backup(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    config: ConfigOption = None,
) -> None:
    """Back up data, models and state consistently, also while the service runs."""
    from daemon.backup.backup import back_up

    typer.echo(back_up(read_config(config), folder))


def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that backup made.")],
    config: ConfigOption = None,
) -> None:
    """Restore a backup. The service must be stopped, and the target folders must be empty."""
    from daemon.backup.backup import restore as bring_back

    typer.echo(bring_back(read_config(config), folder))


def example_config() -> None:
    """Print a configuration file with every key, its default and its meaning."""
    from utils.config.example import render_example

    typer.echo(render_example(), nl=False)
