# ruff: noqa: RUF001 - words of three languages
"""The renters' pages: in a real browser, for people; and what they refuse, over HTTP."""

import asyncio
import datetime as dt
import re
from collections.abc import AsyncIterator
from string import Formatter
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, given, settings
from playwright.async_api import Browser, Page, expect

from api import rates
from api.browser_sessions import FORGIVEN_FOR, RENEWED_AFTER
from api.main import application
from api.pages.charts import chart_of, round_above
from api.pages.forms import Form
from api.pages.search_form import RANGES, draft_of, form_of, join, split
from api.pages.suggestions import suggestions
from api.pages.visits import own_path
from api.searches import SubscriptionDraft
from api.statistics import Day
from api.words import SAID, texts_of
from common.events import Disposition, Language, MessageStatus, Reason, Recipient
from common.kafka import Publisher
from common.listing import (
    AdvertiserKind,
    ContractType,
    Feature,
    FloorKind,
    Furnishing,
    Listing,
    Offering,
    PropertyType,
    Signal,
    TravelMode,
)
from common.search import Alert, FloorWish, PriceDrop, Range, RentLimit, Search, UnknownPolicy
from testkit.factories import NOW, make_listing, make_notification, make_search, make_subscription
from testkit.strategies import pairs
from testkit.waiting import eventually

from .conftest import PHONE, Api, inbound
from .test_activity import accepted, report

PASSWORD = "a long password"
HOSTILE = "<script>alert(1)</script> \u202egnp.exe\u202c 🏠 zero\u200bwidth"
TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class Visitor:
    """Somebody with cookies and without JavaScript."""

    def __init__(self, api: Api, language: str = "en") -> None:
        headers = {"Accept": "text/html", "Accept-Language": language}
        self.http = httpx.AsyncClient(base_url=api.url, headers=headers, timeout=20)
        self.email = f"visitor-{uuid4().hex[:8]}@example.com"

    async def look(self, path: str) -> httpx.Response:
        return await self.http.get(path)

    async def send(self, path: str, page: str | None = None, **fields: str | list[str]) -> httpx.Response:
        """Send a form as the page that holds it would."""
        token = TOKEN.search((await self.look(page or path)).text)
        assert token
        return await self.http.post(path, data={"form_token": token[1], **fields})

    async def register(self) -> httpx.Response:
        return await self.send("/register", email=self.email, password=PASSWORD)


@pytest.fixture
async def visitor(api: Api) -> AsyncIterator[Visitor]:
    """Somebody who has just registered by the pages."""
    somebody = Visitor(api)
    assert (await somebody.register()).headers["Location"] == "/phone"
    yield somebody
    await somebody.http.aclose()


# --- the journey, in a browser ---


async def test_a_renter_goes_from_registration_to_the_history_of_a_message(
    running_api: Api, producer: Publisher, browser: Browser
) -> None:
    api, topics = running_api, running_api.topics
    page, said = await _opened(browser, locale="en-GB")
    await page.goto(f"{api.url}/")
    await page.get_by_role("link", name="Create an account").click()
    email = f"{uuid4().hex[:8]}@example.com"
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create the account").click()

    await page.get_by_label("Mobile number").fill("333 5550101")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("heading", name="Join the sandbox")).to_be_visible()
    await expect(page.locator("img").first).to_have_js_property("complete", value=True)
    code = (await page.locator(".words").last.inner_text()).strip()
    await page.evaluate("window.notReloaded = true")
    await producer.publish(topics.inbound_messages, [inbound(PHONE, code)])
    await expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    assert await page.evaluate("window.notReloaded")

    await _make_search(page)
    article = page.get_by_role("article")
    await expect(article).to_contain_text("Bolzano")
    await expect(article).to_contain_text("up to 1,200")
    await article.get_by_role("button", name="Pause").click()
    await expect(article).to_contain_text("Paused")

    await page.get_by_role("link", name="Settings").click()
    await page.get_by_text("Send nothing at night").click()
    await page.get_by_label("From").fill("21:45")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_label("From")).to_have_value("21:45")

    user_id = await api.sql("SELECT user_id FROM users WHERE email = $1", email)
    notification = make_notification(make_listing(title=HOSTILE), user_id=UUID(str(user_id)))
    await producer.publish(topics.notifications, [notification])
    await producer.publish(topics.message_statuses, [accepted(notification.user_id, notification)])
    await producer.publish(topics.message_statuses, [report(MessageStatus.DELIVERED, 4)])

    async def delivered() -> bool:
        return bool(await api.sql("SELECT count(*) FROM messages, notifications WHERE messages.status = 'delivered'"))

    await eventually(delivered)
    await page.get_by_role("link", name="History").click()
    await expect(article.locator("summary")).to_contain_text("delivered")
    assert await article.locator("h3").text_content() == HOSTILE
    await page.get_by_role("link", name="Statistics").click()
    await expect(page.get_by_role("img")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("status")).to_have_text("You are signed out.")
    await page.goto(f"{api.url}/history")
    assert page.url == f"{api.url}/sign-in?next=/history"
    assert said == []


async def _make_search(page: Page) -> None:
    """A search for a comune that the page suggests."""
    await page.get_by_role("link", name="Searches").click()
    await page.get_by_role("link", name="New search").click()
    await page.get_by_label("Name").fill("Vicino al lavoro")
    await page.get_by_label("Comune or province").press_sequentially("bolz")
    suggested = page.locator("datalist#comuni option").first
    await expect(suggested).to_have_attribute("value", "Bolzano (BZ)")
    await page.get_by_label("Comune or province").fill(await suggested.get_attribute("value") or "")
    await page.get_by_role("group", name="Monthly rent").get_by_label("up to").fill("1.200")
    await page.get_by_role("button", name="Save the search").last.click()


async def _opened(browser: Browser, **options: object) -> tuple[Page, list[str]]:
    """A page of a browser of its own, and everything that it complains of: errors, warnings, broken policies."""
    page = await (await browser.new_context(**options)).new_page()  # type: ignore[arg-type] # as Playwright takes them
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    return page, said


DESKTOP = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", "locale": "it-IT"}
PHONE_BY_NIGHT = {
    "viewport": {"width": 360, "height": 740},
    "color_scheme": "dark",
    "locale": "ru-RU",
    "is_mobile": True,
}
PAGES = ("/", "/phone", "/searches", "/searches/new", "/history", "/saved", "/statistics", "/settings")
EVERYTHING = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS = {"runOnly": ["color-contrast", "target-size"]}


@pytest.mark.parametrize(
    ("device", "rules"), [(DESKTOP, EVERYTHING), (PHONE_BY_NIGHT, COLOURS)], ids=["desktop", "phone by night"]
)
async def test_pages_are_accessible_fit_the_screen_and_complain_of_nothing(
    api: Api, browser: Browser, device: dict[str, object], rules: dict[str, list[str]]
) -> None:
    page, said = await _opened(browser, **device)
    faults = [await _faults(page, f"{api.url}{path}", rules) for path in ("/", "/sign-in", "/register", "/nothing")]
    await page.goto(f"{api.url}/register")
    email = f"{uuid4().hex[:8]}@example.com"
    await page.locator("#email").fill(email)
    await page.locator("#password").fill(PASSWORD)
    await page.locator("main button").click()
    await page.locator("#phone_number").fill("333 5550101")
    await page.locator("main .button").click()
    faults.append(await _faults(page, f"{api.url}/phone", rules))
    user_id = UUID(str(await api.sql("SELECT user_id FROM users WHERE email = $1", email)))
    await _fill(api, user_id)
    await expect(page.locator("#connected")).to_be_visible()
    message_id = await api.sql("SELECT message_id FROM messages")
    message = urlsplit(api.services.links.to_message(message_id)).path
    faults += [await _faults(page, f"{api.url}{path}", rules) for path in (*PAGES, message)]
    assert [each for each in faults if each] == []
    assert [each for each in said if "404" not in each] == []


async def _faults(page: Page, address: str, rules: dict[str, list[str]]) -> str:
    """What axe finds on a page, and whether it must be scrolled sideways."""
    await page.goto(address)
    await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = await Axe().run(page, options=rules)
    wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return (
        f"{address}: {found.generate_report()}" if found.violations_count else f"{address} is too wide" if wide else ""
    )


async def _fill(api: Api, user_id: UUID) -> None:
    """A proven phone, a search, a flat that was delivered and one that waits."""
    claim = (await api.services.phones.link_of(await _recipient(api, user_id), dt.datetime.now(dt.UTC))).claim
    assert claim
    await api.write_from(claim.phone, claim.code)
    draft = {"name": "Vicino al lavoro", "alerts": {"new"}, "price_drop": PriceDrop(), "search": make_search()}
    await api.services.subscriptions.create(user_id, draft)
    now = dt.datetime.now(dt.UTC)
    told, waiting = (make_notification(user_id=user_id, flat_id=uuid4(), requested_at=now) for _ in range(2))
    await api.services.activity.record_notifications([told, waiting])
    await api.services.activity.record_statuses([accepted(user_id, told), report(MessageStatus.DELIVERED, 4)])
    for text in ("SALVA 1", "PAUSA 3"):
        await api.write_from(claim.phone, text)


async def _recipient(api: Api, user_id: UUID) -> Recipient:
    recipient = await api.services.recipients.of(user_id)
    assert recipient
    return recipient


async def test_a_pause_ends_and_a_saved_flat_goes_at_a_press_and_digests_are_grouped_as_chosen(
    visitor: Visitor, api: Api
) -> None:
    await visitor.send("/phone/link", "/phone", phone_number="333 555 01 01", proof="from_phone")
    user_id = UUID(str(await api.sql("SELECT user_id FROM users")))
    await _fill(api, user_id)
    assert "Nothing is sent until" in (await visitor.look("/settings")).text
    assert (await visitor.send("/settings/resume", "/settings")).headers["Location"] == "/settings"
    assert "Nothing is sent until" not in (await visitor.look("/settings")).text
    grouped = {"language": "en", "time_zone": "Europe/Rome", "grouping": "search"}
    assert (await visitor.send("/settings", "/settings", **grouped)).status_code == 303
    assert (await _recipient(api, user_id)).grouping == "search"
    assert (await visitor.send("/settings", "/settings", **(grouped | {"grouping": "town"}))).status_code == 422
    assert "Bilocale in viale Abruzzi 48" in (await visitor.look("/saved")).text
    gone = await visitor.send("/saved/remove", "/saved", listing_id=make_listing().listing_id)
    assert gone.headers["Location"] == "/saved"
    assert "You have saved nothing yet." in (await visitor.look("/saved")).text


async def test_a_code_that_was_sent_to_the_phone_is_typed_in(visitor: Visitor, api: Api) -> None:
    shown = await visitor.send("/phone/link", "/phone", phone_number="333 555 01 01", proof="to_phone")
    assert shown.headers["Location"] == "/phone"
    code = await api.sql("SELECT code FROM phone_claims")
    assert code not in (await visitor.look("/phone")).text
    wrong = await visitor.send("/phone/verify", "/phone", code="222222")
    assert wrong.status_code == 422
    assert "This is not the code. 4 tries are left." in wrong.text
    await visitor.send("/phone/verify", "/phone", code=code)
    assert "Messages come to +39 333 555 0101" in (await visitor.look("/phone")).text
    assert (await visitor.send("/phone/test", "/phone")).headers["Location"] == "/phone"
    assert "A test message is on its way." in (await visitor.look("/phone")).text
    await visitor.send("/phone/unlink", "/phone", linked="yes")
    assert "Mobile number" in (await visitor.look("/phone")).text


# --- forms that are refused ---


def _posts(api: Api) -> list[str]:
    """The addresses of all forms."""
    contexts = iter_route_contexts(application(api.services.settings).routes)
    routes = [each.original_route for each in contexts if isinstance(each.original_route, APIRoute)]
    paths = [route.path for route in routes if "POST" in (route.methods or ())]
    return [path.format(subscription_id=uuid4()) for path in paths if not path.startswith(("/api/", "/watch"))]


async def test_a_form_that_is_not_ours_changes_nothing(visitor: Visitor, api: Api) -> None:
    paths = _posts(api)
    assert {"/sign-in", "/sign-out", "/settings", "/searches/new", "/phone/link"} <= set(paths)
    token = TOKEN.search((await visitor.look("/settings")).text)
    assert token
    for path in paths:
        without = await visitor.http.post(path, data={"language": "ru"})
        elsewhere = await visitor.http.post(
            path,
            data={"form_token": token[1]},
            headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        )
        assert (path, without.status_code, elsewhere.status_code) == (path, 403, 403)
    assert "This form has grown old" in (await visitor.http.post("/settings", data={"quiet": "on"})).text
    assert 'lang="en"' in (await visitor.look("/settings")).text


async def test_a_token_of_another_browser_or_of_before_signing_in_is_refused(visitor: Visitor, api: Api) -> None:
    stranger = Visitor(api)
    token = TOKEN.search((await stranger.look("/sign-in")).text)
    assert token
    assert (await visitor.http.post("/sign-out", data={"form_token": token[1]})).status_code == 403
    old = TOKEN.search((await stranger.look("/register")).text)
    assert old
    await stranger.register()
    assert (await stranger.http.post("/sign-out", data={"form_token": old[1]})).status_code == 403
    await stranger.http.aclose()


async def test_somebody_elses_search_is_not_there(visitor: Visitor, api: Api) -> None:
    renter = await api.renter()
    draft = {"name": "x", "search": {"places": ["Milano"]}}
    search_id = (await renter.call("POST", "/subscriptions", json=draft)).json()["subscription_id"]
    for path in (
        f"/searches/{search_id}",
        f"/searches/{search_id}/delete",
        "/searches/not-an-id",
        f"/searches/{uuid4()}",
    ):
        answer = await visitor.look(path)
        assert (path, answer.status_code) == (path, 404)
        assert "There is nothing here" in answer.text
    for action in ("", "/pause", "/resume", "/delete"):
        assert (await visitor.send(f"/searches/{search_id}{action}", "/settings", name="y")).status_code == 404
    assert (await visitor.look(f"/history?search={search_id}")).status_code == 200
    assert (await renter.call("GET", f"/subscriptions/{search_id}")).json()["status"] == "active"


async def test_too_many_sign_ins_are_told_when_to_come_back(visitor: Visitor, api: Api) -> None:
    guesser = Visitor(api, "it")
    wrong = await guesser.send("/sign-in", email=visitor.email, password="wrong guess")
    assert wrong.status_code == 422
    assert "L’indirizzo e-mail o la password non è corretta." in wrong.text
    assert "wrong guess" not in wrong.text
    assert visitor.email in wrong.text
    limit = rates.SIGN_INS_OF_EMAIL_AND_ADDRESS
    for _ in range(limit.amount - 1):
        await api.services.rates.spend(limit, visitor.email, rates.network_of("127.0.0.1"))
    refused = await guesser.send("/sign-in", email=visitor.email, password=PASSWORD)
    assert refused.status_code == 429
    assert "Un po’ troppo spesso" in refused.text
    assert int(refused.headers["Retry-After"]) > 0
    await guesser.http.aclose()


async def test_a_hostile_form_is_answered_with_a_page(visitor: Visitor) -> None:
    token = TOKEN.search((await visitor.look("/searches/new")).text)
    assert token
    hostile = {
        "name": "\0" + HOSTILE * 50,
        "place": ["x" * 5000, '"' * 200_000, "45.1, 9.2", "[" * 5000],
        "place_kind": ["comune", "province", "circle", "polygon"],
        "place_km": ["", "", "nan", ""],
        "rent_max": "9" * 6000,
        "rooms_min": "-1",
        "available_by": "9999-99-99",
        "offering": "castle",
        "keywords_wanted": "k" * 200_000,
        "unknown_rent": "maybe",
    }
    answer = await visitor.http.post("/searches/new", data={"form_token": token[1], **hostile})
    assert answer.status_code == 422
    assert "<script>alert" not in answer.text
    assert (await visitor.http.post("/searches/new", content=b"{}")).status_code == 415
    assert (await visitor.http.post("/searches/new", data={"a": ["x"] * 1000})).status_code == 413


# --- sessions ---


async def test_a_session_ends_when_a_token_that_was_exchanged_is_used_later(visitor: Visitor, api: Api) -> None:
    stolen = visitor.http.cookies["itarent_session"]
    await _let_pass(api, RENEWED_AFTER)
    pages = await asyncio.gather(*(visitor.look("/history") for _ in range(4)))
    successors = {page.cookies["itarent_session"] for page in pages}
    assert len(successors) == 1  # tabs that are opened at once come to hold the same one
    assert stolen not in successors
    await _let_pass(api, FORGIVEN_FOR)
    thief = httpx.AsyncClient(base_url=api.url, cookies={"itarent_session": stolen}, timeout=20)
    assert (await thief.get("/history", headers={"Accept": "text/html"})).headers[
        "Location"
    ] == "/sign-in?next=/history"
    assert (await visitor.look("/history")).headers["Location"] == "/sign-in?next=/history"
    await thief.aclose()


async def _let_pass(api: Api, time: dt.timedelta) -> None:
    """Make everything about refresh tokens older."""
    query = "UPDATE refresh_tokens SET expires_at = expires_at - $1::interval, used_at = used_at - $1::interval"
    await api.services.pool.execute(query, time + dt.timedelta(seconds=1))


async def test_signing_in_begins_a_session_of_its_own_and_signing_out_ends_it(visitor: Visitor) -> None:
    before = visitor.http.cookies["itarent_session"]
    await visitor.send("/sign-out", "/settings")
    assert "itarent_session" not in visitor.http.cookies
    visitor.http.cookies.set("itarent_session", before)
    assert (await visitor.look("/history")).status_code == 303
    visitor.http.cookies.set("itarent_session", "chosen-by-somebody-else")
    answer = await visitor.send("/sign-in", email=visitor.email, password=PASSWORD, next="/searches")
    assert answer.headers["Location"] == "/searches"
    cookie = next(each for each in answer.headers.get_list("Set-Cookie") if each.startswith("itarent_session="))
    assert "chosen" not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert (await visitor.look("/searches")).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example", ""]
)
def test_signing_in_leads_nowhere_else(path: str) -> None:
    assert own_path(path) == "/"


def test_a_page_of_ours_is_returned_to() -> None:
    assert own_path("/history?search=1&after=2") == "/history?search=1&after=2"


async def test_a_new_password_signs_other_devices_out(visitor: Visitor, api: Api) -> None:
    other = Visitor(api)
    await other.send("/sign-in", email=visitor.email, password=PASSWORD)
    passwords = {"current_password": "not this one", "new_password": "short"}
    assert "10 to 128 characters" in (await visitor.send("/settings/password", "/settings", **passwords)).text
    passwords["new_password"] = "another long password"
    wrong = await visitor.send("/settings/password", "/settings", **passwords)
    assert "This is not your password." in wrong.text
    passwords["current_password"] = PASSWORD
    assert (await visitor.send("/settings/password", "/settings", **passwords)).status_code == 303
    assert (await visitor.look("/settings")).status_code == 200
    assert (await other.look("/settings")).headers["Location"] == "/sign-in?next=/settings"
    await other.http.aclose()


async def test_an_account_is_taken_along_and_deleted_by_its_owner(visitor: Visitor, api: Api) -> None:
    exported = await visitor.look("/settings/export")
    assert "attachment" in exported.headers["Content-Disposition"]
    assert visitor.email in exported.text
    refused = await visitor.send("/settings/delete", password="not this one")
    assert "This is not your password." in refused.text
    assert (await visitor.send("/settings/delete", password=PASSWORD)).headers["Location"] == "/"
    assert not await api.sql("SELECT count(*) FROM users WHERE email = $1", visitor.email)
    assert (await visitor.look("/settings")).headers["Location"] == "/sign-in?next=/settings"


# --- words ---


async def test_pages_speak_the_language_that_is_asked_for_and_then_the_one_that_was_chosen(api: Api) -> None:
    visitor = Visitor(api, "de, ru;q=0.4, it;q=0.7")
    assert 'lang="it"' in (await visitor.look("/")).text
    await visitor.send("/language", "/register", language="ru", here="/register")
    assert "Создать аккаунт" in (await visitor.look("/register")).text
    await visitor.register()
    assert "Мой WhatsApp" in (await visitor.look("/phone")).text
    await visitor.send("/language", "/settings", language="en", here="/settings")
    assert await api.sql("SELECT language FROM recipients") == "en"
    assert "There is nothing here" in (await visitor.look("/nowhere")).text
    await visitor.http.aclose()


@pytest.mark.parametrize("language", [Language.ITALIAN, Language.RUSSIAN])
def test_a_language_says_everything_that_english_says_with_the_same_blanks(language: Language) -> None:
    english, other = _sentences(texts_of(Language.ENGLISH)), _sentences(texts_of(language))
    assert english.keys() == other.keys()
    assert {name: _blanks(text) for name, text in english.items()} == {
        name: _blanks(text) for name, text in other.items()
    }


def _sentences(section: dict[str, Any], name: str = "") -> dict[str, str]:
    """Texts by their full names; a plural is one text, its forms are the language's own."""
    if "other" in section and section.keys() <= {"one", "few", "many", "other"}:
        return {name: section["other"]}
    return {
        full: text
        for key, each in section.items()
        for full, text in (
            _sentences(each, f"{name}.{key}") if isinstance(each, dict) else {f"{name}.{key}": each}
        ).items()
    }


def _blanks(text: str) -> list[str]:
    return sorted(field for _, field, _, _ in Formatter().parse(text) if field)


def test_what_can_be_chosen_or_happen_has_a_word() -> None:
    for language in Language:
        said = SAID[language]
        kinds = {
            "status": MessageStatus,
            "disposition": Disposition,
            "reason": Reason,
            "alert": Alert,
            "policy": UnknownPolicy,
            "offering": Offering,
            "property_type": PropertyType,
            "furniture": Furnishing,
            "feature": Feature,
            "contract": ContractType,
            "floor_kind": FloorKind,
            "advertiser": AdvertiserKind,
            "signal": Signal,
            "travel_mode": TravelMode,
        }
        missing = [
            f"{name}.{each}" for name, kind in kinds.items() for each in kind if not hasattr(getattr(said, name), each)
        ]
        assert missing == []


# --- searches ---


async def test_a_search_form_says_what_is_wrong_where_and_keeps_what_was_typed(visitor: Visitor) -> None:
    answer = await visitor.send(
        "/searches/new",
        name="Casa",
        place=["Castro", "", "Roma (RM)"],
        place_kind=["comune", "comune", "comune"],
        rooms_min="3",
        rooms_max="2",
        rent_max="a lot",
        features=["pets", "lift"],
        alerts="new",
    )
    assert answer.status_code == 422
    for text in ("Several comuni are called Castro", "exchange them", "Write an amount such as 1200"):
        assert text in answer.text
    assert 'id="place_0-fault"' in answer.text
    assert 'value="a lot"' in answer.text
    assert re.search(r'value="pets" checked', answer.text)
    nowhere = await visitor.send(
        "/searches/new", name="Casa", place="Roma (RM)", alerts="new", commute_to=["", "Lavoro", "Roma (RM)"]
    )
    assert 'id="commute_to_1-fault"' in nowhere.text
    assert 'id="commute_minutes_2-fault"' in nowhere.text
    more = await visitor.send("/searches/new", name="Casa", place="Roma (RM)", more="place")
    assert more.text.count('name="place"') == 2


@pytest.mark.parametrize(
    ("percent", "euros", "least_drop"),
    [
        ("", "", PriceDrop(percent=1)),
        ("5", "", PriceDrop(percent=5)),
        ("", "50", PriceDrop(percent=0, cents=50_00)),
        ("3", "19,90", PriceDrop(percent=3, cents=19_90)),
        ("0", "", PriceDrop(percent=0)),
    ],
)
def test_a_search_form_says_from_how_much_a_price_drop_is_told(percent: str, euros: str, least_drop: PriceDrop) -> None:
    typed = {"name": ["Casa"], "alerts": ["price_drop"], "place": ["Roma"], "place_kind": ["comune"]}
    form = Form({**typed, "drop_percent": [percent], "drop_euros": [euros]})
    draft = draft_of(form, SAID[Language.ENGLISH])
    assert isinstance(draft, SubscriptionDraft)
    assert draft.price_drop == least_drop
    again = draft_of(form_of(make_subscription(price_drop=least_drop)), SAID[Language.ENGLISH])
    assert isinstance(again, SubscriptionDraft)
    assert again.price_drop == least_drop


@given(pair=pairs())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_search_that_is_edited_and_saved_unchanged_is_the_same_search(pair: tuple[Search, Listing]) -> None:
    search, _ = pair
    again = draft_of(form_of(make_subscription(search=search)), SAID[Language.ENGLISH])
    assert isinstance(again, SubscriptionDraft), again
    assert _without_empty_bounds(again.search.search()) == _without_empty_bounds(search)


def _without_empty_bounds(search: Search) -> Search:
    """Bounds that are both open do not restrict: they say the same as none."""
    empty = {"rent": RentLimit(), "floor": FloorWish(), **dict.fromkeys(RANGES, Range())}
    spent = {"rent": RentLimit(spese="included")}
    return search.model_copy(
        update={name: None for name in empty if getattr(search, name) in (empty[name], spent.get(name))}
    )


def test_parts_between_commas_may_hold_commas_and_quotes() -> None:
    parts = ["Isola", 'Porta "Nuova", Garibaldi', "a;b"]
    assert split(join(parts)) == parts
    assert split(" Isola ,, Loreto\nBicocca ") == ["Isola", "Loreto", "Bicocca"]


def test_the_city_that_is_meant_is_suggested_first() -> None:
    assert suggestions("mil")[0] == "Milano (MI)"
    assert suggestions("reggio em")[0] == "Reggio nell'Emilia (RE)"
    assert "Brixen (BZ)" in suggestions("brix")
    assert suggestions("emilia")[0].endswith("(RE)")
    assert suggestions("") == suggestions("\u200b") == suggestions("zzzz") == []


# --- numbers ---


async def test_statistics_count_by_the_renters_days_and_time_the_way_to_the_phone(api: Api) -> None:
    user_id = await (await api.renter()).id()
    now = NOW.replace(hour=23, minute=30)  # in Roma it is the next day
    notification = make_notification(user_id=user_id, requested_at=now)
    activity, statistics = api.services.activity, api.services.statistics
    await activity.record_notifications([notification])
    await activity.record_statuses([accepted(user_id, notification), report(MessageStatus.DELIVERED, 42)])
    card = notification.card
    await api.services.pool.execute(PUBLISHED, card.listing_id, card.version, NOW)
    summary = await statistics.of(user_id, "Europe/Rome", now)
    assert len(summary.days) == 30
    assert (summary.days[-1].date, summary.days[-1].matches) == (dt.date(2026, 11, 21), 1)
    assert (summary.days[-2].date, summary.days[-2].messages) == (dt.date(2026, 11, 20), 1)
    assert summary.statuses == {MessageStatus.DELIVERED: 1}
    assert summary.typical_delay == summary.slowest_delay == dt.timedelta(seconds=42)


PUBLISHED = """
INSERT INTO recent_listings (listing_id, version, active, card, published_at) VALUES ($1, $2, true, '{}', $3)
"""


def test_the_scale_of_a_chart_ends_at_a_round_number() -> None:
    assert [round_above(value) for value in (1, 3, 9, 21, 51, 1001)] == [1, 5, 10, 50, 100, 2000]
    chart = chart_of([Day(dt.date(2026, 11, day), day, 0) for day in range(1, 8)])
    assert [line.value for line in chart.lines] == [0, 5, 10]
    assert chart.bars[6].matches_height > chart.bars[0].matches_height > chart.bars[0].messages_height == 0
