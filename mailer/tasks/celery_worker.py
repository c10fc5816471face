"""``python -m mailer.tasks.celery_worker -A worker worker``: Celery's command line, its worker alone.

``celery -A worker worker`` begins the same, but loads every other command first, one of them a shell
with all that it needs: 6 MB that each process of the pool then holds. Nor does a worker need what
structlog loads to print errors in colour, 3 MB more.

On SIGHUP a worker begins anew as ``python celery_worker.py``, with this folder first in the path: no
module in it may bear the name of one that is needed from elsewhere.
"""

import sys

import click
from celery.app.utils import find_app
from celery.bin.base import CLIContext
from celery.bin.worker import worker


@click.group()
@click.option("-A", "--app", default="worker", help="the module of the Celery app")
@click.pass_context
def celery(context: click.Context, app: str) -> None:
    """Begin a worker."""
    context.obj = CLIContext(app=find_app(app), no_color=False, workdir=None)


celery.add_command(worker)

if __name__ == "__main__":
    sys.modules["rich"] = None  # type: ignore[assignment] # as if it were not installed
    celery(auto_envvar_prefix="CELERY")
