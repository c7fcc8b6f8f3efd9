"""The base of every value: frozen, and strict about names on the way in from people."""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A value: immutable, compared by what it holds; fields of a later version are ignored when it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Request(BaseModel):
    """What a person or a program sends us: an unknown field is an error, since it is most likely misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
