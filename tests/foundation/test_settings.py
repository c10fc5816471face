"""Where a setting comes from, and what is said when it makes no sense."""

from pathlib import Path

import pytest

from mailer.foundation.settings import SettingsError, load_settings


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "mailer.toml", 'timezone = "Europe/Oslo"\nlist_id = "file.example"\n')
    monkeypatch.setenv("MAILER_LIST_ID", "environment.example")
    settings = load_settings(file)
    assert (settings.timezone, settings.list_id) == ("Europe/Oslo", "environment.example")
    assert load_settings(file, list_id="flag.example").list_id == "flag.example"
    assert settings.batch_size == 500


def test_a_secret_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_SECRET_KEY_FILE", str(write(tmp_path / "key", "hemmelig\n")))
    assert load_settings().signing_keys == [b"hemmelig"]
    monkeypatch.setenv("MAILER_SECRET_KEY_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="MAILER_SECRET_KEY_FILE: cannot read"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('sendr = "x"', "setting sendr: no such setting"),
        ('timezone = "Mars/Base"', "setting timezone: no such time zone"),
        ('public_url = "ftp://x"', "setting public_url: must look like https://"),
        ('sender = "nobody"', "setting sender: must look like"),
        ('tracking = "everything"', "setting tracking: Input should be 'none', 'anonymous'"),
        ("batch_size = 5000", "setting batch_size"),
        ("this is no TOML", "mailer.toml: "),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        load_settings(write(tmp_path / "mailer.toml", text))
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_named_settings_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load_settings(tmp_path / "nowhere.toml")


def test_platform_names_of_the_servers_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@db/mailer")
    monkeypatch.setenv("REDIS_URL", "redis://cache:6379/0")
    settings = load_settings()
    assert settings.database == "postgresql+psycopg://u:p@db/mailer"
    assert settings.redis == "redis://cache:6379/0"
    assert settings.shown()["database_url"] == "********"


def test_a_long_state_folder_keeps_its_socket_path_short_enough(tmp_path: Path) -> None:
    settings = load_settings(state_dir=tmp_path / ("x" * 120))
    assert len(str(settings.redis_socket)) <= 107


def test_the_sender_may_not_smuggle_a_header(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load_settings(sender="X <a@b.example>\r\nBcc: c@d.example", state_dir=tmp_path)
