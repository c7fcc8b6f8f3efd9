# ruff: noqa: RUF001 - letters of many scripts
"""Whatever is sent, the answer is right or a clear 4xx: no 5xx, and no text is lost or changed."""

import asyncio
import base64
import contextlib
import copy
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from api.main import application
from api.settings import ApiSettings
from common.events import ListingPublished
from testkit.factories import make_listing

from .conftest import PRODUCER_KEY, Api
from .test_pages import Visitor

Json = Any
Path = tuple[str | int, ...]

TEXTS: Final = {
    "Arabic": "شقة للإيجار في ميلانو",
    "emoji": "🏠👨‍👩‍👧🇮🇹",
    "zero width": "bi\u200blo\u200dca\u2060le\ufeff",
    "right to left": "\u202egnp.elacolib\u202c",
    "combining": "Z͑ͫ̓ͪa̴l͡g̸o",
    "markup": "*grassetto* _corsivo_ ~barrato~ ```codice``` <b>&amp;</b>",
    "lines": "uno\ntwo\r\nтри\u2028quattro",
    "SQL and templates": "'; DROP TABLE users; -- {{1}} {0} %s ${x}",
    "NUL": "a\0b",
}


@pytest.fixture(scope="module")
def document() -> Json:
    return application(ApiSettings.model_construct(public_url="http://localhost")).openapi()


# --- every text field of every body ---


def resolved(schema: Json, document: Json) -> Json:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def text_fields(schema: Json, document: Json, path: Path = ()) -> Iterator[Path]:
    """Where a body takes a text that is not one of a few words."""
    schema = resolved(schema, document)
    for variant in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from text_fields(variant, document, path)
    if schema.get("type") == "string" and not schema.keys() & {"enum", "const"}:
        yield path
    if schema.get("type") == "array":
        yield from text_fields(schema["items"], document, (*path, 0))
    for name, inner in schema.get("properties", {}).items():
        yield from text_fields(inner, document, (*path, name))


def with_text(body: Json, path: Path, text: str) -> Json:
    """A body that is good but for the text at a path; what leads there is made where the body lacks it."""
    if not path:
        return text
    first, *rest = path
    if isinstance(first, int):
        return [with_text(body[0] if isinstance(body, list) and body else None, tuple(rest), text)]
    body = dict(body) if isinstance(body, dict) else {}
    return {**body, first: with_text(body.get(first), tuple(rest), text)}


def bodies(document: Json) -> Iterator[tuple[str, str, Path, Json]]:
    """Method, path, field and a good body, for each text field of each operation."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            for each in content.values():
                example = resolved(each["schema"], document)["examples"][0]
                for field in sorted(set(text_fields(each["schema"], document)), key=str):
                    yield method, path, field, example


def leaves(value: Json) -> Iterator[Json]:
    match value:
        case dict():
            for inner in value.values():
                yield from leaves(inner)
        case list():
            for inner in value:
                yield from leaves(inner)
        case _:
            yield value


async def test_every_text_field_keeps_any_text_or_refuses_it(unlimited_api: Api, document: Json) -> None:
    renter = await unlimited_api.renter()
    saved = await renter.call("POST", "/subscriptions", json={"name": "Mine", "search": {"places": ["Roma"]}})
    headers = {"Authorization": f"Bearer {renter.tokens['access_token']}", "X-Api-Key": PRODUCER_KEY}
    kept = 0
    for method, path, field, example in bodies(document):
        address = path.format(subscription_id=saved.json()["subscription_id"])
        for name, text in TEXTS.items():
            answer = await unlimited_api.http.request(
                method, address, json=with_text(copy.deepcopy(example), field, text), headers=headers
            )
            assert answer.status_code < 500, (method, path, field, name, answer.text)
            if answer.is_success and path.startswith("/api/v1/subscriptions") and not path.endswith("/preview"):
                assert text in set(leaves(answer.json())), (method, path, field, name)
                kept += 1
    assert kept > len(TEXTS), "Hardly any text was taken: what was tested?"


async def test_a_listing_of_any_script_is_on_kafka_as_it_was_sent(api: Api) -> None:
    listing = json.loads(make_listing().model_dump_json(exclude_none=True))
    texts = [text for name, text in TEXTS.items() if name != "NUL"]
    sent = [{**listing, "listing_id": f"idealista.it:{n}", "title": text, "zone": text} for n, text in enumerate(texts)]
    answer = await api.http.post("/api/v1/listings", json=sent, headers={"X-Api-Key": PRODUCER_KEY})
    assert answer.json() == {"accepted": len(texts)}
    told = [event.listing for event in await api.events(api.topics.listings) if isinstance(event, ListingPublished)]
    assert sorted((each.title, each.zone) for each in told) == sorted((text, text) for text in texts)


async def test_u_0000_is_refused_with_its_place_and_a_text_that_only_names_it_is_kept(api: Api) -> None:
    renter = await api.renter()
    draft = {"name": "a\0b", "search": {"places": ["Roma"], "keywords_wanted": ["ok", "\0\0"]}}
    refused = await renter.call("POST", "/subscriptions", json=draft)
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/name", "/search/keywords_wanted/1"]
    named = await renter.call(
        "POST", "/subscriptions", json={**draft, "name": r"\u0000", "search": {"places": ["Roma"]}}
    )
    assert named.json()["name"] == r"\u0000"


# --- bodies that are no body ---

DEEP: Final = 100_000
BODIES: Final[Mapping[str, tuple[bytes, int]]] = {
    "10 MB": (b'{"name": "' + b"x" * 10_000_000 + b'"}', 413),
    "deep lists": (b'{"name": ' + b"[" * DEEP + b"]" * DEEP + b"}", 400),
    "deep objects": (b'{"a": ' * DEEP + b"1" + b"}" * DEEP, 400),
    "lists as deep as Python's stack, with U+0000": (b"[" * 1000 + rb'"\u0000"' + b"]" * 1000, 422),
    "NaN": (b'{"search": {"deposit_max_cents": NaN}}', 422),
    "Infinity": (b'{"search": {"deposit_max_cents": -Infinity}}', 422),
    "a number beyond every float": (b'{"search": {"deposit_max_cents": 1e999}}', 422),
    "a number beyond 64 bit": (b'{"search": {"deposit_max_cents": %d}}' % 2**80, 422),
    "a number of 5,000 digits": (b'{"search": {"deposit_max_cents": %s}}' % (b"9" * 5000), 400),
    "a number for a date": (b'{"search": {"available_by": 0}}', 422),
    "a year beyond 9999": (b'{"search": {"available_by": "10000-01-01"}}', 422),
    "the year 0": (b'{"search": {"available_by": "0000-01-01"}}', 422),
    "false for a number": (b'{"search": {"rooms": {"minimum": false}}}', 422),
    "half a character": (rb'{"name": "\ud83c"}', 400),
    "not UTF-8": (b'{"name": "\xff"}', 400),
    "UTF-16": ('{"name": "x"}'.encode("utf-16"), 400),
    "a mark before it": (b"\xef\xbb\xbf{}", 400),
    "a raw NUL": (b'{"name": "\0"}', 400),
    "two bodies": (b'{"name": "x"}{"name": "y"}', 400),
}


async def test_a_body_that_makes_no_sense_is_refused_with_a_problem(api: Api) -> None:
    renter = await api.renter()
    saved = await renter.call("POST", "/subscriptions", json={"name": "Mine", "search": {"places": ["Roma"]}})
    address = f"/api/v1/subscriptions/{saved.json()['subscription_id']}"
    headers = {"Authorization": f"Bearer {renter.tokens['access_token']}", "Content-Type": "application/json"}
    for name, (body, status) in BODIES.items():
        answer = await api.http.patch(address, content=body, headers=headers)
        assert (name, answer.status_code) == (name, status), answer.text[:300]
        assert answer.headers["content-type"] == "application/problem+json", name
    assert (await api.http.get(address, headers=headers)).json() == saved.json()


async def test_of_a_field_that_is_given_twice_the_last_counts(api: Api) -> None:
    renter = await api.renter()
    body = b'{"language": "ru", "language": "en"}'
    headers = {"Authorization": f"Bearer {renter.tokens['access_token']}", "Content-Type": "application/json"}
    assert (await api.http.patch("/api/v1/me", content=body, headers=headers)).json()["language"] == "en"


@pytest.mark.parametrize("date", ["0001-01-01", "9999-12-31"])
async def test_the_first_and_the_last_day_are_days(api: Api, date: str) -> None:
    renter = await api.renter()
    draft = {"name": "Some time", "search": {"places": ["Roma"], "available_by": date}}
    saved = await renter.call("POST", "/subscriptions", json=draft)
    assert saved.json()["search"]["available_by"] == date
    listing = json.loads(make_listing().model_dump_json(exclude_none=True))
    for offset in ("+14:00", "-12:00"):  # in UTC one of them is outside the calendar
        moment = f"{date}T00:00:00{offset}" if date.startswith("0") else f"{date}T23:59:59{offset}"
        sent = {**listing, "published_at": moment, "available_from": date}
        answer = await api.http.post("/api/v1/listings", json=sent, headers={"X-Api-Key": PRODUCER_KEY})
        assert answer.status_code == 202, answer.text
        at = base64.urlsafe_b64encode(f"{moment}/{UUID(int=1)}".encode()).decode()
        for path in ("/subscriptions", "/activity", "/me/consents"):
            assert (await renter.call("GET", f"{path}?after={at}")).status_code in {200, 422}, (path, moment)


# --- addresses and headers ---

ADDRESSES: Final = {
    "/api/v1/subscriptions?limit=1&limit=2": 200,
    "/api/v1/subscriptions?limit=%FF": 422,
    "/api/v1/subscriptions?limit=" + "9" * 5000: 422,
    "/api/v1/subscriptions?after=%FF%FE": 422,
    "/api/v1/subscriptions?after=%00": 422,
    "/api/v1/subscriptions?after=%ED%A0%80": 422,
    "/api/v1/subscriptions?after=a&after=b": 422,
    "/api/v1/subscriptions?unknown=%D8%B4%D9%82%D8%A9": 200,
    "/api/v1/subscriptions/..%2F..%2Fme": 404,
    "/api/v1/subscriptions/%00": 404,
    "/api/v1/subscriptions/%FF": 404,
    "/api/v1/subscriptions/%F0%9F%8F%A0": 404,
    "/api/v1/subscriptions/" + "a" * 5000: 404,
    "/api/v1/subscriptions/00000000-0000-0000-0000-000000000001/": 307,
    "/api/v1/messages/00000000-0000-0000-0000-000000000001": 404,
    "/api/v1/messages/00000000%2D0000-0000-0000-000000000001": 404,
    "/api/v1//me": 404,
    "/api/v1/whatsapp/sandbox/qr.png%00": 422,
}


async def test_an_address_that_nobody_means_is_answered_as_what_it_says(api: Api) -> None:
    renter = await api.renter()
    answers = {path: (await renter.call("GET", path.removeprefix("/api/v1"))).status_code for path in ADDRESSES}
    assert answers == ADDRESSES


HEADERS: Final = {
    "a header of 100 kB": b"X-Long: " + b"x" * 100_000,
    "a thousand headers": b"\r\n".join(b"X-%d: y" % n for n in range(1000)),
    "a token that is not ASCII": "Authorization: Bearer пароль".encode(),
    "a token of Latin-1": b"Authorization: Bearer \xe8\xff",
    "a header that is not UTF-8": b"X-Api-Key: \xff\xfe",
    "two tokens": b"Authorization: Bearer a\r\nAuthorization: Bearer b",
    "a broken language": b"Accept-Language: \xff;q=, en;q=nan, ru;q=1e999",
    "broken cookies": b"Cookie: itarent_session=\xff; itarent_language=../..; ;=;itarent_notice=__class__",
    "an origin that is none": b"Origin: http://[",
    "another host": b"Host: [::1",
    "a host that is not ASCII": b"Host: \xff",
    "an address that is none": b"X-Forwarded-For: \xff, ::, 1.2.3.4.5",
    "two lengths": b"Content-Length: 3\r\nContent-Length: 5",
    "a length and chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked",
    "a length of 5,000 digits": b"Content-Length: " + b"9" * 5000,
    "a negative length": b"Content-Length: -1",
    "a length of Arabic digits": "Content-Length: ٣".encode(),
    "a folded header": b"X-Folded: a\r\n b: c",
    "a header without a name": b": nothing",
    "a NUL in a header": b"X-Nul: a\0b",
}
TARGETS: Final = (
    *(b"GET /api/v1/me", b"POST /api/v1/listings", b"GET /", b"POST /sign-in", b"GET /watch", b"GET /sign-in?next=//["),
    *(b"GET /places?q=\xff\xfe", b"GET /\xff\xfe", b"GET /searches?x=\xff", b"GET /%ff%00?%ff=%00", b"GET http://[/"),
    *(b"OPTIONS *", b"GET //", b"TRACE /", b"GET /static/../../main.py", b"GET /static/%2e%2e/main.py", b"BREW /"),
)


async def raw_status(url: str, request: bytes) -> int:
    """The status that is answered to bytes; 0 where the connection is closed without an answer."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.write(request)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            line = await asyncio.wait_for(reader.readline(), 20)
            return int(line.split()[1]) if line else 0
        return 0
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_no_header_and_no_request_line_makes_the_server_fail(api: Api) -> None:
    plain = b"Host: localhost\r\nConnection: close"
    failed = []
    for target in TARGETS:
        for name, header in {"nothing else": b"X-Plain: yes", **HEADERS}.items():
            request = b"%s HTTP/1.1\r\n%s\r\n%s\r\n\r\n" % (target, plain, header)
            status = await raw_status(api.url, request)
            if status >= 500:
                failed.append((target, name, status))
    assert failed == []
    assert await raw_status(api.url, b"GET /healthz HTTP/1.1\r\n%s\r\n\r\n" % plain) == 200


# --- the pages' forms ---

WITHOUT_TEXT: Final = re.compile(r"/(sign-out|delete|pause|resume|unlink|test)$")
"""Forms of one button: they do what they say, whatever else is sent."""

FIELDS: Final = (
    *("email", "password", "current_password", "new_password", "next", "here", "language", "time_zone"),
    *("phone_number", "proof", "code", "quiet", "quiet_from", "quiet_until", "interval"),
    *("name", "alerts", "drop_percent", "drop_euros", "place_kind", "place", "place_zones", "place_km", "drop_polygon"),
    *("spese", "rent_min", "rent_max", "deposit_max", "rooms_min", "rooms_max", "area_m2_min"),
    *("floor_kinds", "floor_min", "floor_max", "contracts", "offering", "energy_class", "available_by"),
    *("keywords_wanted", "sources", "features", "unknown_rent", "unknown_x"),
)
VALUES: Final = {
    **TEXTS,
    "nothing": "",
    "a number of 6,000 digits": "9" * 6000,
    "Arabic digits": "١٢",
    "a power": "²",
    "no number": "nan",
    "an address elsewhere": "//[",
    "a year beyond 9999": "10000-01-01",
    "deep JSON": "[" * 5000,
}


def page_forms() -> list[str]:
    """Every address of the pages that takes a form with text fields."""
    app = application(ApiSettings.model_construct(public_url="http://localhost"))
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    return sorted(
        route.path
        for route in routes
        if isinstance(route, APIRoute)
        and "POST" in (route.methods or ())
        and not route.path.startswith(("/api/", "/watch"))
        and not WITHOUT_TEXT.search(route.path)
    )


def is_page(answer: httpx.Response, language: str) -> bool:
    return answer.is_redirect or f'<html lang="{language}">' in answer.text


async def test_every_form_is_answered_with_a_page_in_the_visitors_language(unlimited_api: Api) -> None:
    visitor = Visitor(unlimited_api, "ru")
    await visitor.register()
    await visitor.send("/searches/new", name="Моя", alerts=["new"], place=["Roma"], place_kind=["comune"])
    search_id = await unlimited_api.sql("SELECT subscription_id FROM subscriptions")
    for path in page_forms():
        address = path.format(subscription_id=search_id)
        for name, value in VALUES.items():
            answer = await visitor.send(address, "/settings", **dict.fromkeys(FIELDS, value))
            assert answer.status_code < 500, (path, name)
            assert is_page(answer, "ru"), (path, name, answer.text[:300])
    assert (await visitor.look("/settings")).status_code == 200, "Some form has signed the visitor out."
    await visitor.http.aclose()


@pytest.mark.parametrize("language", ["it", "en", "ru"])
async def test_a_form_that_is_no_form_is_refused_with_a_page(unlimited_api: Api, language: str) -> None:
    visitor = Visitor(unlimited_api, language)
    await visitor.register()
    form = "application/x-www-form-urlencoded"
    refused: dict[str, tuple[bytes, str, int]] = {
        "no token": (b"name=x", form, 403),
        "a wrong token": (b"name=x&form_token=AAAA", form, 403),
        "a token that is not ASCII": ("name=x&form_token=ключ".encode(), form, 403),
        "nothing": (b"", form, 403),
        "not UTF-8": (b"name=\xff&%ff=%fe", form, 403),
        "broken escapes": (b"name=%&%zz=%1&=&&&", form, 403),
        "JSON": (b"{}", "application/json", 415),
        "a multipart form": (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--',
            "multipart/form-data; boundary=x",
            415,
        ),
        "no type": (b"name=x", "", 415),
        "10 MB": (b"name=" + b"x" * 10_000_000, form, 413),
        "10,000 fields": (b"&".join(b"f%d=1" % n for n in range(10_000)), form, 413),
    }
    for name, (body, media_type, status) in refused.items():
        answer = await visitor.http.post("/searches/new", content=body, headers={"Content-Type": media_type})
        assert (name, answer.status_code) == (name, status), answer.text[:300]
        assert is_page(answer, language), name
    assert await unlimited_api.sql("SELECT count(*) FROM subscriptions") == 0
    await visitor.http.aclose()


async def test_a_search_by_the_form_keeps_any_text(unlimited_api: Api) -> None:
    visitor = Visitor(unlimited_api)
    await visitor.register()
    for text in (text for name, text in TEXTS.items() if name not in {"NUL", "lines"}):
        answer = await visitor.send(
            "/searches/new", name=text, alerts=["new"], place_kind=["comune"], place=["Roma"], place_zones=[text]
        )
        assert answer.headers["Location"] == "/searches", answer.text
        assert await unlimited_api.sql("SELECT count(*) FROM subscriptions WHERE name = $1", text) == 1
        assert text in html.unescape((await visitor.look("/searches")).text)
    await visitor.http.aclose()
