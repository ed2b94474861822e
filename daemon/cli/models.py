"""`exposr-trainer models …`: the published versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.cli.options import ConfigOption, JsonOption, as_json, read_config
from utils.errors import OperatorError

app = typer.Typer(help="List, show, verify, promote, roll back and prune published versions.", no_args_is_help=True)
VersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="v3, or vit/v3 where two families have one.")]


def _registry(config: Any) -> Any:
    from trainer.publishing.registry import Registry

    return Registry(read_config(config).storage.models_path)


def folder_of(config: Any, name: str | None) -> Path:
    """The folder of the version that `v3` or `vit/v3` names, of the one in service without a name."""
    registry = _registry(config)
    entry = _find(registry, name) if name else registry.champion()
    if entry is None:
        raise OperatorError("nothing is published yet")
    folder: Path = registry.version_folder(entry["model"], entry["version"])
    return folder


def _find(registry: Any, name: str) -> Any:
    """The entry that `v3` or `vit/v3` names. Raises OperatorError when it names none, or more than one."""
    family, _, version = name.rpartition("/")
    found = [e for e in registry.entries() if e["version"] == version and family in ("", e["model"])]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{e['model']}/{e['version']}" for e in registry.entries()) or "none is published yet"
    raise OperatorError(f"{name}: {'more than one' if found else 'no'} such version; published: {known}")


@app.command("list")
def list_(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List the published versions, oldest first."""
    registry = _registry(config)
    entries, champion, previous = registry.entries(), registry.champion(), registry.previous()
    if json:
        typer.echo(as_json(entries))
        return
    if not entries:
        typer.echo("nothing is published yet; exposr-trainer train starts a training")
    for entry in entries:
        alias = "champion" if entry == champion else "previous" if entry == previous else ""
        auc = "-" if entry.get("val_auc") is None else f"{entry['val_auc']:.3f}"
        typer.echo(
            f"{entry['model']}/{entry['version']:<5} {entry['timestamp']}  images {entry['dataset_size']:>7}  "
            f"val AUC {auc}  {alias}"
        )


@app.command()
def show(version: VersionArgument, config: ConfigOption = None) -> None:
    """Show a version's card (model.json)."""
    registry = _registry(config)
    entry = _find(registry, version)
    card = registry.version_folder(entry["model"], entry["version"]) / "model.json"
    typer.echo(card.read_text(encoding="utf-8"))


@app.command()
def verify(version: VersionArgument, config: ConfigOption = None) -> None:
    """Recompute every number of a version's registry entry from its published files and its snapshot."""
    from trainer.publishing.verify import verify_version

    entry = _find(_registry(config), version)
    report = verify_version(read_config(config), entry["model"], entry["version"])
    typer.echo(report.render())
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def promote(version: VersionArgument, config: ConfigOption = None) -> None:
    """Put a published version in service. Followers load it at their next poll."""
    registry = _registry(config)
    entry = _find(registry, version)
    registry.promote(entry["model"], entry["version"])
    typer.echo(f"champion: {entry['model']}/{entry['version']}, serial {registry.serial()}")


@app.command()
def rollback(config: ConfigOption = None) -> None:
    """Put the previous version back in service, under a new serial."""
    registry = _registry(config)
    entry = registry.rollback()
    typer.echo(f"champion: {entry['model']}/{entry['version']}, serial {registry.serial()}")


@app.command()
def prune(
    keep: Annotated[int, typer.Option(min=1, help="Newest versions to keep, besides champion and previous.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    config: ConfigOption = None,
) -> None:
    """Remove old versions, but never the one in service or the previous one."""
    registry = _registry(config)
    for line in registry.prunable(keep) if dry_run else registry.prune(keep):
        typer.echo(line)
