"""`/feedback`: pictures that a version got wrong, as Exposr-Core reports them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.errors import RETRY_SECONDS, ApiError
from exposr_api.answers.responses import json_response
from exposr_api.protocols import Report, Service

FIELDS = 16  # of a form, at most
MAX_NOTE, MAX_REPORTER = 2000, 200  # characters
DEFAULT_REPORTS, MAX_REPORTS = 50, 1000
STATUSES = {"busy", "not_a_picture", "too_many_reports"}  # refusals with a status of their own; all others are 409


def _clean(text: str) -> str:
    """Without what could hide in a page or a log: control characters, and those that turn the direction of writing."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text).strip()


Text = Annotated[str, AfterValidator(_clean)]


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


class ReportForm(BaseModel):
    """The fields beside the picture; what is not known is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: str = Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63}/)?v[1-9][0-9]{0,8}$")
    verdict: Literal["ai_generated", "real", "uncertain"]
    probability: Annotated[Annotated[float, Field(ge=0, le=1)] | None, BeforeValidator(_none_if_empty)] = None
    label: Annotated[Literal["real", "ai_generated"] | None, BeforeValidator(_none_if_empty)] = None
    note: Annotated[Text, Field(max_length=MAX_NOTE)] = ""
    reporter: Annotated[Text, Field(max_length=MAX_REPORTER)] = ""

    def as_report(self, family: str) -> Report:
        model, _, version = self.version.rpartition("/")
        said = self.model_dump(exclude={"version"})
        return Report(model=model or family, version=version, **said)


async def post_feedback(request: Request, service: Service) -> Response:
    async with request.form(max_files=1, max_fields=FIELDS) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ApiError("bad_request", "send multipart/form-data with the picture in the field `file`")
        try:
            fields = ReportForm.model_validate({name: value for name, value in form.items() if name != "file"})
        except ValidationError as error:
            raise ApiError("bad_request", _explain(error)) from None
        report = fields.as_report(_family(service, fields.version))
        decision = await run_in_threadpool(service.feedback.report, report, file.file)
    if decision.accepted:
        return json_response({**decision.details, "status": decision.message}, 201)
    if decision.code in STATUSES:
        wait = decision.details.get("retry_after_seconds", RETRY_SECONDS)
        headers = {} if decision.code == "not_a_picture" else {"retry-after": str(wait)}
        raise ApiError(decision.code, decision.message, headers)
    refused = {"code": decision.code, "message": decision.message}
    return json_response({**decision.details, "status": decision.message, "error": refused}, 409)


async def get_feedback(request: Request, service: Service) -> Response:
    limit = request.query_params.get("limit", str(DEFAULT_REPORTS))
    if not re.fullmatch(r"[0-9]{1,6}", limit) or not 1 <= int(limit) <= MAX_REPORTS:
        raise ApiError("bad_request", f"limit is a whole number from 1 to {MAX_REPORTS}")
    reports = await run_in_threadpool(service.feedback.newest, int(limit))
    return json_response({"reports": list(reports)})


def _family(service: Service, version: str) -> str:
    """The family of a version that was named without it: of the published ones, the newest of that name."""
    families = [str(entry["model"]) for entry in service.models.entries() if entry["version"] == version]
    return families[-1] if families else ""


def _explain(error: ValidationError) -> str:
    """Each wrong field with what is allowed; never what was sent."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in problems)
