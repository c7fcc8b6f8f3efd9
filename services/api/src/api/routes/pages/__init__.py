"""The pages for renters, under `/`: they do what the API's routes do, with forms in place of JSON."""

from fastapi import APIRouter

from api.routes.pages import history, message, phone, places, saved, searches, settings, start

router = APIRouter(include_in_schema=False)
for _pages in (start, phone, searches, history, saved, settings, places, message):
    router.include_router(_pages.router)
