"""QR codes of links: black on white with its quiet border, whatever the page around it looks like."""

import io
from typing import Final

import segno

MODULE_PX: Final = 8
BORDER: Final = 4  # modules, as the standard asks


def png(link: str) -> bytes:
    return _drawn(link, "png")


def svg(link: str) -> bytes:
    return _drawn(link, "svg")


def _drawn(link: str, kind: str) -> bytes:
    drawing = io.BytesIO()
    segno.make(link, error="m", micro=False).save(
        drawing, kind=kind, scale=MODULE_PX, border=BORDER, dark="#000", light="#fff"
    )
    return drawing.getvalue()
