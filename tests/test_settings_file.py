"""`.env.example` is what an operator copies: it names every setting there is, and works once it is filled in."""

import re
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic_settings import BaseSettings

from api.settings import ApiSettings
from common.settings import SettingFault, faults_of
from matcher.settings import Settings as MatcherSettings
from sender.settings import Settings as SenderSettings
from status_webhook.settings import Settings as WebhookSettings

SERVICES: tuple[type[BaseSettings], ...] = (ApiSettings, MatcherSettings, SenderSettings, WebhookSettings)
OPERATORS_OWN = (
    "WHATSAPP_ENABLED",
    "WHATSAPP_API_URL",
    "WHATSAPP_API_TOKEN",
    "WHATSAPP_PHONE_NUMBER_ID",
    "WHATSAPP_BUSINESS_ACCOUNT_ID",
    "WHATSAPP_WEBHOOK_VERIFY_TOKEN",
    "DEBUG_NOTIFICATIONS",
    "WHATSAPP_NOTIFICATION_INTERVAL_SECONDS",
)
ACCOUNT = "AC0f1e2d3c4b5a69788796a5b4c3d2e1f0"
DRAWN = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "DATABASE_URL": "postgresql://role:secret@127.0.0.1:5432/itarent",
    "PUBLIC_URL": "http://127.0.0.1:8000",
    "JWT_SECRET": "j" * 32,
    "LINK_SIGNING_KEY": "l" * 32,
    "PRODUCER_KEY": "p" * 32,
    "OPERATOR_KEY": "o" * 32,
}
"""What a local system draws for itself."""

VARIABLE = re.compile(r"^(# )?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)


@pytest.fixture
def example(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The file's text, in a place where nothing else is set."""
    monkeypatch.chdir(tmp_path)
    for settings in SERVICES:
        for name in settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
    return (pytestconfig.rootpath / ".env.example").read_text(encoding="utf-8")


def values_in(text: str) -> dict[str, str]:
    Path("copied.env").write_text(text, encoding="utf-8")
    return {name: value or "" for name, value in dotenv_values("copied.env").items()}


def faults_with(values: dict[str, str]) -> list[SettingFault]:
    return [fault for settings in SERVICES for fault in faults_of(settings, values)]


def test_the_example_names_every_setting_there_is_and_no_other(example: str) -> None:
    named = [name for _, name, _ in VARIABLE.findall(example)]
    assert set(named) == {field.upper() for settings in SERVICES for field in settings.model_fields}
    assert len(named) == len(set(named))
    assert tuple(named[: len(OPERATORS_OWN)]) == OPERATORS_OWN


def test_a_comment_stands_before_every_setting_of_the_example(example: str) -> None:
    lines = example.splitlines()
    for number, line in enumerate(lines):
        if (setting := VARIABLE.match(line)) and not VARIABLE.match(lines[number - 1]):
            assert re.match(r"# \S", lines[number - 1]), setting[2]


def test_what_is_left_at_its_example_value_is_refused_by_name(example: str) -> None:
    as_it_is = faults_with(DRAWN | values_in(example))
    assert {name for fault in as_it_is for name in fault.names} == {
        "WHATSAPP_API_URL",
        "WHATSAPP_API_TOKEN",
        "WHATSAPP_BUSINESS_ACCOUNT_ID",
    }
    assert all("example value" in fault.problem for fault in as_it_is)


def test_every_secret_of_the_example_must_be_replaced(example: str) -> None:
    secrets = {
        field.upper()
        for settings in SERVICES
        for field, info in settings.model_fields.items()
        if "SecretStr" in str(info.annotation) or field == "database_url"
    }
    uncommented = VARIABLE.sub(r"\2=\3", example)
    refused = {name for fault in faults_with(values_in(uncommented)) for name in fault.names}
    assert secrets <= refused


def test_the_example_works_once_it_is_filled_in(example: str) -> None:
    filled_in = example.replace("YOUR_ACCOUNT_SID", ACCOUNT).replace("your_account_sid", ACCOUNT)
    filled_in = filled_in.replace("your_auth_token", "9b3c5d7e1f2a4b6c8d0e9b3c5d7e1f2a")
    assert faults_with(DRAWN | values_in(filled_in)) == []


def test_what_the_example_offers_without_setting_it_can_be_used(
    example: str, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pytestconfig.rootpath)  # paths begin at the project
    offered = {name: value for _, name, value in VARIABLE.findall(example) if "your_" not in value.lower()}
    assert {name for fault in faults_with(offered) for name in fault.names} & offered.keys() == set()


@pytest.mark.parametrize("settings", SERVICES)
def test_every_setting_says_what_it_is(settings: type[BaseSettings]) -> None:
    assert [name for name, field in settings.model_fields.items() if not field.description] == []
