"""What the api needs to know to start."""

from typing import Final

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from common.settings import BaseUrl, ComparesRents, Digests, PostgresUrl, Sharded, WhatsApp, wrong

SANDBOX_NUMBER: Final = "+14155238886"

SECURE_URL = r"^(https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/])"
"""Who can change what comes from there can sign in as anybody: without TLS it has to come from this machine."""


class ApiSettings(WhatsApp, Digests, Sharded, ComparesRents):
    http_port: int = Field(default=8000, ge=0, le=65535, description="the api's port")
    database_url: PostgresUrl = Field(description="postgresql://role:password@host:5432/database, as the role api")
    public_url: BaseUrl = Field(description="where people reach the api, such as https://bot.example.org")
    jwt_secret: SecretStr = Field(description="signs access tokens: 32 random characters or more", min_length=32)
    link_signing_key: SecretStr = Field(
        description="random characters that sign the links in messages; the sender has the same", min_length=16
    )
    producer_key: SecretStr = Field(description="what producers of listings send as X-Api-Key", min_length=16)
    operator_key: SecretStr = Field(description="opens the watch page", min_length=16)

    forwarded_allow_ips: str = Field(
        default="127.0.0.1",
        description="proxies whose X-Forwarded-For is believed: addresses and networks, separated by commas. Without "
        "them everybody behind a proxy shares its limits; `*` lets anybody claim any address",
    )
    oidc_issuer: str | None = Field(
        default=None,
        pattern=SECURE_URL,
        description="an external issuer whose tokens sign in as well, as it stands in their `iss`: https://…",
    )
    oidc_audience: str | None = Field(default=None, min_length=1, description="what its tokens for us have in `aud`")
    oidc_jwks_url: str | None = Field(
        default=None, pattern=SECURE_URL, validate_default=True, description="where it publishes its keys, over https"
    )

    @field_validator("oidc_jwks_url")
    @classmethod
    def _completes_the_issuer(cls, url: str | None, info: ValidationInfo) -> str | None:
        values = {"OIDC_ISSUER": info.data.get("oidc_issuer"), "OIDC_AUDIENCE": info.data.get("oidc_audience")}
        missing = [name for name, value in {**values, "OIDC_JWKS_URL": url}.items() if value is None]
        if 0 < len(missing) <= len(values):
            raise wrong(
                f"an external issuer is set in part: {' and '.join(missing)} missing",
                "Set OIDC_ISSUER, OIDC_AUDIENCE and OIDC_JWKS_URL, or none of them.",
                *values,
            )
        return url

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
