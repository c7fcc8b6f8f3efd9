"""Ledgers that are right, and forged ones: whatever is missing, added or changed is found."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from common.events import Disposition, Reason, notification_id_of
from common.listing import Listing, ListingStatus
from common.search import Alert, RentLimit, Subscription
from itarent.audit.balance import Auditor, Balance, Fault
from itarent.audit.facts import LONG_AGO, Effect, ListingVersion, Origin, Requested, Row, Told
from itarent.audit.replay import turns
from itarent.audit.run import without_effect
from itarent.audit.searches import Saved, Searches
from itarent.audit.sources import Published
from testkit.factories import FLAT_ID, USER_ID, make_listing, make_search, make_subscription, monthly

LISTING = make_listing()
CHEAPER = make_listing(version=2, rent=monthly(900))
GONE = make_listing(version=3, status=ListingStatus.WITHDRAWN)
SAVED = make_subscription()


def _row(listing: Listing = LISTING, reason: Reason = Reason.NEW, user_id: UUID = USER_ID) -> Row:
    return Row(
        notification_id=notification_id_of(FLAT_ID, user_id, reason, listing),
        user_id=user_id,
        flat_id=FLAT_ID,
        reason=reason,
        of=ListingVersion(listing.listing_id, listing.version),
        disposition=Disposition.WAITING,
        stage="waiting",
        status="waiting",
        as_template=False,
        recent=True,
    )


def _balance(
    rows: Iterable[Row],
    listings: Iterable[Listing] = (LISTING,),
    saved: Iterable[Subscription] = (SAVED,),
    *,
    told: Told | None = None,
    requested: Requested | None = None,
    position: int = 100,
    began_at: dt.datetime = LONG_AGO,
    in_flight: frozenset[ListingVersion] = frozenset(),
) -> Balance:
    searches = Searches(Saved(each.subscription_id, each, 0, offset) for offset, each in enumerate(saved))
    auditor = Auditor(searches, told or Told(), requested=requested or Requested(), in_flight=in_flight)
    effects = [
        (
            Effect(
                number,
                ListingVersion(listing.listing_id, listing.version),
                tombstone=False,
                flat_id=FLAT_ID,
                origin=Origin(0 if listing.listing_id == LISTING.listing_id else 1, number),
                position=(position,),
                began_at=began_at,
            ),
            listing,
        )
        for number, listing in enumerate(listings)
    ]
    auditor.audit(FLAT_ID, list(turns(effects)), rows)
    return auditor.balance


def _faults(balance: Balance) -> list[Fault]:
    assert balance.balanced is not bool(balance.problems)
    return [problem.fault for problem in balance.problems]


def test_a_right_ledger_balances_and_every_match_is_counted_once() -> None:
    other = make_subscription(subscription_id=uuid4(), user_id=uuid4())
    rows = [
        _row(),
        _row(user_id=other.user_id),
        _row(CHEAPER, Reason.PRICE_DROP),
        _row(CHEAPER, Reason.PRICE_DROP, other.user_id),
        _row(GONE, Reason.WITHDRAWN),
        _row(GONE, Reason.WITHDRAWN, other.user_id),
    ]
    balance = _balance(rows, [LISTING, CHEAPER, GONE], [SAVED, other])
    assert balance.balanced
    assert (balance.matches, balance.by_disposition) == (6, {"waiting": 6})


def test_two_searches_of_a_user_are_two_matches_and_one_row() -> None:
    balance = _balance([_row()], saved=[SAVED, make_subscription(subscription_id=uuid4())])
    assert balance.balanced
    assert (balance.matches, balance.by_disposition) == (2, {"waiting": 2})


def test_what_was_known_and_what_is_not_wanted_needs_no_row() -> None:
    shy = make_subscription(alerts=frozenset({Alert.NEW}))
    again = make_listing(version=2, title="The same")
    balance = _balance([_row()], [LISTING, again, make_listing(version=3, rent=monthly(900))], [shy])
    assert balance.balanced
    assert balance.by_disposition == {"waiting": 1, "already_known": 1, "not_asked_for": 1}


def test_a_missing_row_is_found() -> None:
    balance = _balance([], saved=[SAVED, make_subscription(subscription_id=uuid4())])
    assert (balance.unaccounted, balance.matches) == (2, 2)
    (problem,) = balance.problems
    assert (problem.fault, problem.of, problem.user_id) == (
        Fault.NOT_IN_LEDGER,
        (LISTING.listing_id, LISTING.version),
        USER_ID,
    )


def test_a_row_that_the_sender_has_not_read_yet_is_pending() -> None:
    balance = _balance([], requested=Requested(unread={_row().notification_id}))
    assert balance.balanced
    assert balance.pending == 1


@pytest.mark.parametrize(
    "extra",
    [
        _row(user_id=uuid4()),  # of a user who has no search
        _row(reason=Reason.RETURNED),  # it was never away
        _row(reason=Reason.PRICE_DROP),  # it never cost more
        _row(make_listing(version=9), Reason.PRICE_DROP),  # of a version that never was
        replace(_row(), notification_id=uuid4()),  # the same again under another id
    ],
)
def test_an_extra_row_is_found(extra: Row) -> None:
    balance = _balance([_row(), extra])
    assert _faults(balance) == [Fault.NOT_JUSTIFIED]
    assert balance.unexpected == 1


def test_a_row_of_a_flat_without_versions_is_found() -> None:
    assert _faults(_balance([_row()], [])) == [Fault.NOT_JUSTIFIED]


def test_a_row_of_an_erased_user_needs_no_search_that_justifies_it_and_still_a_proof() -> None:
    erased = replace(_row(user_id=uuid4()), erased=True)
    assert _balance([_row(), erased]).balanced
    unproven = replace(erased, disposition=Disposition.SUPPRESSED, stage=None, status=None)
    assert _faults(_balance([_row(), unproven])) == [Fault.NOT_PROVEN]


def test_a_row_of_a_version_that_is_being_matched_is_no_fault() -> None:
    assert _balance([_row()], [], in_flight=frozenset({_row().of})).balanced


def test_a_row_is_justified_by_a_search_that_was_changed_before_the_version_was_matched_again() -> None:
    before = SAVED
    after = make_subscription(revision=2, search=make_search(rent=RentLimit(maximum_cents=100_00)))
    assert _balance([_row()], saved=[before, after]).balanced
    assert _faults(_balance([_row()], saved=[after])) == [Fault.NOT_JUSTIFIED]


def test_a_row_is_justified_by_an_order_of_two_portals_that_a_crash_has_undone() -> None:
    """Told: new, then cheaper. Then the matcher died, and the second portal's advertisement came first."""
    elsewhere = make_listing(listing_id="casa.it:1", source="casa.it", rent=monthly(900))
    noted = [elsewhere, LISTING, CHEAPER]
    first, then = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC), dt.datetime(2026, 11, 29, 13, tzinfo=dt.UTC)
    new, cheaper = _row(), replace(_row(CHEAPER, Reason.PRICE_DROP), received_at=first)

    assert _balance([new, cheaper], noted, began_at=then).balanced
    assert _faults(_balance([new, cheaper], noted, began_at=first)) == [Fault.NOT_JUSTIFIED]
    taken_late = replace(cheaper, received_at=then)  # its sender's database was away, too
    requested = Requested(at={cheaper.notification_id: first})
    assert _balance([new, taken_late], noted, began_at=then, requested=requested).balanced
    assert _faults(_balance([new, taken_late], noted, began_at=then)) == [Fault.NOT_JUSTIFIED]
    dearer = replace(_row(reason=Reason.PRICE_DROP), received_at=first)
    assert _faults(_balance([new, dearer], noted, began_at=then)) == [Fault.NOT_JUSTIFIED]


def _told(row: Row, *, shown: bool = True, settled: Disposition | None = None) -> Told:
    told = Told(in_messages={row.notification_id}, shown={row.notification_id} if shown else set())
    if settled:
        told.settled[row.notification_id].add(settled)
    return told


SHOWN = replace(_row(), disposition=Disposition.IN_MESSAGE, stage="taken", status="delivered")
GROUPED = replace(SHOWN, disposition=Disposition.GROUPED)
FAILED = replace(SHOWN, disposition=Disposition.FAILED, stage="ended", status="failed")
STOPPED = replace(_row(), disposition=Disposition.SUPPRESSED, stage=None, status=None)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (SHOWN, _told(SHOWN)),
        (replace(SHOWN, stage="sending", status="waiting"), Told()),
        (GROUPED, _told(GROUPED, shown=False)),
        (replace(GROUPED, as_template=True), _told(GROUPED)),
        (FAILED, _told(FAILED, settled=Disposition.FAILED)),
        (STOPPED, _told(STOPPED, settled=Disposition.SUPPRESSED)),
        (replace(STOPPED, recent=False), Told()),
    ],
)
def test_a_disposition_that_the_sender_has_told_is_believed(row: Row, told: Told) -> None:
    balance = _balance([row], told=told)
    assert balance.balanced
    assert balance.by_disposition == {row.disposition: 1}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (replace(SHOWN, disposition=Disposition.WAITING), _told(SHOWN)),
        (replace(SHOWN, disposition=Disposition.GROUPED), _told(SHOWN)),
        (replace(SHOWN, disposition=Disposition.SUPPRESSED), _told(SHOWN)),
        (replace(SHOWN, disposition="delivered"), _told(SHOWN)),
        (replace(GROUPED, disposition=Disposition.IN_MESSAGE), _told(GROUPED, shown=False)),
        (replace(FAILED, disposition=Disposition.IN_MESSAGE), _told(FAILED, settled=Disposition.FAILED)),
        (replace(FAILED, disposition=Disposition.EXPIRED), _told(FAILED, settled=Disposition.FAILED)),
        (replace(STOPPED, disposition=Disposition.IN_MESSAGE), _told(STOPPED, settled=Disposition.SUPPRESSED)),
        (replace(_row(), disposition=Disposition.IN_MESSAGE), Told()),
        (replace(_row(), disposition=Disposition.FAILED), Told()),
    ],
)
def test_a_changed_disposition_is_found(row: Row, told: Told) -> None:
    balance = _balance([row], told=told)
    assert _faults(balance) == [Fault.NOT_PROVEN]
    assert balance.unexpected == 1


def _published(listing_id: str, version: int | None, *, active: bool = True) -> Published:
    of = ListingVersion(listing_id, version or 0)
    return Published(of, active and version is not None, None if version is None else b"{}")


def _took_effect(offset: int, listing_id: str, version: int, *, tombstone: bool = False) -> Effect:
    return Effect(offset, ListingVersion(listing_id, version), tombstone, FLAT_ID, Origin(0, offset), (0,))


@pytest.mark.parametrize(
    ("published", "effects", "missed"),
    [
        ([_published("a:1", 1)], [_took_effect(0, "a:1", 1)], []),
        ([_published("a:1", 1)], [], [0]),
        ([_published("a:1", 2), _published("a:1", 1), _published("a:1", 2)], [_took_effect(0, "a:1", 2)], []),
        ([_published("a:1", 1), _published("a:1", 2)], [_took_effect(0, "a:1", 1)], [1]),
        ([_published("a:1", 1), _published("a:1", 2)], [_took_effect(1, "a:1", 2)], [0]),
        ([_published("a:1", None)], [], []),
        ([_published("a:1", 1), _published("a:1", None)], [_took_effect(0, "a:1", 1)], [1]),
        ([_published("a:1", 1, active=False), _published("a:1", None)], [_took_effect(0, "a:1", 1)], []),
        (
            [_published("a:1", 1), _published("a:1", None), _published("a:1", None)],
            [_took_effect(0, "a:1", 1), _took_effect(1, "a:1", 1, tombstone=True)],
            [],
        ),
    ],
)
def test_a_version_that_was_news_and_never_took_effect_is_found(
    published: list[Published], effects: list[Effect], missed: list[int]
) -> None:
    records = {Origin(0, offset): each for offset, each in enumerate(published)}
    assert [origin.offset for origin in without_effect(records, effects)] == missed
