"""`python -m uvicorn src.main:app`: the api beside the system that runs on this machine."""

from itarent.attached import attached_app

app = attached_app()
