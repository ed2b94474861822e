"""Talking to the daemon that already works on a state folder, for commands that must not work beside it."""

from __future__ import annotations

from typing import Any

import httpx

from daemon.serving.keys import made_key_file, usable_key
from daemon.state.lock import current_holder
from utils.config_loader import Config
from utils.errors import OperatorError, RetryLaterError

TIMEOUT_SECONDS = 10.0


class RunningDaemon:
    """The API of the daemon on this machine. Raises OperatorError or RetryLaterError with its message."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_SECONDS, trust_env=False
        )

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def post(self, path: str) -> Any:
        return self._call("POST", path)

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str) -> Any:
        try:
            answer = self._client.request(method, path)
        except httpx.HTTPError as error:
            raise RetryLaterError(f"{self.url}: the running service does not answer: {error}") from error
        # /health says with 503 that it is starting; that is an answer
        if answer.status_code >= 400 and path != "/health":
            raise OperatorError(_message(answer))
        return answer.json()


def find_daemon(config: Config) -> RunningDaemon | None:
    """The daemon that holds this configuration's state; None when there is none."""
    holder = current_holder(config.storage.state_path)
    if holder is None:
        return None
    if holder.address is None:
        raise OperatorError(f"process {holder.pid} ({holder.command}) works on this state; wait until it has ended")
    key = usable_key(config)
    if key is None:
        raise OperatorError(
            f"{made_key_file(config)}: there is no API key yet; the running service makes it at its start"
        )
    return RunningDaemon(holder.address, key)


def _message(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return str(body.get("status") or body["error"]["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{answer.request.url.path}: HTTP {answer.status_code}"
