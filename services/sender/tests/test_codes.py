"""Codes go to phones that are not proven yet: only the code, only for its claim, and never to who wants nothing."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.events import DirectMessageRequested, DirectPurpose, Language, MessageStatus, PhoneClaim, Recipient
from sender.outcomes import failure_of
from sender.reports import Reported, Source
from testkit.waiting import eventually

from .conftest import Sender, direct_for, renter

STRANGERS_PHONE = "+393335550199"


def claimant(phone: str = STRANGERS_PHONE, **changes: Any) -> Recipient:
    """Somebody who claims a phone, and has none that is proven."""
    claim = PhoneClaim(
        claim_id=uuid4(), phone=phone, code="BCD234", expires_at=datetime.now(UTC) + timedelta(minutes=15)
    )
    return renter(phone=None, verified=False, window_opened_at=None, **{"claim": claim} | changes)


def request_of(user: Recipient) -> DirectMessageRequested:
    """The request that goes with the claim."""
    assert user.claim
    return DirectMessageRequested(
        notification_id=user.claim.claim_id,
        user_id=user.user_id,
        purpose=DirectPurpose.CODE,
        requested_at=datetime.now(UTC),
    )


async def join(sender: Sender, phone: str = STRANGERS_PHONE) -> None:
    await sender.simulator.join(phone)


async def texts(sender: Sender) -> list[tuple[str, str]]:
    """To whom what went out."""
    return [(each.to, each.body) for each in await sender.simulator.messages()]


async def due_now(sender: Sender) -> None:
    """A minute passes: what was put off is due, and no consent is still on its way."""
    await sender.pool.execute(
        "UPDATE messages SET due_at = now(), opened_at = opened_at - interval '1 minute'"
        " WHERE stage IN ('waiting', 'retrying')"
    )


@pytest.mark.parametrize(
    ("language", "words"),
    [(Language.ITALIAN, "valido fino alle"), (Language.ENGLISH, "valid until"), (Language.RUSSIAN, "действует до")],
)
async def test_the_code_is_sent_to_the_claimed_phone_in_the_users_language(
    sender: Sender, language: Language, words: str
) -> None:
    user = claimant(language=language)
    await join(sender)
    async with sender.dispatching():
        await sender.tell(request_of(user))  # before the claim, which comes by another topic
        await sender.know(user)
        await sender.until(request_of(user), stage="taken")
    [(to, text)] = await texts(sender)
    assert to == STRANGERS_PHONE
    assert words in text
    assert "\n*BCD234*\n" in text
    assert "STOP" in text


async def test_nothing_but_the_code_goes_to_a_phone_that_is_only_claimed(sender: Sender) -> None:
    user = claimant()
    others = [direct_for(user.user_id, purpose) for purpose in DirectPurpose if purpose is not DirectPurpose.CODE]
    await join(sender)
    await sender.know(user)
    async with sender.dispatching():
        await sender.tell(*others)
        await due_now(sender)
        for event in others:
            await eventually(partial(_is_settled, sender, event, "not_verified"))
    assert await texts(sender) == []


async def _is_settled(sender: Sender, event: DirectMessageRequested, detail: str) -> bool:
    return await sender.disposition(event) == ("suppressed", detail)


async def test_a_request_whose_claim_was_replaced_sends_nothing(sender: Sender) -> None:
    first = claimant()
    second = claimant(user_id=first.user_id, revision=2)
    await join(sender)
    await sender.know(first, second)
    async with sender.dispatching():
        await sender.tell(request_of(first), request_of(second))
        await sender.until(request_of(second), stage="taken")
        await due_now(sender)
        await eventually(lambda: _is_settled(sender, request_of(first), "outdated_code"))
    assert len(await texts(sender)) == 1


async def test_a_code_that_has_expired_is_not_sent(sender: Sender) -> None:
    user = claimant()
    assert user.claim
    late = user.claim.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(seconds=1)})
    await join(sender)
    await sender.know(user.model_copy(update={"claim": late}))
    async with sender.dispatching():
        await sender.tell(request_of(user))
        await eventually(lambda: _ended(sender, user))
    assert await sender.disposition(request_of(user)) == ("expired", "too_late")


async def _ended(sender: Sender, user: Recipient) -> bool:
    return (await sender.disposition(request_of(user)))[0] not in ("waiting", "in_message")


async def test_a_phone_whose_owner_has_said_stop_is_sent_no_code(sender: Sender) -> None:
    owner, user = renter(phone=STRANGERS_PHONE, stopped=True), claimant()
    await sender.know(owner, user)
    async with sender.dispatching():
        await sender.tell(request_of(user))
        await eventually(lambda: _is_settled(sender, request_of(user), "stopped"))
    assert await texts(sender) == []


async def test_a_phone_that_has_opted_out_at_twilio_is_sent_no_code_by_whichever_account(sender: Sender) -> None:
    first, second = claimant(), claimant()
    await join(sender)
    await sender.know(first, second)
    await sender.simulator.block(STRANGERS_PHONE)
    async with sender.dispatching():
        await sender.tell(request_of(first))
        await sender.until(request_of(first), stage="ended", detail="opted_out")
        await sender.simulator.block(STRANGERS_PHONE, blocked=False)
        await sender.tell(request_of(second))
        await eventually(lambda: _is_settled(sender, request_of(second), "stopped"))
    assert await texts(sender) == []
    contact = await sender.pool.fetchrow("SELECT * FROM contacts WHERE user_id = $1", first.user_id)
    assert contact
    assert contact["opted_out_phone"] is None, "the phone is not the user's"


async def test_a_code_follows_by_itself_when_its_reader_has_joined_the_sandbox(sender: Sender) -> None:
    user = claimant()
    await sender.know(user)
    async with sender.dispatching():
        await sender.tell(request_of(user))
        await sender.until(request_of(user), stage="retrying", detail="not_joined_sandbox", error_code=63015)
        await due_now(sender)
        await sender.until(request_of(user), stage="retrying", attempt=2)
        await join(sender)
        await due_now(sender)
        await sender.until(request_of(user), stage="taken", attempt=3)
    [(to, _)] = await texts(sender)
    assert to == STRANGERS_PHONE
    assert await _told(sender) == [
        (1, "rejected", 63015),
        (2, "rejected", 63015),
        (2, "waiting", None),
        (3, "queued", None),
        (3, "waiting", None),
    ]


async def _told(sender: Sender) -> list[tuple[int, str, int | None]]:
    """Which statuses of which attempts others were told, up to what the simulator's pace decides."""
    told = {
        (each["attempt"], each["status"], each["error_code"]) for each in await sender.outbox() if "attempt" in each
    }
    return sorted((each for each in told if each[1] in ("rejected", "waiting", "queued")), key=lambda each: each[:2])


async def test_who_never_joins_is_not_tried_after_the_claim_has_ended(sender: Sender) -> None:
    user = claimant()
    await sender.know(user)
    async with sender.dispatching():
        await sender.tell(request_of(user))
        await sender.until(request_of(user), stage="retrying")
        await sender.intake.save_recipients([user.model_copy(update={"revision": 2, "claim": None})])
        await due_now(sender)
        await eventually(lambda: _is_settled(sender, request_of(user), "outdated_code"))
    assert await texts(sender) == []
    last = (await sender.outbox())[-2:]
    assert {each.get("status", each.get("disposition")) for each in last} == {"suppressed"}


async def test_a_code_refused_by_callback_is_tried_again_with_the_same_code(sender: Sender) -> None:
    user = claimant()
    await sender.know(user)
    await sender.tell(request_of(user))
    [call] = (await sender.ledger.begin(1)).calls
    await sender.reports.record([_refused(call.message_id)])
    await due_now(sender)
    [again] = (await sender.ledger.begin(1)).calls
    assert (again.attempt, again.to, again.worded) == (2, STRANGERS_PHONE, call.worded)


def _refused(message_id: UUID) -> Reported:
    failed = failure_of(MessageStatus.FAILED, 63015)
    return Reported(message_id, 1, failed, Source.CALLBACK, MessageStatus.FAILED)


async def test_a_revocation_at_the_same_moment_leaves_no_code_on_its_way_twice(sender: Sender) -> None:
    user = claimant()
    await join(sender)
    await sender.know(user)
    await sender.tell(request_of(user))
    revoked = user.model_copy(update={"revision": 2, "claim": None})
    begun, _ = await asyncio.gather(sender.ledger.begin(1), sender.intake.save_recipients([revoked]))
    assert len(begun.calls) + len((await sender.ledger.begin(1)).calls) <= 1
