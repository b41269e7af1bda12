"""`python -m dfdc_lib.cli` is `dfdc`."""

from dfdc_lib.cli import app

app()
