"""Whatever is logged, and by whom, is one JSON object a line and shows no phone number."""

import json
import re
import subprocess
import sys
from pathlib import Path
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


# --- the readable file -----------------------------------------------------------------------------------------------


def written(code: str, folder: Path) -> list[str]:
    """What a process writes into its readable file."""
    program = PROGRAM.replace(
        '"INFO")', f'"INFO", __import__("pathlib").Path({str(folder / "logs" / "worker.log")!r}))'
    )
    subprocess.run([sys.executable, "-c", program + code], capture_output=True, text=True, check=True)
    return (folder / "logs" / "worker.log").read_text(encoding="utf-8").splitlines()


def test_a_readable_line_says_when_how_bad_who_and_what(tmp_path: Path) -> None:
    refused = (
        "log.error('Twilio refused a message', error_code=63015, explanation='Not joined.', message_id='m', sid=None)"
    )
    [line] = written(refused, tmp_path)
    moment, rest = line[:20], line[21:]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", moment)
    assert rest == "ERROR tests Twilio refused a message: 63015 Not joined. message_id=m"


def test_what_is_logged_cannot_forge_a_line(tmp_path: Path) -> None:
    [line] = written("log.info('a\\nb', name='x\\n2026-11-22 18:03:11Z ERROR forged')", tmp_path)
    assert line.endswith(r'INFO tests a b name="x\n2026-11-22 18:03:11Z ERROR forged"')


def test_a_traceback_follows_its_line(tmp_path: Path) -> None:
    first, *traceback = written(FAILING.format("log.exception('failed', ids=['a', 'b'])"), tmp_path)
    assert first.endswith("ERROR tests failed ids=a,b")
    assert traceback[-1] == "    ValueError: no route to whatsapp:+***"


def test_libraries_do_not_tell_their_insides_to_a_verbose_log() -> None:
    verbose = (
        "configure_logging('tests', 'DEBUG'); logging.getLogger('common.kafka').debug('ours'); foreign.debug('theirs')"
    )
    assert [line["event"] for line in logged(verbose)] == ["ours"]


def test_processes_share_the_file_and_no_line_is_torn_or_lost(tmp_path: Path) -> None:
    file = tmp_path / "worker.log"
    code = f"""
import sys, structlog, pathlib
from common.telemetry import configure_logging
configure_logging(sys.argv[1], "INFO", pathlib.Path({str(file)!r}))
for number in range(500):
    structlog.get_logger().info("line", number=number, padding="x" * 200)
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, name], stderr=subprocess.DEVNULL) for name in "abc"]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    lines = file.read_text().splitlines()
    assert all(line.endswith("x" * 200) for line in lines)
    assert len({re.sub(r"^\S+ \S+ ", "", line) for line in lines}) == len(lines) == 1500


def test_a_file_that_cannot_be_written_ends_the_process_with_the_variable_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    code = f"""
import pathlib
from common.telemetry import configure_logging
configure_logging("tests", "INFO", pathlib.Path({str(tmp_path / "taken" / "worker.log")!r}))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith("LOG_FILE: ")
    assert "Traceback" not in process.stderr
