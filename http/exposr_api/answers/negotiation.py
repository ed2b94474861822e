"""Whether a caller of `GET /metrics` wants JSON or Prometheus' text (RFC 9110, section 12.5.1)."""

from __future__ import annotations

PROMETHEUS_TYPES = ("application/openmetrics-text", "text/plain")


def prefers_prometheus(accept: str | None) -> bool:
    """True only when a Prometheus type is wanted more than JSON: a tie, `*/*` and a browser get JSON."""
    if not accept:
        return False
    weights = _weights(accept)
    return max(_weight(weights, kind) for kind in PROMETHEUS_TYPES) > _weight(weights, "application/json")


def _weights(accept: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = min(max(float(parameter[2:]), 0.0), 1.0)
                except ValueError:
                    weight = 0.0
        weights[media_type] = max(weight, weights.get(media_type, 0.0))
    return weights


def _weight(weights: dict[str, float], media_type: str) -> float:
    """The most specific entry counts."""
    family = media_type.split("/", 1)[0] + "/*"
    return next((weights[name] for name in (media_type, family, "*/*") if name in weights), 0.0)
