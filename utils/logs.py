"""Logs for an operator: one line an event, stable event names, key=value, to stderr.

    log = get_logger(__name__)
    log.info("scrape_finished", source="pexels", stored=41)

Under systemd each line starts with `<N>`, so that the journal keeps its level; elsewhere with the time.
Secrets and query strings of source URLs never go into a field.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import structlog

SYSLOG_LEVELS = {"critical": 2, "error": 3, "exception": 3, "warning": 4, "info": 6, "debug": 7}
QUIET_LIBRARIES = ("httpx", "httpcore", "schedule", "PIL", "uvicorn.access", "matplotlib", "urllib3", "filelock")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def under_journal() -> bool:
    """True when stderr goes to systemd's journal."""
    return "JOURNAL_STREAM" in os.environ


def _prefix_level(logger: Any, method: str, line: str) -> str:
    return f"<{SYSLOG_LEVELS.get(method, 6)}>{line}"


def configure_logging(level: str = "info", *, to_journal: bool | None = None) -> None:
    """Send our events and the libraries' records to stderr in one form. Safe to call again (a reload)."""
    journal = under_journal() if to_journal is None else to_journal
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.format_exc_info,
    ]
    if not journal:
        shared.append(structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    render: structlog.typing.Processor = structlog.processors.LogfmtRenderer(
        key_order=["timestamp", "level", "event"], drop_missing=True, bool_as_flag=False
    )

    def render_line(logger: Any, method: str, event: structlog.typing.EventDict) -> str:
        line = str(render(logger, method, event))
        return _prefix_level(logger, str(event.get("level", method)), line) if journal else line

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render_line],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
