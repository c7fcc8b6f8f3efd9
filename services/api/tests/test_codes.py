"""A phone proven by a code that is sent to it: shown to nobody, tried a few times, and sent to no stranger for long."""

import asyncio
import datetime as dt
from uuid import UUID

import httpx
import pytest

from api.phone_links import Proof, Proven
from common.events import (
    DirectMessageRequested,
    DirectPurpose,
    MessageStatus,
    MessageStatusReported,
    PhoneClaim,
    RecipientSaved,
)
from common.topics import Topics
from testkit.servers import Database

from .conftest import PHONE, Api, Renter, api_settings, resting_api

TO_PHONE = {"phone_number": PHONE, "proof": "to_phone"}
ANOTHER_PHONE = "+393335550102"


async def claims(api: Api) -> list[PhoneClaim | None]:
    """The claim of each recipient event, in order."""
    saved = await api.events(api.topics.recipients)
    return [event.recipient.claim for event in saved if isinstance(event, RecipientSaved)]


async def requests(api: Api) -> list[DirectMessageRequested]:
    events = await api.events(api.topics.notifications)
    return [event for event in events if isinstance(event, DirectMessageRequested)]


async def code_sent(api: Api, renter: Renter, phone: str = PHONE) -> PhoneClaim:
    """Claim a phone; what the sender is told to send there."""
    answer = await renter.call("POST", "/whatsapp/link", json={"phone_number": phone, "proof": "to_phone"})
    assert answer.status_code == 202, answer.text
    user_id = await renter.id()
    saved = [event.recipient for event in await api.events(api.topics.recipients) if isinstance(event, RecipientSaved)]
    claim = [each for each in saved if each.user_id == user_id][-1].claim
    assert claim
    return claim


async def verify(renter: Renter, code: str) -> httpx.Response:
    return await renter.call("POST", "/whatsapp/verify", json={"code": code})


async def state(renter: Renter) -> str:
    return str((await renter.call("GET", "/whatsapp/status")).json()["link"]["state"])


def wrong(code: str) -> str:
    return "222222" if code != "222222" else "333333"


async def test_a_phone_is_linked_by_the_code_that_was_sent_to_it(api: Api) -> None:
    renter = await api.renter()
    answer = await renter.call("POST", "/whatsapp/link", json=TO_PHONE)
    claim = answer.json()["claim"]
    assert (claim["proof"], claim["code"], claim["link"], claim["send_to"]) == ("to_phone", None, None, None)
    (_, sent) = await claims(api)
    assert sent
    assert sent.phone == PHONE
    assert sent.code not in answer.text
    (request,) = await requests(api)
    assert (request.purpose, request.notification_id) == (DirectPurpose.CODE, sent.claim_id)
    assert not {PHONE, PHONE[3:], sent.code} & set(request.model_dump_json().replace('"', " ").split())

    typed = f" {sent.code[:3].lower()}-{sent.code[3:]} "
    linked = await verify(renter, typed)
    assert linked.status_code == 200
    assert (linked.json()["state"], linked.json()["phone_number"]) == ("connected", PHONE)
    last = (await api.events(api.topics.recipients))[-1]
    assert isinstance(last, RecipientSaved)
    assert (last.recipient.phone, last.recipient.verified, last.recipient.claim) == (PHONE, True, None)
    purposes = [event.purpose for event in await requests(api)]
    assert purposes == [DirectPurpose.CODE, DirectPurpose.LINKED]
    assert (await verify(renter, sent.code)).status_code == 409


async def test_a_wrong_code_uses_up_a_try_and_the_last_one_ends_the_claim(api: Api) -> None:
    renter = await api.renter()
    claim = await code_sent(api, renter)
    answers = [await verify(renter, wrong(claim.code)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [422] * 5
    assert "4 more tries" in answers[0].json()["detail"]
    assert "last try" in answers[4].json()["detail"]
    assert (await verify(renter, claim.code)).status_code == 409
    assert await state(renter) == "none"


async def test_tries_are_counted_although_they_come_at_once(api: Api) -> None:
    renter = await api.renter()
    claim = await code_sent(api, renter)
    answers = await asyncio.gather(*(verify(renter, wrong(claim.code)) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [409] * 7 + [422] * 5


async def test_a_code_expires_and_is_forgotten(api: Api) -> None:
    renter = await api.renter()
    claim = await code_sent(api, renter)
    late = claim.expires_at + dt.timedelta(seconds=1)
    assert not isinstance(await api.services.phones.verify(await renter.id(), claim.code, late), Proven)
    await api.services.phones.forget_expired(late)
    assert (await claims(api))[-1] is None


async def test_a_code_that_is_shown_proves_nothing_by_being_typed(api: Api) -> None:
    renter = await api.renter()
    answer = await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE, "proof": "from_phone"})
    assert (await verify(renter, answer.json()["claim"]["code"])).status_code == 409
    assert await state(renter) == "pending"


async def test_a_code_that_was_sent_proves_nothing_by_being_sent_back(api: Api) -> None:
    renter = await api.renter()
    claim = await code_sent(api, renter)
    await api.write_from(PHONE, claim.code)
    assert await state(renter) == "pending"


async def test_another_accounts_code_is_of_no_use(api: Api) -> None:
    first, second = await api.renter(), await api.renter()
    claim = await code_sent(api, first)
    await code_sent(api, second, ANOTHER_PHONE)
    assert (await verify(second, claim.code)).status_code == 422
    assert (await verify(first, claim.code)).status_code == 200


async def test_a_new_claim_ends_the_one_before(api: Api) -> None:
    renter = await api.renter()
    first, second = await code_sent(api, renter), await code_sent(api, renter)
    assert first.claim_id != second.claim_id
    assert (await verify(renter, first.code)).status_code == 422
    await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE, "proof": "from_phone"})
    assert (await claims(api))[-1] is None
    assert (await verify(renter, second.code)).status_code == 409


async def test_a_change_of_the_profile_keeps_the_claim(api: Api) -> None:
    renter = await api.renter()
    claim = await code_sent(api, renter)
    await renter.call("PATCH", "/me", json={"language": "en"})
    assert (await claims(api))[-1] == claim


async def test_nobody_can_have_a_stranger_sent_more_than_three_codes_a_day(api: Api) -> None:
    renters = [await api.renter() for _ in range(4)]
    for renter in renters[:3]:
        await code_sent(api, renter)
    refused = await renters[3].call("POST", "/whatsapp/link", json=TO_PHONE)
    assert refused.status_code == 429
    assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400
    assert await state(renters[3]) == "none"
    # Their own phone is their own business, and writing to us is always possible.
    await code_sent(api, renters[3], ANOTHER_PHONE)
    await renters[3].prove()


async def test_codes_are_counted_although_they_are_asked_for_at_once(api: Api) -> None:
    renters = [await api.renter() for _ in range(6)]
    answers = await asyncio.gather(*(each.call("POST", "/whatsapp/link", json=TO_PHONE) for each in renters))
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 3


async def test_a_code_that_did_not_arrive_does_not_count(api: Api) -> None:
    renters = [await api.renter() for _ in range(4)]
    for renter in renters[:3]:
        claim = await code_sent(api, renter)
        await api.services.activity.record_statuses([rejected(await renter.id(), claim.claim_id, 63003)])
    await code_sent(api, renters[3])


async def test_a_phone_that_has_said_stop_is_sent_no_code_until_it_says_start(api: Api) -> None:
    renter = await api.renter()
    await api.write_from(PHONE, "STOP")
    refused = await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE, "proof": "to_phone"})
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":phone-refuses")
    assert "+1 415 523 8886" in refused.json()["detail"]
    await api.write_from(PHONE, "START")
    await code_sent(api, renter)


async def test_stop_in_answer_to_a_code_ends_the_claim(api: Api) -> None:
    renter = await api.renter()
    claim = await code_sent(api, renter)
    await api.write_from(PHONE, "stop")
    assert (await claims(api))[-1] is None
    assert (await verify(renter, claim.code)).status_code == 409


@pytest.mark.parametrize("proof", list(Proof))
async def test_a_phone_that_somebody_else_proves_leaves_the_old_account_which_is_told(api: Api, proof: Proof) -> None:
    old, new = await api.renter(), await api.renter()
    await old.prove()
    if proof is Proof.TO_PHONE:
        assert (await verify(new, (await code_sent(api, new)).code)).status_code == 200
    else:
        await new.prove()
    link = (await old.call("GET", "/whatsapp/status")).json()["link"]
    assert (link["state"], link["phone_number"]) == ("none", None)
    assert link["lost_at"]
    assert (await old.call("POST", "/whatsapp/test", json={})).status_code == 409
    assert await state(new) == "connected"
    trail = (await old.call("GET", "/me/consents")).json()["items"]
    assert [each["what"] for each in trail][1:] == ["phone_claimed", "phone_proven", "phone_lost"]
    await old.prove(ANOTHER_PHONE)
    assert (await old.call("GET", "/whatsapp/status")).json()["link"]["lost_at"] is None


async def test_the_trail_of_consents_tells_what_was_said_of_a_phone_and_by_which_way(api: Api) -> None:
    renter = await api.renter()
    await verify(renter, (await code_sent(api, renter)).code)
    await api.write_from(PHONE, "STOP")
    await api.write_from(PHONE, "START")
    await renter.call("DELETE", "/whatsapp/link")
    trail = (await renter.call("GET", "/me/consents")).json()["items"]
    assert [(each["what"], each["how"]) for each in trail][1:] == [
        ("phone_claimed", "api"),
        ("phone_proven", "code"),
        ("stopped", "message"),
        ("started", "message"),
        ("phone_unlinked", "api"),
    ]
    assert len({each["phone_hash"] for each in trail[1:]}) == 1


async def test_of_two_who_prove_one_phone_at_once_one_has_it(api: Api) -> None:
    first, second = await api.renter(), await api.renter()
    codes = [(await code_sent(api, each)).code for each in (first, second)]
    answers = await asyncio.gather(verify(first, codes[0]), verify(second, codes[1]))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert sorted([await state(first), await state(second)]) == ["connected", "none"]
    assert await api.sql("SELECT count(*) FROM recipients WHERE phone = $1", PHONE) == 1


async def test_claims_proofs_and_messages_of_one_phone_at_once_end_without_a_deadlock(api: Api) -> None:
    renters = [await api.renter() for _ in range(3)]
    found = [(await code_sent(api, each)).code for each in renters]

    async def churn(renter: Renter, code: str) -> None:
        phones, user_id = api.services.phones, await renter.id()
        for _ in range(10):
            now = dt.datetime.now(dt.UTC)
            await phones.claim(user_id, PHONE, Proof.FROM_PHONE, now)
            await phones.verify(user_id, code, now)
            await api.write_from(PHONE, "ciao")
            await phones.unlink(user_id, now)

    await asyncio.gather(*(churn(renter, code) for renter, code in zip(renters, found, strict=True)))
    assert await api.sql("SELECT count(*) FROM phone_claims") == 0


async def test_linking_the_own_proven_phone_again_changes_nothing(api: Api) -> None:
    renter = await api.renter()
    await renter.prove()
    again = await renter.call("POST", "/whatsapp/link", json={"phone_number": "333 555 0101"})
    assert (again.status_code, again.json()["state"], again.json()["claim"]) == (202, "connected", None)


async def test_our_own_number_cannot_be_linked(api: Api) -> None:
    renter = await api.renter()
    answer = await renter.call("POST", "/whatsapp/link", json={"phone_number": "+1 415 523 8886"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:itarent:problem:our-number")


async def test_where_nobody_can_write_to_us_the_code_goes_to_the_phone(
    kafka: str, topics: Topics, database: Database
) -> None:
    async with resting_api(api_settings(kafka, topics, database, webhook_public_url=None)) as api:
        renter = await api.renter()
        plain = await renter.call("POST", "/whatsapp/link", json={"phone_number": "+393401234567"})
        assert (plain.status_code, plain.json()["claim"]["proof"]) == (202, "to_phone")
        refused = await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE, "proof": "from_phone"})
        assert refused.status_code == 409
        assert "WEBHOOK_PUBLIC_URL" in refused.json()["detail"]


async def test_a_phone_that_has_not_joined_the_sandbox_is_told_so_exactly(api: Api) -> None:
    renter = await api.renter()
    claim = await code_sent(api, renter)
    await report_code(api, claim, await renter.id(), 63015)
    link = (await renter.call("GET", "/whatsapp/status")).json()["link"]
    assert link["state"] == "not_joined"
    for part in (
        "63015",
        "join quiet-harbour",
        "+1 415 523 8886",
        "https://wa.me/14155238886?text=join%20quiet-harbour",
    ):
        assert part in link["help"]
    await api.write_from(PHONE, "join quiet-harbour")  # if Twilio hands it on
    assert await state(renter) == "pending"
    assert (await verify(renter, claim.code)).json()["state"] == "connected"


async def report_code(api: Api, claim: PhoneClaim, user_id: UUID, error_code: int) -> None:
    await api.services.activity.record_notifications(
        [
            DirectMessageRequested(
                notification_id=claim.claim_id,
                user_id=user_id,
                purpose=DirectPurpose.CODE,
                requested_at=dt.datetime.now(dt.UTC),
            )
        ]
    )
    await api.services.activity.record_statuses([rejected(user_id, claim.claim_id, error_code)])


def rejected(user_id: UUID, notification_id: UUID, error_code: int) -> MessageStatusReported:
    return MessageStatusReported(
        message_id=notification_id,
        attempt=1,
        status=MessageStatus.REJECTED,
        reported_by="sender",
        reported_at=dt.datetime.now(dt.UTC),
        error_code=error_code,
        user_id=user_id,
        notification_ids=(notification_id,),
        shown_notification_ids=(notification_id,),
    )
