"""From a notification to Twilio and back, over a real database and a simulated Twilio."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any

import pytest

from common.events import (
    DirectPurpose,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
    Parted,
    QuietHours,
    Reason,
)
from common.listing import Listing
from sender.dispatch import Callback
from sender.outcomes import Accepted, OptedOut, Unavailable, failure_of
from sender.reports import Reported, Source, reported_status
from sender.schedule import MISCONFIGURED_RETRY
from sender.templates import Purpose
from testkit.factories import make_listing, make_notification, make_subscription, monthly
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind

from .conftest import NOT_ASKED, POLICY, Sender, direct_for, flat_for, renter

ALL_DAY = QuietHours(start=time(0), end=time(23, 59, 59))


async def test_a_flat_is_texted_once_with_its_link(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    async with sender.dispatching():
        assert await sender.tell(event) == 1
        assert await sender.tell(event) == 0
        message = await sender.until(event, stage="taken", status="queued", attempt=1)
    [accepted] = await sender.simulator.messages()
    assert accepted.to == anna.phone
    assert accepted.sid == message["sid"]
    assert "Bilocale in viale Abruzzi 48" in accepted.body
    assert "https://bot.example/m/" in accepted.body
    assert accepted.status_callback is not None
    assert accepted.status_callback.endswith(f"/twilio/status?n={message['message_id']}&a=1#rc=3&rp=all")
    assert await sender.disposition(event) == ("in_message", "")
    [report] = await sender.outbox()
    assert report["type"] == MessageStatusReported.type
    assert (report["status"], report["user_id"]) == ("queued", str(anna.user_id))
    assert report["notification_ids"] == report["shown_notification_ids"] == [str(event.notification_id)]


async def test_the_address_of_callbacks_carries_the_token_that_the_webhook_demands(sender: Sender) -> None:
    callback = Callback("https://hooks.example.org/twilio/status", "to be escaped: & and ü")
    assert "escaped" not in repr(callback)
    await sender.know(anna := renter())
    await sender.tell(event := flat_for(anna.user_id))
    async with sender.but(callback=callback).dispatching():
        message = await sender.until(event, stage="taken")
    [accepted] = await sender.simulator.messages()
    assert accepted.status_callback == (
        f"https://hooks.example.org/twilio/status?n={message['message_id']}&a=1"
        "&t=to+be+escaped%3A+%26+and+%C3%BC#rc=3&rp=all"
    )


async def test_flats_that_come_together_are_one_message_and_honest_about_what_is_not_shown(sender: Sender) -> None:
    anna = renter()
    events = [flat_for(anna.user_id) for _ in range(30)]
    await sender.know(anna)
    await sender.tell(*events)
    async with sender.dispatching():
        await sender.until(events[0], stage="taken")
    [accepted] = await sender.simulator.messages()
    dispositions = [(await sender.disposition(event))[0] for event in events]
    shown = dispositions.count("in_message")
    assert 0 < shown < 30
    assert dispositions.count("grouped") == 30 - shown
    assert f"30 trovati, {shown} qui, {30 - shown} al link" in accepted.body


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("شقة للإيجار", "شقة للإيجار"),
        ("Casa 🏠🇮🇹", "Casa 🏠🇮🇹"),
        ("bi\N{ZERO WIDTH SPACE}lo\N{RIGHT-TO-LEFT OVERRIDE}cale", "bi lo cale"),
        ("*due*\n~stanze~ `x`", "∗due∗ ∼stanze∼ 'x'"),  # noqa: RUF001 - look-alikes
    ],
)
async def test_a_foreign_text_reaches_the_phone_on_one_line_and_formats_nothing(
    sender: Sender, foreign: str, shown: str
) -> None:
    await sender.know(anna := renter())
    event = make_notification(
        make_listing(title=foreign),
        make_subscription(user_id=anna.user_id, name=foreign),
        user_id=anna.user_id,
        requested_at=datetime.now(UTC),
    )
    async with sender.dispatching():
        await sender.tell(event)
        await sender.until(event, stage="taken")
    [accepted] = await sender.simulator.messages()
    assert shown in accepted.body
    assert foreign == shown or foreign not in accepted.body


async def test_a_second_digest_waits_for_the_interval(sender: Sender) -> None:
    anna = renter(interval_seconds=3600)
    first, second, third = (flat_for(anna.user_id) for _ in range(3))
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(first)
        await sender.until(first, stage="taken")
        await sender.tell(second)
        await sender.tell(third)
    message = await sender.message(second)
    assert message["stage"] == "waiting"
    assert message["message_id"] == (await sender.message(third))["message_id"]
    assert timedelta(minutes=59) < message["due_at"] - datetime.now(UTC) <= timedelta(hours=1)


async def test_a_digest_that_became_due_too_early_is_put_off_by_the_gates(sender: Sender) -> None:
    anna = renter(interval_seconds=3600)
    first, second = flat_for(anna.user_id), flat_for(anna.user_id)
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(first)
        await sender.until(first, stage="taken")
        await sender.tell(second)
        await sender.pool.execute("UPDATE messages SET due_at = now() WHERE stage = 'waiting'")
        await sender.until(second, stage="waiting", detail="interval")
    assert len(await sender.simulator.messages()) == 1


async def test_nothing_is_sent_in_quiet_hours_but_what_the_user_asks_for(sender: Sender) -> None:
    now = datetime.now(UTC)
    quiet = QuietHours(
        start=(now - timedelta(hours=1)).time().replace(microsecond=0),
        end=(now + timedelta(hours=1)).time().replace(microsecond=0),
    )
    anna = renter(quiet_hours=quiet, time_zone="UTC")
    flat, asked = flat_for(anna.user_id), direct_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(flat, asked)
    async with sender.dispatching():
        await sender.until(asked, stage="taken")
    waiting = await sender.message(flat)
    assert waiting["stage"] == "waiting"
    assert waiting["due_at"].time() == quiet.end
    [accepted] = await sender.simulator.messages()
    assert "Messaggio di prova" in accepted.body


async def test_changed_quiet_hours_take_effect_on_what_waits(sender: Sender) -> None:
    anna = renter(quiet_hours=ALL_DAY, time_zone="UTC")
    flat = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(flat)
    async with sender.dispatching():
        await sender.intake.save_recipients([anna.model_copy(update={"quiet_hours": None, "revision": 2})])
        await sender.until(flat, stage="taken")


async def test_quiet_hours_that_end_let_go_what_is_to_be_sent_again(sender: Sender) -> None:
    anna = renter()
    flat = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(flat)
    (call,) = (await sender.ledger.begin(1)).calls
    resting = anna.model_copy(update={"quiet_hours": ALL_DAY, "time_zone": "UTC", "revision": 2})
    await sender.intake.save_recipients([resting])
    await sender.reports.record([Reported(call.message_id, 1, Unavailable("no_connection"), Source.ANSWER)])
    async with sender.dispatching():
        await sender.until(flat, stage="retrying", detail="quiet_hours")
        await sender.intake.save_recipients([anna.model_copy(update={"revision": 3})])
        await sender.until(flat, stage="taken")


@pytest.mark.parametrize("is_open", [True, False], ids=["joins an open digest", "opens one"])
async def test_quiet_hours_that_end_while_a_flat_comes_in_do_not_hold_it_back(sender: Sender, is_open: bool) -> None:
    """Whoever takes the flat in has read the old hours, and is done when the new ones are saved."""
    anna = renter(quiet_hours=ALL_DAY, time_zone="UTC")
    flat = flat_for(anna.user_id)
    await sender.know(anna)
    if is_open:
        await sender.tell(flat_for(anna.user_id))
    else:
        await sender.pool.execute("INSERT INTO contacts (user_id) VALUES ($1)", anna.user_id)
    async with sender.pool.acquire() as other:
        holding = other.transaction()
        await holding.start()
        # What the flat waits for when its reader's hours have been read.
        await other.execute(
            "SELECT FROM messages WHERE user_id = $1 FOR UPDATE"
            if is_open
            else "INSERT INTO messages (message_id, user_id, kind, opened_at, due_at, latest_at)"
            " VALUES (gen_random_uuid(), $1, 'digest', now(), now(), now())",
            anna.user_id,
        )
        taking = asyncio.create_task(sender.tell(flat))
        await eventually(partial(_waits_for_locks, sender, 1))
        saving = asyncio.create_task(
            sender.intake.save_recipients([anna.model_copy(update={"quiet_hours": None, "revision": 2})])
        )
        await eventually(partial(_waits_for_locks, sender, 2))
        await holding.rollback()
    await asyncio.gather(taking, saving)

    assert await sender.pool.fetchval("SELECT bool_and(due_at <= now()) FROM messages") is True


async def _waits_for_locks(sender: Sender, count: int) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await sender.pool.fetchval(waiting) == count)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"verified": False}, "not_verified"),
        ({"phone": None}, "not_verified"),
        ({"stopped": True}, "stopped"),
        ({"window_opened_at": datetime(2026, 1, 1, tzinfo=UTC)}, "outside_window"),
    ],
)
async def test_without_consent_or_window_nothing_is_sent(
    sender: Sender, changes: dict[str, object], reason: str
) -> None:
    anna = renter(**changes)
    event = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(event)
    await sender.pool.execute("UPDATE messages SET opened_at = opened_at - interval '1 minute'")
    async with sender.dispatching():
        message = await sender.until(event, stage="ended")
    assert (await sender.disposition(event))[1] == reason
    assert message["detail"] == reason
    assert await sender.simulator.messages() == []
    [settled] = await sender.outbox()
    assert (settled["type"], settled["detail"]) == (NotificationSettled.type, reason)


async def test_a_consent_that_comes_by_its_own_topic_a_moment_later_is_waited_for(sender: Sender) -> None:
    anna = renter()
    linked = direct_for(anna.user_id, DirectPurpose.LINKED)
    await sender.simulator.join(anna.phone or "")
    async with sender.dispatching():
        await sender.tell(linked)
        await sender.until(linked, detail="no_consent")
        await sender.intake.save_recipients([anna])
        await sender.until(linked, stage="taken")


async def test_an_opt_out_is_confirmed_once_although_the_user_is_stopped(sender: Sender) -> None:
    anna = renter(stopped=True)
    confirmation = direct_for(anna.user_id, DirectPurpose.STOPPED)
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(confirmation)
        await sender.until(confirmation, stage="taken")


@pytest.mark.parametrize(
    ("purpose", "holds"),
    [
        (DirectPurpose.STOPPED, {"stopped": True}),
        (DirectPurpose.PAUSED, {"paused_until": datetime(2099, 1, 1, tzinfo=UTC)}),
    ],
)
async def test_nobody_is_told_that_messages_end_before_they_do(
    sender: Sender, purpose: DirectPurpose, holds: dict[str, object]
) -> None:
    anna = renter()
    confirmation = direct_for(anna.user_id, purpose)
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(confirmation)
        await sender.until(confirmation, stage="waiting", detail="not_so_yet")
        await sender.intake.save_recipients([anna.model_copy(update={**holds, "revision": 2})])
        await sender.until(confirmation, stage="taken")


async def test_consent_revoked_between_intake_and_sending_holds(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(event)
    await sender.intake.save_recipients([anna.model_copy(update={"stopped": True, "revision": 2})])
    await sender.intake.save_recipients([anna])  # an older revision that comes late changes nothing
    async with sender.dispatching():
        await sender.until(event, stage="ended", status="suppressed", detail="stopped")
    assert await sender.simulator.messages() == []


async def test_when_disabled_everything_runs_and_nothing_is_sent(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    off = sender.but(policy=replace(POLICY, enabled=False))
    await off.know(anna)
    async with off.dispatching():
        await off.tell(event)
        await off.until(event, stage="ended", status="suppressed", detail="disabled")
    assert await off.disposition(event) == ("suppressed", "disabled")
    assert await off.simulator.messages() == []


async def test_an_erased_recipient_leaves_no_phone_and_no_text(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(event)
        await sender.until(event, stage="taken")
    await sender.intake.erase_recipients([anna.user_id])
    assert await sender.pool.fetchval("SELECT count(*) FROM recipients") == 0
    kept = await sender.pool.fetchrow("SELECT recipient, body, marker, variables FROM attempts")
    assert kept is not None
    assert set(kept.values()) == {None}


async def test_what_waits_for_an_erased_user_ends_as_erased_and_is_told_so(sender: Sender) -> None:
    anna = renter()
    flat, test = flat_for(anna.user_id), direct_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(flat, test)
    for _ in range(2):  # the tombstone may come again
        await sender.intake.erase_recipients([anna.user_id])
    for event in (flat, test):
        assert await sender.disposition(event) == ("suppressed", "erased")
    told = [(each["notification_id"], each["detail"]) for each in await sender.outbox()]
    assert sorted(told) == sorted((str(event.notification_id), "erased") for event in (flat, test))
    assert await sender.pool.fetchval("SELECT count(event) FROM notifications") == 0


async def test_what_comes_for_an_erased_user_is_in_the_ledger_and_in_no_message(sender: Sender) -> None:
    anna = renter()
    await sender.intake.erase_recipients([anna.user_id])
    await sender.know(anna)  # an event from before the erasure, read once more
    event = flat_for(anna.user_id)
    await sender.tell(event)
    assert await sender.disposition(event) == ("suppressed", "erased")
    assert await sender.pool.fetchval("SELECT count(*) FROM messages") == 0
    assert await sender.pool.fetchval("SELECT count(*) FROM recipients") == 0
    assert await sender.pool.fetchval("SELECT count(event) FROM notifications") == 0


async def test_a_message_that_would_be_repeated_after_its_user_was_erased_is_not(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(event)
    begun = await sender.ledger.begin(1)
    (call,) = begun.calls
    await sender.intake.erase_recipients([anna.user_id])
    lost = Reported(call.message_id, call.attempt, Unavailable("no_connection"), Source.ANSWER)
    await sender.reports.record([lost])
    async with sender.dispatching():
        await sender.until(event, stage="ended", status="suppressed", detail="erased")
    assert await sender.simulator.messages() == []


async def test_a_message_that_waits_to_be_sent_again_is_told_to_end_with_its_user(sender: Sender) -> None:
    anna = renter()
    await sender.know(anna)
    await sender.tell(flat_for(anna.user_id))
    (call,) = (await sender.ledger.begin(1)).calls
    await sender.reports.record([Reported(call.message_id, 1, Unavailable("no_connection"), Source.ANSWER)])
    await sender.intake.erase_recipients([anna.user_id])
    told = [(each["attempt"], each["status"]) for each in await sender.outbox() if "status" in each]
    assert told == [(2, "waiting"), (2, "suppressed")]


# --- what waits is folded -------------------------------------------------------------------------------------------


def about(listing: Listing, of: NotificationRequested, reason: Reason, **changes: Any) -> NotificationRequested:
    now = datetime.now(UTC)
    return make_notification(
        listing, user_id=of.user_id, flat_id=of.flat_id, reason=reason, **({"requested_at": now} | changes)
    )


async def test_a_flat_that_is_gone_before_it_was_told_is_not_told(sender: Sender) -> None:
    anna = renter()
    new = flat_for(anna.user_id)
    gone = about(make_listing(version=2), new, Reason.WITHDRAWN, searches=NOT_ASKED)
    await sender.know(anna)
    await sender.tell(new)
    await sender.tell(gone)
    async with sender.dispatching():
        await sender.until(new, stage="ended", status="suppressed")
    assert await sender.disposition(new) == ("suppressed", "withdrawn")
    assert await sender.disposition(gone) == ("suppressed", "not_asked_for")
    assert await sender.simulator.messages() == []


async def test_a_flat_that_is_gone_after_it_was_told_is_told_to_who_asked(sender: Sender) -> None:
    anna = renter()
    new = flat_for(anna.user_id)
    gone = about(make_listing(version=2), new, Reason.WITHDRAWN)
    unasked = about(make_listing(version=3), new, Reason.WITHDRAWN, searches=NOT_ASKED)
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(new)
        await sender.until(new, stage="taken")
        await sender.tell(gone)
        await sender.until(gone, stage="taken")
        await sender.tell(unasked)
    assert "non più disponibile" in (await sender.simulator.messages())[-1].body
    assert await sender.disposition(unasked) == ("suppressed", "not_asked_for")


async def test_a_flat_is_shown_once_with_the_price_of_now(sender: Sender) -> None:
    anna = renter()
    new = flat_for(anna.user_id)
    drop = about(make_listing(version=2, rent=monthly(990)), new, Reason.PRICE_DROP, previous_rent_cents=1100_00)
    await sender.know(anna)
    await sender.tell(new, drop)
    async with sender.dispatching():
        await sender.until(new, stage="taken")
    [accepted] = await sender.simulator.messages()
    assert "1 annuncio" in accepted.body
    assert "990 €/mese" in accepted.body
    assert "era 1.100 €" in accepted.body
    assert await sender.disposition(new) == await sender.disposition(drop) == ("in_message", "")


def parted_from(flat: NotificationRequested, *listing_ids: str) -> Parted:
    return Parted(flat_id=flat.flat_id, listing_ids=listing_ids or (flat.card.listing_id,))


async def test_who_was_told_of_an_advertisement_is_not_told_again_when_its_flat_is_parted(sender: Sender) -> None:
    anna, bruno = renter(), renter()
    told, other = flat_for(anna.user_id), flat_for(bruno.user_id)
    own = flat_for(anna.user_id, make_listing(listing_id=told.card.listing_id), parted=parted_from(told))
    hidden = flat_for(anna.user_id, parted=parted_from(told, "casa.it:1"))
    elsewhere = flat_for(bruno.user_id, make_listing(listing_id=told.card.listing_id), parted=parted_from(told))
    for each in (anna, bruno):
        await sender.know(each)
    async with sender.dispatching():
        await sender.tell(told, other)
        await sender.until(told, stage="taken")
        await sender.tell(own, hidden, elsewhere)
        await sender.until(hidden, stage="taken")
        await sender.until(elsewhere, stage="taken")
    assert await sender.disposition(own) == ("suppressed", "told_before")


@pytest.mark.parametrize("batches", [lambda *events: [[each] for each in events], lambda *events: [events]])
async def test_what_waits_about_an_advertisement_is_not_told_twice_nor_after_it_has_gone(
    sender: Sender, batches: Callable[..., Iterable[Sequence[NotificationRequested]]]
) -> None:
    anna = renter()
    waiting = flat_for(anna.user_id)
    listing = make_listing(listing_id=waiting.card.listing_id)
    own = flat_for(anna.user_id, listing, parted=parted_from(waiting))
    gone = about(listing.model_copy(update={"version": 2}), own, Reason.WITHDRAWN, searches=NOT_ASKED)
    await sender.know(anna)
    for batch in batches(waiting, own, gone):
        await sender.tell(*batch)
    async with sender.dispatching():
        await sender.until(waiting, stage="ended", status="suppressed")
    assert await sender.disposition(waiting) == ("suppressed", "withdrawn")
    assert await sender.disposition(own) == ("suppressed", "told_before")


async def test_a_flat_that_is_gone_is_told_to_who_heard_of_it_as_part_of_another(sender: Sender) -> None:
    anna = renter()
    told = flat_for(anna.user_id)
    listing = make_listing(listing_id=told.card.listing_id)
    own = flat_for(anna.user_id, listing, parted=parted_from(told))
    gone = about(listing.model_copy(update={"version": 2}), own, Reason.WITHDRAWN)
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(told)
        await sender.until(told, stage="taken")
        await sender.tell(own, gone)
        await sender.until(gone, stage="taken")
    assert "non più disponibile" in (await sender.simulator.messages())[-1].body


# --- faults of Twilio -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [FaultKind.RESET_TAKEN, FaultKind.SERVER_ERROR_TAKEN, FaultKind.WRONG_JSON, FaultKind.HANG_TAKEN]
)
async def test_a_message_that_was_taken_although_the_answer_was_lost_is_found_and_not_sent_again(
    sender: Sender, kind: FaultKind
) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    quick = sender.but(timeout_s=0.2)
    await quick.know(anna)
    await quick.simulator.script(Fault(kind, seconds=2))
    async with quick.dispatching():
        await quick.tell(event)
        await quick.until(event, status="in_doubt")
        message = await quick.until(event, attempt=1, sid=(await quick.simulator.messages())[0].sid)
    assert message["stage"] in ("taken", "ended")
    assert len(await quick.simulator.messages()) == 1
    [doubt, resolved] = await quick.outbox()
    assert (doubt["status"], resolved["message_sid"]) == ("in_doubt", message["sid"])


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.SERVER_ERROR, FaultKind.HANG])
async def test_a_message_that_was_not_taken_is_sent_again_after_two_looks(sender: Sender, kind: FaultKind) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    quick = sender.but(timeout_s=0.2, grace=timedelta(seconds=0.1))
    await quick.know(anna)
    await quick.simulator.script(Fault(kind, seconds=2))
    async with quick.dispatching():
        await quick.tell(event)
        await quick.until(event, status="in_doubt", attempt=1)
        await quick.until(event, stage="taken", attempt=2)
    assert len(await quick.simulator.messages()) == 1
    states = await quick.pool.fetch("SELECT state FROM attempts ORDER BY attempt")
    assert [row["state"] for row in states] == ["lost", "accepted"]


async def test_a_callback_resolves_a_doubt_before_any_look_up(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    patient = sender.but(grace=timedelta(hours=1))
    await patient.know(anna)
    await patient.simulator.script(Fault(FaultKind.RESET_TAKEN))
    async with patient.dispatching():
        await patient.tell(event)
        doubted = await patient.until(event, status="in_doubt")
        await patient.reports.record(
            [
                reported_status(
                    doubted["message_id"], 1, Source.CALLBACK, status=MessageStatus.SENT, sid="SM1", code=None
                )
            ]
        )
        await patient.until(event, stage="taken", status="sent", sid="SM1")
    assert len(await patient.simulator.messages()) == 1


async def test_too_many_requests_use_up_no_retry_and_pause_the_channel(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.simulator.script(Fault(FaultKind.REFUSE, code=20429, times=2))
    async with sender.dispatching():
        await sender.tell(event)
        message = await sender.until(event, stage="taken")
        await eventually(lambda: sender.pool.fetchval("SELECT strikes = 0 AND paused_until IS NULL FROM channel"))
    assert message["retries"] == 0
    assert len(await sender.simulator.messages()) == 1


async def test_a_twilio_that_cannot_be_reached_is_waited_for(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(event)
    async with sender.but(base_url="http://127.0.0.1:9").dispatching():
        await sender.until(event, stage="retrying", detail="unavailable")
    async with sender.dispatching():
        await sender.until(event, stage="taken")


async def test_wrong_credentials_stop_sending_and_keep_the_backlog(sender: Sender) -> None:
    renters = [renter() for _ in range(5)]
    events = [flat_for(each.user_id) for each in renters]
    await sender.know(*renters)
    await sender.tell(*events)
    async with sender.but(token="wrong", in_flight=2).dispatching():
        await eventually(lambda: sender.pool.fetchval("SELECT reason = 'misconfigured 20003' FROM channel"))
        await eventually(
            lambda: sender.pool.fetchval("SELECT NOT EXISTS (SELECT FROM messages WHERE stage = 'sending')")
        )
    pause = await sender.pool.fetchval("SELECT paused_until - paused_at FROM channel")
    assert pause >= MISCONFIGURED_RETRY
    assert await sender.pool.fetchval("SELECT count(*) FROM notifications WHERE disposition = 'failed'") == 0
    await sender.pool.execute("UPDATE channel SET paused_until = now()")
    async with sender.dispatching():
        for event in events:
            await sender.until(event, stage="taken")
    assert len(await sender.simulator.messages()) == 5


async def test_a_phone_that_has_not_joined_the_sandbox_is_told_apart(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.intake.save_recipients([anna])
    async with sender.dispatching():
        await sender.tell(event)
        await sender.until(event, stage="ended", status="rejected", error_code=63015)
    assert await sender.disposition(event) == ("failed", "not_joined_sandbox")


async def test_an_opt_out_that_twilio_reports_is_remembered_until_the_user_writes(sender: Sender) -> None:
    anna = renter()
    first, second, third = (flat_for(anna.user_id) for _ in range(3))
    await sender.know(anna)
    await sender.simulator.script(Fault(FaultKind.REFUSE, code=21610))
    async with sender.dispatching():
        await sender.tell(first)
        await sender.until(first, stage="ended", detail="opted_out")
        await sender.tell(second)
        await sender.until(second, stage="ended", detail="opted_out", status="suppressed", attempt=0)
        wrote = anna.model_copy(update={"window_opened_at": datetime.now(UTC), "revision": 2})
        await sender.intake.save_recipients([wrote])
        await sender.tell(third)
        await sender.until(third, stage="taken")


async def test_outside_the_window_the_template_is_sent_once(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.simulator.script(Fault(FaultKind.REFUSE, code=63016))
    async with sender.with_templates(Purpose.DIGEST) as templated, templated.dispatching():
        await templated.tell(event)
        await templated.until(event, stage="taken", as_template=True, attempt=2)
    [accepted] = await sender.simulator.messages()
    assert accepted.content_sid
    assert await sender.disposition(event) == ("grouped", "")


async def test_a_failure_by_callback_outside_the_window_ends_the_message_without_a_template(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(event)
        taken = await sender.until(event, stage="taken")
        await sender.reports.record(
            [
                reported_status(
                    taken["message_id"],
                    1,
                    Source.CALLBACK,
                    status=MessageStatus.UNDELIVERED,
                    sid=taken["sid"],
                    code=63016,
                )
            ]
        )
        await sender.until(event, stage="ended", error_code=63016)
    assert await sender.disposition(event) == ("failed", "outside_window")
    assert (await sender.outbox())[-1]["disposition"] == "failed"


async def test_callbacks_may_come_before_the_answer_and_in_any_order(sender: Sender) -> None:
    statuses = (MessageStatus.QUEUED, MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ)
    orders = list(itertools.permutations(statuses))
    renters = [renter() for _ in orders]
    events = [flat_for(each.user_id) for each in renters]
    await sender.know(*renters)
    await sender.tell(*events)
    calls = [call for _ in range(2) for call in (await sender.ledger.begin(100)).calls]
    assert len(calls) == len(orders)
    for call, order in zip(calls, orders, strict=True):
        reports = [
            reported_status(call.message_id, 1, Source.CALLBACK, status=status, sid="SM1", code=None)
            for status in order
        ]
        answer = Reported(call.message_id, 1, Accepted("SM1", MessageStatus.QUEUED), Source.ANSWER)
        await sender.reports.record([*reports, answer])
        await sender.reports.record([answer, *reports])
    rows = await sender.pool.fetch("SELECT DISTINCT stage, status, sid FROM messages")
    assert [tuple(row) for row in rows] == [("ended", "read", "SM1")]


async def test_an_answer_that_comes_after_what_followed_it_reports_nothing_older(sender: Sender) -> None:
    """A process was frozen while Twilio answered it; another one has meanwhile looked up what became of its call."""
    anna = renter()
    await sender.know(anna)
    await sender.tell(flat_for(anna.user_id))
    [call] = (await sender.ledger.begin(1)).calls
    delivered = reported_status(
        call.message_id, 1, Source.LOOK_UP, status=MessageStatus.DELIVERED, sid="SM1", code=None
    )
    await sender.reports.record([delivered])
    await sender.reports.record([Reported(call.message_id, 1, Accepted("SM1", MessageStatus.QUEUED), Source.ANSWER)])
    assert {report["status"] for report in await sender.outbox()} == {"delivered"}


async def test_a_late_word_of_an_attempt_that_failed_does_not_stop_its_successor(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(event)
    [call] = (await sender.ledger.begin(1)).calls
    failed = Reported(
        call.message_id, 1, failure_of(MessageStatus.FAILED, 30008), Source.CALLBACK, MessageStatus.FAILED
    )
    late = reported_status(call.message_id, 1, Source.CALLBACK, status=MessageStatus.SENT, sid="SM1", code=None)
    await sender.reports.record([failed, late])
    message = await sender.message(event)
    assert (message["stage"], message["retries"]) == ("retrying", 1)
    assert message["due_at"] - message["changed_at"] == timedelta(seconds=60)


# --- crashes --------------------------------------------------------------------------------------------------------


async def test_a_process_that_dies_while_it_sends_leaves_a_doubt_that_is_resolved(sender: Sender) -> None:
    anna, bruno = renter(), renter()
    taken, lost = flat_for(anna.user_id), flat_for(bruno.user_id)
    await sender.know(anna, bruno)
    await sender.tell(taken, lost)
    dying = sender.but(lease=timedelta(seconds=0.1), name="dying")
    calls = {call.to: call for call in (await dying.ledger.begin(10)).calls}
    async with dying.dispatcher() as dispatcher:  # anna's call was made, and the process died before it knew
        await dispatcher._twilio.create(dispatcher._request(calls[anna.phone or ""]))
    assert (await sender.ledger.begin(10)).calls == ()

    async def delivered() -> bool:
        return [each.status for each in await sender.simulator.messages()] == ["delivered"]

    await eventually(delivered)  # looked up earlier, it is next asked about in hours
    async with sender.dispatching():
        await sender.until(taken, status="delivered", attempt=1)
        await sender.until(lost, stage="taken", attempt=2)
    assert {message.to for message in await sender.simulator.messages()} == {anna.phone, bruno.phone}
    assert len(await sender.simulator.messages()) == 2


async def test_what_runs_is_finished_and_recorded_when_the_sender_is_told_to_stop(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.tell(event)
    await sender.simulator.script(Fault(FaultKind.SLOW, seconds=0.3))
    async with sender.dispatching():
        await eventually(lambda: sender.pool.fetchval("SELECT count(*) = 1 FROM attempts"))
    assert (await sender.message(event))["stage"] == "taken"


async def test_a_slow_call_does_not_hold_up_the_others(sender: Sender) -> None:
    slow, *others = [renter() for _ in range(6)]
    events = [flat_for(each.user_id) for each in others]
    await sender.know(slow, *others)
    await sender.simulator.script(Fault(FaultKind.HANG, seconds=2, to=slow.phone))
    narrow = sender.but(in_flight=2, timeout_s=2)
    async with narrow.dispatching():
        await sender.tell(flat_for(slow.user_id))
        await eventually(lambda: sender.pool.fetchval("SELECT count(*) = 1 FROM attempts"))
        await sender.tell(*events)
        await asyncio.gather(*(sender.until(event, stage="taken") for event in events))


def test_every_outcome_that_opts_out_names_its_code() -> None:
    assert failure_of(MessageStatus.FAILED, 63033) == OptedOut(63033)
