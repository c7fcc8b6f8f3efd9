"""The base of every value: frozen, and strict about names on the way in from people."""

import datetime as dt
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict


def _within_the_calendar(moment: dt.datetime) -> dt.datetime:
    if not dt.MINYEAR < moment.year < dt.MAXYEAR:
        raise ValueError("the year must leave room for another one before and after it")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_within_the_calendar)]
"""A point in time that can be said in every zone, and counted from: the calendar's first and last year have moments
that cannot be written in UTC, which PostgreSQL wants.
"""


class Value(BaseModel):
    """A value: immutable, compared by what it holds; fields of a later version are ignored when it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Request(BaseModel):
    """What a person or a program sends us: an unknown field is an error, since it is most likely misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
