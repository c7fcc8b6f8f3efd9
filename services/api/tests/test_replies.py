"""What a renter may write beside STOP and START, and what follows from it."""

import dataclasses
import datetime as dt
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.events import (
    DirectMessageRequested,
    DirectPurpose,
    FlatDeclined,
    ListingPublished,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    RecipientSaved,
)
from common.kafka import Received
from common.listing import FloorKind, ListingStatus
from common.search import FloorWish
from testkit.factories import make_listing, make_notification, make_search

from .conftest import PHONE, Api, Renter

NOW = dt.datetime.now(dt.UTC)


@dataclasses.dataclass
class Told:
    """A renter with a proven phone to whom digests were sent, and what the api answers."""

    api: Api
    renter: Renter
    user_id: UUID

    async def digest(self, *events: NotificationRequested, at: dt.datetime = NOW, sid: str = "SM1") -> None:
        """A digest that tells these, best first, of which it shows the first two."""
        ids = tuple(event.notification_id for event in events)
        report = MessageStatusReported(
            message_id=uuid4(),
            attempt=1,
            status=MessageStatus.DELIVERED,
            reported_by="sender",
            reported_at=at,
            message_sid=sid,
            user_id=self.user_id,
            notification_ids=ids,
            shown_notification_ids=ids[:2],
            numbers=tuple(range(1, len(ids) + 1)),
        )
        await self.api.services.activity.record_notifications(events)
        await self.api.services.activity.record_statuses([report])

    async def writes(self, text: str, **changes: Any) -> list[DirectMessageRequested]:
        """What is asked of the sender because the renter writes this."""
        before = len(await self._events())
        await self.api.write_from(PHONE, text, **changes)
        return [each for each in (await self._events())[before:] if isinstance(each, DirectMessageRequested)]

    async def answer(self, text: str, **changes: Any) -> DirectMessageRequested:
        [answer] = await self.writes(text, **changes)
        return answer

    async def declined(self) -> list[FlatDeclined]:
        return [each for each in await self._events() if isinstance(each, FlatDeclined)]

    async def _events(self) -> list[Any]:
        return await self.api.events(self.api.topics.notifications)

    async def recipient(self) -> Any:
        events = await self.api.events(self.api.topics.recipients)
        return [event.recipient for event in events if isinstance(event, RecipientSaved)][-1]

    def flat(self, number: int, **changes: Any) -> NotificationRequested:
        listing = make_listing(listing_id=f"casa.it:{number}", title=f"Casa {number}")
        return make_notification(listing, user_id=self.user_id, flat_id=uuid4(), **changes)

    async def publish(self, **changes: Any) -> None:
        """A listing as it is now."""
        listing = make_listing(**changes)
        record = dataclasses.make_dataclass("Record", ["timestamp"])(int(NOW.timestamp() * 1000))
        await self.api.services.activity.record_listings(
            [Received(listing.listing_id, ListingPublished(listing=listing), record)]
        )


@pytest.fixture
async def told(api: Api) -> Told:
    renter = await api.renter()
    await renter.prove()
    return Told(api, renter, await renter.id())


async def test_a_number_is_answered_with_everything_about_that_flat_as_it_is_now(told: Told) -> None:
    flats = [told.flat(n) for n in (1, 2, 3)]
    await told.digest(*flats)
    await told.publish(listing_id="casa.it:3", version=2, title="Casa 3", status=ListingStatus.ACTIVE)
    answer = await told.answer("3")  # the text showed two of them; the link numbers all
    assert answer.purpose is DirectPurpose.DETAILS
    assert answer.flat
    assert (answer.flat.number, answer.flat.title, answer.flat.offered) == (3, "Casa 3", True)
    assert answer.flat.notification_id == flats[2].notification_id
    facts = {fact.label: fact.found for fact in answer.flat.facts}
    assert facts["Canone"] == "1.100 € / mese + 120 € spese"
    assert facts["Dove"] == "viale Abruzzi 48, Loreto - Buenos Aires, Milano"
    assert answer.flat.description.startswith("Luminoso bilocale")
    assert [each.flat.number for each in await told.writes("1 e 2") if each.flat] == [1, 2]
    await told.publish(listing_id="casa.it:3", version=3, title="Casa 3", status=ListingStatus.WITHDRAWN)
    gone = await told.answer("3")
    assert gone.flat
    assert not gone.flat.offered


async def test_a_number_means_the_message_that_is_quoted_else_the_last_one(told: Told) -> None:
    await told.digest(told.flat(1), told.flat(2), at=NOW - dt.timedelta(hours=1), sid="SMold")
    await told.digest(told.flat(7), told.flat(8), sid="SMnew")
    assert (await told.answer("2")).flat.title == "Casa 8"  # type: ignore[union-attr] # it has one
    quoting = await told.answer("2", parameters={"OriginalRepliedMessageSid": "SMold"})
    assert quoting.flat.title == "Casa 2"  # type: ignore[union-attr] # it has one


async def test_without_a_number_the_only_flat_or_the_one_just_asked_about_is_meant_else_it_is_asked_which(
    told: Told,
) -> None:
    assert (await told.answer("SALVA")).purpose is DirectPurpose.NOTHING_TOLD
    await told.digest(told.flat(1), told.flat(2))
    which = await told.answer("salva")
    assert (which.purpose, which.choices, which.command) == (DirectPurpose.WHICH, 2, "salva")
    assert (await told.answer("7")).purpose is DirectPurpose.WHICH
    await told.digest(told.flat(5), at=NOW + dt.timedelta(hours=1), sid="SM5")
    assert (await told.answer("Perché?")).flat.title == "Casa 5"  # type: ignore[union-attr] # it has one
    await told.digest(told.flat(1), told.flat(2), at=NOW + dt.timedelta(hours=2))
    details = await told.answer("2")
    await told.api.services.activity.record_notifications([details])
    sent = MessageStatusReported(
        message_id=uuid4(),
        attempt=1,
        status=MessageStatus.DELIVERED,
        reported_by="sender",
        reported_at=NOW + dt.timedelta(hours=3),
        message_sid="SMdetails",
        user_id=told.user_id,
        notification_ids=(details.notification_id,),
        shown_notification_ids=(details.notification_id,),
    )
    await told.api.services.activity.record_statuses([sent])
    saved = await told.answer("salva")
    assert (saved.purpose, saved.flat and saved.flat.number) == (DirectPurpose.SAVED, 2)


async def test_why_says_what_each_criterion_of_the_search_decided(told: Told) -> None:
    search = make_search(floor=FloorWish(kinds=frozenset({FloorKind.ATTICO}))).model_dump(
        mode="json", exclude_none=True
    )
    draft = {"name": "Bilocale a Milano", "search": search}
    created = (await told.renter.call("POST", "/subscriptions", json=draft)).json()
    matched = told.flat(1).searches[0].model_copy(update={"subscription_id": UUID(created["subscription_id"])})
    await told.digest(told.flat(1, searches=(matched,)))
    answer = await told.answer("PERCHÉ 1")
    assert answer.flat
    assert answer.flat.searches == ("Bilocale a Milano",)
    facts = {fact.label: fact for fact in answer.flat.facts}
    assert (facts["Canone"].fits, facts["Canone"].wanted) == (True, "fino a 1.200 €")
    assert (facts["Piano"].fits, facts["Piano"].found) == (False, "3")


async def test_no_is_told_to_the_sender_and_salva_is_kept_on_a_page(told: Told) -> None:
    flats = [told.flat(n) for n in (1, 2)]
    await told.digest(*flats)
    no = await told.answer("NO 2")
    assert (no.purpose, no.flat and no.flat.title) == (DirectPurpose.DECLINED, "Casa 2")
    assert [(each.flat_id, each.listing_id) for each in await told.declined()] == [(flats[1].flat_id, "casa.it:2")]
    assert (await told.answer("сохранить 1")).purpose is DirectPurpose.SAVED
    kept = (await told.renter.call("GET", "/saved")).json()["items"]
    assert [(each["listing"]["listing_id"], each["offered"]) for each in kept] == [("casa.it:1", None)]
    exported = (await told.renter.call("GET", "/me/export")).json()["flat_choices"]
    assert {each["listing_id"]: each["choice"] for each in exported} == {"casa.it:1": "saved", "casa.it:2": "declined"}
    removed = await told.renter.call("DELETE", "/saved?listing_id=casa.it:1")
    assert removed.status_code == 204
    assert (await told.renter.call("GET", "/saved")).json()["items"] == []


async def test_a_pause_holds_until_its_time_or_start(told: Told) -> None:
    paused = await told.answer("PAUSA 3", received_at=NOW)
    assert (paused.purpose, paused.until) == (DirectPurpose.PAUSED, NOW + dt.timedelta(days=3))
    assert (await told.recipient()).paused_until == NOW + dt.timedelta(days=3)
    profile = (await told.renter.call("GET", "/me")).json()
    assert dt.datetime.fromisoformat(profile["paused_until"]) == NOW + dt.timedelta(days=3)
    assert (await told.answer("START")).purpose is DirectPurpose.STARTED
    assert (await told.recipient()).paused_until is None


async def test_fewer_and_more_go_through_the_paces_and_anything_else_is_answered_once_a_day(told: Told) -> None:
    paces = [(await told.answer("MENO")).interval_seconds for _ in range(7)]
    assert paces == [3600, 7200, 14_400, 28_800, 86_400, 86_400, 86_400]
    assert (await told.recipient()).interval_seconds == 86_400
    assert (await told.answer("больше")).interval_seconds == 28_800
    assert [each.purpose for each in await told.writes("È ancora libero?", received_at=NOW)] == [DirectPurpose.HELP]
    assert await told.writes("join quiet-harbour", received_at=NOW + dt.timedelta(hours=30)) == []
    assert await told.writes("Pronto?", received_at=NOW + dt.timedelta(hours=23)) == []
    assert (await told.answer("AIUTO", received_at=NOW + dt.timedelta(hours=23))).purpose is DirectPurpose.HELP
    later = NOW + dt.timedelta(hours=24)
    assert [each.purpose for each in await told.writes("", received_at=later)] == [DirectPurpose.HELP]


async def test_who_has_stopped_even_by_a_templates_button_is_answered_nothing_but_start(told: Told) -> None:
    await told.digest(told.flat(1))
    stopped = await told.answer("Non voglio più avvisi", button_payload="STOP")
    assert stopped.purpose is DirectPurpose.STOPPED
    assert (await told.recipient()).stopped_at is not None
    for text in ("1", "AIUTO", "PAUSA", "MENO", "ma come?", "STOP"):
        assert await told.writes(text) == []
    assert (await told.recipient()).stopped
    assert (await told.answer("START")).purpose is DirectPurpose.STARTED
    assert (await told.recipient()).stopped_at is None
