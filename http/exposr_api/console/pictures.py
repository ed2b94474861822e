"""Pictures: the gallery with its filters, one picture in detail, and the files that are not used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.errors import ApiError
from exposr_api.console.protocols import ProblemKind
from exposr_api.console.visit import SHA256, Visit, only, page
from utils.metadata import Label

PAGE_PICTURES = 60
FILTERS = ("label", "source", "generator", "since", "until", "part", "model", "novelty")
LABEL_CHOICES = (
    ("", "any"),
    ("real", "real"),
    ("ai_generated", "generated"),
    ("unlabeled", "unlabelled"),
    ("conflict", "in conflict"),
)
LABELS: dict[str, Label | None] = {"real": "real", "ai_generated": "ai_generated", "unlabeled": None}
PROBLEMS: dict[ProblemKind, tuple[str, str, str]] = {  # kind -> (words, what it means, what to do)
    "rejected": (
        "Rejected",
        "These files are not usable pictures. They stay where they are and do not count.",
        "Delete the file, or save it again from the program that made it. A file that has changed is checked again.",
    ),
    "conflict": (
        "In conflict",
        "The same picture is under both labels, so it is used for neither.",
        "Open the picture and say what it is: what a person says decides. Or delete the copy in the wrong folder.",
    ),
    "duplicate": (
        "Duplicates",
        "These files have the same bytes as another one. The picture counts once.",
        "Nothing has to be done. Delete the copy to save space.",
    ),
    "unreadable": (
        "Unreadable",
        "These files could not be read, end too early, or have metadata that cannot be understood.",
        "Give the service permission to read the file, let a download go on, or correct the metadata. "
        "It is tried again by itself.",
    ),
    "note": (
        "Notes",
        "These pictures count; side data in their files was broken or huge and was left out.",
        "Nothing has to be done.",
    ),
}
NOVELTY_MEANS = (
    "Novelty says how unlike the training pictures a picture is: about 2 is usual, and beyond the cut of the version "
    "Exposr-Core gives no verdict."
)
CURSOR = re.compile(r"[A-Za-z0-9_=-]{0,4000}")


@page
async def gallery(request: Request, visit: Visit) -> Response:
    wanted = wanted_of(request)
    cursor = cursor_of(request)
    found = await run_in_threadpool(visit.data.pictures, wanted, cursor, PAGE_PICTURES)
    choices = await run_in_threadpool(visit.data.choices)
    older = urlencode({**wanted, "after": found.older}) if found.older else ""
    return visit.render(
        "pictures.html",
        "pictures",
        fragments=("gallery",),
        wanted=wanted,
        page=found,
        older=older,
        is_first=not cursor,
        query=urlencode(wanted),
        labels=LABEL_CHOICES,
        choices=choices,
        novelty_means=NOVELTY_MEANS,
        counts=visit.service.status()["dataset_counts"],
    )


@page
async def picture(request: Request, visit: Visit) -> Response:
    found = await _found(request, visit)
    reports = await run_in_threadpool(visit.service.feedback.reports, request.path_params["sha256"])
    return visit.render(
        "picture.html", "pictures", **found, shown=said_of(found), reports=reports, novelty_means=NOVELTY_MEANS
    )


@page
async def label_picture(request: Request, visit: Visit) -> Response:
    form = await visit.form()
    found = await _found(request, visit)
    label, shown = only(form, "label"), only(form, "shown")
    if label not in LABELS:
        raise ApiError("bad_request", "label is real, ai_generated or unlabeled")
    sha256 = request.path_params["sha256"]
    if shown and shown != said_of(found):
        visit.say("Somebody has changed this label meanwhile. Nothing was written: decide again.", bad=True)
        return visit.redirect(f"pictures/{sha256}")
    done = await run_in_threadpool(visit.data.label, visit.session.id, [sha256], LABELS[label], override=True)
    if done.written:
        visit.say(
            f"Written into the metadata: {'unlabelled' if label == 'unlabeled' else label}, labelled by a person."
        )
    else:
        visit.say("This could not be written; the log says why.", bad=True)
    return visit.redirect(f"pictures/{sha256}")


@page
async def problems(request: Request, visit: Visit) -> Response:
    asked = request.query_params.get("kind", "rejected")
    kind = next((kind for kind in PROBLEMS if kind == asked), None)
    if kind is None:
        raise ApiError("not_found", "kind is " + ", ".join(PROBLEMS))
    found = await run_in_threadpool(visit.data.problems, kind, cursor_of(request))
    following = urlencode({"kind": kind, "after": found.next}) if found.next else ""
    return visit.render(
        "problems.html",
        "pictures",
        kind=kind,
        kinds=PROBLEMS,
        page=found,
        following=following,
        counts=visit.service.status()["dataset_counts"],
    )


def wanted_of(request: Request) -> dict[str, str]:
    """The filters that are set; a date that is none is left out."""
    wanted = {name: request.query_params.get(name, "").strip()[:200] for name in FILTERS}
    for name in ("since", "until"):
        try:
            date.fromisoformat(wanted[name])
        except ValueError:
            wanted[name] = ""
    return {name: value for name, value in wanted.items() if value}


def cursor_of(request: Request) -> str:
    cursor = request.query_params.get("after", "")
    if not CURSOR.fullmatch(cursor):
        raise ApiError("bad_request", "`after` is not a cursor of this service")
    return cursor


def said_of(found: Mapping[str, Any]) -> str:
    """What the metadata file says of the label, which a form brings back; empty while there is none."""
    metadata = found["metadata"]
    return f"{metadata['label']} {metadata['label_source']}" if metadata else ""


async def _found(request: Request, visit: Visit) -> dict[str, Any]:
    sha256 = request.path_params["sha256"]
    found = await run_in_threadpool(visit.data.picture, sha256) if SHA256.fullmatch(sha256) else None
    if found is None:
        raise ApiError("not_found", "no such picture")
    return dict(found)
