"""Logs: one JSON object a line, without phones, tokens or texts."""

import json
import logging
import re
from typing import Any, Final

import structlog

PHONE: Final = re.compile(r"(?:\+|%2[Bb])\d(?:[ ().-]{0,2}\d){6,14}")
"""Anything like a phone number in international form, also as it stands in a URL."""


def configure_logging(service: str, level: str) -> None:
    """Send structlog and the standard library's logging to stderr as JSON, with anything like a phone masked."""
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_masked_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("aiokafka", "uvicorn.access", "faststream", "twilio", "yoyo"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def mask(text: str) -> str:
    """The last net: what looks like a phone number is masked, whoever wrote it."""
    return PHONE.sub("+***", text)


def _masked_json(event: object, **options: Any) -> str:  # noqa: ANN401 - what json.dumps takes
    return mask(json.dumps(event, **options))
