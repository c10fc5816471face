"""`mailer`: nouns, then verbs. Importing this module loads click and nothing heavier."""

import importlib
import os
import sys
from pathlib import Path

import click

NOUNS = {
    "init": (
        "mailer.cli.setup:init",
        "Settings file with fresh keys; database created or migrated.",
    ),
    "up": (
        "mailer.cli.service:up",
        "Web, worker, scheduler and embedded services, in the foreground.",
    ),
    "status": ("mailer.cli.status:status", "Whether all is well, on one screen."),
    "stop": ("mailer.cli.stop:stop", "Pause every campaign at once."),
    "web": ("mailer.cli.service:web", "Only the web application."),
    "drain": ("mailer.cli.service:drain", "Only what moves readers' deeds into the database."),
    "sink": (
        "mailer.cli.service:sink",
        "A mail server that keeps letters instead of delivering them.",
    ),
    "demo": ("mailer.cli.service:demo", "The whole story on embedded parts."),
    "doctor": ("mailer.cli.setup:doctor", "Check what this machine and these settings lack."),
    "database": ("mailer.cli.setup:database", "Upgrade or check the database."),
    "settings": ("mailer.cli.setup:settings", "Show the settings in force."),
    "recipient": ("mailer.cli.recipient:recipient", "Import, list, show, suppress recipients."),
    "segment": ("mailer.cli.segment:segment", "Named rules that select recipients."),
    "event": ("mailer.cli.event:event", "Import, list, show, update events."),
    "registration": (
        "mailer.cli.registration:registration",
        "Who comes: attendance lists, door lists, registrations by phone.",
    ),
    "campaign": (
        "mailer.cli.campaign:campaign",
        "Create, preview, test, queue, follow, prove campaigns.",
    ),
    "bounce": ("mailer.cli.bounce:bounce", "What comes back by mail."),
    "reminder": ("mailer.cli.reminder:reminder", "What is due when, and to how many."),
    "report": ("mailer.cli.report:report", "How it went."),
    "tracking": (
        "mailer.cli.tracking:tracking",
        "What is kept of one person's doings; people and machines judged anew.",
    ),
    "staff": ("mailer.cli.staff:staff", "Who may look at the staff pages."),
    "completion": ("mailer.cli.setup:completion", "Completion script for bash, zsh or fish."),
}


class Nouns(click.Group):
    """Loads a noun's module only when it is used: the one place where the CLI imports lazily."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The nouns in the order in which one needs them."""
        del ctx
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the noun's command."""
        del ctx
        if cmd_name not in NOUNS:
            return None
        module, _, name = NOUNS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the nouns without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(noun, text) for noun, (_, text) in NOUNS.items()])


@click.command(
    cls=Nouns,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage,"
    " 3 done in part, 4 not found, 5 not now, 69 unreachable, 78 settings, 130 interrupted.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file (default: mailer.toml in the working folder).",
)
@click.option(
    "--set",
    "assignments",
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting for this call only, such as --set tracking=anonymous.",
)
@click.version_option(package_name="startpakke-mailer")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Send letters to many, follow them, and account for every one."""
    if config is not None:
        os.environ["MAILER_CONFIG"] = str(config.absolute())
    for part in assignments:
        if "=" not in part:
            raise click.UsageError(f"--set {part}: write it as NAME=VALUE, such as --set tracking=none")
    flags = dict(part.partition("=")[::2] for part in assignments)
    ctx.obj = {name.strip().replace("-", "_"): value for name, value in flags.items()}


def main() -> None:
    """Run the command line and end with the exit code that tells scripts what happened."""
    try:
        code = cli.main(prog_name="mailer", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        click.echo(f"error: {message}{_help_of(error)}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        errors = importlib.import_module("mailer.cli.errors")
        explained = errors.exit_code(error)
        if explained is None:
            raise
        click.echo(f"error: {errors.describe(error)}", err=True)
        sys.exit(explained)
    sys.exit(code if isinstance(code, int) else 0)


def _help_of(error: click.ClickException) -> str:
    """Where to read how the command is used, if it was used wrongly."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"; see  {context.command_path} --help" if context else ""
