import sys

from itarent.cli import app

app(["worker", *sys.argv[1:]])
