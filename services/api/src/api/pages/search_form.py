"""The search form: its fields as the draft that the api's model judges, and a saved search as fields."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError

from api.pages.forms import Form, faults_of
from api.searches import COMUNI, SubscriptionDraft
from api.words import Said, centre_name
from common.comuni import Ambiguous, Comune, Comuni
from common.listing import (
    AdvertiserKind,
    ContractType,
    EnergyClass,
    Feature,
    FloorKind,
    Furnishing,
    Position,
    PropertyType,
    Signal,
    TravelMode,
)
from common.search import (
    Alert,
    Commute,
    Criterion,
    InCircle,
    InComune,
    InPolygon,
    InProvince,
    Place,
    PriceDrop,
    Range,
    Subscription,
)

RANGES: Final = ("rooms", "bedrooms", "bathrooms", "area_m2")
SETS: Final = ("contracts", "property_types", "furnishing", "features", "signals_unwanted")
CHOICES: Final = ("offering", "energy_class", "advertiser", "available_by")
LISTS: Final = ("keywords_wanted", "keywords_unwanted", "sources")
MOST_COMMUTES: Final = 3
ALWAYS_KNOWN: Final = frozenset({Criterion.STATUS, Criterion.SOURCE, Criterion.SIGNALS})
"""What is known of every listing: the form keeps what a program has decided about them, and asks nobody."""


class PlaceKind(StrEnum):
    """How a row of the form names a place."""

    COMUNE = "comune"
    PROVINCE = "province"
    CIRCLE = "circle"
    POLYGON = "polygon"  # drawn by a program: the form keeps it as it is


KINDS: Final[Mapping[str, type[StrEnum]]] = {
    "property_types": PropertyType,
    "features": Feature,
    "furnishing": Furnishing,
    "floor_kinds": FloorKind,
    "contracts": ContractType,
    "energy_class": EnergyClass,
    "advertiser": AdvertiserKind,
    "signals_unwanted": Signal,
    "commute_by": TravelMode,
    "alerts": Alert,
}
"""What can be chosen in a field."""

_MORE: Final = (
    *("bedrooms_min", "bedrooms_max", "bathrooms_min", "bathrooms_max", "floor_kinds", "floor_min", "floor_max"),
    *("contracts", "energy_class", "advertiser", "available_by", "deposit_max", *LISTS),
    *("commute_to", "signals_unwanted"),
)
"""Fields that are folded away until they are used."""


def uses_more(form: Form) -> bool:
    return any(form.value(name) or name in form.faults for name in _MORE) or any(map(_is_of_commute, form.faults))


def _is_of_commute(name: str) -> bool:
    return name.startswith("commute_")


def commute_rows(form: Form) -> int:
    """How many are shown: what is filled in, and one to fill in."""
    filled = sum(1 for index in range(form.count("commute_to")) if form.at("commute_to", index))
    return min(MOST_COMMUTES, max(filled + 1, form.count("commute_to")))


def decides_unknown(form: Form) -> bool:
    return any(form.value(f"unknown_{each}") for each in Criterion if each not in ALWAYS_KNOWN)


# --- from the form to the draft ---


def draft_of(form: Form, said: Said) -> SubscriptionDraft | Form:
    """The draft, or the form with its faults."""
    sent = {
        "name": form.value("name"),
        "alerts": form.all("alerts"),
        "price_drop": _least_drop(form),
        "search": {
            "places": list(_places(form)),
            "rent": _rent(form),
            "deposit_max_cents": _cents(form.value("deposit_max")),
            "floor": _floor(form),
            "commutes": [commute for _, commute in _commutes(form)],
            "unknown": {each: policy for each in Criterion if (policy := form.value(f"unknown_{each}"))},
            **{name: _range(form, name) for name in RANGES},
            **{name: form.all(name) for name in SETS},
            **{name: form.value(name) or None for name in CHOICES},
            **{name: split(form.value(name)) for name in LISTS},
        },
    }
    try:
        return SubscriptionDraft.model_validate(sent, context={COMUNI: Comuni.load()})
    except ValidationError as error:
        return form.refused(faults_of(error, said, {**_FIELDS, **_place_fields(form), **_commute_fields(form)}))


def _places(form: Form) -> Iterator[dict[str, Any]]:
    for kind, where, zones, km in _rows(form):
        match kind:
            case _ if not where:
                continue
            case PlaceKind.PROVINCE:
                yield {"kind": "province", "code": _province(where)}
            case PlaceKind.CIRCLE:
                yield {"kind": "circle", "centre": _centre(where), "radius_m": _metres(km)}
            case PlaceKind.POLYGON:
                yield {"kind": "polygon", "ring": _ring(where)}
            case _:
                yield _comune(where, zones)


def _rows(form: Form) -> Iterator[tuple[str, str, str, str]]:
    """What stands in each row: kind, where, zones, kilometres."""
    for index in range(form.count("place")):
        dropped = form.has("drop_polygon", str(index))
        where = "" if dropped else form.at("place", index)
        yield form.at("place_kind", index), where, form.at("place_zones", index), form.at("place_km", index)


def _comune(where: str, zones: str) -> dict[str, Any]:
    if re.fullmatch(r"\d{6}", where):
        return {"kind": "comune", "code": where, "zones": split(zones)}
    return {"kind": "comune", "name": where, "zones": split(zones)}


def _province(where: str) -> str:
    province = Comuni.load().province(where)
    return province.code if province else where.lower()  # which is no sigla


def _centre(where: str) -> object:
    """The middle of a comune, or a point as it is written on maps: `45.4642, 9.1900`."""
    if point := re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*[,; ]\s*(-?\d+(?:\.\d+)?)", where):
        return {"latitude": float(point[1]), "longitude": float(point[2])}
    match Comuni.load().find(where):
        case Comune(centre=centre) if centre:
            return centre
        case Ambiguous(candidates=candidates):
            return ", ".join(f"{each.name} ({each.province})" for each in candidates)
        case _:
            return where


def _metres(km: str) -> object:
    try:
        return round(float(km.replace(",", ".")) * 1000)
    except (ValueError, OverflowError):
        return km or None


def _commutes(form: Form) -> Iterator[tuple[int, dict[str, Any]]]:
    """What stands in the rows that are filled in, with their numbers."""
    for row in range(form.count("commute_to")):
        if where := form.at("commute_to", row):
            km = form.at("commute_km", row)
            yield (
                row,
                {
                    "to": _centre(where),
                    "label": form.at("commute_label", row),
                    "by": form.at("commute_by", row) or TravelMode.TRANSIT,
                    "minutes": form.at("commute_minutes", row) or None,
                    "max_distance_m": _metres(km) if km else None,
                },
            )


def _ring(kept: str) -> object:
    try:
        return json.loads(kept)
    except (ValueError, RecursionError):
        return kept


def _rent(form: Form) -> dict[str, Any] | None:
    low, high = _cents(form.value("rent_min")), _cents(form.value("rent_max"))
    if low is None and high is None:
        return None
    spese = "included" if form.value("spese") == "included" else "excluded"
    return {"minimum_cents": low, "maximum_cents": high, "spese": spese}


_AMOUNT: Final = re.compile(r"(?P<euros>\d{1,12}|\d{1,3}(?:[.,' ]\d{3}){1,4})(?:[.,](?P<cents>\d{1,2}))?")


def _cents(written: str) -> object:
    """`1.200`, `1,200.50`, `1 200 €` in cents: what stands before three digits parts thousands, in any language."""
    if not written:
        return None
    amount = _AMOUNT.fullmatch(re.sub(r"\s", " ", written).replace("€", "").strip())
    if amount is None:
        return written
    return int(re.sub(r"\D", "", amount["euros"])) * 100 + int((amount["cents"] or "0").ljust(2, "0"))


def _least_drop(form: Form) -> dict[str, object]:
    """Who names an amount only means it whatever the percentage; who names nothing has what is usual."""
    percent, cents = form.value("drop_percent"), _cents(form.value("drop_euros"))
    if not percent and cents is None:
        return {}
    return {"percent": percent or 0, "cents": cents or 0}


def _range(form: Form, name: str) -> dict[str, str | None] | None:
    low, high = form.value(f"{name}_min"), form.value(f"{name}_max")
    return {"minimum": low or None, "maximum": high or None} if low or high else None


def _floor(form: Form) -> dict[str, Any] | None:
    kinds, bounds = form.all("floor_kinds"), _range(form, "floor")
    return {"kinds": kinds, **(bounds or {})} if kinds or bounds else None


def split(written: str) -> list[str]:
    """The parts between commas; one that holds a comma itself stands in quotes."""
    rows = csv.reader(io.StringIO(written.replace("\r", "\n")), skipinitialspace=True)
    try:
        return [part.strip() for row in rows for part in row if part.strip()]
    except csv.Error:  # it has more letters than anybody means: the model says so
        return [written]


# --- where a fault is shown ---

_FIELDS: Final[Mapping[tuple[str, ...], str]] = {
    ("price_drop", "percent"): "drop_percent",
    ("price_drop", "cents"): "drop_euros",
    ("search", "rent"): "rent_max",
    ("search", "rent", "minimum_cents"): "rent_min",
    ("search", "deposit_max_cents"): "deposit_max",
    **{("search", name): f"{name}_max" for name in (*RANGES, "floor")},
    **{("search", name, "minimum"): f"{name}_min" for name in (*RANGES, "floor")},
    **{("search", name): name for name in (*SETS, *CHOICES, *LISTS)},
    ("search", "places"): "place_0",
    **{("search", "unknown", each): f"unknown_{each}" for each in Criterion},
}


def _place_fields(form: Form) -> dict[tuple[str, ...], str]:
    """Rows of the form by places of the draft, which leaves empty rows out."""
    filled = [index for index, row in enumerate(_rows(form)) if row[1]]
    fields: dict[tuple[str, ...], str] = {}
    for place, row in enumerate(filled):
        fields["search", "places", str(place)] = f"place_{row}"
        fields["search", "places", str(place), PlaceKind.CIRCLE, "radius_m"] = f"place_km_{row}"
    return fields


def _commute_fields(form: Form) -> dict[tuple[str, ...], str]:
    fields: dict[tuple[str, ...], str] = {}
    for number, (row, _) in enumerate(_commutes(form)):
        at = ("search", "commutes", str(number))
        fields |= {at: f"commute_minutes_{row}", (*at, "max_distance_m"): f"commute_km_{row}"}
        fields |= {(*at, name): f"commute_{name}_{row}" for name in ("to", "label", "by")}
    return fields


# --- from a saved search to the form ---


def form_of(subscription: Subscription) -> Form:
    """A saved search as it stands in the form; sent again unchanged, it is the same search."""
    search = subscription.search
    rent = search.rent
    values: dict[str, list[str]] = {
        "name": [subscription.name],
        "alerts": sorted(subscription.alerts),
        "drop_percent": [str(subscription.price_drop.percent)],
        "drop_euros": _one(_euros(subscription.price_drop.cents or None)),
        "deposit_max": _one(_euros(search.deposit_max_cents)),
        **_place_rows(search.places),
        **_commute_columns(search.commutes),
        **{name: sorted(getattr(search, name)) for name in SETS},
        **{name: _one(getattr(search, name)) for name in CHOICES},
        **{name: [join(getattr(search, name))] for name in LISTS},
        **{f"unknown_{each}": [policy] for each, policy in search.unknown.items()},
    }
    if rent:
        values |= {"rent_min": _one(_euros(rent.minimum_cents)), "rent_max": _one(_euros(rent.maximum_cents))}
        values["spese"] = [rent.spese]
    for name in RANGES:
        values |= _bounds(name, getattr(search, name))
    if search.floor:
        values |= {
            "floor_kinds": sorted(search.floor.kinds),
            "floor_min": _one(search.floor.minimum),
            "floor_max": _one(search.floor.maximum),
        }
    return Form(values)


NEW: Final = Form(
    {
        "alerts": ["new", "price_drop"],
        "drop_percent": [str(PriceDrop().percent)],
        "place_kind": ["comune"],
        "place": [""],
    }
)
"""The form of a search that is yet to be made."""


def _place_rows(places: Iterable[Place]) -> dict[str, list[str]]:
    rows = [_place_row(place) for place in places]
    columns = zip(*rows, strict=True)
    return dict(zip(("place_kind", "place", "place_zones", "place_km"), map(list, columns), strict=True))


def _place_row(place: Place) -> tuple[str, str, str, str]:
    match place:
        case InComune(code=code, zones=zones):
            return PlaceKind.COMUNE, comune_name(code), join(zones), ""
        case InProvince(code=code):
            province = Comuni.load().province(code)
            return PlaceKind.PROVINCE, province.name if province else code, "", ""
        case InCircle(centre=centre, radius_m=radius_m):
            return PlaceKind.CIRCLE, _point(centre), "", _kilometres(radius_m)
        case InPolygon(ring=ring):
            return PlaceKind.POLYGON, json.dumps([point.model_dump() for point in ring]), "", ""


def _commute_columns(commutes: Iterable[Commute]) -> dict[str, list[str]]:
    return {
        "commute_to": [_point(each.to) for each in commutes],
        "commute_label": [each.label for each in commutes],
        "commute_by": [each.by for each in commutes],
        "commute_minutes": [str(each.minutes or "") for each in commutes],
        "commute_km": [_kilometres(each.max_distance_m) for each in commutes],
    }


def _point(point: Position) -> str:
    return centre_name(point.latitude, point.longitude) or f"{point.latitude}, {point.longitude}"


def _kilometres(metres: int | None) -> str:
    return "" if metres is None else f"{metres / 1000:.3f}".rstrip("0").rstrip(".")


def comune_name(code: str) -> str:
    """`Milano (MI)`: a name that the form reads as this very comune, else its code."""
    comune = Comuni.load().by_code(code)
    if comune is None:
        return code
    name = f"{comune.name} ({comune.province})"
    return name if Comuni.load().find(name) == comune else code


def _bounds(name: str, bounds: Range | None) -> dict[str, list[str]]:
    if bounds is None:
        return {}
    return {f"{name}_min": _one(bounds.minimum), f"{name}_max": _one(bounds.maximum)}


def _one(value: object) -> list[str]:
    return [] if value is None else [str(value)]


def _euros(cents: int | None) -> str | None:
    if cents is None:
        return None
    euros, rest = divmod(cents, 100)
    return f"{euros}.{rest:02}" if rest else str(euros)


def join(parts: Iterable[str]) -> str:
    """Parts as `split` reads them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(parts)
    return ", ".join(re.split(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", line.getvalue()))
