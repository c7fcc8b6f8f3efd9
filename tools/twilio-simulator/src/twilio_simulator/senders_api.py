"""Twilio's Senders API: the numbers that the account has registered with WhatsApp. The sandbox is none of them."""

import base64
from hmac import compare_digest

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from twilio_simulator import codes
from twilio_simulator.codes import Refusal, error_body, meaning_of
from twilio_simulator.phones import address_of
from twilio_simulator.simulator import Simulator

PATH = "/v2/Channels/Senders"


def senders_app(simulator: Simulator) -> Starlette:
    credentials = f"{simulator.account.sid}:{simulator.auth_token}".encode()
    authorization = f"Basic {base64.b64encode(credentials).decode()}"

    async def senders(request: Request) -> Response:
        if not compare_digest(request.headers.get("authorization", ""), authorization):
            return _refuse(Refusal(codes.AUTHENTICATE))
        if request.query_params.get("Channel") != "whatsapp":
            return _refuse(Refusal(codes.INVALID_PARAMETER, "Channel"))
        return _json(_page(str(request.url), [] if simulator.account.sandbox else [_sender(simulator)]))

    return Starlette(routes=[Route(PATH, senders)])


def _sender(simulator: Simulator) -> dict[str, object]:
    sid = "XE" + simulator.account.sid[2:]
    return {
        "sid": sid,
        "sender_id": address_of(simulator.account.number),
        "status": "ONLINE",
        "url": f"https://messaging.twilio.com{PATH}/{sid}",
    }


def _page(url: str, senders: list[dict[str, object]]) -> dict[str, object]:
    meta = {
        "page": 0,
        "page_size": max(1, len(senders)),
        "first_page_url": url,
        "previous_page_url": None,
        "url": url,
        "next_page_url": None,
        "key": "senders",
    }
    return {"meta": meta, "senders": senders}


def _refuse(refusal: Refusal) -> Response:
    return _json(error_body(refusal), meaning_of(refusal.code).http_status)


def _json(body: dict[str, object], http_status: int = 200) -> Response:
    return Response(orjson.dumps(body), http_status, media_type="application/json")
