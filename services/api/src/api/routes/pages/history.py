"""What matched, what was sent and what became of it; and the last thirty days in numbers."""

import datetime as dt
from typing import Annotated, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.pages.charts import chart_of
from api.pages.visits import SignedIn
from api.paging import After

router = APIRouter()

ON_A_PAGE: Final = 20
MOST_SEARCHES: Final = 100


@router.get("/history")
async def history(member: SignedIn, after: After, search: Annotated[UUID | None, Query()] = None) -> Response:
    """The flats that matched, newest first, each with its messages' statuses; of one search or of all."""
    services = member.services
    searches, _ = await services.subscriptions.of(member.user_id, None, MOST_SEARCHES)
    items, more = await services.activity.of(member.user_id, after, ON_A_PAGE, search)
    older = {"after": more.encoded(), **({"search": str(search)} if search else {})} if more else None
    return member.page(
        "history.html",
        items=items,
        searches=searches,
        chosen=search,
        older=f"/history?{urlencode(older)}" if older else None,
        is_first=after is None,
    )


@router.get("/statistics")
async def statistics(member: SignedIn) -> Response:
    now = dt.datetime.now(dt.UTC)
    summary = await member.services.statistics.of(member.user_id, member.renter.time_zone, now)
    return member.page("statistics.html", summary=summary, chart=chart_of(summary.days))
