"""`itarent bench`: one command for each benchmark."""

import typer

from itarent.bench.churn import churn
from itarent.bench.kafka import kafka
from itarent.bench.latency import latency
from itarent.bench.match import match
from itarent.bench.pipeline import pipeline
from itarent.bench.preview import preview
from itarent.bench.restart import restart
from itarent.bench.scale import scale
from itarent.bench.sender import sender

app = typer.Typer(no_args_is_help=True, help="Measure; results go to benchmarks/.")
app.command()(churn)
app.command()(kafka)
app.command()(latency)
app.command()(match)
app.command()(pipeline)
app.command()(preview)
app.command()(restart)
app.command()(scale)
app.command()(sender)


@app.callback()
def bench() -> None:
    """Measure; results go to benchmarks/."""
