"""How a client reaches the sink."""

from pathlib import Path
from urllib.parse import quote

from mailer.embedded.certificates import AUTHORITY
from mailer.embedded.faults import CERTIFICATES, Behaviour


def relay_url(host: str, port: int, behaviour: Behaviour, folder: Path) -> str:
    """The relay's URL that asks of the sink what it offers; of a password it says ``PASSWORD``.

    A bad certificate is refused by whoever comes by this URL, as it would be anywhere else.

    Args:
        folder: the sink's, with the authority of the certificates it made.
    """
    tls, sign_in = behaviour.tls, behaviour.sign_in
    who = f"{quote(sign_in.user, safe='')}:PASSWORD@" if sign_in else ""
    where = f"{who}[{host}]:{port}" if ":" in host else f"{who}{host}:{port}"
    if tls is None or not (tls.implicit or tls.starttls):
        return f"smtp://{where}?starttls=never"
    scheme, options = ("smtps", []) if tls.implicit else ("smtp", ["starttls=require"])
    if tls.certificate in CERTIFICATES:
        options.append(f"ca={quote(str(folder / AUTHORITY))}")
    return f"{scheme}://{where}" + (f"?{'&'.join(options)}" if options else "")
