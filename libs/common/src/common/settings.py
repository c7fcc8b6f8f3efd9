"""Settings from the environment: checked when a service starts, each error naming the variable and the cure."""

import sys
from typing import NoReturn, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.topics import Topics

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class ServiceSettings(BaseSettings):
    """What every service needs to know."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    kafka_bootstrap_servers: str = Field(description="host:port, several separated by commas")
    kafka_namespace: str = Field(default="itarent", pattern=r"^[a-zA-Z0-9._-]+$", description="prefix of all topics")
    kafka_instance_id: str | None = Field(default=None, description="a stable name of this process: static membership")
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")
    http_host: str = "127.0.0.1"
    http_port: int = Field(ge=0, le=65535)

    @property
    def topics(self) -> Topics:
        return Topics.within(self.kafka_namespace)


def load(settings: type[SettingsT]) -> SettingsT:
    """The settings, or the end of the process with a line for each variable that is wrong."""
    try:
        return settings()
    except ValidationError as error:
        _refuse(settings, error)


def _refuse(settings: type[BaseSettings], error: ValidationError) -> NoReturn:
    for fault in error.errors(include_url=False, include_input=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        field = settings.model_fields.get(name)
        hint = f" ({field.description})" if field and field.description else ""
        print(f"{name.upper() or 'settings'}: {fault['msg']}{hint}", file=sys.stderr)  # noqa: T201 - no log yet
    sys.exit(2)
