"""Accounts: registering, signing in, staying signed in, and the profile."""

import asyncio
import datetime as dt
import hashlib

import asyncpg
import httpx
import pytest

from api.consents import How, What
from api.rates import network_of
from common.events import Language, QuietHours, Recipient, RecipientSaved

from .conftest import PHONE, Api, Renter, serving


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


# --- staying signed in ----------------------------------------------------------------------------------------------


OLD_PASSWORD = "a long password"


async def refreshed(api: Api, token: str) -> httpx.Response:
    return await api.http.post("/api/v1/auth/refresh", json={"refresh_token": token})


async def signed_in_again(api: Api, renter: Renter, password: str = OLD_PASSWORD) -> Renter:
    answer = await api.http.post("/api/v1/auth/token", json={"email": renter.email, "password": password})
    assert answer.status_code == 200, answer.text
    return Renter(api, renter.email, answer.json())


async def is_signed_in(renter: Renter) -> bool:
    """Whether both of its tokens are good."""
    called = await renter.call("GET", "/me")
    exchanged = await refreshed(renter.api, renter.tokens["refresh_token"])
    if exchanged.status_code == 200:
        renter.tokens = exchanged.json()
    assert called.status_code == exchanged.status_code, "an access token is good as long as its sign-in lasts"
    return called.status_code == 200


async def test_of_two_uses_of_a_refresh_token_at_once_one_succeeds_and_the_sign_in_ends(api: Api) -> None:
    renter = await api.renter()
    answers = await asyncio.gather(*(refreshed(api, renter.tokens["refresh_token"]) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await refreshed(api, winner["refresh_token"])).status_code == 401


async def test_a_stolen_token_that_is_used_again_ends_a_sign_in_that_is_being_refreshed_at_that_moment(
    api: Api,
) -> None:
    """The successor's own successor, issued in between, must not outlive the family."""
    renter = await api.renter()
    user_id = await renter.id()
    for _ in range(10):
        stolen = (await api.services.accounts.begin(user_id)).refresh_token
        successor = (await refreshed(api, stolen)).json()["refresh_token"]
        going_on, _ = await asyncio.gather(refreshed(api, successor), refreshed(api, stolen))
        if going_on.status_code == 200:
            assert (await refreshed(api, going_on.json()["refresh_token"])).status_code == 401
    assert await api.sql("SELECT count(*) FROM sign_ins") == 1, "all have ended but the first"


async def test_a_refresh_token_ends_with_its_time_and_takes_nothing_with_it(api: Api) -> None:
    renter = await api.renter()
    await api.services.pool.execute("UPDATE refresh_tokens SET expires_at = now()")
    assert (await refreshed(api, renter.tokens["refresh_token"])).status_code == 401
    assert (await renter.call("GET", "/me")).status_code == 200


async def test_signing_out_ends_one_sign_in_at_once_and_can_be_repeated(api: Api) -> None:
    phone = await api.renter()
    laptop = await signed_in_again(api, phone)
    for token in (phone.tokens["refresh_token"], phone.tokens["refresh_token"], "no token at all"):
        answer = await api.http.post("/api/v1/auth/sign-out", json={"refresh_token": token})
        assert answer.status_code == 204
    assert not await is_signed_in(phone)
    assert await is_signed_in(laptop)


async def test_signing_out_everywhere_ends_every_sign_in_of_the_caller_only(api: Api) -> None:
    phone, somebody_else = await api.renter(), await api.renter()
    laptop = await signed_in_again(api, phone)
    assert (await laptop.call("POST", "/auth/sign-out/everywhere")).status_code == 204
    assert [await is_signed_in(each) for each in (phone, laptop, somebody_else)] == [False, False, True]


async def test_a_new_password_ends_every_other_sign_in(api: Api) -> None:
    phone = await api.renter()
    laptop = await signed_in_again(api, phone)
    change = {"current_password": "a long password", "new_password": "a longer password"}
    assert (await laptop.call("PUT", "/me/password", json=change)).status_code == 204
    assert [await is_signed_in(phone), await is_signed_in(laptop)] == [False, True]
    assert await is_signed_in(await signed_in_again(api, phone, "a longer password"))
    old = await api.http.post("/api/v1/auth/token", json={"email": phone.email, "password": "a long password"})
    assert old.status_code == 401


async def test_a_password_is_changed_by_who_knows_it_and_guessing_it_is_slowed_down(api: Api) -> None:
    renter = await api.renter()
    guesses = [
        await renter.call("PUT", "/me/password", json={"current_password": "a guess", "new_password": "a" * 10})
        for _ in range(11)
    ]
    assert [guess.status_code for guess in guesses] == [403] * 10 + [429]
    assert await is_signed_in(await signed_in_again(api, renter))


# --- how often ------------------------------------------------------------------------------------------------------


async def guess(api: Api, email: str, forwarded_for: str) -> int:
    answer = await api.http.post(
        "/api/v1/auth/token",
        json={"email": email, "password": "a guess"},
        headers={"X-Forwarded-For": forwarded_for},
    )
    return answer.status_code


async def test_other_letters_and_claimed_addresses_do_not_get_around_a_limit(api: Api) -> None:
    """The test's own address is a trusted proxy; what is left of the address that it adds, anybody may have written."""
    emails = ["X@example.com", "x@EXAMPLE.com", "x@example.COM"]
    guesses = [await guess(api, emails[number % 3], f"198.51.100.{number}, 203.0.113.7") for number in range(11)]
    assert guesses == [401] * 10 + [429]
    assert await guess(api, "x@example.com", "::ffff:203.0.113.7") == 429
    assert await guess(api, "x@example.com", "203.0.113.8") == 401


async def test_all_addresses_of_an_ipv6_network_are_one(api: Api) -> None:
    async def refresh_from(address: str) -> int:
        headers = {"X-Forwarded-For": address}
        answer = await api.http.post("/api/v1/auth/refresh", json={"refresh_token": "x"}, headers=headers)
        return answer.status_code

    answers = [await refresh_from(f"2001:db8:0:1:{number:x}::1") for number in range(1, 62)]
    assert answers == [401] * 60 + [429]
    assert await refresh_from("2001:db8:0:2::1") == 401


async def test_limits_hold_over_all_workers(api: Api) -> None:
    async with serving(api.services) as url, httpx.AsyncClient(base_url=url, timeout=20) as http:
        sent = {"refresh_token": "x"}
        answers = [
            await client.post("/api/v1/auth/refresh", json=sent) for _ in range(31) for client in (api.http, http)
        ]
    assert [answer.status_code for answer in answers] == [401] * 60 + [429] * 2
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:DB8::1", "2001:db8::/64"),
        ("2001:0db8:0000:0000:ffff::1%eth0", "2001:db8::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_the_same_however_it_is_written(address: str, counts_as: str) -> None:
    assert network_of(address) == counts_as


# --- consents -------------------------------------------------------------------------------------------------------


async def test_opening_an_account_is_in_the_trail_of_consents(api: Api) -> None:
    renter = await api.renter()
    (agreed,) = (await renter.call("GET", "/me/consents")).json()["items"]
    assert (agreed["what"], agreed["how"], agreed["phone_hash"]) == ("terms_accepted", "registration", None)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM consents",
        "TRUNCATE consents",
        "UPDATE consents SET what = 'stopped'",
        "UPDATE consents SET at = now()",
        "UPDATE consents SET phone_hash = '\\x00'",
        "UPDATE consents SET phone_hash = NULL",
    ],
)
async def test_the_trail_of_consents_is_only_added_to(api: Api, statement: str) -> None:
    await api.renter()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="only added to"):
        await api.services.pool.execute(statement)


async def test_the_trail_knows_a_phone_as_a_keyed_hash_only(api: Api) -> None:
    renter = await api.renter()
    now = dt.datetime.now(dt.UTC)
    async with api.services.pool.acquire() as connection:
        for phone, sid in ((PHONE, None), (PHONE, f"SM{'0' * 32}"), ("+393335550102", None)):
            await api.services.consents.record(
                connection, await renter.id(), What.PHONE_PROVEN, How.MESSAGE, now, phone=phone, message_sid=sid
            )
    items = (await renter.call("GET", "/me/consents")).json()["items"]
    one, two, other = [item["phone_hash"] for item in items if item["what"] == "phone_proven"][:3]
    assert len({one, two, other}) == 2
    assert hashlib.sha256(PHONE.encode()).hexdigest() not in {one, two, other}
    assert PHONE[3:] not in await api.sql("SELECT string_agg(consents::text, ' ') FROM consents")
