"""Before the first letter: settings file, keys, database, and what is missing, each in a clear line."""

import json
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer.cli.errors import exit_code
from mailer.cli.main import cli
from mailer.foundation.database import open_database
from tests.making import ScriptedRelay, relay_running


@pytest.fixture
def postgres_url(fresh_postgres_url: str) -> str:
    """These tests change more than rows."""
    return fresh_postgres_url


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    """Run the command line; an expected error becomes its exit code, as in ``main``."""
    result = CliRunner().invoke(cli, arguments)
    if isinstance(result.exception, Exception):
        result.exit_code = exit_code(result.exception) or 99
    return result


def said(result: Result) -> str:
    return result.output + str(result.exception or "")


def test_init_makes_fresh_keys_for_the_owner_only_and_a_database(tmp_path: Path) -> None:
    result = run("init")
    assert result.exit_code == 0, said(result)
    path = tmp_path / "mailer.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = tomllib.loads(path.read_text("utf-8"))
    assert set(keys) == {"secret_key", "suppression_key"}
    assert keys["secret_key"] != keys["suppression_key"]
    assert min(map(len, keys.values())) >= 40
    assert (tmp_path / "var" / "mailer.sqlite").exists()
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700
    assert run("database", "check").exit_code == 0


def test_init_again_keeps_the_file_to_the_byte(tmp_path: Path) -> None:
    run("init")
    before = (tmp_path / "mailer.toml").read_bytes()
    result = run("init")
    assert result.exit_code == 0
    assert "is kept" in result.stderr
    assert (tmp_path / "mailer.toml").read_bytes() == before


def test_every_commented_setting_of_a_new_file_is_one_that_exists(tmp_path: Path) -> None:
    run("init")
    text = (tmp_path / "mailer.toml").read_text("utf-8")
    proposed = [line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line]
    assert len(proposed) > 10
    proposed = [line for line in proposed if line.split(" = ")[0].isidentifier()]
    (tmp_path / "all.toml").write_text("\n".join(proposed), encoding="utf-8")
    result = run("--config", "all.toml", "settings", "show", "--json")
    assert result.exit_code == 0, said(result)


def test_a_file_without_keys_is_told_what_to_add_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mailer.toml"
    path.write_text('tracking = "none"\n')
    result = run("init")
    assert result.exit_code == 78
    assert 'secret_key = "' in said(result)
    assert path.read_text() == 'tracking = "none"\n'
    assert not (tmp_path / "var").exists()


def test_a_state_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file")
    result = run("init")
    assert result.exit_code == 1
    assert f"cannot make the state folder {tmp_path / 'var'}: File exists" in result.stderr


def test_a_settings_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("--config", str(tmp_path / "file" / "mailer.toml"), "init")
    assert result.exit_code == 1
    assert "cannot write" in result.stderr


def test_an_empty_database_is_behind_and_an_upgrade_mends_it(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    behind = run("database", "check")
    assert behind.exit_code == 78
    assert "run  mailer init" in said(behind)
    assert run("database", "upgrade").exit_code == 0
    checked = run("database", "check", "--json")
    assert json.loads(checked.stdout)["ok"] is True


def test_a_database_behind_the_code_says_how_to_upgrade(tmp_path: Path) -> None:
    run("init")
    database = open_database(f"sqlite:///{tmp_path / 'var' / 'mailer.sqlite'}")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    database.dispose()
    result = run("database", "check")
    assert result.exit_code == 78
    assert "mailer database upgrade" in said(result)


def test_a_database_that_cannot_be_reached_ends_with_69() -> None:
    result = run("--set", "database_url=postgresql://127.0.0.1:1/none", "database", "check")
    assert result.exit_code == 69


def test_the_rights_of_roles_are_printed_as_sql() -> None:
    result = run("database", "roles", "--public", "brev_web", "--drain", "brev_drain")
    assert result.exit_code == 0
    assert 'GRANT SELECT ON events TO "brev_web";' in result.stdout
    assert 'GRANT SELECT, INSERT, UPDATE ON tracking_events TO "brev_drain";' in result.stdout
    alone = run("database", "roles", "--public", "brev_web").stdout
    assert "INSERT" not in alone
    assert result.stdout.startswith("BEGIN;")
    assert result.stdout.endswith("COMMIT;\n")


@pytest.mark.parametrize(
    "wrong",
    [(), ("--public", 'x"; DROP TABLE links; --'), ("--public", "a", "--drain", "a"), ("--drain", "")],
)
def test_roles_have_plain_names_of_their_own(wrong: tuple[str, ...]) -> None:
    result = run("database", "roles", *wrong)
    assert result.exit_code != 0
    assert result.stdout == ""


def test_doctor_tells_that_the_proxy_must_be_named() -> None:
    run("init")
    without = run("--set", "public_url=https://brev.eksempel.example", "doctor", "--json")
    named = run(
        *("--set", "public_url=https://brev.eksempel.example"),
        *("--set", "trusted_proxies=127.0.0.1", "doctor", "--json"),
    )
    found = {one["name"]: one for one in json.loads(without.stdout)["checks"]}["proxies"]
    assert (found["ok"], "trusted_proxies" in found["detail"]) == (False, True)
    assert {one["name"]: one for one in json.loads(named.stdout)["checks"]}["proxies"]["ok"]


def test_settings_show_masks_secrets_and_tells_where_each_value_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("init")
    key = tomllib.loads((tmp_path / "mailer.toml").read_text())["secret_key"]
    monkeypatch.setenv("MAILER_SENDER", "Brev <brev@eksempel.example>")
    monkeypatch.setenv("REDIS_URL", "redis://:hemmeligt@localhost/0")
    result = run("--set", "tracking=none", "settings", "show", "--json")
    shown = json.loads(result.stdout)
    assert shown["schema_version"] == 1
    assert shown["settings"]["sender"] == "Brev <brev@eksempel.example>"
    assert shown["settings"]["secret_key"] == shown["settings"]["redis_url"] == "********"
    assert {shown["sources"][name] for name in ("tracking", "sender", "redis_url", "secret_key")} == {
        "--set",
        "MAILER_SENDER",
        "REDIS_URL",
        "mailer.toml",
    }
    assert shown["sources"]["timezone"] == "default"
    table = run("settings", "show")
    assert key not in table.stdout + result.stdout
    assert "hemmeligt" not in table.stdout + result.stdout


def test_a_file_gives_secrets_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_SENDER_FILE", "sender.txt")
    shown = json.loads(run("settings", "show", "--json").stdout)
    assert shown["sources"]["sender"] == "default"


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "mailer.toml").write_text("trakcing = 1\n")
    result = run("settings", "show")
    assert result.exit_code == 78
    assert "setting trakcing: no such setting" in said(result)


def doctor(*more: str) -> dict[str, dict[str, object]]:
    result = run(*more, "doctor", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == (0 if told["ok"] else 1)
    assert told["ok"] == all(check["ok"] for check in told["checks"])
    return {check["name"]: check for check in told["checks"]}


def test_doctor_finds_what_a_fresh_installation_lacks() -> None:
    run("init")
    checks = doctor()
    wrong = {name for name, check in checks.items() if not check["ok"]}
    assert wrong == {"sender", "relay"}
    assert "mailer up" in str(checks["redis"]["detail"])


def test_doctor_is_content_with_a_relay_that_answers() -> None:
    run("init")
    with relay_running(ScriptedRelay()) as relay:
        checks = doctor(
            "--set",
            "sender=Brev <brev@eksempel.example>",
            "--set",
            f"smtp_relays=smtp://127.0.0.1:{relay.port}?starttls=never",
        )
    assert all(check["ok"] for check in checks.values())
    assert checks["relay"]["detail"] == f"127.0.0.1:{relay.port} lets us in"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("smtp://127.0.0.1:{}", "does not offer STARTTLS"),
        ("smtp://bruger:hemmeligt@127.0.0.1:{}?starttls=never", "does not offer to sign in"),
    ],
)
def test_doctor_is_not_content_with_a_relay_that_would_not_take_letters(url: str, reason: str) -> None:
    run("init")
    with relay_running(ScriptedRelay()) as relay:
        check = doctor("--set", f"smtp_relays={url.format(relay.port)}")["relay"]
    assert check["ok"] is False
    assert reason in str(check["detail"])
    assert "hemmeligt" not in str(check)


@pytest.mark.parametrize(
    ("setting", "name", "reason"),
    [
        ("smtp_relays=smtp://127.0.0.1:1", "relay", "Connection refused"),
        ("smtp_relays=relay.example", "relay", "must look like"),
        ("public_url=http://brev.example", "public url", "must be https"),
        ("redis_url=redis://127.0.0.1:1/0", "redis", "cannot be reached"),
        ("database_url=postgresql://127.0.0.1:1/none", "database", "refused"),
        ("smtp_relays=smtp://relay.example?color=red", "relay", "no such option: color"),
        ("state_dir=/proc/none", "state folder", "cannot write"),
        ("templates_dir=/proc/none", "templates", "there is no folder /proc/none/letters"),
        ("timezone=Mars/Olympus", "settings", "no such time zone"),
    ],
)
def test_doctor_names_what_is_wrong(setting: str, name: str, reason: str) -> None:
    run("init")
    check = doctor("--set", setting)[name]
    assert check["ok"] is False
    assert reason in str(check["detail"])


def test_doctor_warns_of_a_settings_file_others_can_read(tmp_path: Path) -> None:
    run("init")
    (tmp_path / "mailer.toml").chmod(0o644)
    assert "chmod 600" in str(doctor()["settings"]["detail"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_the_command_itself(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_MAILER_COMPLETE" in result.stdout


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from mailer.cli.main import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "print({'celery', 'sqlalchemy', 'pydantic', 'rich'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
