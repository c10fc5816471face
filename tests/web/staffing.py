"""Somebody on the staff, and the browser they sign in with."""

import re
from collections.abc import Iterator

import httpx
import pytest
from argon2 import PasswordHasher

from mailer.foundation.clock import real_now
from mailer.foundation.database import Database, open_database
from mailer.runtime import Runtime
from mailer.staff import passwords
from mailer.staff.accounts import add_account
from mailer.staff.models import StaffRole
from tests.web.conftest import Mailing, Reader

HERE = "http://127.0.0.1:8000"
PASSWORD = "en lang og god sætning"
FIELD = re.compile(r'name="form" value="([0-9a-f]{64})"')


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passwords that cost little to look at: what they cost is tested with the accounts."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


class Staff:
    """A browser on the staff pages: keeps cookies, sends forms as a browser would."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.cookies: dict[str, str] = {}

    def get(self, path: str = "/staff") -> httpx.Response:
        return self._keep(self.reader.get(path, headers=self._cookie()))

    def post(self, path: str, data: dict[str, str], **headers: str) -> httpx.Response:
        sent = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        told = self._cookie() | {name: value for name, value in sent.items() if value}
        return self._keep(self.reader.post(path, data=data, headers=told))

    def sign_in(self, name: str = "bodil", password: str = PASSWORD, **headers: str) -> httpx.Response:
        form = FIELD.search(self.get("/staff/sign-in").text)
        assert form
        return self.post(
            "/staff/sign-in", {"form": form[1], "name": name, "password": password}, **headers
        )

    def form(self) -> str:
        found = FIELD.search(self.get("/staff").text)
        assert found
        return found[1]

    def _cookie(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def _keep(self, response: httpx.Response) -> httpx.Response:
        for line in response.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if value.strip('"'):
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return response


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Database]]:
    """The databases that staff pages open for themselves."""
    databases: list[Database] = []

    def open_one(url: str) -> Database:
        databases.append(open_database(url))
        return databases[-1]

    monkeypatch.setattr("mailer.web.staff.pages.open_database", open_one)
    yield databases
    for each in databases:
        each.dispose()


@pytest.fixture
def staff(reader: Reader, runtime: Runtime, mailing: Mailing) -> Staff:
    """A browser nobody has signed in with, and two accounts."""
    with runtime.database.write() as db:
        add_account(db, "bodil", StaffRole.VIEWER, PASSWORD, now=real_now())
        add_account(db, "admin", StaffRole.ADMIN, PASSWORD, now=real_now())
    return Staff(reader)


@pytest.fixture
def signed_in(staff: Staff) -> Staff:
    assert staff.sign_in().status_code == 303
    return staff
