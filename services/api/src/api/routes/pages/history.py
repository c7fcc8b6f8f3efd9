"""What matched, what was sent and what became of it; and the last thirty days in numbers."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.activity import ActivityItem
from api.pages.charts import chart_of
from api.pages.visits import Member, SignedIn
from api.paging import After
from api.verdict_words import Line, lines_of
from common.search import Subscription

router = APIRouter()

ON_A_PAGE: Final = 20
MOST_SEARCHES: Final = 100


@router.get("/history")
async def history(member: SignedIn, after: After, search: Annotated[UUID | None, Query()] = None) -> Response:
    """The flats that matched, newest first, each with its messages' statuses; of one search or of all."""
    services = member.services
    searches, _ = await services.subscriptions.of(member.user_id, None, MOST_SEARCHES)
    items, more = await services.activity.of(member.user_id, after, ON_A_PAGE, search)
    why = await _why(member, items, searches)
    older = {"after": more.encoded(), **({"search": str(search)} if search else {})} if more else None
    return member.page(
        "history.html",
        items=items,
        why=why,
        searches=searches,
        chosen=search,
        older=f"/history?{urlencode(older)}" if older else None,
        is_first=after is None,
    )


async def _why(
    member: Member, items: Sequence[ActivityItem], searches: Sequence[Subscription]
) -> Mapping[UUID, list[tuple[str, list[Line]]]]:
    """By notification, what the criteria of its searches say, as the searches and the listing are now."""
    saved = {search.subscription_id: search for search in searches}
    known = await member.services.recent.several([item.listing.listing_id for item in items])
    return {
        item.notification_id: [
            (search.name, lines_of(search.search, known[item.listing.listing_id], member.language))
            for matched in item.searches
            if (search := saved.get(matched.subscription_id))
        ]
        for item in items
        if item.listing.listing_id in known and any(each.subscription_id in saved for each in item.searches)
    }


@router.get("/statistics")
async def statistics(member: SignedIn) -> Response:
    now = dt.datetime.now(dt.UTC)
    summary = await member.services.statistics.of(member.user_id, member.renter.time_zone, now)
    return member.page("statistics.html", summary=summary, chart=chart_of(summary.days))
