"""`itarent`: run, test and look at the system. A sub-command lives in a module of its own and is added here."""

import typer

from itarent.audit.cli import audit
from itarent.bench.cli import app as bench
from itarent.budget import budget
from itarent.check.cli import app as check
from itarent.checking import check_and_test
from itarent.demo.cli import demo
from itarent.dlq.cli import app as dlq
from itarent.guides import guides
from itarent.listings.cli import app as listings
from itarent.lock import lock
from itarent.message import message
from itarent.openapi.document import openapi
from itarent.sandbox import sandbox
from itarent.serving import api
from itarent.settings import settings
from itarent.templates.cli import app as templates
from itarent.up import up
from itarent.worker import worker

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Italian rental alerts over WhatsApp.")
app.command()(up)
app.command()(worker)
app.command()(api)
app.command()(demo)
app.command("test")(check_and_test)
app.command()(settings)
app.command()(sandbox)
app.command()(message)
app.command()(lock)
app.command()(openapi)
app.command()(guides)
app.command()(audit)
app.command()(budget)
app.add_typer(listings, name="listings")
app.add_typer(check, name="check")
app.add_typer(dlq, name="dlq")
app.add_typer(templates, name="templates")
app.add_typer(bench, name="bench")
