"""What the status webhook needs to know."""

from pydantic import Field

from common.settings import ServiceSettings, TwilioAccount


class Settings(TwilioAccount, ServiceSettings):
    """The account whose callbacks are taken, and the address at which Twilio finds them.

    Without WEBHOOK_PUBLIC_URL the service runs and answers every callback with 503: no signature can be checked.
    """

    needed_to_send = frozenset({"whatsapp_api_token", "whatsapp_business_account_id"})

    http_port: int = Field(default=8003, ge=0, le=65535, description="the status webhook's port")
