"""Settings: wrong ones end the process with the variables named, and nothing of what they hold."""

import pytest
from pydantic import Field, SecretStr

from common.settings import ServiceSettings, load


class Settings(ServiceSettings):
    api_token: SecretStr = Field(min_length=8, description="the account's auth token")
    interval_seconds: int = Field(default=1800, ge=0)


GOOD = {"KAFKA_BOOTSTRAP_SERVERS": "localhost:9092", "HTTP_PORT": "8000", "API_TOKEN": "a-long-secret"}


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in (field.upper() for field in Settings.model_fields):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def _no_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, GOOD | {"KAFKA_NAMESPACE": "staging"})
    settings = load(Settings)
    assert settings.topics.listings.name == "staging.listings.v1"
    assert "a-long-secret" not in repr(settings)


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, GOOD | {"KAFKA_INSTANCE_ID": "", "INTERVAL_SECONDS": ""})
    settings = load(Settings)
    assert (settings.kafka_instance_id, settings.interval_seconds) == (None, 1800)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PORT", "65536"),
        ("HTTP_PORT", "eight"),
        ("API_TOKEN", "5h0rt"),
        ("KAFKA_NAMESPACE", "a namespace"),
        ("LOG_LEVEL", "LOUD"),
        ("INTERVAL_SECONDS", "-17"),
    ],
)
def test_a_wrong_variable_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    set_environment(monkeypatch, GOOD | {variable: value})
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{variable}: ")
    assert value not in said


def test_every_missing_variable_is_named_with_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_environment(monkeypatch, {})
    with pytest.raises(SystemExit):
        load(Settings)
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["KAFKA_BOOTSTRAP_SERVERS", "HTTP_PORT", "API_TOKEN"]
    assert said[-1] == "API_TOKEN: it is not set. What belongs there: the account's auth token."
