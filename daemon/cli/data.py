"""Commands on the data: label, problems, reindex, forget, attributions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.options import ConfigOption, read_config
from utils.errors import OperatorError
from utils.metadata import LABELS


def register(app: typer.Typer) -> None:
    for command in (label, problems, reindex, accept_loss, forget, attributions):
        app.command()(command)


def label(
    sample: Annotated[str, typer.Argument(help="A picture's path, or its id.")],
    value: Annotated[str | None, typer.Argument(metavar="LABEL", help="real, ai_generated or none.")] = None,
    note: Annotated[str | None, typer.Option(help="The reason; stored with the label.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Undo the last label that a person gave it.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show every label that people gave it.")] = False,
    config: ConfigOption = None,
) -> None:
    """Label a picture. Your label overrides folder and source, and is kept when the picture goes and comes back."""
    from handlers.labels.commands import label_history, set_label, undo_label

    if (value is not None) + undo + history != 1:
        raise OperatorError("label needs one of: a label, --undo, --history")
    if history:
        for entry in label_history(read_config(config), sample):
            said = (entry.label or "none") if entry.action == "label" else entry.action
            typer.echo("  ".join([entry.at, f"{said:<12}", f"by {entry.way}", entry.note or ""]).rstrip())
        return
    if undo:
        restored = undo_label(read_config(config), sample)
        typer.echo(f"{restored.path}: {restored.label or 'none'}, as before")
        return
    chosen = next((known for known in LABELS if known == value), None)
    if chosen is None and value != "none":
        raise OperatorError(f"label is {value!r}, allowed are {', '.join(LABELS)} and none")
    labelled = set_label(read_config(config), sample, chosen, note=note)
    typer.echo(f"{labelled.path}: {value}")


def problems(config: ConfigOption = None) -> None:
    """List the files that are not used, each with its reason: rejected, duplicate, in conflict, unreadable."""
    from handlers.labels.commands import list_problems

    found = list_problems(read_config(config))
    for problem in found:
        typer.echo(f"{problem.kind:<11} {problem.path!r}: {problem.reason}")
    unused = sum(problem.kind != "note" for problem in found)
    typer.echo(f"{unused} files are not used" if unused else "every file is used")


def reindex(config: ConfigOption = None) -> None:
    """Rebuild the index: read every file again. Nothing is lost."""
    from daemon.state.lock import StateLock
    from handlers.labels.commands import reindex as rebuild

    settings = read_config(config)
    lock = StateLock(settings.storage.state_path)
    lock.acquire("exposr-trainer reindex")
    try:
        counts = rebuild(settings, lambda done, total: typer.echo(f"{done} of {total} files", err=True))
    finally:
        lock.release()
    typer.echo(
        f"{counts.total} images: {counts.real} real, {counts.ai_generated} ai_generated, {counts.unlabeled} unlabeled"
    )


def accept_loss(config: ConfigOption = None) -> None:
    """Confirm that the missing pictures were deleted on purpose. They are forgotten, and the alarm ends."""
    from utils.data_folder import DataFolder

    storage = read_config(config).storage
    DataFolder(storage.local_path, storage.state_path).accept()
    typer.echo(f"{storage.local_path} counts as it is now; the service, or its next start, forgets what is missing")


def forget(
    source: Annotated[str, typer.Option(help="The source's name.")],
    id: Annotated[str | None, typer.Option("--id", help="The picture's id at the source.")] = None,
    photographer: Annotated[str | None, typer.Option(help="All pictures of this person.")] = None,
    config: ConfigOption = None,
) -> None:
    """Delete pictures at a person's request, with their metadata, and never collect them again."""
    from scrapers.forget import forget as forget_pictures

    if (id is None) == (photographer is None):
        raise OperatorError("forget needs either --id or --photographer")
    removed = forget_pictures(read_config(config), source, source_id=id, photographer=photographer)
    typer.echo(f"{removed} pictures deleted; they will not be collected again")


def attributions(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the page.")] = Path(
        "attributions.html"
    ),
    config: ConfigOption = None,
) -> None:
    """Write the credits page: who made each picture, under which licence."""
    from scrapers.attributions import write_attributions

    number = write_attributions(read_config(config), output)
    typer.echo(f"{output}: {number} pictures")
