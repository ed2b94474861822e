"""What `/status` says is encoded again whenever it has changed."""

from __future__ import annotations

import json

from exposr_api.answers.status import StatusBody


def test_each_answer_is_the_status_of_its_moment() -> None:
    body = StatusBody()
    plan = {"train": {"reason": "ü \udcff"}}
    for uptime in (0.1, 7, 1e9):
        for counts in ({"total": 1}, {"total": 2}, {"total": 2}, {"total": 1}):
            status = {"uptime": uptime, "dataset_counts": counts, "plan": plan, "last_train": None}
            answer = json.loads(body.encode(status))
            assert answer == {**status, "plan": {"train": {"reason": "ü ?"}}}
            assert list(answer) == list(status)
