"""Requests that no honest client sends, as data: what is sent, and what must come back."""

import base64
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import jwt
import orjson

PROBLEM: Final = "application/problem+json"
DEPTH: Final = 100_000
BEARER: Final = "Authorization"
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Attack:
    """A request by HTTP's rules; `refused` where a success would be a hole."""

    name: str
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    refused: bool = True


@dataclass(frozen=True)
class Raw:
    """Bytes on a connection."""

    name: str
    sent: bytes = field(repr=False)


@dataclass(frozen=True)
class Victim:
    """Whose things are reached for, and a person who reaches for them."""

    subscription_id: str
    message_id: str
    headers: Mapping[str, str] = field(repr=False)
    attacker: Mapping[str, str] = field(repr=False)
    attacker_id: UUID


def on_the_api(victim: Victim, chance: random.Random) -> list[Attack]:
    """Attacks on the api, in an order that is drawn."""
    made = [
        *_without_a_token(victim),
        *_on_what_is_anothers(victim),
        *_by_bodies(victim),
        *_by_addresses(victim),
        *_by_headers(victim),
        *_by_injection(victim),
    ]
    chance.shuffle(made)
    return made


def on_the_webhook(chance: random.Random, account_sid: str) -> list[Attack]:
    """Attacks on the status webhook: nobody of them has the account's token."""
    form = f"AccountSid={account_sid}&MessageSid=SM{1:032x}&MessageStatus=delivered&From=whatsapp%3A%2B1&To=x&Body=STOP"
    body = form.encode()
    signatures = {
        "no signature": {},
        "an empty signature": {"X-Twilio-Signature": ""},
        "a forged signature": {"X-Twilio-Signature": base64.b64encode(chance.randbytes(20)).decode()},
        "a signature that is no base64": {"X-Twilio-Signature": "%00'\"<script>"},
        "a long signature": {"X-Twilio-Signature": "A" * 8000},
    }
    made = [
        Attack(f"{name} at {path}", "POST", path, {**FORM, **headers}, body)
        for name, headers in signatures.items()
        for path in ("/twilio/status?n=1&a=1", "/twilio/inbound", "/twilio", "/twilio/check")
    ]
    made += [
        Attack("GET", "GET", "/twilio/status"),
        Attack("JSON", "POST", "/twilio/status", JSON, b"{}"),
        Attack("a huge form", "POST", "/twilio/inbound", FORM, b"Body=" + b"a" * 10_000_000),
        Attack("ten thousand fields", "POST", "/twilio/inbound", FORM, b"&".join(b"a%d=1" % n for n in range(10_000))),
        Attack("a form that is not UTF-8", "POST", "/twilio/inbound", FORM, b"Body=%FF%FE&a=\xff"),
        Attack("an address that climbs", "POST", "/twilio/../../etc/passwd", FORM, body),
        Attack("a token of ours in the address", "POST", "/twilio/status?t=guess&n=%00&a=-1", FORM, body),
    ]
    chance.shuffle(made)
    return made


# --- the api ----------------------------------------------------------------------------------------------------------


def _without_a_token(victim: Victim) -> Iterator[Attack]:
    claims: dict[str, Any] = {
        "iss": "itarent",
        "aud": "itarent-api",
        "sub": str(victim.attacker_id),
        "sid": str(victim.attacker_id),
        "iat": 1,
        "exp": 2**40,
    }
    tokens = {
        "no signature": jwt.encode(claims, "", algorithm="none"),
        "a key of its own": jwt.encode(claims, "a-key-that-nobody-else-has-0123456789", algorithm="HS256"),
        "an endless life": jwt.encode(claims | {"exp": 10**30}, "a-key-that-nobody-else-has-0123456789"),
        "a key in its header": jwt.encode(
            claims,
            "a-key-that-nobody-else-has-0123456789",
            headers={"kid": "../../../dev/null", "jku": "http://127.0.0.1:9/"},
        ),
        "three dots": "..." * 3,
        "nothing": "",
        "a huge one": "A" * 20_000,
        "Latin": "\xe9\xff",
        "deep JSON": ".".join(base64.urlsafe_b64encode(b"[" * 20_000).decode() for _ in range(3)),
    }
    for name, token in tokens.items():
        yield Attack(f"a token with {name}", "GET", "/api/v1/me", {BEARER: f"Bearer {token}"})
    yield Attack("no token", "GET", "/api/v1/subscriptions")
    yield Attack("no token, to delete", "DELETE", "/api/v1/me", JSON, b'{"password": "x"}')
    yield Attack("another scheme", "GET", "/api/v1/me", {BEARER: "Basic cm9vdDpyb290"})
    yield Attack("no producer's key", "POST", "/api/v1/listings", JSON, b"[]")
    yield Attack("a guessed producer's key", "POST", "/api/v1/listings", {**JSON, "X-Api-Key": "guess"}, b"[]")
    yield Attack("a long producer's key", "POST", "/api/v1/listings", {**JSON, "X-Api-Key": "k" * 8000}, b"[]")
    yield Attack("watching", "GET", "/watch/events")


def _on_what_is_anothers(victim: Victim) -> Iterator[Attack]:
    mine = {**victim.attacker, **JSON}
    search = f"/api/v1/subscriptions/{victim.subscription_id}"
    yield Attack("another's search, to read", "GET", search, mine)
    yield Attack("another's search, to change", "PUT", search, mine, b'{"name": "mine now"}')
    yield Attack("another's search, to change in part", "PATCH", search, mine, b'{"name": "mine now"}')
    yield Attack("another's search, to delete", "DELETE", search, mine)
    yield Attack("another's search, to pause", "POST", f"{search}/pause", mine)
    yield Attack("another's search, to have explained", "GET", f"{search}/explain/immobiliare.it:1", mine)
    yield Attack("another's message", "GET", f"/api/v1/messages/{victim.message_id}", mine)
    yield Attack("another's message by a forged link", "GET", f"/m/{victim.message_id}?s=AAAA&e=9999999999")


def _by_bodies(victim: Victim) -> Iterator[Attack]:
    mine = {**victim.attacker, **JSON}
    saved = "/api/v1/subscriptions"
    yield Attack("a huge body", "POST", saved, mine, b'{"name": "' + b"a" * 20_000_000 + b'"}')
    yield Attack("deep JSON", "POST", saved, mine, b'{"search":' * DEPTH)
    yield Attack("deep arrays", "PATCH", "/api/v1/me", mine, b"[" * DEPTH + b"]" * DEPTH)
    yield Attack(
        "a number with a million digits", "PATCH", "/api/v1/me", mine, b'{"interval_seconds":' + b"9" * 900_000 + b"}"
    )
    yield Attack("NaN", "POST", saved, mine, b'{"name": NaN, "search": {"places": [Infinity, -1e999]}}')
    yield Attack("NUL", "POST", saved, mine, b'{"name": "a\\u0000b", "search": {"places": ["Roma"]}}')
    yield Attack("half a character", "POST", saved, mine, b'{"name": "\\ud800", "search": {"places": ["Roma"]}}')
    yield Attack(
        "a moment beyond the calendar", "PATCH", "/api/v1/me", mine, b'{"paused_until": "0001-01-01T00:00:00+14:00"}'
    )
    yield Attack("the other end of it", "PATCH", "/api/v1/me", mine, b'{"paused_until": "9999-12-31T23:59:59-12:00"}')
    yield Attack("a zone that climbs", "PATCH", "/api/v1/me", mine, b'{"time_zone": "../../../etc/passwd"}')
    yield Attack(
        "fields that nobody has", "PATCH", "/api/v1/me", mine, b'{"verified": true, "stopped": false, "revision": 1}'
    )
    yield Attack(
        "a phone of many digits", "POST", "/api/v1/whatsapp/link", mine, b'{"phone_number": "' + b"9" * 40_000 + b'"}'
    )
    yield Attack(
        "a phone with digits of Arabia", "POST", "/api/v1/whatsapp/link", mine, '{"phone_number": "+٣٩٣٣٣"}'.encode()
    )
    yield Attack("a form", "POST", "/api/v1/auth/token", FORM, b"email=a&password=b")
    yield Attack("XML that reads files", "POST", saved, {**victim.attacker, "Content-Type": "text/xml"}, _XXE)
    yield Attack("a bomb", "POST", saved, {**mine, "Content-Encoding": "gzip"}, b"\x1f\x8b" + b"\x00" * 1000)
    circles = orjson.dumps({"kind": "polygon", "ring": [{"latitude": 0, "longitude": 0}] * 5000})
    yield Attack(
        "a polygon of five thousand corners",
        "POST",
        saved,
        mine,
        b'{"name":"x","search":{"places":[' + circles + b"]}}",
    )
    words = orjson.dumps(["a?" * 500] * 5000)
    yield Attack(
        "five thousand keywords",
        "POST",
        saved,
        mine,
        b'{"name":"x","search":{"places":["Roma"],"keywords_wanted":' + words + b"}}",
    )


_XXE: Final = b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>'


def _by_addresses(victim: Victim) -> Iterator[Attack]:
    mine = victim.attacker
    for path in (
        "/api/v1/subscriptions/%00",
        "/api/v1/subscriptions/%ff%fe",
        "/api/v1/subscriptions/..%2f..%2f..%2fetc%2fpasswd",
        "/api/v1/subscriptions/" + "a" * 20_000,
        "/api/v1/messages/1' OR '1'='1",
        "/api/v1/nowhere",
        "/static/..%2f..%2fsettings.py",
        "/static/%2e%2e/%2e%2e/settings.py",
        "//evil.example/%2f..",
        "/metrics/../../etc/passwd",
        "/m/" + "0" * 5000,
        "/docs/../.env",
        "/.git/config",
    ):
        yield Attack(f"the address {path[:60]}", "GET", path, mine)
    yield Attack("a cursor that is none", "GET", "/api/v1/activity?after=%00%ff", mine)
    yield Attack("a limit beyond reason", "GET", "/api/v1/activity?limit=99999999999999999999", mine)
    yield Attack(
        "ten thousand parameters",
        "GET",
        "/api/v1/activity?" + "&".join(f"a{n}=1" for n in range(4000)),
        mine,
        refused=False,
    )
    yield Attack("a method that nobody has", "BREW", "/api/v1/me", mine)
    yield Attack("TRACE", "TRACE", "/api/v1/me", mine)


def _by_headers(victim: Victim) -> Iterator[Attack]:
    mine = dict(victim.attacker)
    odd = {
        "X-Forwarded-For": "127.0.0.1, ::1, 999.999.999.999, ' OR 1=1 --, " + "1.1.1.1, " * 500,
        "X-Forwarded-Host": "evil.example",
        "Host": "evil.example",
        "X-Original-URL": "/watch/events",
        "X-HTTP-Method-Override": "DELETE",
        "Accept-Language": "xx-" + "a" * 5000 + ";q=9e99, ../../etc/passwd;q=-1",
        "Accept": "text/html;q=NaN, */*;q=\x7f",
        "Range": "bytes=0-,0-,0-,0-,-9999999999999",
        "If-None-Match": '"' + "a" * 5000,
        "Cookie": "session=../../; session=%00; =; ;;;" + "a=b;" * 1000,
        "traceparent": "00-zz-zz-zz",
        "Content-Type": "application/json; charset=utf-7",
    }
    for name, value in odd.items():
        yield Attack(f"an odd {name}", "GET", "/api/v1/whatsapp/status", mine | {name: value}, refused=False)
    yield Attack("a form of another site", "POST", "/searches", {**FORM, "Origin": "https://evil.example"}, b"name=x")


def _by_injection(victim: Victim) -> Iterator[Attack]:
    mine = {**victim.attacker, **JSON}
    for text in INJECTIONS:
        name = text[:100]
        body = orjson.dumps({"name": name, "search": {"places": ["Aosta"], "keywords_wanted": [name[:30]]}})
        yield Attack(f"a search named {name[:30]}", "POST", "/api/v1/subscriptions", mine, body, refused=False)
        account = orjson.dumps({"email": text, "password": text})
        yield Attack(f"sign-in as {name[:30]}", "POST", "/api/v1/auth/token", JSON, account)


INJECTIONS: Final = (
    "'; DROP TABLE sender.messages; --",
    "' OR '1'='1' /*",
    "$1::text; SELECT pg_sleep(10)",
    "{{7*7}} {{ config }} {% for x in () %}",
    "${jndi:ldap://127.0.0.1:9/a} #{7*7} <%= 7*7 %>",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "%s%s%n {0.__class__.__mro__}",
    "*_~```grassetto",
    "\r\nX-Injected: 1\r\n\r\n<html>",
    "; cat /etc/passwd | $(id) `id`",
)
"""In titles, names and texts, which are all to be taken for what they are: text."""


# --- what HTTP's rules forbid -----------------------------------------------------------------------------------------


def against_the_rules(host: str) -> list[Raw]:
    """Bytes that are no request, or two."""
    head = f"Host: {host}\r\n".encode()
    return [
        Raw("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100),
        Raw("HTTP/2 without being asked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 64),
        Raw(
            "two lengths",
            b"POST /api/v1/auth/token HTTP/1.1\r\n" + head + b"Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
        ),
        Raw(
            "a length and chunks",
            b"POST /api/v1/auth/token HTTP/1.1\r\n"
            + head
            + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /watch HTTP/1.1\r\n\r\n",
        ),
        Raw("a length below nothing", b"POST /api/v1/auth/token HTTP/1.1\r\n" + head + b"Content-Length: -1\r\n\r\n"),
        Raw(
            "a chunk of all memory",
            b"POST /api/v1/auth/token HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ),
        Raw("a header of a megabyte", b"GET / HTTP/1.1\r\n" + head + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n"),
        Raw("a hundred thousand headers", b"GET / HTTP/1.1\r\n" + head + b"A: b\r\n" * 100_000 + b"\r\n"),
        Raw("NUL in a header", b"GET /healthz HTTP/1.1\r\n" + head + b"X: a\x00b\r\n\r\n"),
        Raw("a header without a colon", b"GET /healthz HTTP/1.1\r\n" + head + b"no colon\r\n\r\n"),
        Raw("an address with a line break", b"GET /healthz\r\nX: 1 HTTP/1.1\r\n" + head + b"\r\n"),
        Raw("an endless address", b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + head + b"\r\n"),
        Raw("another's whole address", b"GET http://evil.example/ HTTP/1.1\r\n" + head + b"\r\n"),
        Raw("no host", b"GET /api/v1/me HTTP/1.1\r\n\r\n"),
        Raw("HTTP/0.9", b"GET /\r\n"),
        Raw("HTTP/9.9", b"GET / HTTP/9.9\r\n" + head + b"\r\n"),
    ]


def slow_beginnings(host: str) -> list[Raw]:
    """Requests that never end: who sends them writes on and on."""
    head = f"Host: {host}\r\n".encode()
    return [
        Raw("headers that never end", b"GET / HTTP/1.1\r\n" + head),
        Raw(
            "a body that never comes",
            b"POST /api/v1/auth/token HTTP/1.1\r\n"
            + head
            + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
        ),
        Raw("nothing at all", b""),
    ]
