"""The webhook as a process."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from common.topics import Topics
from local_servers.ports import free_port
from testkit.waiting import PATIENCE_S, eventually

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "WEBHOOK_PUBLIC_URL": "https://hooks.example.org",
    "WHATSAPP_API_TOKEN": "3f9c0c5a7d2b4e813f9c0c5a7d2b4e81",
    "WHATSAPP_BUSINESS_ACCOUNT_ID": "AC0123456789abcdef0123456789abcdef",
}
COMMAND = [sys.executable, "-m", "status_webhook"]


async def test_it_serves_until_it_is_told_to_stop(kafka: str, topics: Topics, tmp_path: Path) -> None:
    port = free_port()
    environment = ENVIRONMENT | {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "KAFKA_NAMESPACE": topics.listings.name.removesuffix(".listings.v1"),
        "HTTP_PORT": str(port),
    }
    with subprocess.Popen(COMMAND, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 - only this test runs, and the command is our own

        def serves() -> bool:
            try:
                return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").status == 200)
            except OSError:
                return False

        try:
            await eventually(serves)
        finally:
            process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, logged


@pytest.mark.parametrize("missing", ["WHATSAPP_API_TOKEN", "WHATSAPP_BUSINESS_ACCOUNT_ID", "KAFKA_BOOTSTRAP_SERVERS"])
def test_a_missing_setting_ends_it_with_the_variable_named(missing: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    process = subprocess.run(COMMAND, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert missing in process.stderr
    assert ENVIRONMENT["WHATSAPP_BUSINESS_ACCOUNT_ID"] not in process.stderr
