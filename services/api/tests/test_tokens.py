"""Bearer tokens: whatever is wrong with one is a 401 that says what kind of fault it is, and no more."""

import base64
import datetime as dt
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from api.security import AccessTokens, OwnToken, TokenFault

from .conftest import Api

SECRET = "jwt-secret-of-the-tests-with-32-letters"  # as in `api_settings`
USER, SIGN_IN = uuid4(), uuid4()
NOW = dt.datetime.now(dt.UTC)
CLAIMS: dict[str, Any] = {
    **jwt.decode(AccessTokens(SECRET).issue(USER, SIGN_IN, NOW), options={"verify_signature": False}),
    "exp": int((NOW + dt.timedelta(days=1)).timestamp()),  # long after the last test of a run that takes its time
}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: object) -> str:
    """A token like ours with other claims; a claim of None is left out."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return jwt.encode(claims, secret, algorithm)


GOOD = signed()


def crafted(header: bytes, payload: bytes = b"{}", signature: bytes = b"x") -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, payload, signature))


REFUSED: list[tuple[str, str, TokenFault]] = [
    ("not a JWT", "a-word", TokenFault.MALFORMED),
    ("empty parts", "..", TokenFault.MALFORMED),
    ("huge", f"{GOOD}{'x' * 9000}", TokenFault.MALFORMED),
    ("a header that is no JSON", crafted(b"\xff\xfe"), TokenFault.MALFORMED),
    ("a header of thousands of brackets", crafted(b"[" * 5000), TokenFault.MALFORMED),
    ("a header that is a list", crafted(b'["HS256"]'), TokenFault.MALFORMED),
    ("an algorithm that is a list", crafted(b'{"alg": ["HS256"]}'), TokenFault.UNVERIFIED),
    ("no signature", signed(algorithm="none", secret=""), TokenFault.UNVERIFIED),
    ("no signature, in other letters", crafted(b'{"alg": "nOnE"}'), TokenFault.UNVERIFIED),
    ("another secret", signed("another secret of at least thirty-two letters"), TokenFault.UNVERIFIED),
    ("changed after it was signed", GOOD[:-4] + "AAAA", TokenFault.UNVERIFIED),
    ("a stronger algorithm than ours", signed(SECRET * 2, "HS512"), TokenFault.UNVERIFIED),
    ("an asymmetric algorithm", crafted(b'{"alg": "RS256"}'), TokenFault.UNVERIFIED),
    ("expired", signed(exp=int(CLAIMS["iat"]) - 60), TokenFault.EXPIRED),
    ("not valid yet", signed(nbf=int(CLAIMS["exp"])), TokenFault.NOT_YET),
    ("another issuer", signed(iss="elsewhere"), TokenFault.FOREIGN),
    ("another audience", signed(aud="elsewhere"), TokenFault.FOREIGN),
    ("no subject", signed(sub=None), TokenFault.INCOMPLETE),
    ("a subject that is no user", signed(sub="admin"), TokenFault.INCOMPLETE),
    ("no sign-in", signed(sid=None), TokenFault.INCOMPLETE),
    ("a sign-in that is a number", signed(sid=1), TokenFault.INCOMPLETE),
    ("no end", signed(exp=None), TokenFault.INCOMPLETE),
    ("nobody's", GOOD, TokenFault.ENDED),
]


async def test_every_token_that_is_not_good_is_a_401_that_names_the_kind_of_fault(api: Api) -> None:
    for what, token, fault in REFUSED:
        answer = await get_me(api, f"Bearer {token}")
        assert answer.status_code == 401, what
        assert answer.json()["type"] == f"urn:itarent:problem:token-{fault.name.lower().replace('_', '-')}", what
        challenge = f'Bearer realm="itarent", error="invalid_token", error_description="{fault.value}"'
        assert answer.headers["WWW-Authenticate"] == challenge
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic YTpi", f"Token {GOOD}"])
async def test_who_sends_no_token_is_asked_for_one(api: Api, authorization: str) -> None:
    answer = await get_me(api, authorization)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="itarent"')


async def get_me(api: Api, authorization: str) -> httpx.Response:
    headers = {"Authorization": authorization} if authorization else {}
    return await api.http.get("/api/v1/me", headers=headers)


async def test_a_token_of_one_user_in_the_sign_in_of_another_is_good_for_nothing(api: Api) -> None:
    one, other = await api.renter(), await api.renter()
    sign_in_id = jwt.decode(other.tokens["access_token"], options={"verify_signature": False})["sid"]
    mixed = AccessTokens(SECRET).issue(await one.id(), UUID(sign_in_id), dt.datetime.now(dt.UTC))
    assert (await get_me(api, f"Bearer {mixed}")).status_code == 401


def test_a_good_token_says_who_calls_and_in_which_sign_in() -> None:
    issued = AccessTokens(SECRET).issue(USER, SIGN_IN, dt.datetime.now(dt.UTC))
    assert AccessTokens(SECRET).read(issued) == OwnToken(USER, SIGN_IN)


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    """Where one verifier took both kinds of algorithm, a token signed with the published key would pass."""
    public = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    forged = signed(f"{public:x}")
    assert AccessTokens(SECRET).read(forged) is TokenFault.UNVERIFIED
