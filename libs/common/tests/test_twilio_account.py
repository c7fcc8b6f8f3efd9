"""The account at Twilio: whatever can be wrong with it is said by name, in plain words, and without a secret."""

import pytest

from common.settings import (
    Origin,
    ServiceSettings,
    SettingFault,
    SettingInForce,
    TwilioAccount,
    WhatsApp,
    faults_of,
    in_force,
    load,
)


class Settings(TwilioAccount, ServiceSettings):
    """A service that sends."""


class WithoutAccount(WhatsApp, ServiceSettings):
    """A service that knows our number only."""


ACCOUNT, OTHER = "AC0f1e2d3c4b5a69788796a5b4c3d2e1f0", "AC11111111111111111111111111111111"
API_KEY = "SK0f1e2d3c4b5a69788796a5b4c3d2e1f0"
TOKEN = "9b3c5d7e1f2a4b6c8d0e9b3c5d7e1f2a"
VERIFY_TOKEN = "Zt4-vYb8QmR1_xWc7LpKd2Hn"
URL = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
GOOD = {
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "HTTP_PORT": "8000",
    "WHATSAPP_ENABLED": "true",
    "WHATSAPP_API_URL": URL,
    "WHATSAPP_API_TOKEN": TOKEN,
    "WHATSAPP_PHONE_NUMBER_ID": "whatsapp:+14155238886",
    "WHATSAPP_BUSINESS_ACCOUNT_ID": ACCOUNT,
}


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def faults(changes: dict[str, str]) -> list[SettingFault]:
    return faults_of(Settings, GOOD | changes)


def test_a_complete_account_is_in_order() -> None:
    assert faults({}) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WHATSAPP_ENABLED", "perhaps", "neither true nor false"),
        ("WHATSAPP_API_URL", "", "not set"),
        ("WHATSAPP_API_URL", URL.replace(ACCOUNT, "YOUR_ACCOUNT_SID"), "example value"),
        ("WHATSAPP_API_URL", URL.replace(ACCOUNT, "AC1234567890abcdef1234567890abcdef"), "example value"),
        ("WHATSAPP_API_URL", URL.replace(ACCOUNT, API_KEY), "API key"),
        ("WHATSAPP_API_URL", URL.replace("https", "http"), "unencrypted"),
        ("WHATSAPP_API_URL", URL.removesuffix("/Messages.json"), "not the address"),
        ("WHATSAPP_API_URL", URL + "?a=1", "not the address"),
        ("WHATSAPP_API_URL", f"'{URL}'", "quotation marks"),
        ("WHATSAPP_API_URL", "https://[", "not the address"),
        ("WHATSAPP_API_TOKEN", "", "not set"),
        ("WHATSAPP_API_TOKEN", "ваш_auth_token", "example value"),
        ("WHATSAPP_API_TOKEN", "abcdef1234567890abcdef1234567890", "example value"),
        ("WHATSAPP_API_TOKEN", "your_auth_token", "example value"),
        ("WHATSAPP_API_TOKEN", TOKEN[:-1], "31 characters"),
        ("WHATSAPP_API_TOKEN", API_KEY, "a SID and not the auth token"),
        ("WHATSAPP_API_TOKEN", f"“{TOKEN}”", "quotation marks"),
        ("WHATSAPP_API_TOKEN", f" {TOKEN}", "blanks"),
        ("WHATSAPP_API_TOKEN", f"{TOKEN[:8]}\u200b{TOKEN[8:]}", "invisible"),
        ("WHATSAPP_PHONE_NUMBER_ID", "", "not set"),
        ("WHATSAPP_PHONE_NUMBER_ID", "+14155238886", "lacks whatsapp:"),
        ("WHATSAPP_PHONE_NUMBER_ID", "whatsapp:14155238886", "international form"),
        ("WHATSAPP_PHONE_NUMBER_ID", "whatsapp:+1 415 523 8886", "international form"),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", "", "not set"),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", "ваш_account_sid", "example value"),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", API_KEY, "API key"),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", ACCOUNT[:-1], "not an Account SID"),
        ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", "too-short", "too short"),
        ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", "ваш_случайный_токен_32_символа", "example value"),
        ("WEBHOOK_PUBLIC_URL", "hooks.example.org", "not an address"),
        ("WEBHOOK_PUBLIC_URL", "https://hooks.example.org/?a=1", "not an address"),
        ("WEBHOOK_PUBLIC_URL", "https://my_hooks.example.org", "underscore"),
    ],
)
def test_a_setting_that_is_wrong_is_the_only_one_named(name: str, value: str, said: str) -> None:
    [fault] = faults({name: value})
    assert fault.names == (name,)
    assert said in fault.problem
    assert fault.cure.endswith(".")
    if "TOKEN" in name:
        assert not value or value.strip(" “”") not in str(fault)


def test_a_url_of_another_account_names_both_settings() -> None:
    [fault] = faults({"WHATSAPP_BUSINESS_ACCOUNT_ID": OTHER})
    assert set(fault.names) == {"WHATSAPP_API_URL", "WHATSAPP_BUSINESS_ACCOUNT_ID"}
    assert "AC0f1e…e1f0" in fault.problem
    assert "AC1111…1111" in fault.problem
    assert ACCOUNT not in str(fault)


def test_a_contradiction_is_told_beside_what_is_wrong_elsewhere() -> None:
    told = faults({"WHATSAPP_BUSINESS_ACCOUNT_ID": OTHER, "LOG_LEVEL": "LOUD", "KAFKA_BOOTSTRAP_SERVERS": ""})
    assert [fault.names[0] for fault in told] == [
        "KAFKA_BOOTSTRAP_SERVERS",
        "LOG_LEVEL",
        "WHATSAPP_BUSINESS_ACCOUNT_ID",
    ]


def test_a_simulator_is_spoken_to_over_http() -> None:
    assert faults({"WHATSAPP_API_URL": URL.replace("https://api.twilio.com", "http://127.0.0.1:4010")}) == []


def test_while_sending_is_off_the_account_may_be_missing_but_not_wrong() -> None:
    off = {name: "" for name in GOOD if name.startswith("WHATSAPP")} | {"WHATSAPP_ENABLED": "false"}
    assert faults(off) == []
    [fault] = faults(off | {"WHATSAPP_API_TOKEN": "ваш_auth_token"})
    assert fault.names == ("WHATSAPP_API_TOKEN",)


def test_a_service_that_does_not_call_twilio_needs_no_account() -> None:
    account = ("WHATSAPP_API_URL", "WHATSAPP_API_TOKEN", "WHATSAPP_BUSINESS_ACCOUNT_ID")
    assert faults_of(WithoutAccount, GOOD | dict.fromkeys(account, "")) == []


def test_the_level_of_a_service_goes_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "WARNING,sender=DEBUG,status-webhook=ERROR")
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    settings = load(Settings)
    told = [settings.log_level_of(service) for service in ("sender", "status-webhook", "api")]
    assert told == ["DEBUG", "ERROR", "WARNING"]
    verbose = settings.model_copy(update={"debug_notifications": True})
    assert verbose.log_level_of("api") == "DEBUG"


# --- what is in force ------------------------------------------------------------------------------------------------


def shown(listed: list[SettingInForce]) -> dict[str, tuple[str, str]]:
    return {each.name: (each.shown, each.source.value) for each in listed}


def test_what_is_in_force_says_where_it_comes_from_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(".env", "w") as file:  # noqa: PTH123 - the working directory is where it is read
        file.writelines(f"{name}={value}\n" for name, value in GOOD.items())
        file.write(f"WHATSAPP_WEBHOOK_VERIFY_TOKEN={VERIFY_TOKEN}\n")
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    told = shown(in_force(Settings))
    assert told["LOG_LEVEL"] == ("ERROR", "environment")
    assert told["WHATSAPP_API_URL"] == (URL, ".env")
    assert told["WHATSAPP_API_TOKEN"] == ("*** (32 characters)", ".env")
    assert told["WHATSAPP_WEBHOOK_VERIFY_TOKEN"] == ("*** (24 characters)", ".env")
    assert told["WEBHOOK_PUBLIC_URL"] == ("not set", "default")
    assert told["KAFKA_NAMESPACE"] == ("itarent", "default")
    assert TOKEN not in str(told)
    assert VERIFY_TOKEN not in str(told)


def test_the_environment_of_a_local_system_is_told_apart_from_what_the_operator_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WHATSAPP_API_TOKEN", TOKEN)
    monkeypatch.setenv("KAFKA_NAMESPACE", "not-what-the-local-system-uses")
    told = shown(in_force(Settings, GOOD))
    assert told["WHATSAPP_API_TOKEN"][1] == Origin.ENVIRONMENT
    assert told["WHATSAPP_BUSINESS_ACCOUNT_ID"][1] == Origin.LOCAL
    assert told["KAFKA_NAMESPACE"] == ("itarent", "default")


def test_a_secret_in_the_wrong_variable_is_not_shown() -> None:
    told = shown(in_force(Settings, GOOD | {"WHATSAPP_BUSINESS_ACCOUNT_ID": TOKEN}))
    assert told["WHATSAPP_BUSINESS_ACCOUNT_ID"][0] == "*** (32 characters)"
    told = shown(in_force(Settings, GOOD | {"WHATSAPP_BUSINESS_ACCOUNT_ID": "your_account_sid"}))
    assert told["WHATSAPP_BUSINESS_ACCOUNT_ID"][0] == "*** (its example value)"


def test_the_password_in_an_address_is_not_shown() -> None:
    told = shown(in_force(Settings, GOOD | {"WEBHOOK_PUBLIC_URL": "https://user:hidden@hooks.example.org"}))
    assert told["WEBHOOK_PUBLIC_URL"][0] == "https://user:***@hooks.example.org"
