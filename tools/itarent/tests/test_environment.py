"""What a local system keeps to itself, and what its processes are told."""

import stat
from pathlib import Path

import pytest

from itarent.credentials import Credentials
from itarent.environment import SERVICES, SIMULATOR, Addresses, environments

ADDRESSES = Addresses(
    kafka="127.0.0.1:9092",
    postgres="postgresql://postgres:admin@127.0.0.1:5432/itarent",
    ports={SIMULATOR: 4010, "api": 8000, "matcher": 8001, "sender": 8002, "status-webhook": 8003},
)


def test_secrets_are_drawn_once_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    drawn = Credentials.kept_in(tmp_path)
    assert Credentials.kept_in(tmp_path) == drawn
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600


def test_nothing_stray_of_the_callers_environment_reaches_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("WHATSAPP_WEBHOOK_VERIFY_TOKEN", "stray")
    told = environments(ADDRESSES, Credentials())
    assert set(told) == {SIMULATOR, *SERVICES}
    assert not any("TWILIO_EDGE" in env or "stray" in env.values() for env in told.values())


def test_every_address_that_twilio_is_given_carries_the_token_that_the_webhook_demands() -> None:
    told = environments(ADDRESSES, Credentials())
    demanded = told["status-webhook"]["WHATSAPP_WEBHOOK_VERIFY_TOKEN"]
    assert told["sender"]["WHATSAPP_WEBHOOK_VERIFY_TOKEN"] == demanded
    assert told[SIMULATOR]["INBOUND_WEBHOOK_URL"].endswith(f"/twilio/inbound?t={demanded}")


def test_no_service_is_told_the_database_administrators_password() -> None:
    told = environments(ADDRESSES, Credentials())
    assert not any("postgres:admin" in value for env in told.values() for value in env.values())


def test_the_account_in_the_address_of_twilio_is_the_account_of_the_settings() -> None:
    sender = environments(ADDRESSES, Credentials())["sender"]
    assert f"/Accounts/{sender['WHATSAPP_BUSINESS_ACCOUNT_ID']}/Messages.json" in sender["WHATSAPP_API_URL"]
