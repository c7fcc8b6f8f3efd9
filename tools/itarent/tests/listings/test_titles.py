from typing import Any

import pytest

from common.listing import Floor, FloorKind, PropertyType
from itarent.listings.titles import read_title

APARTMENT = PropertyType.APARTMENT


@pytest.mark.parametrize(
    ("title", "fields"),
    [
        (
            "Trilocale via Malta 13, Colli Saragozza, Bologna",
            {"property_type": APARTMENT, "rooms": 3, "address": "via Malta 13", "zone": "Colli Saragozza"},
        ),
        (
            "Bilocale via Col di Lana 1, Bologna",
            {"property_type": APARTMENT, "rooms": 2, "address": "via Col di Lana 1"},
        ),
        (
            "Bilocale ottimo stato, primo piano, De Gasperi - Croce Rossa, Bologna",
            {
                "property_type": APARTMENT,
                "rooms": 2,
                "zone": "De Gasperi - Croce Rossa",
                "floor": Floor(kind=FloorKind.NUMBERED, number=1),
            },
        ),
        (
            "Loft, ottimo stato, piano terra, Quarto, Bologna",
            {
                "property_type": PropertyType.LOFT,
                "zone": "Quarto",
                "floor": Floor(kind=FloorKind.PIANO_TERRA, number=0),
            },
        ),
        (
            "Villa unifamiliare, ottimo stato, 980 m², Trastevere, Bologna",
            {"property_type": PropertyType.VILLA, "zone": "Trastevere"},
        ),
        (
            "Quadrilocale Roberto da bari , 56, Murat, Bologna",
            {"property_type": APARTMENT, "rooms": 4, "address": "Roberto da bari, 56", "zone": "Murat"},
        ),
        (
            "Monolocale via Lumière, 5, 40127 Bologna Italia, Pasteur, Bologna",
            {
                "property_type": PropertyType.STUDIO,
                "rooms": 1,
                "address": "via Lumière, 5, 40127 Bologna Italia",
                "zone": "Pasteur",
            },
        ),
        (
            "Bilocale via Revere 9, Arco della Pace, Arena, Pagano, Bologna",
            {
                "property_type": APARTMENT,
                "rooms": 2,
                "address": "via Revere 9",
                "zone": "Arco della Pace, Arena, Pagano",
            },
        ),
        (
            "Appartamento in villa, ottimo stato, 100 m², Addaura, Bologna",
            {"property_type": APARTMENT, "zone": "Addaura"},
        ),
        ("Palazzo - Edificio, Bologna", {"property_type": PropertyType.PALACE}),
        ("Something else entirely, Bologna", {"address": "Something else entirely"}),
    ],
)
def test_a_title_tells_its_parts(title: str, fields: dict[str, Any]) -> None:
    assert read_title(title) == {"comune_name": "Bologna", **fields}
