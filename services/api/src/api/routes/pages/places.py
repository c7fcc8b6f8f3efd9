"""Names of comuni and provinces while somebody types one."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from api.pages.suggestions import suggestions

router = APIRouter()

KEPT_FOR_S: Final = 24 * 3600


@router.get("/places")
async def places(q: Annotated[str, Query(max_length=80)] = "") -> Response:
    """At most eight names that begin so; the same for everybody, so that browsers may keep them."""
    return JSONResponse(suggestions(q), headers={"Cache-Control": f"public, max-age={KEPT_FOR_S}"})
