"""The forecast is for operators: the last one that the sender has made."""

import datetime as dt
from uuid import uuid4

from common.events import ForecastMade, LeftWaiting, MoneyAhead, RunsOut, TierAhead, WindowsAhead
from common.kafka import Publisher
from testkit.factories import NOW
from testkit.waiting import eventually

from .conftest import OPERATOR_KEY, PRODUCER_KEY, Api

OPERATOR = {"X-Api-Key": OPERATOR_KEY}


def made(used: int, at: dt.datetime = NOW) -> ForecastMade:
    return ForecastMade(
        made_at=at,
        windows=WindowsAhead(open=3, close_within_1_hour=1, close_within_6_hours=2, last_closes_at=NOW),
        tier=TierAhead(limit=250, for_digests=225, used=used, used_up=RunsOut(earliest=NOW)),
        money=MoneyAhead(currency="USD", spent=420_000, per_day=60_000),
        waiting={"tier": 1, "": 4},
        left_waiting=(LeftWaiting(reason="tier", users=1, user_ids=(uuid4(),), until=NOW),),
        looked_at=5,
    )


async def test_a_forecast_is_for_operators_and_unknown_before_the_first(api: Api) -> None:
    assert (await api.http.get("/api/v1/forecast")).json()["type"] == "urn:itarent:problem:not-an-operator"
    assert (await api.http.get("/api/v1/forecast", headers={"X-Api-Key": PRODUCER_KEY})).status_code == 401
    assert (await api.http.get("/api/v1/forecast", headers=OPERATOR)).status_code == 404
    bearer = {"Authorization": f"Bearer {OPERATOR_KEY}"}
    assert (await api.http.get("/api/v1/forecast", headers=bearer)).status_code == 404


async def test_the_last_forecast_is_told_whatever_comes_late(running_api: Api, producer: Publisher) -> None:
    api, last = running_api, made(7, NOW + dt.timedelta(minutes=2))
    await producer.publish(api.topics.forecasts, [made(5), last, made(6, NOW + dt.timedelta(minutes=1))])

    async def told() -> bool:
        answer = await api.http.get("/api/v1/forecast", headers=OPERATOR)
        return answer.status_code == 200 and answer.json() == last.model_dump(mode="json")

    await eventually(told)
