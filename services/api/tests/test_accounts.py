"""Accounts: registering, signing in, staying signed in, and the profile."""

import datetime as dt
from uuid import uuid4

import jwt

from api.security import AccessTokens
from common.events import Language, QuietHours, Recipient, RecipientSaved

from .conftest import Api


async def test_whoever_registers_can_sign_in_and_is_published_as_recipient(api: Api) -> None:
    renter = await api.renter()
    answer = await api.http.post(
        "/api/v1/auth/token", json={"email": renter.email.upper(), "password": "a long password"}
    )
    assert answer.status_code == 200
    assert (await renter.call("GET", "/me")).json()["email"] == renter.email
    saved = RecipientSaved(recipient=Recipient(user_id=await renter.id(), revision=1))
    assert await api.events(api.topics.recipients) == [saved]


async def test_an_email_address_is_registered_once(api: Api) -> None:
    renter = await api.renter()
    again = await api.http.post("/api/v1/auth/register", json={"email": renter.email, "password": "another password"})
    assert again.status_code == 409
    assert again.json()["type"] == "urn:itarent:problem:email-taken"


async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(api: Api) -> None:
    renter = await api.renter()
    answers = [
        await api.http.post("/api/v1/auth/token", json={"email": email, "password": "wrong password"})
        for email in (renter.email, "nobody@example.com")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()


async def test_a_refresh_token_is_good_for_one_use_and_its_reuse_ends_the_sign_in(api: Api) -> None:
    renter = await api.renter()

    async def refresh(token: str) -> tuple[int, str]:
        answer = await api.http.post("/api/v1/auth/refresh", json={"refresh_token": token})
        return answer.status_code, answer.json().get("refresh_token", "")

    first = renter.tokens["refresh_token"]
    status, second = await refresh(first)
    assert status == 200
    assert (await refresh(first))[0] == 401
    assert (await refresh(second))[0] == 401


async def test_refresh_tokens_are_stored_hashed(api: Api) -> None:
    renter = await api.renter()
    stored = await api.sql("SELECT string_agg(encode(token_hash, 'escape'), '') FROM refresh_tokens")
    assert renter.tokens["refresh_token"] not in stored


async def test_guessing_passwords_is_slowed_down_and_says_until_when(api: Api) -> None:
    guesses = [
        await api.http.post("/api/v1/auth/token", json={"email": "x@example.com", "password": f"guess {number}"})
        for number in range(11)
    ]
    assert [guess.status_code for guess in guesses] == [401] * 10 + [429]
    assert 0 < int(guesses[-1].headers["Retry-After"]) <= 600


async def test_a_profile_changes_what_is_sent_and_is_published(api: Api) -> None:
    renter = await api.renter()
    sent = {
        "language": "ru",
        "time_zone": "Asia/Tbilisi",
        "quiet_hours": {"start": "22:30", "end": "08:00"},
        "interval_seconds": 3600,
    }
    answer = await renter.call("PATCH", "/me", json=sent)
    assert answer.status_code == 200
    await renter.call("PATCH", "/me", json={"interval_seconds": None})
    expected = Recipient(
        user_id=await renter.id(),
        revision=3,
        language=Language.RUSSIAN,
        time_zone="Asia/Tbilisi",
        quiet_hours=QuietHours(start=dt.time(22, 30), end=dt.time(8)),
    )
    assert (await api.events(api.topics.recipients))[-1] == RecipientSaved(recipient=expected)


async def test_a_profile_that_makes_no_sense_is_refused_by_field(api: Api) -> None:
    renter = await api.renter()
    refused: list[tuple[dict[str, object], str]] = [
        ({"time_zone": "Europe/Roma"}, "/time_zone"),
        ({"time_zone": "../etc/passwd"}, "/time_zone"),
        ({"quiet_hours": {"start": "22:00", "end": "22:00"}}, "/quiet_hours"),
        ({"quiet_hours": {"start": "22:00Z", "end": "07:00"}}, "/quiet_hours"),
        ({"interval_seconds": -1}, "/interval_seconds"),
        ({"langage": "it"}, "/langage"),
    ]
    for sent, pointer in refused:
        answer = await renter.call("PATCH", "/me", json=sent)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_token_that_is_forged_expired_or_for_somebody_else_says_nothing() -> None:
    tokens = AccessTokens("a secret of at least thirty-two letters")
    now = dt.datetime.now(dt.UTC)
    user_id = uuid4()
    good = tokens.issue(user_id, now)
    claims = jwt.decode(good, options={"verify_signature": False})
    secret = "a secret of at least thirty-two letters"
    assert tokens.user_of(good) == user_id
    assert tokens.user_of(tokens.issue(user_id, now - dt.timedelta(minutes=16))) is None
    assert tokens.user_of(AccessTokens("another secret of thirty-two letters").issue(user_id, now)) is None
    assert tokens.user_of(jwt.encode({**claims, "aud": "elsewhere"}, secret)) is None
    assert tokens.user_of(jwt.encode(claims, "", algorithm="none")) is None
