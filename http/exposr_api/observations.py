"""`/observations`: what detectors have seen, as histograms by day and version."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.errors import ApiError
from exposr_api.answers.responses import json_response
from exposr_api.protocols import Service

SCORE_BINS = 20
MAX_HISTOGRAMS = 64
Count = Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)]


def _of_the_calendar(day: str) -> str:
    date.fromisoformat(day)
    return day


class Verdicts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ai_generated: Count
    real: Count
    uncertain: Count


class Histogram(BaseModel):
    """Totals of one detector for one day and version; what is not known is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    day: Annotated[str, Field(pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_of_the_calendar)]
    model: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^v[1-9][0-9]{0,8}$")
    scores: tuple[Count, ...] = Field(min_length=SCORE_BINS, max_length=SCORE_BINS)
    verdicts: Verdicts
    unfamiliar: Count = 0
    novelty: tuple[Count, ...] = Field((0,) * SCORE_BINS, min_length=SCORE_BINS, max_length=SCORE_BINS)

    @model_validator(mode="after")
    def _each_picture_has_a_verdict(self) -> Self:
        verdicts = self.verdicts
        if sum(self.scores) != verdicts.ai_generated + verdicts.real + verdicts.uncertain:
            raise ValueError("scores and verdicts must count the same pictures")
        if self.unfamiliar > verdicts.uncertain or sum(self.novelty) > sum(self.scores):
            raise ValueError("unfamiliar and novelty count more pictures than there are")
        return self


class Batch(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    reporter: str = Field(pattern=r"^[0-9a-f]{32}$")
    histograms: tuple[Histogram, ...] = Field(min_length=1, max_length=MAX_HISTOGRAMS)


async def post_observations(request: Request, service: Service) -> Response:
    try:
        batch = Batch.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise ApiError("bad_request", f"{where}: {first['msg']}") from None
    rows = [histogram.model_dump(mode="json") for histogram in batch.histograms]
    decision = await run_in_threadpool(service.observations.take, batch.reporter, rows)
    if decision.accepted:
        return json_response({**decision.details, "status": decision.message})
    refused = {"code": decision.code, "message": decision.message}
    return json_response({**decision.details, "status": decision.message, "error": refused}, 409)


async def get_observations(request: Request, service: Service) -> Response:
    return json_response(await run_in_threadpool(service.observations.summary))
