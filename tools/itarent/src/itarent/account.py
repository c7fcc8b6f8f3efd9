"""Which account at Twilio a command speaks to: that of the settings, else the one that the local system sends with."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import typer

from common.settings import Origin, TwilioAccount, in_force, load
from itarent.environment import SENDER
from itarent.local import running
from sender.twilio import Twilio

TIMEOUT_S: Final = 20.0
URL: Final = "WHATSAPP_API_URL"


def twilio_account() -> TwilioAccount:
    """The account that the system which runs here sends with, unless the settings name another one.

    A setting that is missing or wrong ends the process, with a line for each.
    """
    local = running()
    told = local.environment_of(SENDER) if local else {}
    if told and _is_meant(told.get(URL, "")):
        given: dict[str, Any] = {
            name: told[name.upper()] for name in TwilioAccount.model_fields if told.get(name.upper())
        }
        return TwilioAccount(**given)
    account = load(TwilioAccount)
    if not account.has_account:  # which it need not while sending is off
        typer.echo("No account at Twilio is set: see .env.example, or start a system with `itarent up`.", err=True)
        raise typer.Exit(2)
    return account


def _is_meant(url: str) -> bool:
    """Whether `.env` and the environment name this account, or none."""
    [named] = [each for each in in_force(TwilioAccount) if each.name == URL]
    return named.source is Origin.DEFAULT or named.shown == url


@contextlib.asynccontextmanager
async def connected_to(account: TwilioAccount) -> AsyncIterator[Twilio]:
    """Twilio, as the sender speaks to it."""
    async with Twilio.connected(
        account.twilio_base_url,
        account.whatsapp_business_account_id,
        account.whatsapp_api_token.get_secret_value(),
        account.whatsapp_phone_number_id,
        timeout_s=TIMEOUT_S,
        in_flight=4,
    ) as twilio:
        yield twilio
