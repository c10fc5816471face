"""The id by which a state folder's processes know each other's claims."""

from pathlib import Path
from threading import Barrier, Thread

from mailer.sending.tools import host_id


def test_all_who_begin_at_once_get_one_id(tmp_path: Path) -> None:
    for number in range(100):
        folder, together, told = tmp_path / str(number), Barrier(6), set()

        def ask(folder: Path = folder, together: Barrier = together, told: set[str] = told) -> None:
            together.wait()
            told.add(host_id(folder))

        threads = [Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == {host_id(folder)}
        assert len(host_id(folder)) == 32


def test_an_id_that_was_never_written_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "host").touch()
    made = host_id(tmp_path)
    assert made
    assert host_id(tmp_path) == made
