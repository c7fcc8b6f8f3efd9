"""What a local system keeps to itself, and what its processes are told."""

import stat
from pathlib import Path

import pytest

from itarent.credentials import Credentials
from itarent.environment import SERVICES, SIMULATOR, Addresses, environments, ports_named_by, simulates_twilio
from itarent.given import OneServerOnly, Servers, given_in

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


# --- what the operator has set ---------------------------------------------------------------------------------------

ACCOUNT = "AC" + "5f" * 16
REAL = {
    "WHATSAPP_API_URL": f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
    "WHATSAPP_API_TOKEN": "7e" * 16,
    "WHATSAPP_PHONE_NUMBER_ID": "whatsapp:+393335550100",
    "WHATSAPP_BUSINESS_ACCOUNT_ID": ACCOUNT,
}


def told_with(given: dict[str, str]) -> dict[str, dict[str, str]]:
    return environments(ADDRESSES, Credentials(), given)


def test_a_real_account_gets_nothing_that_was_drawn_for_the_simulator() -> None:
    assert not simulates_twilio(REAL)
    sender = told_with(REAL)["sender"]
    assert {name: sender[name] for name in REAL} == REAL
    assert not {"WEBHOOK_PUBLIC_URL", "WHATSAPP_WEBHOOK_VERIFY_TOKEN", "WHATSAPP_SANDBOX_JOIN"} & sender.keys()


@pytest.mark.parametrize("url", ["http://127.0.0.1:4011", "http://localhost:4011", "http://[::1]:4011"])
def test_the_simulator_stands_where_an_address_of_this_machine_says_for_that_account(url: str) -> None:
    given = REAL | {"WHATSAPP_API_URL": f"{url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"}
    assert simulates_twilio(given)
    assert ports_named_by(given) == {SIMULATOR: ("WHATSAPP_API_URL", 4011)}
    simulator = told_with(given)[SIMULATOR]
    assert (simulator["TWILIO_ACCOUNT_SID"], simulator["TWILIO_AUTH_TOKEN"]) == (ACCOUNT, REAL["WHATSAPP_API_TOKEN"])


def test_an_account_without_an_address_is_simulated_and_both_sides_agree() -> None:
    told = told_with({"WHATSAPP_BUSINESS_ACCOUNT_ID": ACCOUNT})
    assert told[SIMULATOR]["TWILIO_ACCOUNT_SID"] == ACCOUNT
    assert f"/Accounts/{ACCOUNT}/" in told["sender"]["WHATSAPP_API_URL"]


def test_a_number_of_ones_own_is_simulated_as_in_production() -> None:
    assert told_with({})[SIMULATOR]["TWILIO_SANDBOX"] == "true"
    own = told_with({"WHATSAPP_PHONE_NUMBER_ID": "whatsapp:+390236790001"})[SIMULATOR]
    assert (own["TWILIO_NUMBER"], own["TWILIO_SANDBOX"]) == ("+390236790001", "false")


def test_a_setting_reaches_the_services_that_name_it_and_no_other() -> None:
    told = told_with({"WHATSAPP_NOTIFICATION_INTERVAL_SECONDS": "60", "LOG_FILE": "/tmp/worker.log"})  # noqa: S108
    assert [name for name in SERVICES if "WHATSAPP_NOTIFICATION_INTERVAL_SECONDS" in told[name]] == ["api", "sender"]
    assert [name for name in SERVICES if "LOG_FILE" in told[name]] == ["matcher", "sender"]


def test_the_environment_goes_before_the_file_and_only_settings_are_taken(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=WARNING\nDEBUG_NOTIFICATIONS=true\nTWILIO_EDGE=sydney\nHTTP_PORT=1\n")
    given = given_in(tmp_path, {"LOG_LEVEL": "ERROR", "DATABASE_URL": "postgresql://stray@elsewhere/other"})
    log_file = str(tmp_path / "logs" / "whatsapp_worker.log")
    assert given.settings == {"LOG_LEVEL": "ERROR", "DEBUG_NOTIFICATIONS": "true", "LOG_FILE": log_file}
    assert given.servers is None


def test_servers_of_ones_own_are_used_when_both_are_named(tmp_path: Path) -> None:
    url = "postgresql://admin:secret@db.example/itarent"
    (tmp_path / ".env").write_text(f"KAFKA_BOOTSTRAP_SERVERS=kafka.example:9092\nDATABASE_URL={url}\n")
    assert given_in(tmp_path, {}).servers == Servers("kafka.example:9092", url)
    (tmp_path / ".env").write_text(f"DATABASE_URL={url}\n")
    with pytest.raises(OneServerOnly, match="KAFKA_BOOTSTRAP_SERVERS"):
        given_in(tmp_path, {})
