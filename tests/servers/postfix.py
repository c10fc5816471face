"""A real Postfix with a configuration, queue and mailbox of its own."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.servers.certificates import Certificate
from tests.servers.running import (
    HOST,
    LATER,
    PEOPLE,
    UNKNOWN,
    Daemon,
    KeepingServer,
    find_program,
    free_port,
    make_folder,
    open_folder,
    require_root,
)

_OWN = (
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "saved",
    "trace",
)
_LETTERS_IN = ("incoming", "active", "deferred")
_SERVICES = """\
{host}:{port} inet n - n - - smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
proxymap  unix - - n - - proxymap
virtual   unix - n n - - virtual
error     unix - - n - - error
retry     unix - - n - - error
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix(KeepingServer):
    """Takes letters for every address but two, and keeps them in one maildir."""

    name = "postfix"

    def __init__(
        self, folder: Path, *, certificate: Certificate | None, settings: Mapping[str, str]
    ) -> None:
        require_root("Postfix")
        postconf = find_program("postconf")
        programs = subprocess.run(
            [postconf, "-dh", "daemon_directory"], capture_output=True, text=True, check=True
        )
        master = find_program("master", folders=[Path(programs.stdout.strip())])
        self.port = free_port()
        self._folder = folder
        self._configure(certificate, settings)
        self._daemon = Daemon([master, "-c", folder / "config", "-d"], self.port, folder / "log")

    def _waiting(self) -> Iterator[Path]:
        """What it has taken and not delivered: only whole letters have the executable bit."""
        for name in _LETTERS_IN:
            for path in (self._folder / "queue" / name).rglob("*"):
                with suppress(FileNotFoundError):
                    if path.is_file() and path.stat().st_mode & 0o100:
                        yield path

    def _configure(self, certificate: Certificate | None, settings: Mapping[str, str]) -> None:
        folder = self._folder
        queue = folder / "queue"
        queue.mkdir()
        for name in _OWN:
            make_folder(queue / name, user="postfix")
        make_folder(queue / "private", user="postfix")
        make_folder(queue / "public", user="postfix", group="postdrop", mode=0o2710)
        make_folder(queue / "maildrop", user="postfix", group="postdrop", mode=0o1730)
        make_folder(queue / "pid", user="root", mode=0o755)
        make_folder(folder / "data", user="postfix")
        for name in ("new", "cur", "tmp"):
            make_folder(folder / "letters" / name, user=PEOPLE)
        config = folder / "config"
        config.mkdir()
        (config / "refused").write_text(f"unknown@ {UNKNOWN}\nlater@ {LATER}\n", encoding="ascii")
        told = {**_settings(folder, certificate), **settings}
        (config / "main.cf").write_text(
            "".join(f"{name} = {value}\n" for name, value in told.items()), encoding="utf-8"
        )
        (config / "master.cf").write_text(_SERVICES.format(host=HOST, port=self.port), encoding="ascii")


def _settings(folder: Path, certificate: Certificate | None) -> dict[str, str]:
    everybody = "static:65534"
    told = {
        "compatibility_level": "3.6",
        "queue_directory": f"{folder}/queue",
        "data_directory": f"{folder}/data",
        "maillog_file": f"{folder}/log",
        "maillog_file_prefixes": str(folder.parent),
        "import_environment": "MAIL_CONFIG",
        "inet_interfaces": HOST,
        "inet_protocols": "ipv4",
        "myhostname": "postfix.example",
        "mydestination": "",
        "alias_maps": "",
        "local_recipient_maps": "",
        "virtual_mailbox_domains": "static:all",
        "virtual_mailbox_maps": "static:letters/",
        "virtual_mailbox_base": str(folder),
        "virtual_mailbox_limit": "0",
        "virtual_uid_maps": everybody,
        "virtual_gid_maps": everybody,
        "smtpd_relay_restrictions": "reject_unauth_destination",
        "smtpd_recipient_restrictions": f"check_recipient_access texthash:{folder}/config/refused",
        "smtpd_peername_lookup": "no",
        "smtpd_client_event_limit_exceptions": "",
        "smtpd_error_sleep_time": "0",
        "smtputf8_enable": "yes",
        "smtp_dns_support_level": "disabled",
    }
    if certificate is not None:
        told |= {
            "smtpd_tls_security_level": "may",
            "smtpd_tls_chain_files": f"{certificate.key}, {certificate.certificate}",
        }
    return told


@contextmanager
def postfix_running(
    *, certificate: Certificate | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Postfix]:
    """A Postfix for as long as the block lasts.

    Args:
        settings: lines of ``main.cf`` that are to be different.
    """
    with open_folder("postfix") as folder:
        server = Postfix(folder, certificate=certificate, settings=settings or {})
        try:
            server.start()
            yield server
        finally:
            server.end()
