"""The body of `/status`, which is asked for more often than anything in it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from exposr_api.answers.responses import encode_json


class StatusBody:
    """Encodes a status; what was encoded last is used again while all but the uptime is equal.

    Parts of a status are replaced when they change, never changed in place, so that comparing them costs little.
    """

    def __init__(self) -> None:
        self._facts: Mapping[str, Any] | None = None
        self._encoded = b""

    def encode(self, status: Mapping[str, Any]) -> bytes:
        """JSON, `uptime` first."""
        facts = dict(status)
        uptime = facts.pop("uptime")
        if facts != self._facts:
            self._facts, self._encoded = facts, encode_json(facts)[1:]
        return b'{"uptime":%s,%s' % (json.dumps(uptime).encode("ascii"), self._encoded)
