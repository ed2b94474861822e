"""Telling people through one webhook (`notify.url`): queued at once, delivered by a thread, tried again, given up late.

Nothing here may hold the service up or reveal a key: the queue is bounded, the address never reaches a log (it may be a
secret itself), and every secret that the configuration knows is taken out of what is sent.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from daemon.notify.notices import Notice, message_for
from utils.config.notify import Notify
from utils.logs import get_logger

if TYPE_CHECKING:
    import httpx

log = get_logger(__name__)

QUEUE_NOTICES = 100
PAUSES_SECONDS = (2.0, 10.0, 60.0, 300.0, 900.0)  # between attempts; after the last one the notice is dropped
TIMEOUT_SECONDS = 10.0
MAX_RETRY_AFTER_SECONDS = 900.0
RETRYABLE = {408, 425, 429}
STOP_SECONDS = 2.0


class Webhook:
    """`send` from any thread; the rest is one thread's, which starts with the first notice."""

    def __init__(
        self,
        settings: Callable[[], Notify],
        secrets: Callable[[], Iterable[str]],
        transport: httpx.BaseTransport | None = None,
        pauses: tuple[float, ...] = PAUSES_SECONDS,
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._transport = transport
        self._pauses = pauses
        self._waiting: deque[Notice] = deque(maxlen=QUEUE_NOTICES)
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def send(self, notice: Notice) -> None:
        """Queue it; without `notify.url` nothing happens. A full queue loses its oldest."""
        if self._settings().url is None or self._stopping.is_set():
            return
        self._idle.clear()
        self._waiting.append(notice)
        self._wake.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """What cannot be delivered within two seconds is dropped."""
        self._idle.wait(STOP_SECONDS)
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        import httpx  # here: most services tell nobody, and it costs memory

        with httpx.Client(timeout=TIMEOUT_SECONDS, transport=self._transport, follow_redirects=False) as client:
            while not self._stopping.is_set():
                self._wake.wait()
                self._wake.clear()
                while self._waiting and not self._stopping.is_set():
                    self._deliver(client, self._waiting.popleft())
                if not self._waiting:
                    self._idle.set()

    def _deliver(self, client: httpx.Client, notice: Notice) -> None:
        pauses = [*self._pauses, None]
        for attempt, pause in enumerate(pauses, start=1):
            settings = self._settings()  # a reload may have corrected it
            if settings.url is None:
                return
            why, retry, asked = self._attempt(client, settings, notice)
            if not why:
                log.info("notice_sent", kind=notice.kind, attempts=attempt)
                return
            if not retry or pause is None:
                log.error("notice_dropped", kind=notice.kind, reason=why, attempts=attempt)
                return
            log.warning("notice_retried", kind=notice.kind, reason=why, pause_seconds=pause)
            if self._stopping.wait(max(pause, asked)):
                return

    def _attempt(self, client: httpx.Client, settings: Notify, notice: Notice) -> tuple[str, bool, float]:
        """Why it failed (empty: it did not), whether to try again, and the pause that was asked for in seconds."""
        import httpx

        assert settings.url is not None
        url, body = message_for(settings.format, settings.url.get_secret_value(), notice.without(self._secrets()))
        try:
            answer = client.post(url, json=body)
        except httpx.TransportError as error:
            return type(error).__name__, True, 0.0  # its text may hold the address
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__, False, 0.0
        if answer.is_success:
            return "", False, 0.0
        after = answer.headers.get("retry-after", "")
        asked = min(float(after), MAX_RETRY_AFTER_SECONDS) if after.isascii() and after.isdecimal() else 0.0
        return f"HTTP {answer.status_code}", answer.status_code in RETRYABLE or answer.status_code >= 500, asked
