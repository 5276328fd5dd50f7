"""Where things are on the page, and what they must become before patience ends."""

import time

from support.browser import PATIENCE


def card(page, node):
    return page.locator(f'.card[data-node="{node}"]')


def shares(page, node):
    """The bars of a card as it draws them, by label."""
    return (
        card(page, node)
        .locator(".bars")
        .evaluate(
            "bars => Object.fromEntries([...bars.querySelectorAll('span')].map(label => ["
            "label.textContent, Number(label.nextElementSibling.style.getPropertyValue('--share'))]))"
        )
    )


def expect_text(place, words):
    place.get_by_text(words).first.wait_for()


def expect(place):
    """What a place must become, before patience ends."""
    from playwright.sync_api import expect

    expect.set_options(timeout=1000 * PATIENCE)
    return expect(place)


def expect_shares(page, node, wanted):
    """Bars are drawn when a frame has time for them."""
    deadline = time.monotonic() + PATIENCE
    while (found := shares(page, node)) != wanted:
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(20)
