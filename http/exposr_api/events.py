"""Events from the daemon's threads to the listeners of `GET /events`.

    hub = EventHub(max_clients=64)
    hub.publish("counts", {"total": 51})     # from any thread, never blocks
    async for name, data in hub.subscribe(): # on the API's event loop
        ...

A listener that does not keep up loses the oldest events: what it shows next is the newest state, and memory is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from utils.errors import RetryLaterError

QUEUE_EVENTS = 256  # some seconds of a busy training; a listener that is further behind wants the present

Event = tuple[str, Mapping[str, Any]]


class EventHub:
    """Fans events out to listeners. All methods are thread-safe; `subscribe` needs a running event loop."""

    def __init__(self, max_clients: int = 64, queue_events: int = QUEUE_EVENTS) -> None:
        self._max_clients = max_clients
        self._queue_events = queue_events
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._closed = False

    def publish(self, name: str, data: Mapping[str, Any]) -> None:
        """Hand an event to every listener; `data` must not be changed afterwards."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.push((name, data))

    def subscribe(self) -> Listener:
        """A new listener on the running loop. Raises RetryLaterError when there are too many, or at shutdown."""
        listener = Listener(self._forget, self._queue_events)
        with self._lock:
            if self._closed:
                raise RetryLaterError("the service is stopping; connect again in a moment")
            if len(self._listeners) >= self._max_clients:
                raise RetryLaterError(
                    f"{self._max_clients} listeners are connected already; close one, or raise api.max_event_clients"
                )
            self._listeners.add(listener)
        return listener

    @property
    def clients(self) -> int:
        return len(self._listeners)

    def close(self) -> None:
        """End every stream; nobody can subscribe afterwards."""
        with self._lock:
            self._closed = True
        self.end_streams()

    def end_streams(self) -> None:
        """End every stream that is open now; who may still listen comes back by itself."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.close()

    def _forget(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)


class Listener:
    """One bounded queue between the daemon's threads and one coroutine. Used by one coroutine only."""

    def __init__(self, on_close: Callable[[Listener], None], queue_events: int) -> None:
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque(maxlen=queue_events)
        self._wake = asyncio.Event()
        self._closed = False

    def push(self, event: Event) -> None:
        self._events.append(event)
        self._signal()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._on_close(self)
            self._signal()

    def _signal(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the listener with it
            self._loop.call_soon_threadsafe(self._wake.set)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._closed:
            self._wake.clear()
            with contextlib.suppress(IndexError):
                return self._events.popleft()
            await self._wake.wait()
        raise StopAsyncIteration
