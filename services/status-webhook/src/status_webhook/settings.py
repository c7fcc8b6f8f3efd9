"""What the status webhook needs to know."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from common.settings import ServiceSettings


def _public_base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("Give an address such as https://hooks.example.org, without a query")
    return url.rstrip("/")


class Settings(ServiceSettings):
    """The account whose callbacks are taken, and the address at which Twilio finds them."""

    http_port: int = Field(default=8003, ge=0, le=65535)
    webhook_public_url: Annotated[str, AfterValidator(_public_base)] = Field(
        description="the address before /twilio/… as Twilio is told it: it is part of what Twilio signs"
    )
    whatsapp_api_token: SecretStr = Field(min_length=1, description="the account's auth token: Twilio signs with it")
    whatsapp_business_account_id: str = Field(min_length=1, description="the account's SID, AC…")
    whatsapp_webhook_verify_token: SecretStr | None = Field(
        default=None, description="when set, callbacks must also carry it as t=… in their address"
    )
