import sys

from itarent.cli import app

app(["check", "system", *sys.argv[1:]])
