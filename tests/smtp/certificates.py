"""Certificates for servers in tests, made by the program openssl; each is its own authority."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

_SETTINGS = """
[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
[req]
distinguished_name = none
[none]
"""


def make_certificate(
    folder: Path, *, names: str = "IP:127.0.0.1", until: str = "20990101000000Z"
) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for these names, and the file that makes it trusted."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the program openssl is missing")
    folder.mkdir()
    (folder / "settings").write_text(_SETTINGS)
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01")
    request = (
        "req -config settings -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        f" -keyout key -out request -subj /CN=relay -addext subjectAltName={names}"
    )
    sign = (
        "ca -config settings -selfsign -keyfile key -in request -batch -notext"
        f" -out certificate -startdate 20200101000000Z -enddate {until}"
    )
    for words in (request, sign):
        subprocess.run([openssl, *words.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    return context, folder / "certificate"
