"""Why a candidate was not stored: the words, what the verdict depends on, and what an operator can do about it.

A verdict that comes from settings, limits or this program's version is no verdict about the picture. It is kept with
the *basis* it was made on (`Bases`), and asked again as soon as that basis is another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from utils.config.sources import Source
from utils.config_loader import Config
from utils.images.decoding.kinds import KINDS
from utils.version import VERSION

BasisName = Literal["hosts", "file_size", "pixels", "decoding", "creators", "generators"]


@dataclass(frozen=True, slots=True)
class Reason:
    """`remedy` may name `{source}`; empty where nothing can or should be done."""

    message: str
    depends_on: BasisName | None = None
    remedy: str = ""


HOSTS = "add its host to sources.{source}.image_hosts, if it is the source's own"
PIXELS = "change intake.min_side, intake.max_side or intake.max_megapixels"
LATER = "nothing; a later run tries again"

REASONS: dict[str, Reason] = {
    # guards
    "host_not_allowed": Reason("comes from a host that is not on the source's list", "hosts", HOSTS),
    "not_https": Reason("would be fetched without https", "hosts", HOSTS),
    "bad_url": Reason("has a web address that cannot be read", "hosts"),
    "private_address": Reason(
        "comes from a host with a private address", "hosts", "look at the DNS (or the proxy) of this machine"
    ),
    "redirects": Reason("is redirected too often", "hosts"),
    "opt_out": Reason("has an opt-out from AI training in its server's headers"),
    "tombstone": Reason("was deleted at a person's request"),
    # what it is
    "too_large": Reason("is a larger file than allowed", "file_size", "raise sources.{source}.max_image_mb"),
    "too_small": Reason("is smaller than intake.min_side", "pixels", PIXELS),
    "too_many_pixels": Reason("has more pixels than allowed", "pixels", PIXELS),
    "animation": Reason("is an animation", "decoding"),
    "gif": Reason("is a GIF", "decoding"),
    "svg": Reason("is a drawing (SVG)", "decoding"),
    "video": Reason("is a video", "decoding"),
    "html": Reason("is a web page, not a picture", "decoding"),
    "json": Reason("is JSON, not a picture", "decoding"),
    "empty": Reason("is empty", "decoding"),
    "not_an_image": Reason("is not a picture of a supported format", "decoding"),
    "decode": Reason("cannot be decoded", "decoding"),
    "memory": Reason("needs too much memory to decode", "decoding", "raise intake.check_memory_mb"),
    "check_timeout": Reason("takes too long to decode", "decoding", "raise intake.check_timeout_seconds"),
    "content_encoding": Reason("is sent with a content coding that was not asked for", "decoding"),
    # left out by a rule
    "creator_cap": Reason(
        "exceeds the limit of pictures by one person", "creators", "raise sources.{source}.max_per_creator"
    ),
    "generator_share": Reason(
        "is by a generator that has reached its share", "generators", "raise harvest.max_generator_share"
    ),
    "unreadable": Reason("has a payload that cannot be read"),
    "no_id": Reason("has no id"),
    "no_url": Reason("has no web address"),
    "license": Reason("has a licence that does not allow the use"),
    "rating": Reason("is not rated as safe"),
    "not_a_photo": Reason("is not a photograph"),
    "not_a_still": Reason("is not a still picture"),
    "no_evidence": Reason("has no evidence of a generator"),
    "no_camera": Reason("has no camera data"),
    "generated": Reason("is generated, by its categories"),
    "modified": Reason("is a changed photograph, by its categories"),
    "label": Reason("has an unknown label", remedy="map it in sources.{source}.map, for example 1=ai_generated"),
    "mapping": Reason("has two different labels", remedy="map one of them in sources.{source}.map"),
    "file_type": Reason("is of a file type that is not used"),
    "watermarked": Reason("is watermarked"),
    "sponsored": Reason("is an advertisement"),
    "render": Reason("is a render"),
    "not_asked_for": Reason("is older or smaller than requested"),
    # failures that pass
    "check": Reason("could not be checked", remedy=LATER),
    "disk": Reason("could not be stored on the disk", remedy="look at the disk"),
    "cut_body": Reason("was truncated during the download", remedy=LATER),
    "wrong_length": Reason("has another length than announced", remedy=LATER),
    "too_slow": Reason("was downloaded too slowly", remedy=LATER),
    "deadline": Reason("took too long to download", remedy=LATER),
    "timeout": Reason("its server stopped responding", remedy=LATER),
    "connect": Reason("its server cannot be reached", remedy="look at the network of this machine"),
    "dns": Reason("its server's name cannot be resolved", remedy="look at the DNS of this machine"),
    "proxy": Reason("the proxy refuses it", remedy="look at HTTPS_PROXY and at the proxy"),
}


def explain(code: str) -> str:
    """The reason in words; the code itself where it says enough (`http_404`)."""
    known = REASONS.get(code)
    return known.message if known else code


def remedy_for(code: str, source: str) -> str:
    known = REASONS.get(code)
    return known.remedy.format(source=source) if known else ""


@dataclass(frozen=True, slots=True)
class Bases:
    """What verdicts of one source depend on in this run, as short fingerprints by name."""

    of: Mapping[str, str]

    @classmethod
    def now(cls, config: Config, settings: Source, **options: Any) -> Bases:
        """`options`: what else a run was told (a smallest side)."""
        intake = config.intake
        facts: dict[BasisName, Any] = {
            "hosts": [settings.base_url, settings.image_hosts, settings.domains, VERSION],
            "file_size": [settings.max_image_mb, intake.max_file_mb],
            "pixels": [intake.min_side, intake.max_side, intake.max_megapixels, options.get("min_side")],
            "decoding": [sorted(KINDS), VERSION, intake.check_memory_mb, intake.check_timeout_seconds],
            "creators": [settings.max_per_creator],
            "generators": [config.harvest.max_generator_share],
        }
        return cls({name: f"{name}:{_fingerprint(value)}" for name, value in facts.items()})

    def for_code(self, code: str) -> str:
        """The basis of a verdict; empty for one that stands whatever is set."""
        known = REASONS.get(code)
        return self.of[known.depends_on] if known and known.depends_on else ""

    def current(self) -> tuple[str, ...]:
        return tuple(self.of.values())


def _fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
