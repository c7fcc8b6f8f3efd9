"""The watch page: for operators only, live in a real browser, without phones and texts."""

import json
import re
from uuid import uuid4

from playwright.async_api import Browser, ConsoleMessage, Page, expect

from common.events import DirectPurpose, ListingPublished, MatchedSearch, MessageStatus
from common.kafka import Publisher
from common.search import Criterion
from testkit.factories import make_listing, make_notification

from .conftest import OPERATOR_KEY, PHONE, Api
from .test_activity import MESSAGE_ID, accepted, report
from .test_forecast import made


async def test_the_page_and_its_events_are_for_operators(api: Api) -> None:
    http = api.http
    assert (await http.get("/watch")).status_code == 401
    assert (await http.get("/watch?key=wrong")).status_code == 401
    assert (await http.get("/watch/events")).status_code == 401
    assert (await http.get(f"/watch/messages/{uuid4()}")).json()["type"] == "urn:itarent:problem:not-an-operator"
    let_in = await http.get("/watch", params={"key": OPERATOR_KEY})
    assert let_in.status_code == 303
    assert let_in.headers["Location"] == "/watch"
    cookie = let_in.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert OPERATOR_KEY not in cookie
    assert (await http.get("/watch")).status_code == 200
    assert (await http.get(f"/watch/messages/{uuid4()}")).status_code == 404


async def test_the_page_has_words_for_every_message_that_somebody_asks_for(api: Api) -> None:
    script = (await api.http.get("/static/watch.js")).text
    purposes = re.search(r"const PURPOSES = \{(.*?)\};", script, re.DOTALL)
    assert purposes
    assert set(re.findall(r"(\w+): \"", purposes[1])) == set(DirectPurpose)


async def test_a_listing_is_seen_on_its_way_and_a_message_tells_its_story(
    running_api: Api, producer: Publisher, browser: Browser
) -> None:
    api, topics = running_api, running_api.topics
    said: list[str] = []
    page = await _opened(api, browser, said)
    await expect(page.locator("#live")).to_have_text("live")

    await producer.publish(topics.listings, [ListingPublished(listing=make_listing())])
    await expect(page.locator("#listings")).to_contain_text("Bilocale in viale Abruzzi 48, Milano")
    await expect(page.locator('[data-stage="listings"] .total')).to_have_text("1")

    matched = MatchedSearch(subscription_id=uuid4(), revision=1, name="Vicino al lavoro", unknown=(Criterion.FLOOR,))
    notification = make_notification(searches=(matched,))
    await producer.publish(topics.notifications, [notification])
    await producer.publish(topics.message_statuses, [accepted(notification.user_id, notification)])
    await producer.publish(topics.message_statuses, [report(MessageStatus.DELIVERED, 4)])
    message = page.locator("#messages button")
    await expect(message).to_contain_text("delivered")
    await expect(page.locator("#matches")).to_contain_text("Vicino al lavoro")

    await producer.publish(topics.forecasts, [made(9)])
    ahead = page.locator("#ahead")
    for part in ("Open windows", "of 250, used up now", "$0.42", "for a place in Meta"):
        await expect(ahead).to_contain_text(part)

    await message.click()
    story = page.locator("#story")
    await expect(story).to_be_visible()
    for part in ("Listing published", "matched “Vicino al lavoro” (not said: floor)", "Twilio called back: delivered"):
        await expect(story).to_contain_text(part)
    await page.keyboard.press("Escape")
    await expect(story).to_be_hidden()
    assert said == []


async def test_what_is_sent_to_the_page_holds_no_phone(api: Api) -> None:
    renter = await api.renter()
    await renter.prove()
    notification = make_notification(user_id=await renter.id())
    await api.services.activity.record_notifications([notification])
    await api.services.activity.record_statuses([accepted(notification.user_id, notification)])
    await api.services.forecasts.record([made(9)])
    events = api.services.watch.events()
    seen = [await anext(events), await anext(events), await anext(events)]
    await events.aclose()  # type: ignore[attr-defined] # an async generator
    assert [event.event for event in seen] == ["newest", "flow", "ahead"]
    assert "user_ids" not in str(seen[2].data)
    story = json.dumps(await api.services.watch.story_of(MESSAGE_ID), default=str)
    assert not any(PHONE.removeprefix("+") in text for text in (str(seen[0].data), str(seen[1].data), story))


async def _opened(api: Api, browser: Browser, said: list[str]) -> Page:
    page = await browser.new_page()
    page.on("console", lambda message: said.append(_text(message)))
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.goto(f"{api.url}/watch?key={OPERATOR_KEY}")
    return page


def _text(message: ConsoleMessage) -> str:
    return f"{message.type}: {message.text}"
