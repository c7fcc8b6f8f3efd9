"""Whatever is logged, and by whom, is one JSON object a line and shows no phone number."""

import json
import subprocess
import sys
from typing import Any

import pytest

from common.telemetry import mask

PROGRAM = """
import logging, structlog
from common.telemetry import configure_logging

configure_logging("tests", "INFO")
log, foreign = structlog.get_logger(), logging.getLogger("a.library")
log.debug("too quiet to be heard")
"""

FAILING = """
def call():
    raise ValueError("no route to whatsapp:+393335550101")
try:
    call()
except ValueError as error:
    {}
"""


def logged(code: str) -> list[dict[str, Any]]:
    """What a process logs, which has nothing else to do."""
    process = subprocess.run([sys.executable, "-c", PROGRAM + code], capture_output=True, text=True, check=True)
    assert process.stdout == ""
    return [json.loads(line) for line in process.stderr.splitlines()]


@pytest.mark.parametrize(
    "code",
    [
        "log.info('sent to +393335550101')",
        "log.info('sent', to='whatsapp:+393335550101')",
        "log.info('sent', to=['+393335550101', {'+393335550101': 1}])",
        "log.info('sent', error=ValueError('+393335550101'))",
        "log.info('è+393335550101')",
        "foreign.warning('sent to %s', '+393335550101')",
        "foreign.warning({'to': '+393335550101'})",
        FAILING.format("log.exception('failed')"),
        FAILING.format("log.error('failed', exc_info=error)"),
        FAILING.format("foreign.exception('failed')"),
    ],
)
def test_no_phone_number_is_logged(code: str) -> None:
    [line] = logged(code)
    assert "5550101" not in json.dumps(line)
    assert "+***" in json.dumps(line)


def test_a_line_says_when_who_and_how_bad() -> None:
    [line] = logged("log.warning('kafka is away', topic='listings')")
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "kafka is away", "level": "warning", "service": "tests", "topic": "listings"}


def test_a_traceback_stays_readable() -> None:
    for line in logged(FAILING.format("log.exception('a')") + FAILING.format("foreign.exception('b')")):
        assert "ValueError: no route to whatsapp:+***" in line["exception"]
        assert "in call" in line["exception"]


def test_chatty_libraries_are_quiet() -> None:
    assert logged("logging.getLogger('aiokafka.conn').info('connected'); foreign.debug('x')") == []


@pytest.mark.parametrize(
    "phone",
    ["+393335550101", "+39 333 555 0101", "+39-333-5550101", "+1 (415) 523-8886", "%2B393335550101", "%2b39333555010"],
)
def test_a_phone_number_is_masked_however_it_is_written(phone: str) -> None:
    assert mask(f"a{phone}b") == "a+***b"


@pytest.mark.parametrize(
    "text",
    ["2026-11-20T09:30:00+00:00", "1 + 1 = 2", "+39", "rooms+1", "104512377", "8c5f0a52-3f0e-4f0a-9c39-0d8a2d1b7e11"],
)
def test_what_is_no_phone_number_is_left_alone(text: str) -> None:
    assert mask(text) == text
