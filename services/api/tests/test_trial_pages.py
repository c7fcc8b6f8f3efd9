"""A search tried on its form, and why a flat came: by the pages, in the reader's language."""

import re
from typing import Any
from uuid import UUID

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, expect

from api import rates
from api.previews import TOO_WIDE_FROM
from api.verdict_words import found_of, wanted_of
from api.words import SAID
from common.events import Language
from common.listing import Floor, FloorKind, ListingStatus, Rent
from common.rules import RULES
from common.search import Commute, Criterion, FloorWish, Range, RentLimit
from testkit.factories import make_listing, make_notification, make_search, monthly

from .conftest import Api
from .test_pages import DESKTOP, EVERYTHING, PASSWORD, PHONE_BY_NIGHT, Visitor
from .test_previews import offer, record

FORM: dict[str, Any] = {
    "name": "Casa",
    "alerts": ["new"],
    "place_kind": ["comune"],
    "place": ["Milano (MI)"],
    "place_zones": [""],
    "rent_max": "1200",
}


async def searches_of(api: Api, visitor: Visitor) -> int:
    count = "SELECT count(*) FROM subscriptions JOIN users USING (user_id) WHERE email = $1"
    return int(await api.sql(count, visitor.email))


@pytest.fixture
async def visitor(api: Api) -> Any:
    somebody = Visitor(api)
    await somebody.register()
    yield somebody
    await somebody.http.aclose()


async def test_a_search_is_tried_without_javascript_and_saved_only_then(api: Api, visitor: Visitor) -> None:
    await record(api, [offer(rent=monthly(1000), title="Fits <b>")])
    await record(api, [offer(rent=monthly(1300), title="Dear"), offer(comune="058091")])
    answer = await visitor.send("/searches/new", **FORM, **{"try": "it"})
    assert answer.status_code == 200
    page = re.sub(r"\s+", " ", answer.text)
    assert "1 of 3 listings" in page
    assert "up to 1,320 €" in page
    assert page.index("Fits &lt;b&gt;") < page.index("Narrowly missed") < page.index("Dear")
    assert "wanted: up to 1,200 €" in page
    assert 'value="1200"' in page
    assert await searches_of(api, visitor) == 0
    assert (await visitor.send("/searches/new", **FORM)).headers["Location"] == "/searches"
    assert await searches_of(api, visitor) == 1

    subscription_id = await api.sql("SELECT subscription_id FROM subscriptions")
    changed = {**FORM, "rent_max": "900"}
    tried = await visitor.send(f"/searches/{subscription_id}", **changed, **{"try": "it"})
    assert "None of the 3 listings" in tried.text
    assert await api.sql("SELECT revision FROM subscriptions") == 1


async def test_a_form_says_that_a_search_is_too_wide_and_how_wide(api: Api, visitor: Visitor) -> None:
    await record(api, [offer() for _ in range(TOO_WIDE_FROM)])
    tried = await visitor.send("/searches/new", **FORM, **{"try": "it"})
    assert "1,000 of the 1,000 listings" in tried.text
    refused = await visitor.send("/searches/new", **FORM)
    assert refused.status_code == 422
    assert "choose fewer or smaller places" in refused.text
    assert await searches_of(api, visitor) == 0


async def test_a_form_that_is_wrong_or_tried_too_often_says_so(api: Api, visitor: Visitor) -> None:
    wrong = await visitor.send("/searches/new", **{**FORM, "place": ["Atlantide"]}, **{"try": "it"})
    assert wrong.status_code == 422
    assert 'id="trial"' not in wrong.text
    user_id = await api.sql("SELECT user_id FROM users")
    for _ in range(rates.PREVIEWS.amount):
        await api.services.rates.spend(rates.PREVIEWS, str(user_id))
    often = await visitor.send("/searches/new", **FORM, **{"try": "it"})
    assert often.status_code == 429
    assert "A little too often" in often.text


async def test_the_history_says_why_a_flat_came_as_long_as_it_is_known(api: Api, visitor: Visitor) -> None:
    await visitor.send("/searches/new", **FORM)
    user_id = UUID(str(await api.sql("SELECT user_id FROM users")))
    (subscription,), _ = await api.services.subscriptions.of(user_id, None, 1)
    known, forgotten = offer(rent=Rent(amount_cents=100_000), title="Known"), offer(title="Forgotten")
    await record(api, [known])
    notifications = [
        make_notification(each, subscription, flat_id=UUID(int=number))
        for number, each in enumerate((known, forgotten))
    ]
    await api.services.activity.record_notifications(notifications)
    page = (await visitor.look("/history")).text
    assert page.count('class="why"') == 1
    assert "“Casa”, as it is now" in page
    await visitor.send(f"/searches/{subscription.subscription_id}/delete")
    page = (await visitor.look("/history")).text
    assert "Known" in page
    assert 'class="why"' not in page


@pytest.mark.parametrize("options", [DESKTOP, PHONE_BY_NIGHT], ids=["desktop", "phone by night"])
async def test_a_trial_is_accessible_and_fits_the_screen(api: Api, browser: Browser, options: dict[str, Any]) -> None:
    await record(api, [offer(rent=monthly(euros), features={}) for euros in range(800, 1500, 100)])
    page = await (await browser.new_context(**options)).new_page()
    await page.goto(f"{api.url}/register")
    await page.locator("#email").fill("somebody@example.com")
    await page.locator("#password").fill(PASSWORD)
    await page.locator("main .button").first.click()
    await page.goto(f"{api.url}/searches/new")
    for field, text in {"name": "Casa", "place_0": "Milano (MI)", "rent_max": "1200"}.items():
        await page.locator(f"#{field}").fill(text)
    await page.locator("[name=features][value=lift]").check(force=True)
    await page.locator("button[name=try]").click()
    await expect(page.locator("#trial")).to_be_in_viewport()
    assert await page.locator("#trial .is-fail").count()
    await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = await Axe().run(page, options=EVERYTHING)
    assert not found.violations_count, found.generate_report()
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.mark.parametrize("language", Language)
def test_every_criterion_is_worded_in_every_language(language: Language) -> None:
    listing = make_listing()
    assert listing.position
    everything = make_search(
        sources=frozenset({"casa.it"}),
        deposit_max_cents=300_000,
        contracts=frozenset({listing.contract}),
        offering=listing.offering,
        property_types=frozenset({listing.property_type}),
        bedrooms=Range(minimum=1),
        bathrooms=Range(minimum=1),
        floor=FloorWish(kinds=frozenset({FloorKind.NUMBERED}), minimum=2),
        furnishing=frozenset({listing.furnishing}),
        features=frozenset(listing.features),
        energy_class=listing.energy_class,
        advertiser=listing.advertiser,
        available_by=listing.available_from,
        commutes=(Commute(to=listing.position, label="Ufficio", max_distance_m=5_000),),
        signals_unwanted=frozenset({"scam_signs"}),
        keywords_wanted=("balcone",),
        keywords_unwanted=("asta",),
    )
    unsaid = make_listing(**dict.fromkeys(("zone", "rent", "rooms", "floor", "contract", "available_from")))
    for rule in RULES:
        assert rule.asks(everything) is not None, rule.criterion
        wanted = wanted_of(rule.criterion, everything, language)
        assert wanted, rule.criterion
        for each in (listing, unsaid):
            assert found_of(rule.criterion, everything, each, language), rule.criterion
        if language is not Language.ENGLISH and rule.criterion is not Criterion.SOURCE:
            assert "None" not in wanted
    assert found_of(Criterion.RENT, everything, unsaid, language) == SAID[language].why.unsaid


def test_what_is_said_in_part_is_worded_in_part() -> None:
    search = make_search(rent=RentLimit(minimum_cents=50_000), floor=FloorWish(maximum=3), rooms=Range(minimum=2))
    assert wanted_of(Criterion.RENT, search, Language.ITALIAN) == "da 500 €"
    assert wanted_of(Criterion.FLOOR, search, Language.ITALIAN) == "fino a 3"
    assert wanted_of(Criterion.ROOMS, search, Language.RUSSIAN) == "от 2"
    ground = make_listing(floor=Floor(kind=FloorKind.PIANO_TERRA), status=ListingStatus.WITHDRAWN)
    assert found_of(Criterion.FLOOR, search, ground, Language.ITALIAN) == "Piano terra"
    assert found_of(Criterion.STATUS, search, ground, Language.ITALIAN) == SAID[Language.ITALIAN].reason.withdrawn
