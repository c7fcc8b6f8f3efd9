"""How to join Twilio's sandbox: its number, the words, a link, and a QR code that any scanner reads."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import zxingcpp

from common.topics import Topics
from testkit.servers import Database

from .conftest import PHONE, Api, api_settings, resting_api

JOIN_LINK = "https://wa.me/14155238886?text=join%20quiet-harbour"


def pixels_of(png: bytes) -> list[bytes]:
    """The rows of a grey PNG of one bit a pixel, one byte a pixel; a row is as it stands, or added to the one above."""
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    assert (depth, colour) == (1, 0)
    raw, stride = zlib.decompress(_data_of(png)), (width + 7) // 8 + 1
    rows, above = [], bytes(stride - 1)
    for at in range(0, height * stride, stride):
        how, row = raw[at], raw[at + 1 : at + stride]
        assert how in (0, 2)
        above = bytes((new + old) % 256 for new, old in zip(row, above, strict=True)) if how else row
        rows.append(bytes(255 * (above[x // 8] >> (7 - x % 8) & 1) for x in range(width)))
    return rows


def _data_of(png: bytes) -> bytes:
    data, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    return data


def scanned(rows: Sequence[bytes]) -> str:
    picture: Any = memoryview(b"".join(rows)).cast("B", (len(rows), len(rows[0])))
    (found,) = zxingcpp.read_barcodes(picture)
    return str(found.text)


async def test_the_sandbox_is_shown_with_number_words_link_and_codes(api: Api) -> None:
    sandbox = (await api.http.get("/api/v1/whatsapp/sandbox")).json()
    assert sandbox == {
        "number": "+14155238886",
        "written": "+1 415 523 8886",
        "join": "join quiet-harbour",
        "link": JOIN_LINK,
        "qr_png": "http://127.0.0.1:8000/api/v1/whatsapp/sandbox/qr.png",
        "qr_svg": "http://127.0.0.1:8000/api/v1/whatsapp/sandbox/qr.svg",
    }
    png = await api.http.get("/api/v1/whatsapp/sandbox/qr.png")
    assert (png.headers["Content-Type"], png.headers["Cache-Control"]) == ("image/png", "public, max-age=3600")
    assert scanned(pixels_of(png.content)) == JOIN_LINK
    svg = await api.http.get("/api/v1/whatsapp/sandbox/qr.svg")
    assert svg.headers["Content-Type"].startswith("image/svg+xml")
    assert 'fill="#fff"' in svg.text, "a dark page must not show through"
    assert (await api.http.get("/api/v1/whatsapp/sandbox/qr.gif")).status_code == 422


async def test_the_code_of_a_claim_can_be_scanned_by_its_account_only(api: Api) -> None:
    renter, other = await api.renter(), await api.renter()
    link = (await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE})).json()["claim"]["link"]
    png = await renter.call("GET", "/whatsapp/link/qr.png")
    assert scanned(pixels_of(png.content)) == link
    assert png.headers["Cache-Control"] == "private, no-store"
    assert (await other.call("GET", "/whatsapp/link/qr.png")).status_code == 404
    assert (await api.http.get("/api/v1/whatsapp/link/qr.png")).status_code == 401
    await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE, "proof": "to_phone"})
    assert (await renter.call("GET", "/whatsapp/link/qr.png")).status_code == 404


async def test_without_its_words_the_number_is_shown(kafka: str, topics: Topics, database: Database) -> None:
    async with resting_api(api_settings(kafka, topics, database, whatsapp_sandbox_join=None)) as api:
        sandbox = (await api.http.get("/api/v1/whatsapp/sandbox")).json()
        assert (sandbox["join"], sandbox["link"]) == (None, "https://wa.me/14155238886")


async def test_in_production_there_is_nothing_to_join(kafka: str, topics: Topics, database: Database) -> None:
    production = {"whatsapp_sandbox_join": None, "whatsapp_phone_number_id": "whatsapp:+390612345678"}
    async with resting_api(api_settings(kafka, topics, database, **production)) as api:
        answer = await api.http.get("/api/v1/whatsapp/sandbox")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:itarent:problem:no-sandbox")
