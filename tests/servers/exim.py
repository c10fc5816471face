"""A real Exim with a configuration, queue and mailbox of its own."""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.certificates import Certificate
from tests.servers.running import (
    HOST,
    LATER,
    UNKNOWN,
    UNPACKED,
    Daemon,
    KeepingServer,
    find_program,
    free_port,
    make_folder,
    open_folder,
    require_root,
)

_USER = "Debian-exim"
"""Built into Debian's Exim by name."""
_RULES = """
begin acl

check_recipient:
  deny local_parts = unknown
       message = {unknown}
  defer local_parts = later
       message = {later}
  accept

begin routers

everybody:
  driver = accept
  transport = letters

begin transports

letters:
  driver = appendfile
  directory = {folder}/letters
  maildir_format
  create_directory = false
  envelope_to_add
  return_path_add
  user = {owner}

begin retry

* * F,1h,1s

begin authenticators

plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and {{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2

login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and {{{{eq{{$auth1}}{{{user}}}}}{{eq{{$auth2}}{{{password}}}}}}}}}
  server_set_id = $auth1

cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{user}}}{{{password}}}fail}}
  server_set_id = $auth1
"""
USER, PASSWORD = "brevduen", "blåbær og brød"


class Exim(KeepingServer):
    """Takes letters for every address but two, and keeps them in one maildir."""

    name = "exim"

    def __init__(
        self, folder: Path, *, certificate: Certificate | None, settings: Mapping[str, str]
    ) -> None:
        require_root("Exim")
        exim = find_program("exim4", folders=[UNPACKED / "usr/sbin"])
        try:
            pwd.getpwnam(_USER)
        except KeyError:
            pytest.skip(f"the system user {_USER} is missing (.ci/run makes it)")
        self.port = free_port()
        self._folder = folder
        self._configure(exim, certificate, settings)
        command: list[str | Path] = [exim, "-C", folder / "exim.conf", "-bdf", "-qff2s"]
        libraries = UNPACKED / "usr/lib" / f"{os.uname().machine}-linux-gnu"
        if exim.is_relative_to(UNPACKED) and libraries.is_dir():
            command = ["env", f"LD_LIBRARY_PATH={libraries}", *command]
        self._daemon = Daemon(command, self.port, folder / "log" / "output")

    def _waiting(self) -> Iterator[Path]:
        """What it has taken and not delivered: a header file makes a letter whole."""
        return (self._folder / "spool" / "input").rglob("*-H")

    def _configure(
        self, exim: Path, certificate: Certificate | None, settings: Mapping[str, str]
    ) -> None:
        folder = self._folder
        for name in ("spool", "log"):
            make_folder(folder / name, user=_USER, group=_USER)
        for name in ("new", "cur", "tmp"):
            make_folder(folder / "letters" / name, user=_USER, group=_USER)
        own = {"exim_path": str(exim), "daemon_smtp_ports": str(self.port)}
        told = {**own, **_settings(folder, certificate), **settings}
        rules = _RULES.format(
            folder=folder, owner=_USER, unknown=UNKNOWN, later=LATER, user=USER, password=PASSWORD
        )
        (folder / "exim.conf").write_text(
            "".join(f"{name} = {value}\n" for name, value in told.items()) + rules, encoding="utf-8"
        )


def _settings(folder: Path, certificate: Certificate | None) -> dict[str, str]:
    told = {
        "primary_hostname": "exim.example",
        "local_interfaces": HOST,
        "spool_directory": f"{folder}/spool",
        "log_file_path": f"{folder}/log/%slog",
        "pid_file_path": f"{folder}/log/pid",
        "acl_smtp_rcpt": "check_recipient",
        "host_lookup": "",
        "rfc1413_query_timeout": "0s",
        "smtp_accept_max": "100",
        "smtp_accept_queue_per_connection": "0",
        "smtp_receive_timeout": "60s",
        "smtputf8_advertise_hosts": "*",
        "tls_advertise_hosts": "",
        "keep_environment": "",
        "deliver_drop_privilege": "true",  # the unpacked program is not set-uid root
    }
    if certificate is not None:
        told |= {
            "tls_advertise_hosts": "*",
            "tls_certificate": str(certificate.certificate),
            "tls_privatekey": str(certificate.key),
        }
    return told


@contextmanager
def exim_running(
    *, certificate: Certificate | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Exim]:
    """An Exim for as long as the block lasts.

    Args:
        settings: lines of the main section that are to be different.
    """
    with open_folder("exim") as folder:
        server = Exim(folder, certificate=certificate, settings=settings or {})
        try:
            server.start()
            yield server
        finally:
            server.end()
