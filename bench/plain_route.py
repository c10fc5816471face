"""What tracked links are in most programs: a Starlette route that inserts a row and redirects.

Served by uvicorn with httptools and uvloop; connections of psycopg wait in a pool, every request takes
one and commits. It knows its one target by heart and looks at no token, which is kinder than life.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

DATABASE = "PLAIN_DATABASE"
TABLE = """CREATE TABLE IF NOT EXISTS plain_clicks (id bigserial PRIMARY KEY, token text NOT NULL,
    link integer NOT NULL, agent text NOT NULL, at timestamptz NOT NULL DEFAULT now())"""
_INSERT = "INSERT INTO plain_clicks (token, link, agent) VALUES (%s, %s, %s)"
_CONNECTIONS = 10
_TARGET = "https://tilmelding.example/midt?a=1&b=2"

_pool: "asyncio.LifoQueue[psycopg.AsyncConnection]" = asyncio.LifoQueue()


async def click(request: Request) -> RedirectResponse:
    """Insert one row, commit, redirect."""
    connection = await _pool.get()
    try:
        await connection.execute(
            _INSERT,
            (
                request.path_params["token"],
                request.path_params["link"],
                request.headers.get("user-agent", ""),
            ),
        )
        await connection.commit()
    finally:
        _pool.put_nowait(connection)
    return RedirectResponse(_TARGET, status_code=302)


@asynccontextmanager
async def _connected(app: Starlette) -> AsyncIterator[None]:
    del app
    for _ in range(_CONNECTIONS):
        _pool.put_nowait(await psycopg.AsyncConnection.connect(os.environ[DATABASE]))
    yield
    while not _pool.empty():
        await _pool.get_nowait().close()


def main() -> None:
    """Serve on the loopback port of the command line."""
    app = Starlette(routes=[Route("/c/{token}/{link:int}", click)], lifespan=_connected)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
