"""Which account at Twilio a command speaks to: that of the settings, else the one that the local system simulates."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from common.settings import TwilioAccount, load
from itarent.environment import SENDER
from itarent.local import running
from sender.twilio import Twilio

TIMEOUT_S: Final = 20.0


class Account(TwilioAccount):
    """Sending may be off: the account is needed all the same."""

    whatsapp_enabled: bool = True


def twilio_account() -> TwilioAccount:
    """The account of `.env` and the environment, else that of the system that runs here.

    A setting that is missing or wrong ends the process, with a line for each.
    """
    local = running()
    if local is None or not local.twilio_is_simulated:
        return load(Account)
    told = local.environment_of(SENDER)
    return Account.model_validate({name: told[name.upper()] for name in Account.model_fields if name.upper() in told})


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
