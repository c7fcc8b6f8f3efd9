"""What the api needs to know to start."""

from pydantic import Field, SecretStr

from common.settings import ServiceSettings


class ApiSettings(ServiceSettings):
    http_port: int = Field(default=8000, ge=0, le=65535)
    database_url: str = Field(description="postgresql://api:password@host:port/database", pattern="^postgresql://")
    public_url: str = Field(
        description="where people reach the api, without a slash at the end", pattern=r"^https?://.*[^/]$"
    )
    jwt_secret: SecretStr = Field(description="signs access tokens, at least 32 characters", min_length=32)
    link_signing_key: SecretStr = Field(description="signs links in messages; the sender has the same", min_length=16)
    producer_key: SecretStr = Field(description="what producers of listings send as X-Api-Key", min_length=16)
    operator_key: SecretStr = Field(description="opens the watch page", min_length=16)
    whatsapp_phone_number_id: str = Field(
        description="our number: whatsapp:+14155238886", pattern=r"^whatsapp:\+[1-9]\d{6,14}$"
    )
    whatsapp_sandbox_join: str | None = Field(default=None, description="the words after `join`, for Twilio's sandbox")

    @property
    def whatsapp_number(self) -> str:
        """Our number, E.164."""
        return self.whatsapp_phone_number_id.removeprefix("whatsapp:")

    @property
    def served_over_tls(self) -> bool:
        return self.public_url.startswith("https://")
