"""A search as a person sends it: strict about names, and a comune may be given by its name."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from common.comuni import Ambiguous, Comune, Comuni
from common.model import Request
from common.search import Alert, Place, PriceDrop, Search

COMUNI: Final = "comuni"
"""Where the validation context holds the comuni."""


USUAL_KIND: Final = "comune"
"""The kind of a place that says none."""

ComuneName = Annotated[str, Field(min_length=2, max_length=120)]


class NamedComune(Request):
    """A comune by its name, in Italian or as the province calls it: `Bolzano`, `Bozen`, `Castro (BG)`."""

    kind: str = Field(default="comune", pattern="^comune$")
    name: ComuneName
    province: str | None = Field(default=None, max_length=60, description="sigla or name, where several bear the name")
    zones: tuple[str, ...] = Field(default=(), max_length=50)


def _with_code(place: object, info: ValidationInfo) -> object:
    """A place whose comune is the code of today; `"Bolzano"` alone is a place as well."""
    if isinstance(place, str):
        place = {"name": place}
    if not isinstance(place, dict):
        return place
    # What was read from JSON is a Python value by now, and strictly a list is no tuple.
    place = {name: tuple(value) if isinstance(value, list) else value for name, value in place.items()}
    if place.get("kind", USUAL_KIND) != USUAL_KIND:
        return place
    assert info.context is not None
    comuni: Comuni = info.context[COMUNI]
    if "name" in place and "code" not in place:
        return _by_name(place, comuni)
    return _by_code(place, comuni)


def _by_name(place: dict[str, Any], comuni: Comuni) -> dict[str, Any]:
    try:
        named = NamedComune.model_validate(place)
    except ValidationError:
        raise PydanticCustomError(
            "comune_name", "A comune by its name has `name` and, where needed, `province` and `zones`"
        ) from None
    match comuni.find(named.name, named.province):
        case Comune(code=code):
            return {"kind": "comune", "code": code, "zones": named.zones}
        case Ambiguous(candidates=candidates):
            raise PydanticCustomError(
                "comune_ambiguous",
                "Several comuni are called {name}: {candidates}. Add `province`, or give the `code`",
                {"name": named.name, "candidates": ", ".join(map(_described, candidates))},
            )
        case None:
            where = {"name": named.name, "place": f" in {named.province}" if named.province else ""}
            raise PydanticCustomError("comune_unknown", "ISTAT knows no comune {name}{place}: check its name", where)


def _by_code(place: dict[str, Any], comuni: Comuni) -> dict[str, Any]:
    code = place.get("code")
    if isinstance(code, str) and code.isdecimal() and comuni.by_code(code) is None:
        raise PydanticCustomError("comune_unknown", "ISTAT knows no comune with the code {code}", {"code": code})
    return {"kind": "comune", **place, **({"code": comuni.current(code)} if isinstance(code, str) else {})}


def _described(comune: Comune) -> str:
    return f"{comune.name} ({comune.province}, {comune.code})"


PlaceDraft = Annotated[Place, BeforeValidator(_with_code, json_schema_input_type=Place | NamedComune | ComuneName)]


class SearchDraft(Search):
    """A search to be saved. Read it with the comuni in the validation context."""

    places: tuple[PlaceDraft, ...] = Field(min_length=1, max_length=50, description="any of these")

    def search(self) -> Search:
        return Search.model_validate(dict(self))


Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"\S")]
Alerts = Annotated[frozenset[Alert], Field(min_length=1, description="what to be told of")]


class SubscriptionDraft(Request):
    """A search with its name."""

    name: Name
    alerts: Alerts = frozenset({Alert.NEW, Alert.PRICE_DROP})
    price_drop: PriceDrop = PriceDrop()
    search: SearchDraft

    def fields(self) -> dict[str, Any]:
        """The fields of the subscription."""
        return {
            "name": self.name,
            "alerts": self.alerts,
            "price_drop": self.price_drop,
            "search": self.search.search(),
        }


class SubscriptionChange(Request):
    """What is to change; a field that is left out stays as it is."""

    name: Name | None = None
    alerts: Alerts | None = None
    price_drop: PriceDrop | None = None
    search: SearchDraft | None = None

    def fields(self) -> dict[str, Any]:
        """The fields of the subscription that change."""
        changes = {
            "name": self.name,
            "alerts": self.alerts,
            "price_drop": self.price_drop,
            "search": self.search and self.search.search(),
        }
        return {name: value for name, value in changes.items() if value is not None}
