"""Phones: proven by a message from the very phone, written to only then, and silent after STOP."""

import datetime as dt
from typing import Any

from common.events import DirectMessageRequested, DirectPurpose, RecipientSaved
from common.topics import Topics
from testkit.servers import Database

from .conftest import PHONE, Api, api_settings, inbound, resting_api

ANOTHER_PHONE = "+393335550102"


async def recipients(api: Api) -> list[tuple[str | None, bool, bool, int]]:
    """Phone, verified, stopped and revision of each recipient event."""
    saved = [event.recipient for event in await api.events(api.topics.recipients) if isinstance(event, RecipientSaved)]
    return [(each.phone, each.verified, each.stopped, each.revision) for each in saved]


async def purposes(api: Api) -> list[DirectPurpose]:
    events = await api.events(api.topics.notifications)
    return [event.purpose for event in events if isinstance(event, DirectMessageRequested)]


async def test_a_phone_is_linked_by_the_code_that_comes_from_it(api: Api) -> None:
    renter = await api.renter()
    answer = await renter.call("POST", "/whatsapp/link", json={"phone_number": "333 5550101"})
    assert answer.status_code == 202
    link = answer.json()
    code = link["claim"]["code"]
    assert link["state"] == "pending"
    assert link["claim"]["phone_number"] == PHONE
    assert link["claim"]["link"] == f"https://wa.me/14155238886?text=ITARENT%20{code}"
    assert link["sandbox"]["link"] == "https://wa.me/14155238886?text=join%20quiet-harbour"
    assert await recipients(api) == [(None, False, False, 1)]

    await api.write_from(PHONE, f"ciao! itarent {code.lower()}.")
    status = (await renter.call("GET", "/whatsapp/status")).json()
    assert status["link"]["state"] == "connected"
    assert status["link"]["phone_number"] == PHONE
    assert status["window"]["open"]
    assert await recipients(api) == [(None, False, False, 1), (PHONE, True, False, 2)]
    assert await purposes(api) == [DirectPurpose.LINKED]


async def test_a_number_that_is_none_is_refused_by_field(api: Api) -> None:
    renter = await api.renter()
    for written in ("12", "not a number", "+39 333", "+33 1"):
        answer = await renter.call("POST", "/whatsapp/link", json={"phone_number": written})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/phone_number"
        assert "country code" in answer.json()["errors"][0]["detail"]


async def test_a_code_from_another_phone_proves_nothing(api: Api) -> None:
    renter = await api.renter()
    code = (await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE})).json()["claim"]["code"]
    await api.write_from(ANOTHER_PHONE, f"ITARENT {code}")
    assert (await renter.call("GET", "/whatsapp/status")).json()["link"]["state"] == "pending"
    assert await recipients(api) == [(None, False, False, 1)]


async def test_a_code_expires(api: Api) -> None:
    renter = await api.renter()
    code = (await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE})).json()["claim"]["code"]
    late = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=16)
    await api.write_from(PHONE, code, received_at=late)
    assert await recipients(api) == [(None, False, False, 1)]


async def test_guessing_codes_ends_after_a_few_tries(api: Api) -> None:
    renter = await api.renter()
    code = (await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE})).json()["claim"]["code"]
    wrong = "222222" if code != "222222" else "333333"
    for _ in range(5):
        await api.write_from(PHONE, wrong)
    await api.write_from(PHONE, code)
    assert await recipients(api) == [(None, False, False, 1)]
    assert (await renter.call("GET", "/whatsapp/status")).json()["link"]["state"] == "none"


async def test_a_linked_phone_moves_to_who_proves_it_and_leaves_the_other_account(api: Api) -> None:
    first, second = await api.renter(), await api.renter()
    await first.prove()
    await second.call("POST", "/whatsapp/link", json={"phone_number": PHONE})
    assert (await first.call("GET", "/whatsapp/status")).json()["link"]["state"] == "connected"
    await second.prove()
    assert (await first.call("GET", "/whatsapp/status")).json()["link"]["state"] == "none"
    assert (await second.call("GET", "/whatsapp/status")).json()["link"]["state"] == "connected"
    last_of = {
        event.key: event.recipient.phone
        for event in await api.events(api.topics.recipients)
        if isinstance(event, RecipientSaved)
    }
    assert last_of == {str(await first.id()): None, str(await second.id()): PHONE}


async def test_unlinking_takes_the_phone_away_once(api: Api) -> None:
    renter = await api.renter()
    await renter.prove()
    assert (await renter.call("DELETE", "/whatsapp/link")).status_code == 204
    assert (await renter.call("DELETE", "/whatsapp/link")).status_code == 204
    assert (await recipients(api))[-1] == (None, False, False, 3)


async def test_the_test_endpoint_is_no_relay(api: Api) -> None:
    renter = await api.renter()

    async def test(**sent: Any) -> int:
        return (await renter.call("POST", "/whatsapp/test", json=sent)).status_code

    assert await test() == 409
    assert await test(phone_number=PHONE) == 403
    await renter.prove()
    assert await test(phone_number=ANOTHER_PHONE) == 403
    assert [await test(), await test(phone_number="333 555 0101"), await test()] == [202, 202, 202]
    assert await test() == 429
    assert await purposes(api) == [DirectPurpose.LINKED, *[DirectPurpose.TEST] * 3]


async def test_while_sending_is_off_what_would_be_sent_is_refused_with_the_setting_named(
    kafka: str, topics: Topics, database: Database
) -> None:
    off = api_settings(kafka, topics, database, whatsapp_enabled=False, whatsapp_phone_number_id="")
    async with resting_api(off) as api:
        renter = await api.renter()
        to_phone = {"phone_number": PHONE, "proof": "to_phone"}
        for path, sent in (("/whatsapp/test", {}), ("/whatsapp/link", to_phone)):
            refused = await renter.call("POST", path, json=sent)
            assert refused.status_code == 409
            assert refused.json()["type"].endswith("sending-is-off")
            assert "WHATSAPP_ENABLED" in refused.json()["detail"]
        assert (await renter.call("GET", "/whatsapp/status")).status_code == 200
        assert await purposes(api) == []


async def test_stop_stops_and_start_starts_in_three_languages(api: Api) -> None:
    renter = await api.renter()
    await renter.prove()
    for stop, start in [("Stop.", "START"), ("basta", "riprendi"), ("СТОП", "старт")]:
        await api.write_from(PHONE, stop)
        assert (await recipients(api))[-1][2] is True
        assert (await renter.call("POST", "/whatsapp/test", json={})).status_code == 409
        await api.write_from(PHONE, start)
        assert (await recipients(api))[-1][2] is False
    assert (await purposes(api))[1:] == [DirectPurpose.STOPPED, DirectPurpose.STARTED] * 3


async def test_any_message_of_a_known_phone_opens_its_window_and_a_late_one_does_not_close_it(api: Api) -> None:
    renter = await api.renter()
    proof = await renter.prove()
    now = proof.received_at + dt.timedelta(minutes=5)
    await api.write_from(PHONE, "grazie", received_at=now)
    await api.write_from(PHONE, "prima", received_at=now - dt.timedelta(hours=3))
    await api.write_from(ANOTHER_PHONE, "STOP")
    saved = [event.recipient for event in await api.events(api.topics.recipients) if isinstance(event, RecipientSaved)]
    assert saved[-1].window_opened_at == now
    assert saved[-1].revision == 4
    assert not saved[-1].stopped


async def test_a_message_that_is_delivered_again_changes_nothing(api: Api) -> None:
    renter = await api.renter()
    proof = await renter.prove()
    stop = await api.write_from(PHONE, "STOP")
    await api.write_from(PHONE, "START")
    before = await recipients(api), await purposes(api)
    for again in (proof, stop):
        await api.services.phones.receive(again)
    assert (await recipients(api), await purposes(api)) == before


async def test_linking_is_limited(api: Api) -> None:
    renter = await api.renter()
    answers = [await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_a_message_is_told_apart_by_its_id_alone() -> None:
    assert inbound(PHONE, "x", message_sid="SM1").event_id == inbound(PHONE, "y", message_sid="SM1").event_id
