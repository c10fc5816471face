"""One sending over a scripted relay, and what must be true after it whatever the relay said."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mailer.smtp.patience import Patience
from mailer.smtp.pool import RelayPool
from mailer.smtp.relays import parse_relay
from tests.smtp.scripted import Account, Letter, Script, serving

QUICK = Patience(look_every=0.02, farewell=0.2, slot=0.05)


def url(script: Script, options: str = "") -> str:
    """The relay's address, without TLS unless the options say otherwise."""
    starttls = "" if "starttls" in options else "starttls=never&"
    return f"smtp://127.0.0.1:{script.port}?{starttls}{options}"


def pool_for(
    *scripts: Script,
    options: str = "connections=1",
    patience: Patience = QUICK,
    change: Callable[[int], str] | None = None,
) -> RelayPool:
    """A pool with these relays; ``change`` gives options of each by its number."""
    relays = [
        parse_relay(url(script, options if change is None else change(number)))
        for number, script in enumerate(scripts)
    ]
    return RelayPool(relays, greet_as="brev.example", patience=patience)


async def send_over(
    script: Script,
    mails: Sequence[Letter],
    *,
    options: str = "connections=1",
    patience: Patience = QUICK,
) -> tuple[Account, RelayPool]:
    """Send the mails over a pool of one relay; the pool is closed when this returns."""
    account = Account(mails)
    async with serving(script):
        pool = pool_for(script, options=options, patience=patience)
        await pool.send(account)
        await pool.close()
    check(script, account)
    return account, pool


def check(script: Script, account: Account) -> None:
    """What the relay took and what we say it took is the same, letter by letter."""
    assert not account.out, "some mail never came back"
    assert account.unflushed == 0, "something told was never flushed"
    for to, what in account.told.items():
        if what[-1] in ("withdrawn", "spared") and what[-2:-1] not in ([], ["not sent"]):
            what = what[:-1]  # it was answered before
        taken = script.accepted.count(to)
        assert not set(what[:-1]) - {"not sent"}, f"{to} was decided about twice: {what}"
        if what[-1] == "lost":
            assert taken <= 1
        else:
            assert taken == (what[-1] == "250"), f"{to}: told {what}, taken {taken} times"
    for to, sender in zip(script.accepted, script.senders, strict=True):
        assert sender == account.all[to].envelope.sender, "a letter went with another's return path"
    for to, body in zip(script.accepted, script.bodies, strict=True):
        assert body == account.all[to].data


def slow(patience: Patience = QUICK, **seconds: float) -> Patience:
    """A patience with some other limits."""
    return replace(patience, **seconds)
