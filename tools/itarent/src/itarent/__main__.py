from itarent.cli import app

app()
