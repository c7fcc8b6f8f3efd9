"""Logs without phones, tokens or texts: JSON on stderr for machines, and readable lines in a file for people."""

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

import structlog
from concurrent_log_handler import ConcurrentRotatingFileHandler

PHONE: Final = re.compile(r"(?:\+|%2[Bb])\d(?:[ ().-]{0,2}\d){6,14}")
"""Anything like a phone number in international form, also as it stands in a URL."""

OUR_PACKAGES: Final = ("api", "common", "matcher", "sender", "status_webhook")
CHATTY: Final = ("aiokafka", "uvicorn.access", "faststream", "twilio")

FILE_BYTES: Final = 10_000_000
FILES_KEPT: Final = 5

Event = MutableMapping[str, Any]


def configure_logging(service: str, level: str, log_file: Path | None = None) -> None:
    """Send structlog and the standard library's logging to stderr and to `log_file`, with phone numbers masked.

    `level` is that of our own packages; what libraries say about their insides (DEBUG) is never logged, since nobody
    knows what stands in it.
    """
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
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    renderers: list[Any] = [structlog.processors.JSONRenderer(serializer=_masked_json)]
    if log_file:
        handlers.append(_opened(log_file))
        renderers.append(_readable)
    for handler, renderer in zip(handlers, renderers, strict=True):
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=processors,
                processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            )
        )
    root = logging.getLogger()
    root.handlers = handlers
    root.setLevel(max(logging.INFO, logging.getLevelName(level)))
    for ours in OUR_PACKAGES:
        logging.getLogger(ours).setLevel(level)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def mask(text: str) -> str:
    """The last net: what looks like a phone number is masked, whoever wrote it."""
    return PHONE.sub("+***", text)


def _opened(log_file: Path) -> logging.Handler:
    """A file that several processes may write and rotate; a line costs 50 µs, its lock included."""
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        return ConcurrentRotatingFileHandler(
            log_file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", chmod=0o640
        )
    except OSError as error:
        sys.exit(f"LOG_FILE: it cannot be written ({error.strerror}). Give a file in a folder of this user, or none.")


def _masked_json(event: object, **options: Any) -> str:  # noqa: ANN401 - what json.dumps takes
    return mask(json.dumps(event, **options))


def _readable(_logger: object, _method: str, event: Event) -> str:
    """`2026-11-22 18:03:11Z ERROR sender Twilio refused a message: 63015 … message_id=…`, then its traceback."""
    at, level, service = event.pop("timestamp"), event.pop("level").upper(), event.pop("service", "")
    said = str(event.pop("event"))
    if explanation := event.pop("explanation", None):
        code = event.pop("error_code", None)
        said = f"{said}: {code} {explanation}" if code else f"{said}: {explanation}"
    traceback = event.pop("exception", "")
    line = " ".join(filter(None, (at[:10], f"{at[11:19]}Z", level, service, said, _fields(event))))
    return mask("\n    ".join([_in_one_line(line), *traceback.splitlines()]))


def _fields(event: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in event.items() if value is not None)


def _value(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r"[\s\"=]", text) else text


def _in_one_line(text: str) -> str:
    """What is logged cannot end its line and begin one that nobody has logged."""
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)
