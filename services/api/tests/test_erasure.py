"""Erasure and export: what is kept of somebody is shown in full, and then it is gone from every table."""

import asyncio
import datetime as dt
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from api.housekeeping import keep_house
from common.events import (
    DirectMessageRequested,
    DirectPurpose,
    Disposition,
    MessageStatus,
    MessageStatusReported,
    NotificationSettled,
)
from common.kafka import Encoded, Publisher
from common.service import in_background
from testkit.factories import make_listing, make_notification
from testkit.waiting import eventually

from .conftest import PHONE, Api, Renter

SEARCH = {"name": "Vicino a zia Carmela", "search": {"places": ["Milano"]}}


async def with_a_life(api: Api) -> Renter:
    """Somebody with a phone, a search, a flat that was told, a message and its statuses."""
    renter = await api.renter()
    await renter.prove()
    await api.write_from(PHONE, "STOP")
    await api.write_from(PHONE, "START")
    assert (await renter.call("POST", "/subscriptions", json=SEARCH)).status_code == 201
    await record_events_of(api, await renter.id())
    return renter


async def record_events_of(api: Api, user_id: UUID) -> None:
    """What the other services publish of a user."""
    now = dt.datetime.now(dt.UTC)
    told = make_notification(make_listing(), user_id=user_id, notification_id=uuid4())
    test = DirectMessageRequested(
        notification_id=uuid4(), user_id=user_id, purpose=DirectPurpose.TEST, requested_at=now
    )
    ended = NotificationSettled(
        notification_id=uuid4(), user_id=user_id, disposition=Disposition.EXPIRED, detail="too_late", settled_at=now
    )
    sent = MessageStatusReported(
        message_id=uuid4(),
        attempt=1,
        status=MessageStatus.SENT,
        reported_by="sender",
        reported_at=now,
        message_sid=f"SM{uuid4().hex}",
        user_id=user_id,
        notification_ids=(told.notification_id,),
    )
    await api.services.activity.record_notifications([told, test])
    await api.services.activity.record_statuses([sent, ended])


async def rows_holding(api: Api, *marks: str) -> dict[str, list[str]]:
    """The rows of all tables in which any of the texts occurs."""
    tables = await api.services.pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    found = {}
    for (table,) in tables:
        rows = await api.services.pool.fetch(f'SELECT "{table}"::text AS row FROM "{table}"')  # noqa: S608 - a catalogue's name
        if held := [row["row"] for row in rows if any(mark in row["row"] for mark in marks)]:
            found[table] = held
    return found


async def erased(renter: Renter, **sent: Any) -> int:
    answer = await renter.call("DELETE", "/me", json={"password": "a long password", **sent})
    return answer.status_code


async def test_an_erased_account_leaves_nothing_in_any_table_but_its_empty_trail(api: Api) -> None:
    renter = await with_a_life(api)
    user_id = str(await renter.id())
    marks = [renter.email, PHONE, PHONE[3:], "zia Carmela", "ITARENT"]
    before = await rows_holding(api, user_id, *marks)
    assert {"users", "recipients", "subscriptions", "notifications", "messages", "consents"} <= before.keys()
    assert await erased(renter) == 204
    await eventually(lambda: _outbox_is_empty(api))
    assert await rows_holding(api, *marks) == {}
    left = await rows_holding(api, user_id)
    assert left.keys() == {"consents", "erased_users", "repeated_tombstones"}
    kept = await api.services.pool.fetch("SELECT what, phone_hash, message_sid FROM consents ORDER BY at")
    assert [row["what"] for row in kept] == [
        "terms_accepted",
        "phone_claimed",
        "phone_proven",
        "stopped",
        "started",
        "erased",
    ]
    assert {(row["phone_hash"], row["message_sid"]) for row in kept} == {(None, None)}


async def _outbox_is_empty(api: Api) -> bool:
    return not await api.sql("SELECT count(*) FROM outbox")


async def test_an_erasure_is_told_by_tombstones(api: Api) -> None:
    renter = await with_a_life(api)
    await erased(renter)
    assert (await api.events(api.topics.recipients))[-1] is None
    assert (await api.events(api.topics.subscriptions))[-1] is None
    assert await api.events(api.topics.inbound_messages) == [None]


async def test_tombstones_are_told_once_more_when_the_segment_before_has_ended(api: Api) -> None:
    renter = await with_a_life(api)
    await erased(renter)
    after = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    await api.services.erasure.keep_erased(after)
    assert (await api.events(api.topics.recipients))[-2:] == [None, None]
    assert await api.events(api.topics.inbound_messages) == [None], "it may lie there for 20 hours"
    for _ in range(2):
        await api.services.erasure.keep_erased(after + dt.timedelta(days=31))
    assert await api.events(api.topics.inbound_messages) == [None, None]
    assert not await api.sql("SELECT count(*) FROM repeated_tombstones")


async def test_an_account_is_erased_by_who_knows_its_password(api: Api) -> None:
    renter = await api.renter()
    assert [await erased(renter, password=given) for given in ("a guess", None)] == [403, 403]
    assert (await renter.call("GET", "/me")).status_code == 200


async def test_after_an_erasure_every_token_is_refused_and_the_address_and_the_phone_are_free(api: Api) -> None:
    renter = await with_a_life(api)
    other_sign_in = {"refresh_token": renter.tokens["refresh_token"]}
    assert await erased(renter) == 204
    assert (await renter.call("GET", "/me")).status_code == 401
    assert (await renter.call("POST", "/subscriptions", json=SEARCH)).status_code == 401
    assert (await api.http.post("/api/v1/auth/refresh", json=other_sign_in)).status_code == 401
    account = {"email": renter.email, "password": "a long password"}
    anew = await api.http.post("/api/v1/auth/register", json=account)
    assert anew.status_code == 201
    newcomer = Renter(api, renter.email, anew.json())
    await newcomer.prove()
    assert (await newcomer.call("GET", "/me")).json()["phone_number"] == PHONE
    assert [item["what"] for item in (await newcomer.call("GET", "/me/consents")).json()["items"]] == [
        "terms_accepted",
        "phone_claimed",
        "phone_proven",
    ]


async def test_what_still_comes_of_an_erased_user_is_not_recorded(api: Api) -> None:
    renter = await with_a_life(api)
    user_id = await renter.id()
    await erased(renter)
    await record_events_of(api, user_id)
    assert (await rows_holding(api, str(user_id))).keys() <= {
        "consents",
        "erased_users",
        "outbox",
        "repeated_tombstones",
    }


async def test_what_was_recorded_at_the_moment_of_the_erasure_is_removed_later(api: Api) -> None:
    renter = await with_a_life(api)
    user_id = await renter.id()
    await api.services.pool.execute("INSERT INTO erased_users (user_id) VALUES ($1)", user_id)
    async with in_background(keep_house(api.services.pool, api.services.phones, api.services.erasure)):
        await eventually(lambda: _nothing_of(api, user_id))


async def _nothing_of(api: Api, user_id: UUID) -> bool:
    return not (await rows_holding(api, str(user_id))).keys() & {"notifications", "messages", "message_statuses"}


async def test_dead_letters_that_tell_of_an_erased_user_are_deleted_and_others_stay(
    api: Api, producer: Publisher
) -> None:
    renter = await with_a_life(api)
    letters = api.topics.inbound_messages.dead_letters
    await producer.publish_encoded(
        [
            Encoded(letters.name, "inbound/0/1", f'{{"From": "whatsapp:{PHONE}"'.encode(), {}),
            Encoded(letters.name, "inbound/0/2", b'{"From": "whatsapp:+393335550199"', {}),
        ]
    )
    await erased(renter)
    published = await api.raw(letters)
    assert [(key, value is None) for key, value in published] == [
        ("inbound/0/1", False),
        ("inbound/0/2", False),
        ("inbound/0/1", True),
    ]


async def test_an_erasure_beside_a_new_search_leaves_no_search(api: Api) -> None:
    renter = await api.renter()
    user_id = await renter.id()
    saving = [renter.call("POST", "/subscriptions", json=SEARCH) for _ in range(5)]
    answers = await asyncio.gather(*saving, renter.call("DELETE", "/me", json={"password": "a long password"}))
    assert {answer.status_code for answer in answers} <= {201, 204, 401}
    assert not await api.sql("SELECT count(*) FROM subscriptions WHERE user_id = $1", user_id)


# --- export ---------------------------------------------------------------------------------------------------------


async def test_an_export_holds_every_row_that_is_kept_of_the_caller_and_of_nobody_else(api: Api) -> None:
    renter, other = await with_a_life(api), await api.renter()
    answer = await renter.call("GET", "/me/export")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="itarent-export.json"'
    exported = answer.json()
    assert exported["account"]["email"] == renter.email
    assert exported["profile"]["phone"] == PHONE
    assert [search["name"] for search in exported["searches"]] == ["Vicino a zia Carmela"]
    assert exported["notifications"][0]["told_in"][0]["message_id"] == exported["messages"][0]["message_id"]
    assert exported["messages"][0]["statuses"][0]["status"] == "sent"
    assert exported["direct_messages"][0]["purpose"] == "test"
    assert exported["phone"]["heard"]["wrote_at"]
    assert len(exported["consents"]) == 5
    assert len(exported["sign_ins"]) == 1
    assert other.email not in answer.text
    assert str(await other.id()) not in answer.text


async def test_every_table_that_holds_users_is_in_the_export(api: Api) -> None:
    """Whoever adds a table decides what of it is exported; `erased_users` are gone, and have nothing to export."""
    tables = await api.services.pool.fetch(
        "SELECT table_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND column_name = 'user_id' ORDER BY table_name"
    )
    assert [table for (table,) in tables if table != "erased_users"] == [
        "consents",
        "direct_messages",
        "flat_choices",
        "message_statuses",
        "messages",
        "notifications",
        "phone_claims",
        "phone_links",
        "recipients",
        "sign_ins",
        "subscriptions",
        "users",
    ]


async def test_an_export_holds_no_secret(api: Api) -> None:
    renter = await api.renter()
    claimed = await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE, "proof": "to_phone"})
    assert claimed.status_code == 202
    text = (await renter.call("GET", "/me/export")).text
    code = await api.sql("SELECT code FROM phone_claims")
    password_hash = await api.sql("SELECT password_hash FROM users")
    assert PHONE in text
    assert code not in text
    assert password_hash not in text


@pytest.mark.parametrize("what", ["phone_hash", "message_sid"])
async def test_nothing_can_be_written_into_the_trail_of_an_erased_account(api: Api, what: str) -> None:
    renter = await api.renter()
    await erased(renter)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await api.services.pool.execute(f"UPDATE consents SET {what} = 'x'")  # noqa: S608 - one of two columns
