"""An external issuer: its tokens sign in, its keys are asked for rarely, and its absence is told from a forgery."""

import asyncio
import base64
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.issuer import Identity, Issuer, IssuerAwayError, PublishedKeys
from api.security import TokenFault
from common.topics import Topics
from testkit.servers import Database
from testkit.waiting import eventually

from .conftest import Api, api_settings, resting_api

AUDIENCE = "itarent-web"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ANOTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
MINUTES = dt.timedelta(minutes=1)


@dataclass
class LittleIssuer:
    """An issuer of one's own: it publishes keys over HTTP, and counts how often it is asked."""

    url: str = ""
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: int = 0
    away: bool = False

    def publish(self, key_id: str, key: rsa.RSAPrivateKey) -> None:
        self.keys[key_id] = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"}

    async def answer(self, _request: Request) -> Response:
        self.asked += 1
        return Response(status_code=503) if self.away else JSONResponse({"keys": list(self.keys.values())})

    def claims(self, **changes: object) -> dict[str, Any]:
        """What a good token says; a claim of None is left out."""
        now = dt.datetime.now(dt.UTC)
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "giulia", "iat": now, "exp": now + 5 * MINUTES}
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def token(self, key_id: str = "one", key: rsa.RSAPrivateKey = KEY, **changes: object) -> str:
        return jwt.encode(self.claims(**changes), key, "RS256", headers={"kid": key_id})

    def verifier(self, *, ask_at_most_every_s: float = 30.0) -> Issuer:
        """What the api has of it."""
        return Issuer(self.url, AUDIENCE, PublishedKeys(self.url, ask_at_most_every_s=ask_at_most_every_s))


@pytest.fixture
async def issuer() -> AsyncIterator[LittleIssuer]:
    little = LittleIssuer()
    little.publish("one", KEY)
    app = Starlette(routes=[Route("/", little.answer)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    little.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    yield little
    server.should_exit = True
    await serving


@pytest.fixture
async def api(kafka: str, topics: Topics, database: Database, issuer: LittleIssuer) -> AsyncIterator[Api]:
    trusted = {"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE, "oidc_jwks_url": issuer.url}
    async with resting_api(api_settings(kafka, topics, database, **trusted)) as api:
        yield api


async def call(api: Api, token: str, method: str = "GET", path: str = "/me", **options: Any) -> httpx.Response:
    return await api.http.request(method, f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"}, **options)


# --- tokens ---------------------------------------------------------------------------------------------------------


async def test_a_token_says_whom_the_issuer_vouches_for(issuer: LittleIssuer) -> None:
    identity = await issuer.verifier().identify(issuer.token(email="Giulia@Example.com", email_verified=True))
    assert isinstance(identity, Identity)
    assert (identity.issuer, identity.subject, identity.email) == (issuer.url, "giulia", "giulia@example.com")


@pytest.mark.parametrize("verified", [False, None, "true", 1])
async def test_an_address_that_the_issuer_has_not_verified_is_nobodys(issuer: LittleIssuer, verified: object) -> None:
    identity = await issuer.verifier().identify(issuer.token(email="giulia@example.com", email_verified=verified))
    assert isinstance(identity, Identity)
    assert identity.email is None


async def test_a_token_that_is_not_good_is_refused_by_its_kind_of_fault(issuer: LittleIssuer) -> None:
    now = dt.datetime.now(dt.UTC)
    public = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    by_hand = base64.urlsafe_b64encode(public).decode()
    refused = {
        "another key under a known id": (issuer.token(key=ANOTHER_KEY), TokenFault.UNVERIFIED),
        "an unknown key": (issuer.token("two"), TokenFault.UNVERIFIED),
        "no key id": (jwt.encode(issuer.claims(), KEY, "RS256"), TokenFault.UNVERIFIED),
        "the public key as a secret": (
            jwt.encode(issuer.claims(), by_hand, "HS256", headers={"kid": "one"}),
            TokenFault.UNVERIFIED,
        ),
        "another algorithm than the key's": (
            jwt.encode(issuer.claims(), KEY, "PS256", headers={"kid": "one"}),
            TokenFault.UNVERIFIED,
        ),
        "no signature": (jwt.encode(issuer.claims(), "", "none", headers={"kid": "one"}), TokenFault.UNVERIFIED),
        "expired": (issuer.token(exp=now - MINUTES), TokenFault.EXPIRED),
        "not valid yet": (issuer.token(nbf=now + MINUTES), TokenFault.NOT_YET),
        "another issuer": (issuer.token(iss="https://elsewhere.example"), TokenFault.FOREIGN),
        "another audience": (issuer.token(aud="another-client"), TokenFault.FOREIGN),
        "no audience": (issuer.token(aud=None), TokenFault.INCOMPLETE),
        "no end": (issuer.token(exp=None), TokenFault.INCOMPLETE),
        "no subject": (issuer.token(sub=None), TokenFault.INCOMPLETE),
        "an empty subject": (issuer.token(sub=""), TokenFault.INCOMPLETE),
        "a subject that no database takes": (issuer.token(sub="giu\0lia"), TokenFault.INCOMPLETE),
        "a subject without end": (issuer.token(sub="x" * 3000), TokenFault.INCOMPLETE),
    }
    verifier = issuer.verifier()
    assert {what: await verifier.identify(token) for what, (token, _) in refused.items()} == {
        what: fault for what, (_, fault) in refused.items()
    }


async def test_clocks_may_differ_by_half_a_minute(issuer: LittleIssuer) -> None:
    now = dt.datetime.now(dt.UTC)
    late = issuer.token(exp=now - MINUTES / 6, nbf=now + MINUTES / 6)
    assert isinstance(await issuer.verifier().identify(late), Identity)


async def test_forged_key_ids_do_not_make_us_hammer_the_issuer(issuer: LittleIssuer) -> None:
    verifier = issuer.verifier()
    forged = [issuer.token(f"forged-{number}") for number in range(40)]
    faults = await asyncio.gather(*map(verifier.identify, [*forged, issuer.token()]))
    assert set(faults[:-1]) == {TokenFault.UNVERIFIED}
    assert isinstance(faults[-1], Identity)
    assert issuer.asked == 1


async def test_a_new_key_is_fetched_when_a_token_names_it_and_a_withdrawn_one_ends(issuer: LittleIssuer) -> None:
    verifier = issuer.verifier(ask_at_most_every_s=0)
    assert isinstance(await verifier.identify(issuer.token()), Identity)
    issuer.keys.clear()
    issuer.publish("two", ANOTHER_KEY)
    assert isinstance(await verifier.identify(issuer.token("two", ANOTHER_KEY)), Identity)
    assert await verifier.identify(issuer.token()) is TokenFault.UNVERIFIED


async def test_while_the_issuer_is_away_known_keys_count_and_unknown_ones_are_not_called_forged(
    issuer: LittleIssuer,
) -> None:
    verifier = issuer.verifier(ask_at_most_every_s=0)
    assert isinstance(await verifier.identify(issuer.token()), Identity)
    issuer.away = True
    with pytest.raises(IssuerAwayError):
        await verifier.identify(issuer.token("two", ANOTHER_KEY))
    assert isinstance(await verifier.identify(issuer.token()), Identity)


# --- accounts -------------------------------------------------------------------------------------------------------


async def test_the_first_token_of_an_identity_opens_its_account_and_later_ones_find_it(
    api: Api, issuer: LittleIssuer
) -> None:
    token = issuer.token(email="giulia@example.com", email_verified=True)
    answers = await asyncio.gather(*(call(api, token) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["user_id"] for answer in answers} == {answers[0].json()["user_id"]}
    assert answers[0].json()["email"] == "giulia@example.com"
    again = await call(api, issuer.token(email="elsewhere@example.com", email_verified=True))
    assert again.json() == answers[0].json()
    (agreed,) = (await call(api, token, path="/me/consents")).json()["items"]
    assert (agreed["what"], agreed["how"]) == ("terms_accepted", "issuer")


async def test_an_address_that_has_an_account_is_never_taken_over(api: Api, issuer: LittleIssuer) -> None:
    owner = await api.renter()
    newcomer = await call(api, issuer.token(email=owner.email, email_verified=True))
    assert newcomer.status_code == 200
    assert newcomer.json()["email"] is None
    assert newcomer.json()["user_id"] != str(await owner.id())
    assert (await owner.call("GET", "/me")).json()["email"] == owner.email


async def test_an_account_of_the_issuer_has_no_password_to_change_or_to_guess(api: Api, issuer: LittleIssuer) -> None:
    email = "giulia@example.com"
    token = issuer.token(email=email, email_verified=True)
    await call(api, token)
    change = {"current_password": "", "new_password": "a long new password"}
    assert (await call(api, token, "PUT", "/me/password", json=change)).status_code == 409
    guess = await api.http.post("/api/v1/auth/token", json={"email": email, "password": ""})
    assert guess.status_code == 401


async def test_an_account_of_the_issuer_is_erased_by_a_fresh_token_and_older_tokens_do_not_bring_it_back(
    api: Api, issuer: LittleIssuer
) -> None:
    now = dt.datetime.now(dt.UTC)
    stale, fresh = issuer.token(auth_time=int((now - 6 * MINUTES).timestamp())), issuer.token()
    assert (await call(api, stale, "DELETE", json={})).status_code == 403
    assert (await call(api, fresh, "DELETE", json={})).status_code == 204
    for token in (stale, fresh):
        answer = await call(api, token)
        assert (answer.status_code, answer.json()["type"]) == (401, "urn:itarent:problem:token-ended")
    anew = await call(api, issuer.token(iat=now + MINUTES / 6))
    assert anew.status_code == 200


async def test_an_issuer_that_is_away_is_a_503_that_says_when_to_try_again(api: Api, issuer: LittleIssuer) -> None:
    issuer.away = True
    answer = await call(api, issuer.token())
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:itarent:problem:issuer-away")
    assert int(answer.headers["Retry-After"]) > 0


async def test_an_issuers_token_that_is_forged_is_a_401(api: Api, issuer: LittleIssuer) -> None:
    answer = await call(api, issuer.token(key=ANOTHER_KEY))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


# --- settings -------------------------------------------------------------------------------------------------------


def test_an_issuer_is_set_as_a_whole_and_the_error_names_what_is_missing(topics: Topics, database: Database) -> None:
    with pytest.raises(ValidationError, match="OIDC_AUDIENCE and OIDC_JWKS_URL missing"):
        api_settings("localhost:9092", topics, database, oidc_issuer="https://issuer.example")


def test_keys_are_fetched_over_tls_unless_they_come_from_this_machine(topics: Topics, database: Database) -> None:
    plain = {"oidc_issuer": "https://i.example", "oidc_audience": "a", "oidc_jwks_url": "http://i.example/jwks"}
    with pytest.raises(ValidationError, match="oidc_jwks_url"):
        api_settings("localhost:9092", topics, database, **plain)
