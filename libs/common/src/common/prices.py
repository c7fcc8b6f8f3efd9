"""What a message costs, from a table that is configuration. Money is whole millionths of the table's currency."""

import functools
import importlib.resources
import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from common.events import MessageStatus
from common.model import Request

MILLIONTHS: Final = 1_000_000
LONGEST_PREFIX: Final = 6

Micros = int
"""Millionths of the table's currency."""


class Charge(StrEnum):
    """By what Meta charges a message: free text, or the category of its template."""

    SERVICE = "service"
    UTILITY = "utility"
    AUTHENTICATION = "authentication"
    MARKETING = "marketing"


class InvalidPrices(Exception):  # noqa: N818 - named by what is the case
    """The price table cannot be used."""

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"The price table {where}: {fault}")


def micros(amount: str | Decimal | float) -> Micros:
    """An amount as millionths, exactly.

    Raises:
        ValueError: it has more than six decimals, is negative or is no number.
    """
    exact = Decimal(str(amount)) * MILLIONTHS
    if not exact.is_finite() or exact < 0 or exact != exact.to_integral_value():
        raise ValueError("an amount is not negative and has at most six decimals")
    return int(exact)


def _micros_of(given: object) -> Micros:
    if not isinstance(given, str):
        raise ValueError('an amount is written as a text: "0.005"')  # noqa: TRY004 - pydantic makes a fault of it
    try:
        return micros(given)
    except ArithmeticError as error:
        raise ValueError(f"{given!r} is no amount") from error


Amount = Annotated[Micros, BeforeValidator(_micros_of)]


class Twilio(Request):
    """Twilio's own fees."""

    message: Amount
    failed: Amount
    failed_for_free: frozenset[int] = frozenset()


class Prices(Request):
    """The price table."""

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    as_of: date
    sources: tuple[str, ...] = Field(min_length=1)
    twilio: Twilio
    meta: dict[str, dict[Charge, Amount]]

    @field_validator("meta")
    @classmethod
    def _complete(cls, meta: dict[str, dict[Charge, Amount]]) -> dict[str, dict[Charge, Amount]]:
        if "" not in meta:
            raise ValueError('the prices of every other country are missing: "" = { … }')
        for prefix, by_charge in meta.items():
            if prefix and not prefix.isdecimal():
                raise ValueError(f"{prefix!r} is no country prefix: digits without +")
            if missing := [charge.value for charge in Charge if charge not in by_charge]:
                raise ValueError(f"{prefix!r} has no price for {', '.join(missing)}")
        return meta

    def of(self, phone: str, charge: Charge) -> Micros:
        """What a message to this phone costs when it is taken."""
        return self.twilio.message + self._meta(phone.removeprefix("+"))[charge]

    def of_failure(self, status: MessageStatus, code: int | None) -> Micros:
        """What a message costs that was not delivered. Meta charges deliveries only, Twilio a fee for some failures."""
        if status is not MessageStatus.FAILED or code in self.twilio.failed_for_free:
            return 0
        return self.twilio.failed

    def _meta(self, digits: str) -> Mapping[Charge, Micros]:
        prefixes = (digits[:length] for length in range(LONGEST_PREFIX, -1, -1))
        return next(self.meta[prefix] for prefix in prefixes if prefix in self.meta)


@functools.cache
def prices(path: Path | None = None) -> Prices:
    """The table of a file, or the one that comes with us.

    Raises:
        InvalidPrices: it cannot be read; the message says why.
    """
    file = path or importlib.resources.files("common") / "data" / "prices.toml"
    try:
        return Prices.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        problem = error.errors()[0]
        raise InvalidPrices(str(file), f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    except (OSError, ValueError) as error:
        raise InvalidPrices(str(file), str(error)) from error
