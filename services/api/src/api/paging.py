"""Pages of a list by key: a cursor names the last row that was seen, so that new rows shift nothing."""

import base64
import binascii
import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Self
from uuid import UUID

from fastapi import Depends, Query
from fastapi.exceptions import RequestValidationError


@dataclass(frozen=True)
class Cursor:
    """Where a page ended."""

    at: dt.datetime
    id: UUID

    def encoded(self) -> str:
        return base64.urlsafe_b64encode(f"{self.at.isoformat()}/{self.id}".encode()).decode()

    @classmethod
    def decoded(cls, text: str) -> Self:
        try:
            at, _, identifier = base64.urlsafe_b64decode(text).decode("ascii").partition("/")
            return cls(_in_utc(dt.datetime.fromisoformat(at)), UUID(identifier))
        except (ValueError, OverflowError, binascii.Error):
            message = "This is not a cursor: use `next` of the page before"
            raise RequestValidationError([{"type": "value_error", "loc": ("query", "after"), "msg": message}]) from None


def _in_utc(moment: dt.datetime) -> dt.datetime:
    """A cursor's moment, which has a zone; OverflowError where it lies outside the calendar in UTC."""
    if moment.tzinfo is None:
        raise ValueError("a cursor's moment has a zone")
    return moment.astimezone(dt.UTC)


def _cursor(
    after: Annotated[str | None, Query(max_length=200, description="`next` of the page before")] = None,
) -> Cursor | None:
    return Cursor.decoded(after) if after else None


After = Annotated[Cursor | None, Depends(_cursor)]
Limit = Annotated[int, Query(ge=1, le=100, description="how many at most")]
