"""The browser is real: it renders, with a font."""

from playwright.async_api import Browser


async def test_a_page_is_rendered_and_its_text_can_be_seen(browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto("data:text/html,<meta charset=utf-8><h1>Bilocale à Forlì, 900 €</h1>")
    assert await page.inner_text("h1") == "Bilocale à Forlì, 900 €"
    box = await page.locator("h1").bounding_box()
    assert box is not None
    assert box["height"] > 20
