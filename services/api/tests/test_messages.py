"""A message's story: every status with its time, for its reader alone."""

import datetime as dt
from uuid import uuid4

from common.events import MessageStatus, MessageStatusReported
from common.twilio_errors import advice_of

from .conftest import Api

BEGAN = dt.datetime(2026, 11, 22, 9, 0, tzinfo=dt.UTC)
SHOWN = [status for status in MessageStatus if status is not MessageStatus.UNKNOWN]


async def test_every_status_is_told_with_its_time_and_an_error_with_its_sentence(api: Api) -> None:
    renter, message_id = await api.renter(), uuid4()
    user_id = await renter.id()
    at_of = {status: BEGAN + dt.timedelta(seconds=7 * place) for place, status in enumerate(SHOWN)}
    reports = [
        MessageStatusReported(
            message_id=message_id,
            attempt=1,
            status=status,
            reported_by="sender" if status is MessageStatus.WAITING else "callback",
            reported_at=at,
            error_code=63015 if status is MessageStatus.FAILED else None,
            user_id=user_id if status is MessageStatus.WAITING else None,
        )
        for status, at in at_of.items()
    ]
    await api.services.activity.record_statuses(reports[::-1])
    story = (await renter.call("GET", f"/messages/{message_id}")).json()
    assert story["status"] == "read"
    assert {step["status"]: dt.datetime.fromisoformat(step["at"]) for step in story["statuses"]} == at_of
    (error,) = [step["error"] for step in story["statuses"] if step["error"]]
    assert error == str(advice_of(63015))
    assert story["purpose"] is None
    assert story["flats"] == []


async def test_a_message_of_nobody_and_of_somebody_else_cannot_be_told_apart(api: Api) -> None:
    mine, other, message_id = await api.renter(), await api.renter(), uuid4()
    report = MessageStatusReported(
        message_id=message_id,
        attempt=1,
        status=MessageStatus.QUEUED,
        reported_by="sender",
        reported_at=BEGAN,
        user_id=await mine.id(),
    )
    await api.services.activity.record_statuses([report])
    hers, nobodys = [await other.call("GET", f"/messages/{each}") for each in (message_id, uuid4())]
    assert (hers.status_code, hers.json()) == (404, nobodys.json())
    assert (await mine.call("GET", f"/messages/{message_id}")).status_code == 200
    assert (await api.http.get(f"/api/v1/messages/{message_id}")).status_code == 401
    assert (await mine.call("GET", "/messages/SM1")).status_code == 422
