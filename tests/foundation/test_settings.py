"""Where a setting comes from, and what is said when it makes no sense."""

import traceback
from pathlib import Path

import pytest

from mailer.foundation.settings import SettingsError, load_settings

KEY = "hemmelig-hemmelig-hemmelig"


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
    assert settings.batch_size == 4000


def test_a_settings_file_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path / "mailer.toml", "batch_size = 7")).batch_size == 7
    assert load_settings(write(tmp_path / "mailer.toml", "batch_size = 8")).batch_size == 8


def test_a_secret_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_SECRET_KEY_FILE", str(write(tmp_path / "key", f"{KEY}\n")))
    assert load_settings().signing_keys == [KEY.encode()]
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
        ('retry_after = "soon"', "setting retry_after"),
        ('retry_after = "1m, 5m"', "setting retry_after"),
        ('trusted_proxies = "nginx"', "setting trusted_proxies: 'nginx' is no address or network"),
        ('trusted_proxies = "10.0.0.1/8"', "setting trusted_proxies: '10.0.0.1/8' is no address"),
        ('trusted_proxies = ["10.0.0.0/8", "0.0.0.0/0"]', "setting trusted_proxies: 0.0.0.0/0 is every"),
        ('trusted_proxies = "::/0"', "setting trusted_proxies: ::/0 is everybody"),
        ('metrics_token = "kort"', "setting metrics_token: must be 16 or more"),
        ("web_requests_per_second = 0", "setting web_requests_per_second"),
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


@pytest.mark.parametrize("name", ["secret_key", "suppression_key", "secret_keys_old"])
@pytest.mark.parametrize("key", [" ", "hemmelig", "x" * 15])
def test_a_key_that_can_be_guessed_is_none(tmp_path: Path, name: str, key: str) -> None:
    file = write(tmp_path / "mailer.toml", "")
    given = {name: f"{KEY} {key}" if name == "secret_keys_old" and key.strip() else key}
    if given == {"secret_keys_old": " "}:
        assert load_settings(file, secret_key=KEY, **given).signing_keys == [KEY.encode()]
        return
    with pytest.raises(SettingsError, match=f"setting {name}: a key has at least 16") as refused:
        load_settings(file, **given)
    assert "hemmelig" not in str(refused.value)


def test_an_empty_key_file_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_SECRET_KEY_FILE", str(write(tmp_path / "key", "\n")))
    with pytest.raises(SettingsError, match="setting secret_key: "):
        load_settings()


@pytest.mark.parametrize(
    "text",
    [
        f'secretkey = "{KEY}"',
        f'suppression_key = ["{KEY}"]',
        'database_url = "postgresql//u:hemmelig@db/mailer"',
        'database_url = "postgresql://u:p:hemmelig@db:hemmelig/mailer"',
        'database_url = "mysql://u:hemmelig@db/mailer"',
        'redis_url = "redis://:hemmelig/x@cache:6379/0"',
        'redis_url = "redis://:12#hemmelig@cache"',
        'redis_url = "http://:hemmelig@cache"',
        'web_database_url = "mysql://u:hemmelig@db/mailer"',
        'drain_database_url = "hemmelig"',
        'metrics_token = "hemmelig"',
        'metrics_token = "hemmelig hemmelig hemmelig"',
    ],
)
def test_a_secret_that_makes_no_sense_is_told_by_no_error_and_no_trace(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(SettingsError) as wrong:
        load_settings(write(tmp_path / "mailer.toml", text))
    assert "hemmelig" not in "".join(traceback.format_exception(wrong.value))


@pytest.mark.parametrize(
    "url",
    [
        'https://x.example/"><script>',
        "https://x.example/\\r\\nBcc: c@d.example",
        "https://x.example/a b",
        "https://user:word@x.example",
        "https://x.example/#top",
        "https://brev.københavn.example",
    ],
)
def test_the_public_address_stays_in_its_attribute_and_its_header(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="setting public_url: "):
        load_settings(public_url=url.encode().decode("unicode_escape"), state_dir=tmp_path)


@pytest.mark.parametrize("name", ["sender", "bounce_address", "reply_to"])
@pytest.mark.parametrize("address", ["<a@b.example> SIZE=1 <c@d.example>", '"a> b"@c.example', "a@b@c"])
def test_an_address_of_ours_stays_in_its_command(tmp_path: Path, name: str, address: str) -> None:
    try:
        kept = load_settings(**{name: address}, sender=address, state_dir=tmp_path)  # type: ignore[arg-type]
    except (SettingsError, TypeError):
        return
    for ours in (kept.sender_address, kept.bounces_to):
        assert not set(ours) & set(" <>")


def test_replies_go_to_a_bare_address_however_it_is_written(tmp_path: Path) -> None:
    one = load_settings(reply_to="Svar <svar@coi.example>", state_dir=tmp_path)
    parties = load_settings(reply_to={"KL": "KL <svar@kl.example>"}, state_dir=tmp_path)
    assert one.reply_to == "svar@coi.example"
    assert parties.reply_to == {"KL": "svar@kl.example"}
    with pytest.raises(SettingsError, match="setting reply_to: must look like"):
        load_settings(reply_to="svar@coi.example\r\nBcc: c@d.example", state_dir=tmp_path)


@pytest.mark.parametrize(
    "given", ["10.0.0.0/8, ::1", "10.0.0.0/8 ::1", ["10.0.0.0/8", "::1"], " 10.0.0.0/8,::1, "]
)
def test_proxies_are_a_list_of_networks(tmp_path: Path, given: str | list[str]) -> None:
    settings = load_settings(trusted_proxies=given, state_dir=tmp_path)
    assert settings.proxies == ("10.0.0.0/8", "::1/128")


def test_proxies_may_be_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_TRUSTED_PROXIES", "127.0.0.1,10.1.0.0/16")
    assert load_settings().proxies == ("127.0.0.1/32", "10.1.0.0/16")
    monkeypatch.setenv("MAILER_TRUSTED_PROXIES", "")
    assert load_settings().proxies == ()


def test_nobody_is_trusted_unless_named(tmp_path: Path) -> None:
    assert load_settings(state_dir=tmp_path).proxies == ()


def test_the_webs_roles_have_databases_of_their_own_or_the_common_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = load_settings(database_url="postgres://u:p@db/mailer", state_dir=tmp_path)
    assert common.web_database == common.drain_database == common.database
    monkeypatch.setenv(
        "MAILER_WEB_DATABASE_URL_FILE", str(write(tmp_path / "web", "postgres://web:p@db/mailer\n"))
    )
    own = load_settings(
        database_url="postgres://u:p@db/mailer",
        drain_database_url="postgresql://drain:p@db/mailer",
        metrics_token="0123456789abcdef",
        state_dir=tmp_path,
    )
    assert own.database == "postgresql+psycopg://u:p@db/mailer"
    assert own.web_database == "postgresql+psycopg://web:p@db/mailer"
    assert own.drain_database == "postgresql+psycopg://drain:p@db/mailer"
    shown = own.shown()
    for secret in ("web_database_url", "drain_database_url", "metrics_token"):
        assert shown[secret] == "********"
