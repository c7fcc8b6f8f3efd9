"""The sender's settings."""

from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from common.prices import micros
from common.settings import BaseUrl, Digests, TwilioAccount, is_twilio, wrong
from sender.budget import Budget
from sender.pace import PACE


def _amount(amount: Decimal) -> Decimal:
    try:
        micros(amount)
    except (ValueError, ArithmeticError) as error:
        raise wrong("it is no amount of money", "Write it like 50 or 49.90, without the currency.") from error
    return amount


class Settings(TwilioAccount, Digests):
    database_url: SecretStr = Field(description="postgresql://role:password@host:5432/database, as the role sender")
    http_port: int = Field(default=8002, ge=0, le=65535, description="the sender's port for health and metrics")

    whatsapp_messages_per_second: float = Field(
        default=80.0, ge=0, description="messages a second over all replicas; 0 is without limit"
    )

    whatsapp_recipients_per_day: int = Field(
        default=250,
        ge=0,
        description="Meta's tier: to how many phones we may write first within 24 hours; 0 is without limit",
    )
    whatsapp_seconds_per_recipient: float = Field(
        default=PACE.total_seconds(),
        ge=0,
        le=3600,
        description="seconds that a phone is left alone for each message, but for short bursts; 0: it is not",
    )

    whatsapp_monthly_budget: Annotated[Decimal, AfterValidator(_amount)] | None = Field(
        default=None, description="the most that messages may cost in a month, in the price table's currency"
    )
    whatsapp_budget_reserve: Annotated[Decimal, AfterValidator(_amount)] | None = Field(
        default=None,
        description="beyond the budget, for codes and what people ask for; empty: a tenth of the budget",
    )

    public_url: BaseUrl = Field(description="where people reach the api, such as https://bot.example.org, for links")
    link_signing_key: SecretStr = Field(
        min_length=16, description="random characters that sign the links in messages; the api has the same"
    )

    sender_in_flight: int = Field(default=32, ge=1, le=200, description="calls to Twilio at once")
    sender_request_timeout_seconds: float = Field(default=10.0, gt=0, description="for the whole of a call to Twilio")
    sender_lease_seconds: float = Field(default=15.0, gt=0, description="after it a dead process's calls are in doubt")
    in_doubt_grace_seconds: float = Field(
        default=30.0, gt=0, description="seconds before a message that Twilio does not know counts as not sent"
    )

    @field_validator("in_doubt_grace_seconds")
    @classmethod
    def _outlasts_a_call(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds <= info.data.get("sender_request_timeout_seconds", 0):
            raise wrong(
                "a call that still runs could be taken for one that never was",
                "IN_DOUBT_GRACE_SECONDS must be longer than SENDER_REQUEST_TIMEOUT_SECONDS.",
                "SENDER_REQUEST_TIMEOUT_SECONDS",
            )
        return seconds

    @field_validator("whatsapp_api_url")
    @classmethod
    def _can_reach_the_webhook(cls, url: str, info: ValidationInfo) -> str:
        webhook = info.data.get("webhook_public_url")
        if webhook and is_twilio(url) and _is_private(urlsplit(webhook).hostname or ""):
            raise wrong(
                "Twilio itself is to call back an address of this machine or network, and refuses to (21609)",
                "Set WEBHOOK_PUBLIC_URL to an address that the Internet reaches, or leave it empty.",
                "WEBHOOK_PUBLIC_URL",
            )
        return url

    @property
    def recipients_per_day(self) -> int | None:
        """To how many phones we may write first within 24 hours; None: to as many as we like."""
        return self.whatsapp_recipients_per_day or None

    @property
    def budget(self) -> Budget:
        """What may be spent in a month."""
        limit, reserve = self.whatsapp_monthly_budget, self.whatsapp_budget_reserve
        return Budget.of(
            self.prices.currency,
            None if limit is None else micros(limit),
            None if reserve is None else micros(reserve),
        )


def _is_private(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))
