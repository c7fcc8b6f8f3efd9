"""What provisioning needs to know. Only it knows the administrator's password."""

from collections.abc import Mapping

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.topics import Topics


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    kafka_bootstrap_servers: str = Field(description="host:port, several separated by commas")
    kafka_namespace: str = Field(default="itarent", pattern=r"^[a-zA-Z0-9._-]+$", description="prefix of all topics")
    postgres_admin_url: SecretStr = Field(
        description="postgresql://…, the services' database, with a role that may create roles and schemas"
    )
    api_database_password: SecretStr = Field(min_length=1, description="of the role api, as its DATABASE_URL has it")
    matcher_database_password: SecretStr = Field(min_length=1, description="of the role matcher")
    sender_database_password: SecretStr = Field(min_length=1, description="of the role sender")
    audit_database_password: SecretStr | None = Field(
        default=None, description="of the role audit, which reads what the audit needs; without it there is none"
    )

    @property
    def topics(self) -> Topics:
        return Topics.within(self.kafka_namespace)

    @property
    def passwords(self) -> Mapping[str, str]:
        """By role, which is also the schema and the package of a service."""
        return {
            "api": self.api_database_password.get_secret_value(),
            "matcher": self.matcher_database_password.get_secret_value(),
            "sender": self.sender_database_password.get_secret_value(),
        }
