"""The forecast, for operators, who have a key."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from api.dependencies import Wired
from api.problems import Problem, may_answer
from api.security import is_key
from common.events import ForecastMade

router = APIRouter(prefix="/api/v1/forecast", tags=["operations"])

ApiKey = Annotated[str | None, Depends(APIKeyHeader(name="X-Api-Key", scheme_name="OperatorKey", auto_error=False))]
BearerKey = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(scheme_name="OperatorBearer", description="the operator's key", auto_error=False)),
]


def _operator(services: Wired, api_key: ApiKey, bearer: BearerKey) -> None:
    given = api_key or (bearer.credentials if bearer else "")
    if not is_key(given, services.settings.operator_key.get_secret_value()):
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "Send the operator's key: X-Api-Key: <key>, or Authorization: Bearer <key>.",
            kind="not-an-operator",
            headers={"WWW-Authenticate": "Bearer"},
        )


@router.get("", dependencies=[Depends(_operator)], responses=may_answer(404))
async def forecast(services: Wired) -> ForecastMade:
    """When open windows, Meta's tier and the month's money run out, and who is left waiting then.

    The sender makes a forecast each minute; the last one is told, and 404 before the first. It assumes that nobody
    writes to us, that phones are written to first as in the last 24 hours (at the earliest: as in their busiest hour),
    and that a day costs what the last seven days did (at the earliest: the dearest of them).
    """
    made = await services.forecasts.last()
    if made is None:
        raise Problem(HTTPStatus.NOT_FOUND, "The sender has made no forecast yet.")
    return made
