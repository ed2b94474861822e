"""Every error the service raises on purpose, split by what the caller does next.

ExposrError
├── RetryLaterError      transient: the same call may succeed later (network, lock, busy source)
├── SkipItemError        this item is unusable (image, payload, path): record why, go on with the next
│   └── CutFileError     a file that ends too early: it may still be arriving
├── StopRunError         this run cannot go on, the service can (training failed, source out of quota)
└── OperatorError        a person must act: the message says what to do
    └── ConfigError      a wrong key or value in the configuration
"""

from __future__ import annotations


class ExposrError(Exception):
    """Base of all; the message names the thing, the value and the way out."""


class RetryLaterError(ExposrError):
    """Transient: try the same again later."""


class SkipItemError(ExposrError):
    """One item is unusable; the rest goes on. `code` is a short slug of the reason, for whoever decides by it."""

    def __init__(self, message: str, code: str = "unusable") -> None:
        super().__init__(message)
        self.code = code


class CutFileError(SkipItemError):
    """A file ends too early to be used; the rest of it may still arrive."""


class StopRunError(ExposrError):
    """The current run ends here; the service goes on."""


class OperatorError(ExposrError):
    """Nothing improves until a person acts."""


class ConfigError(OperatorError):
    """The configuration is wrong: names the key, the value and what is allowed."""
