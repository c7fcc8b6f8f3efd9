"""What an error code of Twilio means for the person whose message it was."""

from typing import Final

from common.events import Language
from common.twilio_errors import MEANING_OF, Meaning, advice_of

_FOR_THE_RECIPIENT: Final = frozenset(
    {
        Meaning.NOT_JOINED_SANDBOX,
        Meaning.INVALID_NUMBER,
        Meaning.UNREACHABLE,
        Meaning.CARRIER_REFUSED,
        Meaning.OPTED_OUT,
        Meaning.OUTSIDE_WINDOW,
    }
)
"""Errors that the recipient can mend; the cure of the others is the operator's business."""


def meaning_of(error_code: int | None, language: Language = Language.ENGLISH) -> str | None:
    """A sentence or two about an error code, None where there is no error."""
    if error_code is None:
        return None
    advice = advice_of(error_code, language)
    return str(advice) if MEANING_OF.get(error_code) in _FOR_THE_RECIPIENT else advice.what
