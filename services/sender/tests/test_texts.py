"""What a message says: one line per flat, honest counts, Twilio's limit, in three languages."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.events import (
    DirectMessageRequested,
    DirectPurpose,
    Disposition,
    FlatFact,
    FlatTold,
    Language,
    MatchedSearch,
    NotificationRequested,
    PhoneClaim,
    Reason,
    card_of,
)
from common.listing import Appraisal, ListingFlag, Offering, PropertyType, Rent, RentUnit, Signal, SpeseTerm
from common.search import Criterion
from sender.answers import answer_text, code_text
from sender.digest import LONGEST, digest_text, money, plain, ranked, template_variables, utf16_length
from sender.fold import fold
from sender.templates import Purpose, templates, value_fault
from sender.wording import WORDINGS
from testkit.factories import FLAT_ID, NOW, make_listing, make_notification, monthly

from .conftest import direct_for

LINK = "https://bot.example/m/IjBhN2MwZjhlNTJmNDRjMGI5YTBlM2QxZjViNmM3ZDAxIg.aSGYRQ.abc"
FLATS = [uuid4() for _ in range(3)]

hostile = st.text(max_size=500) | st.sampled_from(
    ["*_~`" * 100, "🏠" * 200, "\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}\n\n> x", "ж" * 500]
)


def searches(*alerts: bool, unknown: tuple[Criterion, ...] = ()) -> tuple[MatchedSearch, ...]:
    return tuple(
        MatchedSearch(subscription_id=uuid4(), revision=1, name="Bilocale a Milano", alert=alert, unknown=unknown)
        for alert in alerts
    )


events = st.builds(
    lambda flat, reason, alert, rent, version: make_notification(
        make_listing(listing_id=f"casa.it:{flat}", version=version, rent=monthly(rent)),
        notification_id=uuid4(),
        flat_id=flat,
        reason=reason,
        searches=searches(alert),
        previous_rent_cents=150_000 if reason is Reason.PRICE_DROP else None,
    ),
    st.sampled_from(FLATS),
    st.sampled_from(Reason),
    st.booleans(),
    st.integers(1, 3000),
    st.integers(0, 5),
)


@given(st.lists(events, max_size=12), st.frozensets(st.sampled_from(FLATS)))
def test_every_notification_is_told_in_one_line_or_settled_with_a_reason(
    waiting: list[NotificationRequested], told: frozenset[object]
) -> None:
    folded = fold(waiting, told)  # type: ignore[arg-type] # ids of flats
    ids = [each for entry in folded.entries for each in entry.notification_ids]
    ids += [each.notification_id for each in folded.settled]
    assert sorted(ids) == sorted(event.notification_id for event in waiting)
    assert len(folded.entries) <= len({event.flat_id for event in waiting})
    for settled in folded.settled:
        assert settled.disposition is Disposition.SUPPRESSED
        assert settled.detail in {"not_asked_for", "withdrawn", "returned"}


def test_a_flat_that_waits_is_shown_as_it_is_now() -> None:
    new = make_notification()
    drop = make_notification(
        make_listing(version=2, rent=monthly(990)), reason=Reason.PRICE_DROP, previous_rent_cents=110_000
    )
    [entry] = fold([new, drop], frozenset()).entries
    assert entry.card.rent == monthly(990)
    assert entry.notification_ids == (new.notification_id, drop.notification_id)
    assert "era 1.100 €" in digest_text([entry], Language.ITALIAN, LINK).body


@pytest.mark.parametrize(
    ("told", "alert", "line", "reasons"),
    [
        (False, True, 0, {"withdrawn"}),
        (True, True, 1, {"withdrawn"}),
        (True, False, 0, {"withdrawn", "not_asked_for"}),
    ],
)
def test_a_withdrawal_is_told_only_to_who_knows_of_the_flat_and_asked(
    told: bool, alert: bool, line: int, reasons: set[str]
) -> None:
    drop = make_notification(make_listing(version=2), reason=Reason.PRICE_DROP)
    gone = make_notification(make_listing(version=3), reason=Reason.WITHDRAWN, searches=searches(alert))
    folded = fold([drop, gone], frozenset({FLAT_ID}) if told else frozenset())
    assert len(folded.entries) == line
    assert {each.detail for each in folded.settled} == reasons


def test_what_waits_about_an_advertisement_goes_with_the_flat_that_it_is_of_by_now() -> None:
    before, of_another = make_notification(), make_notification(make_listing(listing_id="casa.it:1"))
    gone = make_notification(make_listing(version=2), reason=Reason.WITHDRAWN, flat_id=uuid4())
    folded = fold([before, of_another, gone], frozenset())
    assert [entry.card.listing_id for entry in folded.entries] == ["casa.it:1"]
    assert [each.notification_id for each in folded.settled] == [before.notification_id, gone.notification_id]


def test_a_flat_that_was_away_for_a_moment_is_shown_once_as_new() -> None:
    new = make_notification()
    gone = make_notification(make_listing(version=2), reason=Reason.WITHDRAWN)
    back = make_notification(make_listing(version=3), reason=Reason.RETURNED)
    folded = fold([new, gone, back], frozenset())
    [entry] = folded.entries
    assert entry.reason is Reason.NEW
    assert [(each.notification_id, each.detail) for each in folded.settled] == [(gone.notification_id, "returned")]


# --- the text -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(Language), st.lists(st.tuples(hostile, hostile, st.integers(0, 1900)), min_size=1, max_size=40))
def test_a_digest_is_never_too_long_and_counts_everything(
    language: Language, flats: list[tuple[str, str, int]]
) -> None:
    waiting = [
        make_notification(
            notification_id=uuid4(),
            flat_id=uuid4(),
            searches=(
                MatchedSearch(subscription_id=uuid4(), revision=1, name=name[:120] or "x", unknown=tuple(Criterion)),
            ),
            card=card_of(make_listing()).model_copy(
                update={
                    "listing_id": f"casa.it:{number}",
                    "title": title,
                    "zone": name[:200],
                    "url": f"https://a.example/{'x' * length}",
                    "flags": tuple(ListingFlag),
                    "signals": tuple(Signal),
                }
            ),
        )
        for number, (title, name, length) in enumerate(flats)
    ]
    text = digest_text(ranked(fold(waiting, frozenset()).entries), language, LINK)
    assert utf16_length(text.body) <= LONGEST
    assert text.body.count(LINK) == 1
    assert len(text.shown) >= 1
    assert sorted([*text.shown, *text.grouped]) == sorted(event.notification_id for event in waiting)
    if text.grouped:
        assert f"{len(waiting)}" in text.body.splitlines()[-1]
        assert f"{len(text.grouped)}" in text.body.splitlines()[-1]


@given(st.sampled_from(Language), st.lists(hostile, min_size=1, max_size=40))
def test_what_fills_a_template_is_never_empty_of_several_lines_or_too_long(
    language: Language, names: list[str]
) -> None:
    waiting = [
        make_notification(
            notification_id=uuid4(),
            flat_id=uuid4(),
            card=card_of(make_listing(listing_id=f"casa.it:{number}")),
            searches=(MatchedSearch(subscription_id=uuid4(), revision=1, name=name or "x"),),
        )
        for number, name in enumerate(names)
    ]
    declared = templates()[Purpose.DIGEST, language].variables
    filled = template_variables(ranked(fold(waiting, frozenset()).entries), language, LINK)
    assert set(filled) == set(declared)
    assert [value_fault(declared[name], value) for name, value in filled.items()] == [None] * len(filled)


@given(hostile)
def test_a_foreign_text_is_one_line_without_formatting(text: str) -> None:
    shown = plain(text, 70)
    assert utf16_length(shown) <= 70
    assert not set(shown) & set("*_~`<>\n\r\N{ZERO WIDTH SPACE}\N{RIGHT-TO-LEFT OVERRIDE}")


@pytest.mark.parametrize(
    ("rent", "spese_cents", "line"),
    [
        (monthly(1100), 120_00, "1.100 €/mese + 120 € spese"),
        (monthly(1100), None, "1.100 €/mese + spese"),
        (monthly(1100, spese=SpeseTerm.INCLUDED), 120_00, "1.100 €/mese, spese incluse"),
        (monthly(1100, spese=SpeseTerm.UNKNOWN), None, "1.100 €/mese (spese non indicate)"),
        (
            Rent(amount_cents=1250, per=RentUnit.SQUARE_METRE_MONTH, spese=SpeseTerm.INCLUDED),
            None,
            "12,50 €/m² al mese",
        ),
        (Rent(amount_cents=1_200_000, per=RentUnit.YEAR), 5050, "12.000 €/anno + 50,50 € spese"),
        (None, 100, "canone non indicato"),
    ],
)
def test_a_price_says_what_it_is_counted_per_and_what_is_in_it(
    rent: Rent | None, spese_cents: int | None, line: str
) -> None:
    event = make_notification(make_listing(rent=rent, spese_cents=spese_cents))
    assert line in digest_text(fold([event], frozenset()).entries, Language.ITALIAN, LINK).body


@pytest.mark.parametrize(
    ("n", "language", "words"),
    [
        (1, Language.RUSSIAN, "1 объявление"),
        (3, Language.RUSSIAN, "3 объявления"),
        (5, Language.RUSSIAN, "5 объявлений"),
        (21, Language.RUSSIAN, "21 объявление"),
        (2, Language.ITALIAN, "2 annunci"),
        (1, Language.ENGLISH, "1 listing"),
    ],
)
def test_counts_follow_the_languages_plurals(n: int, language: Language, words: str) -> None:
    listings = [make_listing(listing_id=f"casa.it:{number}") for number in range(n)]
    waiting = [make_notification(listing, notification_id=uuid4(), flat_id=uuid4()) for listing in listings]
    entries = fold(waiting, frozenset()).entries
    assert digest_text(entries, language, LINK).body.startswith(f"*{words}*")
    assert template_variables(entries, language, LINK) == {"1": words, "2": "Bilocale a Milano", "3": LINK}


def test_price_drops_are_counted_at_the_top_and_marked_each() -> None:
    drops = [
        make_notification(
            make_listing(listing_id=f"casa.it:{n}", rent=monthly(990)),
            notification_id=uuid4(),
            flat_id=uuid4(),
            reason=Reason.PRICE_DROP,
            previous_rent_cents=110_000,
        )
        for n in range(2)
    ]
    text = digest_text(fold([*drops, make_notification()], frozenset()).entries, Language.ITALIAN, LINK)
    assert text.body.splitlines()[0] == "*3 annunci* · 2 ribassati · Bilocale a Milano"
    assert text.body.count("*↓ era 1.100 €*") == 2


def test_what_is_unknown_or_doubtful_is_said_and_comes_last() -> None:
    doubtful = make_notification(
        make_listing(listing_id="casa.it:1", title="Dubbio", flags=(ListingFlag.RENT_IMPLAUSIBLY_LOW,)),
        notification_id=uuid4(),
        flat_id=uuid4(),
        searches=searches(True, unknown=(Criterion.FURNISHING, Criterion.ENERGY_CLASS)),
    )
    text = digest_text(ranked(fold([doubtful, make_notification()], frozenset()).entries), Language.ITALIAN, LINK)
    assert "2. *Dubbio*" in text.body
    assert "Non indicato: arredo, classe energetica · Da verificare: canone molto basso" in text.body


@pytest.mark.parametrize("language", Language)
def test_a_rent_out_of_its_zone_is_told_with_the_source_of_the_zones_rents(language: Language) -> None:
    cheap = make_listing(appraisal=Appraisal(signals=(Signal.RENT_FAR_BELOW_ZONE,)))
    text = digest_text(fold([make_notification(cheap)], frozenset()).entries, language, LINK)
    assert "Agenzia Entrate" in text.body
    assert "OMI, 2018" in text.body


@pytest.mark.parametrize("language", Language)
def test_every_language_has_words_for_everything(language: Language) -> None:
    words = WORDINGS[language]
    assert set(words.criteria) == set(Criterion)
    assert set(words.signals) == set(Signal)
    assert set(words.property_types) == set(PropertyType) - {PropertyType.OTHER}
    assert Offering.ROOM in words.offerings


# --- answers --------------------------------------------------------------------------------------------------------

FLAT = FlatTold(
    notification_id=uuid4(),
    number=2,
    listing_id="casa.it:1",
    title="Bilocale in viale Abruzzi 48",
    url="https://casa.it/1",
    searches=("Bilocale a Milano", "Vicino al lavoro"),
    facts=(
        FlatFact(label="Canone", found="1.100 €", wanted="fino a 1.200 €"),
        FlatFact(label="Piano", found="non indicato", wanted="dal 2", fits=None),
        FlatFact(label="Arredo", found="non arredato", wanted="arredato", fits=False),
    ),
    description="Luminoso bilocale ristrutturato.",
)


def asked(purpose: DirectPurpose, **fields: Any) -> DirectMessageRequested:
    """With everything that any purpose needs."""
    defaults = {"flat": FLAT, "until": NOW, "interval_seconds": 7200, "choices": 3, "command": "SALVA"}
    return direct_for(uuid4(), purpose, **(defaults | fields))


def answer(purpose: DirectPurpose, language: Language = Language.ITALIAN, **fields: Any) -> str:
    """The text without its last line, the reference."""
    text = answer_text(asked(purpose, **fields), language, "Europe/Rome", "https://bot.example", uuid4())
    return text.body.removesuffix(text.marker).strip()


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("purpose", sorted(set(DirectPurpose) - {DirectPurpose.CODE}))
def test_every_answer_has_words_a_reference_of_its_own_and_room_in_a_message(
    purpose: DirectPurpose, language: Language
) -> None:
    request, message_id = asked(purpose), uuid4()
    text = answer_text(request, language, "Europe/Rome", "https://bot.example", message_id)
    assert text.body.endswith(text.marker)
    assert message_id.hex[:10].upper() in text.marker
    assert len(text.body.splitlines()) > 1
    assert utf16_length(text.body) <= LONGEST
    assert not set(text.body) & set("{}")
    assert text.shown == {request.notification_id: None}


def test_details_are_laid_out_with_what_can_be_answered() -> None:
    assert answer(DirectPurpose.DETAILS).splitlines() == [
        "2. *Bilocale in viale Abruzzi 48*",
        "Canone: 1.100 €",
        "Piano: non indicato",
        "Arredo: non arredato",
        "«Luminoso bilocale ristrutturato.»",
        "https://casa.it/1",
        "",
        "Rispondi SALVA 2, NO 2 o PERCHÉ 2.",
    ]
    gone = answer(DirectPurpose.DETAILS, flat=FLAT.model_copy(update={"offered": False}))
    assert gone.startswith("2. *Bilocale in viale Abruzzi 48* (non più disponibile)")


def test_why_says_what_each_criterion_decided() -> None:
    assert answer(DirectPurpose.WHY, Language.ENGLISH).splitlines() == [
        "2. *Bilocale in viale Abruzzi 48*",
        "Matches «Bilocale a Milano», «Vicino al lavoro»",
        "✓ Canone: 1.100 € (wanted: fino a 1.200 €)",
        "? Piano: non indicato (wanted: dal 2)",
        "✗ Arredo: non arredato (wanted: arredato)",
    ]


@given(hostile, hostile, st.lists(st.tuples(hostile, hostile, hostile), max_size=25))
def test_an_answer_is_never_too_long_and_formats_nothing_foreign(
    title: str, description: str, facts: list[tuple[str, str, str]]
) -> None:
    flat = FLAT.model_copy(
        update={
            "title": title,
            "description": description,
            "facts": tuple(FlatFact(label=label[:100], found=found, wanted=wanted) for label, found, wanted in facts),
        }
    )
    for purpose in (DirectPurpose.DETAILS, DirectPurpose.WHY):
        text = answer_text(asked(purpose, flat=flat), Language.RUSSIAN, "Europe/Rome", "https://x.example", uuid4())
        assert utf16_length(text.body) <= LONGEST
        assert text.body.endswith(text.marker)
        assert text.body.count("*") == 2


@pytest.mark.parametrize(
    ("language", "seconds", "said"),
    [
        (Language.ITALIAN, 1800, "al massimo un messaggio in 30 minuti"),
        (Language.ENGLISH, 3600, "at most one message in 1 hour"),
        (Language.RUSSIAN, 7200, "не чаще одного сообщения за 2 часа"),
        (Language.RUSSIAN, 28800, "не чаще одного сообщения за 8 часов"),
        (Language.ENGLISH, 0, "each listing comes at once"),
    ],
)
def test_a_pace_is_said_in_the_languages_own_plural(language: Language, seconds: int, said: str) -> None:
    assert said in answer(DirectPurpose.PACE, language, interval_seconds=seconds)


def test_a_pause_ends_on_the_readers_clock() -> None:
    until = datetime(2026, 12, 3, 9, 12, tzinfo=UTC)
    assert "fino a gio 3 dic, 10:12." in answer(DirectPurpose.PAUSED, until=until)
    assert "until Thu 3 Dec, 10:12." in answer(DirectPurpose.PAUSED, Language.ENGLISH, until=until)
    assert "Пауза до: чт 3 дек., 10:12." in answer(DirectPurpose.PAUSED, Language.RUSSIAN, until=until)


def test_which_one_is_meant_is_asked_with_an_example() -> None:
    assert "ha 3 annunci" in answer(DirectPurpose.WHICH)
    assert "*SALVA 1*" in answer(DirectPurpose.WHICH)
    assert "*1*" in answer(DirectPurpose.WHICH, command=None)


def test_a_code_stands_on_a_line_of_its_own() -> None:
    claim = PhoneClaim(claim_id=uuid4(), phone="+393335550101", code="BCDFGH", expires_at=NOW)
    assert "*BCDFGH*" in code_text(claim, Language.ITALIAN, "Europe/Rome", uuid4()).body.splitlines()


def test_money_is_written_as_the_language_writes_it() -> None:
    assert [money(123_450, language) for language in Language] == ["1.234,50 €", "€1,234.50", "1 234,50 €"]
