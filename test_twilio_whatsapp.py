import sys

from itarent.cli import app

app(["check", "twilio", *sys.argv[1:]])
