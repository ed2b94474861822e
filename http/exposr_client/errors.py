"""Every error of the client, split by what the caller does next. In each case the model that runs goes on running.

ExposrClientError
├── TrainerUnavailable         the trainer cannot be reached or does not answer properly: try later
│   └── UnexpectedAnswerError  something answered that is not an Exposr Trainer: check the URL when it lasts
├── VersionGoneError           the trainer no longer has this version: check() again
├── NoModelError               there is no model yet, neither published nor in the cache
├── AuthError                  the API key is missing or refused: an operator must act
├── TrustError                 what was offered is refused
│   ├── SignatureError         the pointer is malformed or not signed by the pinned key
│   │   └── KeyChangedError    the pointer is signed by another key than the pinned one
│   ├── RollbackError          an older pointer than one already seen was replayed
│   ├── ExpiredError           the pointer's validity is over: newer ones may be held back
│   └── IntegrityError         bytes differ from the signed size or sha256
├── ReportRefusedError         a report about a picture is not taken; `code` says why
├── CacheError                 the cache folder cannot be used (full, not writable)
├── FollowerStopped            stop() was called: the follower no longer talks to the trainer
└── DetectorError
    ├── MissingLibraryError    torch, timm, pillow or numpy is not installed: the message has the pip command
    ├── LoadError              a version cannot be loaded, or does not compute what its card promises
    └── ImageError             a picture cannot be read
"""

from __future__ import annotations


class ExposrClientError(Exception):
    """Base of all; the message names the thing, the value and the way out."""


class TrainerUnavailable(ExposrClientError):
    """The trainer cannot be reached or does not answer properly; try later."""

    retry_after_seconds: float | None = None  # what the trainer asked for


class UnexpectedAnswerError(TrainerUnavailable):
    """The answer is not one that an Exposr Trainer gives."""


class VersionGoneError(ExposrClientError):
    """The trainer no longer serves this version."""


class NoModelError(ExposrClientError):
    """There is no model yet."""


class AuthError(ExposrClientError):
    """The API key is missing or refused."""


class TrustError(ExposrClientError):
    """What was offered is refused; nothing of it is used."""


class SignatureError(TrustError):
    """The pointer is malformed or its signature is not the pinned key's."""


class KeyChangedError(SignatureError):
    """The pointer names another key than the pinned one."""


class RollbackError(TrustError):
    """An older pointer than one already seen, or a second one with the same serial."""


class ExpiredError(TrustError):
    """The pointer is no longer valid."""


class IntegrityError(TrustError):
    """Bytes differ from what was signed."""


class ReportRefusedError(ExposrClientError):
    """The trainer does not take this report; sending it again changes nothing. `code` is the trainer's word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class CacheError(ExposrClientError):
    """The cache folder cannot be used."""


class FollowerStopped(ExposrClientError):
    """stop() was called."""


class DetectorError(ExposrClientError):
    """Base of what loading and predicting can raise."""


class MissingLibraryError(DetectorError):
    """A library that only the detector needs is not installed."""


class LoadError(DetectorError):
    """A version cannot be loaded, or does not compute what its card promises."""


class ImageError(DetectorError):
    """A picture cannot be read, or is larger than allowed."""
