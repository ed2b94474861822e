"""Label queue: one picture after the other, or a batch at once, one key for each decision."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.errors import ApiError
from exposr_api.console.protocols import Labelled, QueueGrouping
from exposr_api.console.visit import SHA256, Visit, only, page
from utils.metadata import Label

GROUPINGS: dict[str, tuple[QueueGrouping, str]] = {
    "one": ("one", "One by one"),
    "folder": ("folder", "By folder"),
    "similar": ("similar", "Alike pictures"),
}
MAX_BATCH = 200
LABELS: dict[str, Label] = {"real": "real", "ai_generated": "ai_generated"}


@page
async def queue(request: Request, visit: Visit) -> Response:
    return await _show(visit, request.query_params.get("by", "one"))


@page
async def decide(request: Request, visit: Visit) -> Response:
    """A decision; with JavaScript the next picture is the answer, without it the page is loaded again."""
    form = await visit.form()
    by, what = only(form, "by") or "one", only(form, "decision")
    _grouping(by)
    if what == "undo":
        taken_back = await run_in_threadpool(visit.data.undo, visit.session.id)
        visit.say(taken_back or "There is nothing to undo.", bad=not taken_back)
    else:
        pictures = _pictures(form)
        if what == "skip":
            await run_in_threadpool(visit.data.skip, visit.session.id, pictures)
        elif what in LABELS:
            done = await run_in_threadpool(visit.data.label, visit.session.id, pictures, LABELS[what])
            if done.written < len(pictures):
                visit.say(what_was_not_written(done, len(pictures)), bad=True)
        else:
            raise ApiError("bad_request", "decision is real, ai_generated, skip or undo")
    if "hx-request" in request.headers:
        return await _show(visit, by)
    return visit.redirect(f"queue?by={by}")


def what_was_not_written(done: Labelled, number: int) -> str:
    """Of a decision about `number` pictures, in words."""
    counts = (
        (done.taken, "decided by somebody else before: that decision stays"),
        (number - done.written - done.taken - done.failed, "not there any more"),
        (done.failed, "not written: the log says why"),
    )
    said = [(count, words) for count, words in counts if count]
    if number == 1:
        return f"This picture was {said[0][1]}."
    return f"Of {number} pictures, {'; '.join(f'{count} {words}' for count, words in said)}."


async def _show(visit: Visit, by: str) -> Response:
    view = await run_in_threadpool(visit.data.queue, _grouping(by), visit.session.id)
    waiting = visit.service.status()["dataset_counts"].get("unlabeled", 0)
    picture = view.picture
    reports = await run_in_threadpool(visit.service.feedback.reports, picture.sha256) if picture else []
    return visit.render(
        "queue.html",
        "queue",
        fragments=("queue",),
        view=view,
        by=by,
        groupings=GROUPINGS,
        waiting=waiting,
        reports=reports,
    )


def _grouping(by: str) -> QueueGrouping:
    if by not in GROUPINGS:
        raise ApiError("bad_request", "by is " + ", ".join(GROUPINGS))
    return GROUPINGS[by][0]


def _pictures(form: FormData) -> list[str]:
    pictures = [name for name in form.getlist("picture") if isinstance(name, str)]
    if not pictures or len(pictures) > MAX_BATCH or not all(SHA256.fullmatch(name) for name in pictures):
        raise ApiError("bad_request", "no picture was chosen")
    return pictures
