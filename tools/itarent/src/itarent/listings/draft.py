"""A listing in the making: what the cells or fields of one row say, gathered until it can be judged as a whole."""

import datetime as dt
import functools
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from pydantic import ValidationError

from common.comuni import Comuni
from common.events import NAMESPACE
from common.listing import Listing
from itarent.listings.outcomes import Refusal, RefusedError
from itarent.listings.places import place_of
from itarent.listings.reading import Reading


@dataclass(frozen=True)
class Draft:
    """What one row says, in the fields of a listing.

    Beside those it may have `id` (the source's own), and `region`, which tells comuni of one name apart. `content` is
    the row in a canonical form: an id is derived from it where the source has none.
    """

    source: str
    reading: Reading
    content: str


class Judge:
    """Makes listings of drafts: places by ISTAT's codes, ids, versions, and the contract's own rules.

    `observed_at` is when the source was read: the version of advertisements that have an id but no time of change.
    """

    def __init__(self, comuni: Comuni, observed_at: dt.datetime | None = None) -> None:
        self._observed_at = observed_at
        self._place = functools.lru_cache(20_000)(functools.partial(place_of, comuni))

    def listing(self, draft: Draft) -> Listing:
        """Raises RefusedError if it cannot be a listing."""
        said = dict(draft.reading.fields)
        region, own_id = said.pop("region", None), said.pop("id", None)
        flags = draft.reading.flags
        if "comune" in said or said.get("comune_name"):
            name = said.get("comune_name", "")
            place = self._place(said.pop("comune", None), name, said.pop("province", None), region)
            said |= place.fields
            flags += place.flags
        if not any(said.get(field) for field in _PLACE_RENT_OR_SIZE):
            raise RefusedError(Refusal.NO_PLACE_RENT_OR_SIZE)
        said["listing_id"] = f"{draft.source}:{own_id or _id_of(draft)}"
        said.setdefault("version", self._version(said.get("published_at"), derived=own_id is None))
        try:
            return Listing.model_validate(
                {
                    **said,
                    "source": draft.source,
                    "features": draft.reading.features,
                    "flags": tuple(dict.fromkeys(flags)),
                }
            )
        except ValidationError as error:
            raise breach_of_contract(error) from None

    def _version(self, published_at: dt.datetime | None, *, derived: bool) -> int:
        """For a source that does not tell when an advertisement changed: when it was seen, else when it appeared.

        A derived id needs no more, since other content has another id.
        """
        moment = published_at if derived or self._observed_at is None else self._observed_at
        return max(_CONSTANT_VERSION, round(moment.timestamp() * 1000)) if moment else _CONSTANT_VERSION


_PLACE_RENT_OR_SIZE: Final = ("comune", "comune_name", "zone", "address", "position", "rent", "area_m2", "rooms")
_CONSTANT_VERSION: Final = 1


def _id_of(draft: Draft) -> UUID:
    try:
        return uuid5(NAMESPACE, f"row/{draft.source}/{draft.content}")
    except UnicodeEncodeError:  # bytes that are not UTF-8 were read as lone surrogates
        raise RefusedError(Refusal.NOT_UTF8) from None


def breach_of_contract(error: ValidationError) -> RefusedError:
    """The first fault that validation found, as a refusal."""
    fault = error.errors(include_url=False)[0]
    field = ".".join(map(str, fault["loc"]))
    return RefusedError(Refusal.BREAKS_THE_CONTRACT, field, f"{fault['input']!s:.100} ({fault['msg']})")
