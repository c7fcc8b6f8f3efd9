"""What an error code of Twilio means for the person who reads it."""

from collections.abc import Mapping
from typing import Final

_MEANINGS: Final[Mapping[int, str]] = {
    20003: "Twilio did not accept our credentials.",
    20429: "Twilio was asked too often; the message is tried again.",
    21211: "This is not a number that can be written to.",
    21408: "Messages to this country are not enabled in our account.",
    21606: "Our sender number is not set up for WhatsApp.",
    21608: "A trial account writes to verified numbers only.",
    21610: "The recipient has opted out.",
    21611: "Our queue at Twilio was full; the message is tried again.",
    21612: "There is no way from our number to this one.",
    21614: "This is not a mobile number.",
    21617: "The text was longer than 1600 characters.",
    30003: "The phone could not be reached.",
    30005: "The number does not exist.",
    30008: "The message failed for a reason that is not known.",
    30036: "The message was too old to be useful when its turn came.",
    63001: "WhatsApp did not accept our sender.",
    63003: "This number has no WhatsApp account.",
    63007: "Our sender number is not registered with WhatsApp.",
    63010: "WhatsApp had a fault; the message is tried again.",
    63012: "WhatsApp had a fault; the message is tried again.",
    63013: "WhatsApp refused the content.",
    63014: "The recipient has blocked our number.",
    63015: "The recipient has not joined the sandbox: send `join` and the sandbox's words to our number first.",
    63016: "More than 24 hours have passed since the recipient last wrote: only a template can be sent.",
    63017: "Too many messages at once; the message is tried again.",
    63018: "WhatsApp's limit for our number is used up for now.",
    63021: "WhatsApp refused the content.",
    63024: "This number cannot receive WhatsApp messages.",
    63032: "WhatsApp does not let us write to this person.",
    63033: "The recipient has blocked our number.",
    63038: "The account's daily limit is used up.",
    63049: "WhatsApp chose not to deliver a marketing message.",
}


def meaning_of(error_code: int | None) -> str | None:
    """A sentence about an error code, None where there is no error."""
    if error_code is None:
        return None
    return _MEANINGS.get(error_code, f"Twilio's error {error_code}: see twilio.com/docs/api/errors/{error_code}.")
