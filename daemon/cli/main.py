"""`exposr-trainer`: one command for the operator. Each command imports what it needs when it runs.

Exit status: 0 done; 1 it did not work, the message says why; 2 wrong usage; 3 a training was rejected by the gate;
75 try again later; 78 wrong configuration.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from daemon.cli import data, exchange, models, upkeep
from daemon.cli.options import ConfigOption, JsonOption, as_json, read_config
from daemon.cli.outcomes import render_source
from utils.errors import ConfigError, ExposrError, RetryLaterError
from utils.logs import configure_logging
from utils.version import VERSION

if TYPE_CHECKING:
    from daemon.state.store import RunKind

EXIT_FAILED = 1
EXIT_REJECTED = 3
EXIT_TRY_AGAIN = 75
EXIT_CONFIG = 78

app = typer.Typer(
    name="exposr-trainer",
    help="Keeps Exposr's detector of AI-generated pictures up to date: collects, trains, publishes, serves.",
    epilog="Start with: exposr-trainer demo. Every setting is explained in config.example.toml.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"exposr-trainer {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    configure_logging("warning")  # what a command has to say is its output; serve logs more


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run the service: watch the data folder, collect, train, publish, serve the API."""
    from daemon.monitoring.sd_notify import Notifier

    try:
        # here, since an import that fails in a broken installation is a reason like any other
        from daemon.supervisor import Supervisor
        from utils.logs import configure_logging

        settings = read_config(config)
        configure_logging(settings.logging.level)
        Supervisor(settings, lambda: read_config(config)).run()
    except Exception as error:
        Notifier().status(f"failed: {error}")  # stays in `systemctl status` when the unit has given up
        raise


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its data.")] = Path("demo"),
    port: Annotated[int, typer.Option(help="Port of the API.")] = 8001,
    stop: Annotated[bool, typer.Option("--stop", help="End the service that an earlier demo left running.")] = False,
) -> None:
    """Run the whole loop on real pictures, without a key or a network: collect, train, publish, serve."""
    from daemon.demo.run import run_demo, stop_demo

    if stop:
        typer.echo("stopped" if stop_demo(folder) else f"no demo runs in {folder}")
        return
    run_demo(folder, port)


@app.command()
def sandbox(
    pictures: Annotated[Path, typer.Option(help="Folder with real/ and ai_generated/, at any depth.")],
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve a folder of pictures through local copies of the sources' APIs. The key is "sandbox"."""
    from scrapers.sandbox.server import run_sandbox

    configure_logging("info")
    run_sandbox(host, port, pictures)


@app.command()
def scrape(
    config: ConfigOption = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source (may be repeated).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="New images of one source, at most.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only pictures published on this day (UTC) or later.")
    ] = None,
    min_size: Annotated[int | None, typer.Option(min=1, help="Least length of the shorter side (pixels).")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask each source for one page and show what would be fetched.")
    ] = False,
) -> None:
    """Collect pictures from the sources now, and show the progress."""
    chosen: dict[str, Any] = {"sources": source} if source else {}
    chosen |= {"limit": limit} if limit else {}
    chosen |= {"since": f"{since:%Y-%m-%d}T00:00:00Z"} if since else {}
    chosen |= {"min_size": min_size} if min_size else {}
    if dry_run:
        from daemon.cli.preview import preview_scrape

        typer.echo(preview_scrape(read_config(config), chosen))
        return
    run = _run_and_show("scrape", config, chosen)
    for name, outcome in run["outcome"]["details"].get("sources", {}).items():
        if outcome["state"] != "disabled":
            typer.echo(render_source(name, outcome))
    _end(run)


@app.command()
def train(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen, start nothing.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show the gate's decision with every number.")] = False,
    anew: Annotated[bool, typer.Option("--anew", help="Start anew, also if a training was interrupted.")] = False,
) -> None:
    """Train now on the labelled pictures, and publish the result when it is good enough.

    A training that was interrupted goes on from its checkpoint, with the pictures and settings that it had.
    """
    if dry_run:
        from daemon.cli.inspection import explain_plan

        typer.echo(explain_plan(read_config(config)))
        return
    run = _run_and_show("train", config, {}, resume=not anew)
    if explain:
        from trainer.gate.gate import render_decision

        decision = run["outcome"]["details"].get("gate")
        typer.echo(render_decision(decision) if decision else "the training ended before the gate's decision")
    _end(run)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Pictures in real/<source>/… and ai_generated/<generator>/….")],
    config: ConfigOption = None,
    version: Annotated[str | None, typer.Option(help="v3, or vit/v3; without it, the version in service.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the result to this HTML file.")] = None,
    json: JsonOption = False,
) -> None:
    """Evaluate a published version on a folder of pictures: a table by sub-folder, and the most certain mistakes."""
    from trainer.benchmarks.evaluate import evaluate_folder, render_html, render_text

    found = evaluate_folder(models.folder_of(config, version), folder)
    if html is not None:
        html.write_text(render_html(found), encoding="utf-8")
    typer.echo(as_json(found) if json else render_text(found))


@app.command()
def status(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show counts, current runs, the next runs and what delays them."""
    from daemon.cli.inspection import read_status, render_status

    found = read_status(read_config(config))
    typer.echo(as_json(found) if json else render_status(found))


@app.command()
def runs(
    config: ConfigOption = None,
    run_id: Annotated[str | None, typer.Argument(help="Show only this run, with all details.")] = None,
    kind: Annotated[str | None, typer.Option(help="scrape or train.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of runs, newest first.")] = 20,
    json: JsonOption = False,
) -> None:
    """List scrapes and trainings, with their outcome and its reason."""
    from daemon.cli.inspection import read_runs, render_runs

    found = read_runs(read_config(config), run_id, kind, limit)
    typer.echo(as_json(found) if json or run_id else render_runs(found))


@app.command()
def doctor(config: ConfigOption = None) -> None:
    """Check keys, GPU, weights, disk, inotify limits and permissions, and explain how to get what is missing."""
    from daemon.cli.doctor import diagnose

    findings = diagnose(read_config(config))
    for finding in findings:
        typer.echo(finding.render())
    if any(finding.is_blocking for finding in findings):
        raise typer.Exit(EXIT_FAILED)


app.add_typer(models.app, name="models")
data.register(app)
exchange.register(app)
upkeep.register(app)


def _run_and_show(kind: RunKind, config: Path | None, chosen: dict[str, Any], *, resume: bool = False) -> Any:
    from daemon.cli.foreground import run_now
    from daemon.cli.progress_view import ProgressView

    with ProgressView() as view:
        return run_now(read_config(config), kind, chosen, view, resume=resume)


def _end(run: Any) -> NoReturn:
    typer.echo(f"{run['state']}: {run['outcome']['summary']}  (run {run['id']})")
    raise typer.Exit({"succeeded": 0, "rejected": EXIT_REJECTED}.get(run["state"], EXIT_FAILED))


def main() -> None:
    """Entry point: an expected error is one clear message and an exit status, never a trace."""
    try:
        app()
    except ConfigError as error:
        _complain(error, EXIT_CONFIG)
    except RetryLaterError as error:
        _complain(error, EXIT_TRY_AGAIN)
    except ExposrError as error:
        _complain(error, EXIT_FAILED)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _complain(error: Exception, status: int) -> NoReturn:
    sys.stderr.write(f"exposr-trainer: {error}\n")
    raise SystemExit(status)
