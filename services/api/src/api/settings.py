"""What the api needs to know to start."""

from typing import Final

from pydantic import Field, SecretStr

from common.settings import BaseUrl, PostgresUrl, ServiceSettings, WhatsApp

SANDBOX_NUMBER: Final = "+14155238886"


class ApiSettings(WhatsApp, ServiceSettings):
    http_port: int = Field(default=8000, ge=0, le=65535, description="the api's port")
    database_url: PostgresUrl = Field(description="postgresql://role:password@host:5432/database, as the role api")
    public_url: BaseUrl = Field(description="where people reach the api, such as https://bot.example.org")
    jwt_secret: SecretStr = Field(description="signs access tokens: 32 random characters or more", min_length=32)
    link_signing_key: SecretStr = Field(
        description="random characters that sign the links in messages; the sender has the same", min_length=16
    )
    producer_key: SecretStr = Field(description="what producers of listings send as X-Api-Key", min_length=16)
    operator_key: SecretStr = Field(description="opens the watch page", min_length=16)

    @property
    def is_sandbox(self) -> bool:
        """Whether our number is Twilio's sandbox, which writes to those only who have joined it."""
        words = self.whatsapp_sandbox_join is not None
        return bool(self.whatsapp_number) and (words or self.whatsapp_number == SANDBOX_NUMBER)

    @property
    def hears_people(self) -> bool:
        """Whether what people write to our number reaches us."""
        return bool(self.whatsapp_number) and self.webhook_public_url is not None

    @property
    def served_over_tls(self) -> bool:
        return self.public_url.startswith("https://")
