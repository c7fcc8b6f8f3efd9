"""Every error is a problem detail that says what is wrong, where, and what is allowed."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx

from api.security import Passwords
from common.topics import Topics
from testkit.servers import Database

from .conftest import PRODUCER_KEY, Api, api_settings, resting_api


def is_problem(answer: httpx.Response, status: int) -> bool:
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert {"type", "title", "detail"} <= body.keys()
    return True


async def test_errors_of_every_kind_are_problem_details(api: Api) -> None:
    renter, http = await api.renter(), api.http
    assert is_problem(await http.get("/api/v1/nowhere"), 404)
    assert is_problem(await http.get("/api/v1/me"), 401)
    assert is_problem(await http.get("/api/v1/me", headers={"Authorization": "Bearer nonsense"}), 401)
    refused = await renter.call("PUT", "/me")
    assert is_problem(refused, 405)
    assert refused.headers["Allow"] == "DELETE, GET, PATCH"
    assert is_problem(await renter.call("GET", "/subscriptions/not-an-id"), 404)
    assert is_problem(await renter.call("GET", "/messages/not-an-id"), 422)
    assert is_problem(await renter.call("GET", "/subscriptions?limit=1000"), 422)


async def test_a_body_that_is_not_json_is_told_so(api: Api) -> None:
    token = (await api.renter()).tokens["access_token"]

    async def patch(content: bytes, content_type: str = "application/json") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
        return await api.http.patch("/api/v1/me", content=content, headers=headers)

    assert is_problem(await patch(b"language=it", "application/x-www-form-urlencoded"), 415)
    assert is_problem(await patch(b'{"language":'), 400)
    assert is_problem(await patch(b"[" * 100_000), 400)
    assert is_problem(await patch(b'"it"'), 422)
    assert is_problem(await patch(b""), 422)
    assert is_problem(await patch(b'{"interval_seconds": NaN}'), 422)
    assert is_problem(await patch(b'{"language": "\xff"}'), 400)


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(api: Api) -> None:
    large = b" " * (1024 * 1024 + 1)

    async def in_chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    headers = {"Content-Type": "application/json"}
    assert is_problem(await api.http.post("/api/v1/auth/token", content=large, headers=headers), 413)
    assert is_problem(await api.http.post("/api/v1/auth/token", content=in_chunks(), headers=headers), 413)


async def test_a_lost_database_is_a_503_that_says_when_to_try_again(api: Api) -> None:
    renter = await api.renter()
    await api.services.pool.expire_connections()
    await api.services.pool.close()
    answer = await renter.call("GET", "/me")
    assert is_problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


async def test_pages_and_answers_carry_headers_that_keep_browsers_safe(api: Api) -> None:
    for path in ("/", "/watch", "/static/watch.js", "/api/v1/me"):
        headers = (await api.http.get(path)).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "unsafe" not in headers["Content-Security-Policy"]


async def test_metrics_count_routes_and_not_addresses(api: Api) -> None:
    renter = await api.renter()
    await renter.call("GET", "/subscriptions/5b1d2c3e-8f60-4a6d-b7c4-2e9f0a1b2c02")
    assert (await api.http.get("/healthz")).json()["status"] == "ok"
    metrics = (await api.http.get("/metrics/")).text
    assert 'route="/api/v1/subscriptions/{subscription_id}"' in metrics
    assert "5b1d2c3e" not in metrics


async def test_the_openapi_description_names_each_body_and_refers_to_nothing_that_is_missing(api: Api) -> None:
    text = (await api.http.get("/api/v1/openapi.json")).text
    described = json.loads(text)
    schemas = described["components"]["schemas"]
    create = described["paths"]["/api/v1/subscriptions"]["post"]["requestBody"]["content"]["application/json"]
    assert create["schema"]["$ref"] == "#/components/schemas/SubscriptionDraft"
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= schemas.keys()


async def test_passwords_are_hashed_beside_other_requests(kafka: str, topics: Topics, database: Database) -> None:
    async with resting_api(api_settings(kafka, topics, database), Passwords()) as api:
        guesses = [{"email": f"a{n}@example.com", "password": "x"} for n in range(4)]
        answers = await asyncio.gather(
            *(api.http.post("/api/v1/auth/token", json=guess) for guess in guesses),
            *(api.http.get("/healthz") for _ in range(4)),
        )
    assert [answer.status_code for answer in answers] == [401] * 4 + [200] * 4


async def test_a_producers_key_is_wanted_before_the_body_is_read(api: Api) -> None:
    assert is_problem(await api.http.post("/api/v1/listings", json=[]), 401)
    wrong = {"X-Api-Key": PRODUCER_KEY + "x"}
    assert is_problem(await api.http.post("/api/v1/listings", json=[], headers=wrong), 401)
