"""The sender's settings."""

from datetime import timedelta
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from common.settings import ServiceSettings

ACCOUNT_SID = r"^AC[0-9a-f]{32}$"


class Settings(ServiceSettings):
    database_url: SecretStr = Field(description="PostgreSQL, with the role of the sender")
    http_port: int = Field(default=8002, ge=0, le=65535)

    whatsapp_enabled: bool = Field(default=True, description="false: everything runs and nothing is sent")
    whatsapp_api_url: str = Field(
        pattern=r"^https?://[^/]+/2010-04-01/Accounts/AC[0-9a-f]{32}/Messages\.json$",
        description="https://api.twilio.com/2010-04-01/Accounts/<account SID>/Messages.json",
    )
    whatsapp_api_token: SecretStr = Field(min_length=1, description="Twilio's auth token")
    whatsapp_phone_number_id: str = Field(
        pattern=r"^whatsapp:\+[1-9]\d{6,14}$", description="the sender: whatsapp:+14155238886 is the sandbox"
    )
    whatsapp_business_account_id: str = Field(pattern=ACCOUNT_SID, description="Twilio's account SID: AC and 32 digits")
    whatsapp_template_sid: str | None = Field(
        default=None, pattern=r"^HX[0-9a-f]{32}$", description="ContentSid of the template for outside the window"
    )
    whatsapp_notification_interval_seconds: int = Field(default=1800, ge=0, description="between two digests of a user")
    whatsapp_messages_per_second: float = Field(default=80.0, ge=0, description="over all replicas; 0: no limit")
    debug_notifications: bool = Field(default=False, description="no intervals, verbose logs")

    webhook_public_url: str = Field(pattern=r"^https?://[^\s?#]+[^\s?#/]$", description="base URL of the webhook")
    whatsapp_webhook_verify_token: SecretStr | None = Field(
        default=None, description="when set, callbacks carry it as t=… in their address, as the webhook then demands"
    )
    public_url: str = Field(pattern=r"^https?://[^\s?#]+[^\s?#/]$", description="base URL of the api, for links")
    link_signing_key: SecretStr = Field(min_length=16)

    sender_in_flight: int = Field(default=32, ge=1, le=200, description="calls to Twilio at once")
    sender_request_timeout_seconds: float = Field(default=10.0, gt=0, description="for the whole of a call to Twilio")
    sender_lease_seconds: float = Field(default=15.0, gt=0, description="after it a dead process's calls are in doubt")
    in_doubt_grace_seconds: float = Field(default=30.0, gt=0, description="before a missing message counts as not sent")

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        account = urlsplit(self.whatsapp_api_url).path.split("/")[3]
        if account != self.whatsapp_business_account_id:
            raise ValueError(
                "WHATSAPP_API_URL and WHATSAPP_BUSINESS_ACCOUNT_ID name different accounts: "
                "the part after /Accounts/ must be the account SID"
            )
        return self

    @model_validator(mode="after")
    def _call_ends_within_lease(self) -> Self:
        if self.sender_request_timeout_seconds >= self.in_doubt_grace_seconds:
            raise ValueError(
                "SENDER_REQUEST_TIMEOUT_SECONDS must be below IN_DOUBT_GRACE_SECONDS: "
                "a call that still runs could be taken for one that never was"
            )
        return self

    @property
    def interval(self) -> timedelta:
        """Between two digests of a user who has not chosen another."""
        return timedelta(seconds=0 if self.debug_notifications else self.whatsapp_notification_interval_seconds)

    @property
    def twilio_base_url(self) -> str:
        parts = urlsplit(self.whatsapp_api_url)
        return f"{parts.scheme}://{parts.netloc}"
