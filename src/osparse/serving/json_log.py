"""Log lines as JSON objects, one a line on standard error; no line holds a text."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, the keys of ``extra={"said": {...}}``, and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, "said", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_config(*, quiet: bool) -> dict[str, Any]:
    """For :func:`logging.config.dictConfig`: uvicorn's own lines and the service's, all as JSON."""
    handler = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}
    logger = {"handlers": ["json"], "level": "WARNING" if quiet else "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "osparse.serving.json_log.JsonFormatter"}},
        "handlers": {"json": handler},
        "loggers": {"uvicorn": logger, "uvicorn.error": {"level": logger["level"]}, "osparse.serving": logger},
    }
