"""`itarent settings` says what is in force, where it comes from and what is wrong, and shows no secret."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from itarent.cli import app
from itarent.environment import SERVICES, SETTINGS

ACCOUNT = "AC0f1e2d3c4b5a69788796a5b4c3d2e1f0"
TOKEN = "9b3c5d7e1f2a4b6c8d0e9b3c5d7e1f2a"
FILLED_IN = {
    "WHATSAPP_API_URL": f"http://127.0.0.1:4010/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
    "WHATSAPP_API_TOKEN": TOKEN,
    "WHATSAPP_BUSINESS_ACCOUNT_ID": ACCOUNT,
}


@pytest.fixture(autouse=True)
def _a_folder_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITARENT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    for settings in SETTINGS.values():
        for name in settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)


def write(values: dict[str, str]) -> None:
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["settings", *arguments])
    return result.exit_code, result.output


def as_json(*arguments: str) -> tuple[int, dict[str, Any]]:
    status, said = run("--json", *arguments)
    return status, json.loads(said)


def test_what_a_local_system_draws_is_enough_without_a_file() -> None:
    status, told = as_json()
    assert (status, told["ok"]) == (0, True)
    assert set(told["services"]) == set(SERVICES)


def test_every_value_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    write(FILLED_IN | {"LOG_LEVEL": "WARNING"})
    monkeypatch.setenv("LOG_LEVEL", "INFO,sender=DEBUG")
    status, told = as_json("--service", "sender")
    sources = {each["name"]: each["source"] for each in told["services"]["sender"]["settings"]}
    assert status == 0
    assert sources["LOG_LEVEL"] == "environment"
    assert sources["WHATSAPP_API_URL"] == ".env"
    assert sources["LINK_SIGNING_KEY"] == "the local system"
    assert sources["SENDER_IN_FLIGHT"] == "default"


def test_what_is_wrong_is_told_with_its_cure_and_an_exit_status() -> None:
    write(FILLED_IN | {"WHATSAPP_BUSINESS_ACCOUNT_ID": "AC" + "1" * 32})
    status, said = run()
    assert status == 1
    assert "✗ WHATSAPP_BUSINESS_ACCOUNT_ID, WHATSAPP_API_URL (sender, status-webhook)" in said
    assert "Both must be the Account SID of your Twilio console." in said


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_secret_is_shown(form: list[str]) -> None:
    verify_token = "Zt4-vYb8QmR1_xWc7LpKd2Hn"
    write(FILLED_IN | {"WHATSAPP_WEBHOOK_VERIFY_TOKEN": verify_token, "JWT_SECRET": "s" * 40})
    status, said = run(*form)
    assert status == 0
    assert "*** (32 characters)" in said
    assert [secret for secret in (TOKEN, verify_token, "s" * 40) if secret in said] == []


def test_services_on_a_kafka_of_the_operators_get_nothing_drawn() -> None:
    write({"KAFKA_BOOTSTRAP_SERVERS": "kafka.example.org:9092", "WHATSAPP_ENABLED": "false"})
    status, told = as_json("--service", "matcher")
    assert status == 1
    assert [fault["names"] for fault in told["services"]["matcher"]["faults"]] == [["DATABASE_URL"]]


def test_a_service_that_does_not_exist_is_refused() -> None:
    status, said = run("--service", "postman")
    assert status == 2
    assert "postman" in said
