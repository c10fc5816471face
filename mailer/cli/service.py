"""`mailer up | web | drain | sink | demo`: what runs until it is told to stop."""

import asyncio
import contextlib
import errno
import importlib
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

import click

from mailer.cli.output import runtime_of, say, settings_of
from mailer.embedded.demo import run_demo
from mailer.embedded.errors import BadFaults, FaultsNotFound, ServiceFailed
from mailer.embedded.fault_file import load_faults
from mailer.embedded.faults import Faults
from mailer.embedded.processes import Stop
from mailer.embedded.reaching import relay_url
from mailer.embedded.services import LOOPBACK, MAILER, child_environment, services
from mailer.embedded.sink import Behave, new_event_loop, serve_sink
from mailer.embedded.supervisor import Supervisor, only_one
from mailer.foundation.log import configure_log
from mailer.foundation.settings import Settings
from mailer.runtime import Runtime, open_runtime

_FAULTS = """\b
A faults file makes it misbehave, to the same addresses in every run:
  [[fault]]
  recipient = "@traeg"      # whom: a regular expression; default: everybody
  share = 0.02              # of these
  at = "rcpt"               # or connect, ehlo, auth, mail, data, dot
  reply = "451 4.3.0 Busy"  # or: delay, greylist, drop, forget, extra, silent

Beside the rules it can be far away, slow, full, without extensions, ask for TLS or a password:
the reference tells every field.
"""
_port = click.IntRange(1, 65535)


@click.command()
@click.option("--port", type=_port, default=8000, show_default=True, help="Of the web application.")
@click.pass_context
def up(ctx: click.Context, port: int) -> None:
    """Run web, worker, scheduler and the embedded services until Ctrl-C.

    Whatever dies is started again within five seconds.
    """
    began = time.monotonic()
    runtime = runtime_of(ctx)
    settings = runtime.settings
    runtime.database.dispose()
    environment = child_environment(ctx.find_root().obj or {})
    if "public_url" not in settings.model_fields_set:
        environment["MAILER_PUBLIC_URL"] = f"http://{LOOPBACK}:{port}"
    logs = settings.state_dir / "logs"
    supervisor = Supervisor(settings.state_dir, environment, say, logs)
    _stop_on_signals(supervisor.stop)
    with only_one(settings.state_dir):
        chosen = services(settings, port=port)
        supervisor.run(
            chosen,
            when_ready=lambda: say(
                f"ready in {time.monotonic() - began:.1f} s: http://{LOOPBACK}:{port}"
                f" - logs in {logs} - Ctrl-C ends everything"
            ),
        )
    say("everything has ended")


@click.command()
@click.option("--port", type=_port, default=8000, show_default=True)
@click.option("--host", default=LOOPBACK, show_default=True, help="The address to listen on.")
@click.option(
    "--drain/--no-drain", default=True, help="Keep  mailer drain  running beside it (default: yes)."
)
@click.option(
    "--only",
    type=click.Choice(["public", "staff"]),
    help="Only the public pages and links, or only the staff pages; default: all in one process.",
)
@click.pass_context
def web(ctx: click.Context, port: int, host: str, drain: bool, only: str | None) -> None:
    """Run only the web application, and the drainer beside it.

    It starts, and answers links, also while the database is away.
    """
    settings = settings_of(ctx)
    is_staff = only == "staff"
    runtime = _open_patiently(ctx, settings, settings.database if is_staff else settings.web_database)
    # Command line and web are two doors of one house: neither imports the other, this one opens it.
    drainer = None
    if drain and not is_staff:
        program = importlib.import_module("mailer.web.company").Program
        drainer = program((*MAILER, "drain"), child_environment(ctx.find_root().obj or {}))
    with contextlib.suppress(KeyboardInterrupt):  # the server has ended in order by then
        importlib.import_module("mailer.web.server").serve(runtime, host, port, drainer, only=only)


@click.command()
@click.option("--parent", type=int, hidden=True, help="The process to end with.")
@click.pass_context
def drain(ctx: click.Context, parent: int | None) -> None:
    """Move what readers do from the web's journals into the database.

    One does it per state folder; a second one stands by.  mailer web  keeps one running.
    """
    settings = settings_of(ctx)
    runtime = _open_patiently(ctx, settings, settings.drain_database)
    stop = Stop()
    _stop_on_signals(stop)
    run = importlib.import_module("mailer.web.draining").run_drainer
    run(runtime, lambda: stop.asked, parent)


@click.command(epilog=_FAULTS)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=1025, show_default=True, help="0 takes a free one."
)
@click.option("--host", default=LOOPBACK, show_default=True, help="The address to listen on.")
@click.option(
    "--faults",
    type=click.Path(path_type=Path),
    help="How to misbehave, and to whom (TOML); read again on SIGHUP.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where letters go; default: sink/ in the state folder.",
)
@click.option(
    "--keep", type=click.IntRange(0), default=2000, show_default=True, help="Letters to keep as files."
)
@click.option(
    "--lenient", is_flag=True, help="Do not look at the content of letters beyond those kept: quicker."
)
@click.pass_context
def sink(
    ctx: click.Context,
    port: int,
    host: str,
    faults: Path | None,
    folder: Path | None,
    keep: int,
    lenient: bool,
) -> None:
    """Run a mail server that keeps letters instead of delivering them.

    It takes what a careful relay would take and says so only once it is recorded: letters.tsv in its
    folder has time, recipient, Message-ID, sender, size and file of every letter, NNNNNN.eml the first
    letters themselves, faults.tsv every fault that hit.
    """
    settings = settings_of(ctx)
    configure_log(settings.log_format)
    folder = (folder or settings.state_dir / "sink").absolute()
    rules = load_faults(faults) if faults else Faults()

    def tell(taken: int) -> None:
        nonlocal port
        port = taken
        say(f"keeping letters in {folder}; relay: {relay_url(host, port, rules.behaviour, folder)}")

    def read_again(behave: Behave) -> None:
        assert faults is not None
        try:
            behave(now := load_faults(faults))
        except (BadFaults, FaultsNotFound) as error:
            say(f"the earlier faults stay in force: {error}")
        else:
            relay = relay_url(host, port, now.behaviour, folder)
            say(f"following {faults} as it is now; relay: {relay}")

    def listen(behave: Behave) -> None:
        if faults is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, read_again, behave)

    serving = serve_sink(
        folder,
        host=host,
        port=port,
        faults=rules,
        keep=keep,
        when_ready=tell,
        lenient=lenient,
        when_open=listen,
    )
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_until_signalled(serving))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            taken = f"port {port} on {host} is taken; choose another with --port"
            raise ServiceFailed(taken) from error
        raise ServiceFailed(
            f"the sink cannot run on port {port} in {folder}: {error.strerror}"
        ) from error


@click.command()
@click.option(
    "--recipients", type=click.IntRange(1), default=2000, show_default=True, help="How many to invent."
)
def demo(recipients: int) -> None:
    """Tell the whole story on embedded parts, in var/demo; no setting of yours is used.

    The last line on stdout is where the HTML report lies.
    """
    folder = Path("var/demo").absolute()
    click.echo(run_demo(folder, recipients=recipients, tell=say, show=click.echo))


def _open_patiently(ctx: click.Context, settings: Settings, database_url: str) -> Runtime:
    """A runtime for what goes on while the database is away."""
    configure_log(settings.log_format)
    runtime = open_runtime(settings, database_url=database_url, may_be_away=True)
    ctx.call_on_close(runtime.database.dispose)
    return runtime


async def _until_signalled(serving: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(serving)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _stop_on_signals(stop: Stop) -> None:
    """Let the first Ctrl-C, TERM or hang-up ask, and the second one hurry."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.ask()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)
