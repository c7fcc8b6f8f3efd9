"""The texts of direct messages: answers to what somebody wrote, tests, codes. Pure."""

import functools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, assert_never
from uuid import UUID

from babel.dates import format_datetime, format_timedelta

from common.events import DirectMessageRequested, DirectPurpose, FlatFact, FlatTold, Language, PhoneClaim
from common.quiet_hours import zone_of
from sender.digest import LONGEST, LONGEST_TITLE, LONGEST_URL, Text, plain, plural, utf16_length
from sender.wording import WORDINGS

LONGEST_FACT: Final = 140
LONGEST_LABEL: Final = 40
LONGEST_DESCRIPTION: Final = 400
MOST_SEARCHES_NAMED: Final = 4

_VERDICTS: Final = {True: "✓", False: "✗", None: "?"}


def answer_text(
    request: DirectMessageRequested, language: Language, time_zone: str, public_url: str, message_id: UUID
) -> Text:
    """A message that somebody asked for, with a reference that only it has; never longer than Twilio takes."""
    reference = WORDINGS[language].reference.format(reference=message_id.hex[:10].upper())
    lines = _lines(request, language, time_zone, public_url)
    return Text(_fitted(lines, reference), reference, {request.notification_id: None}, {})


def code_text(claim: PhoneClaim, language: Language, time_zone: str, message_id: UUID) -> Text:
    """The code that proves a phone, on a line of its own, and until when it does."""
    until = claim.expires_at.astimezone(zone_of(time_zone)).strftime("%H:%M")
    words = WORDINGS[language]
    reference = words.reference.format(reference=message_id.hex[:10].upper())
    text = words.direct[DirectPurpose.CODE].format(code=claim.code, until=until)
    return Text(f"{text}\n{reference}", reference, {claim.claim_id: None}, {})


def direct_variables(text: Text) -> dict[str, str]:
    """What the template of a direct message is filled with: {{1}} by which it is found again."""
    return {"1": text.marker}


def _lines(  # noqa: PLR0911 - one for each purpose
    request: DirectMessageRequested, language: Language, time_zone: str, public_url: str
) -> list[str]:
    words = WORDINGS[language]
    said, flat = words.direct.get(request.purpose, ""), request.flat
    match request.purpose:
        case DirectPurpose.DETAILS if flat:
            return _details(flat, language)
        case DirectPurpose.WHY if flat:
            return _why(flat, language)
        case DirectPurpose.SAVED | DirectPurpose.DECLINED if flat:
            return [said.format(title=_title(flat, language), link=f"{public_url}/saved")]
        case DirectPurpose.PAUSED if request.until:
            return [said.format(until=moment(request.until, time_zone, language))]
        case DirectPurpose.PACE if request.interval_seconds is not None:
            return [_pace(request.interval_seconds, said, language)]
        case DirectPurpose.WHICH:
            choices = plural(words.found, request.choices or 0, language)
            example = " ".join(filter(None, (plain(request.command or "", LONGEST_LABEL), "1")))
            return [said.format(choices=choices, example=example)]
        case DirectPurpose.DETAILS | DirectPurpose.WHY | DirectPurpose.SAVED | DirectPurpose.DECLINED:
            return [words.direct[DirectPurpose.NOTHING_TOLD]]
        case (
            DirectPurpose.TEST
            | DirectPurpose.LINKED
            | DirectPurpose.STOPPED
            | DirectPurpose.STARTED
            | DirectPurpose.CODE
            | DirectPurpose.PAUSED
            | DirectPurpose.PACE
            | DirectPurpose.NOTHING_TOLD
            | DirectPurpose.HELP
        ):
            return [said]
        case _:
            assert_never(request.purpose)


def _details(flat: FlatTold, language: Language) -> list[str]:
    words = WORDINGS[language]
    description = plain(flat.description, LONGEST_DESCRIPTION)
    number = f" {flat.number}" if flat.number else ""
    return [
        _heading(flat, language),
        *(f"{_label(fact)}: {plain(fact.found, LONGEST_FACT)}" for fact in flat.facts),
        f"«{description}»" if description else "",
        flat.url if flat.url and len(flat.url) <= LONGEST_URL else "",
        "\n" + words.details_hint.format(number=number),
    ]


def _why(flat: FlatTold, language: Language) -> list[str]:
    words = WORDINGS[language]
    names = [name for name in (plain(each, LONGEST_LABEL) for each in flat.searches) if name]
    named = ", ".join(f"«{name}»" for name in names[:MOST_SEARCHES_NAMED])
    return [
        _heading(flat, language),
        f"{words.matches} {named}" if named else "",
        *(_verdict(fact, language) for fact in flat.facts),
    ]


def _verdict(fact: FlatFact, language: Language) -> str:
    found, wanted = plain(fact.found, LONGEST_FACT), plain(fact.wanted, LONGEST_FACT)
    asked = f" ({WORDINGS[language].wanted.format(wanted=wanted)})" if wanted else ""
    return f"{_VERDICTS[fact.fits]} {_label(fact)}: {found}{asked}"


def _heading(flat: FlatTold, language: Language) -> str:
    number = f"{flat.number}. " if flat.number else ""
    gone = "" if flat.offered else f" ({WORDINGS[language].gone})"
    return f"{number}*{_title(flat, language)}*{gone}"


def _title(flat: FlatTold, language: Language) -> str:
    return plain(flat.title, LONGEST_TITLE) or WORDINGS[language].flat


def _label(fact: FlatFact) -> str:
    return plain(fact.label, LONGEST_LABEL)


def _fitted(lines: Sequence[str], reference: str) -> str:
    """The first line and as many of the others as fit, in their order: what is too long is left out, not cut."""
    kept: list[str] = []
    for line in filter(None, lines):
        if utf16_length("\n".join([*kept, line, reference])) <= LONGEST:
            kept.append(line)
    return "\n".join([*kept, reference])


# --- times ----------------------------------------------------------------------------------------------------------


def moment(at: datetime, time_zone: str, language: Language) -> str:
    """`gio 3 dic, 10:12`, on the reader's clock."""
    return format_datetime(at, "EEE d MMM, HH:mm", tzinfo=zone_of(time_zone), locale=language.value)


@functools.cache
def _pace(interval_seconds: int, said: str, language: Language) -> str:
    if not interval_seconds:
        return WORDINGS[language].no_interval
    return said.format(
        interval=format_timedelta(timedelta(seconds=interval_seconds), threshold=1, locale=language.value)
    )
