"""A limit on wrong keys in the sign-in form, for each address."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque

from utils.clock import Clock

MAX_TRIES = 5
WINDOW_SECONDS = 60.0
MAX_ADDRESSES = 4096
IPV6_NETWORK_BITS = 64  # one machine has all of these addresses


class Tries:
    """Remembers wrong tries of the last minute. Used on the event loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_seconds(self, address: str) -> float:
        """Until the next try is allowed; 0 when it is now."""
        tries = self._wrong.get(_who(address))
        if tries is None or len(tries) < MAX_TRIES:
            return 0.0
        return max(0.0, tries[0] + WINDOW_SECONDS - self._clock.monotonic())

    def note_wrong(self, address: str) -> None:
        who = _who(address)
        tries = self._wrong.pop(who, None) or deque(maxlen=MAX_TRIES)
        tries.append(self._clock.monotonic())
        self._wrong[who] = tries
        while len(self._wrong) > MAX_ADDRESSES:
            self._wrong.popitem(last=False)

    def forget(self, address: str) -> None:
        """After a right key."""
        self._wrong.pop(_who(address), None)


def _who(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, IPV6_NETWORK_BITS), strict=False))
    return str(parsed)
