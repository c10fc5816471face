"""What is shipped works away from the checkout, and what deploys it says what it must."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mailer.cli.main import NOUNS, cli

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
OURS = ("migrate", "web", "worker", "scheduler", "sink")

SERVICE = {
    "type": "object",
    "required": ["image", "healthcheck"],
    "properties": {
        "image": {"type": "string"},
        "build": {"type": "string"},
        "command": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "restart": {"enum": ["no", "unless-stopped"]},
        "user": {"type": "string"},
        "read_only": {"const": True},
        "tmpfs": {"type": "array", "items": {"type": "string"}},
        "cap_drop": {"const": ["ALL"]},
        "security_opt": {"const": ["no-new-privileges:true"]},
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "volumes": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+:/[a-z/]+$"}},
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^127\.0\.0\.1:\d+:\d+$"}},
        "profiles": {"type": "array", "items": {"type": "string"}},
        "shm_size": {"type": "string"},
        "stop_grace_period": {"type": "string", "pattern": r"^\d+[sm]$"},
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["condition"],
                "properties": {
                    "condition": {"enum": ["service_healthy", "service_completed_successfully"]}
                },
                "additionalProperties": False,
            },
        },
        "healthcheck": {
            "oneOf": [
                {
                    "required": ["test", "interval", "timeout", "retries"],
                    "properties": {"test": {"type": "array", "minItems": 2}},
                },
                {"properties": {"disable": {"const": True}}, "required": ["disable"]},
            ]
        },
    },
    "additionalProperties": False,
}


def test_every_compose_service_has_the_shape_compose_reads() -> None:
    assert set(COMPOSE["services"]) == {"postgres", "redis", *OURS}
    for service in COMPOSE["services"].values():
        jsonschema.validate(service, SERVICE)


def test_compose_names_only_services_and_volumes_it_has() -> None:
    for service in COMPOSE["services"].values():
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])
        volumes = {volume.split(":")[0] for volume in service.get("volumes", ())}
        assert volumes <= set(COMPOSE["volumes"])


def test_no_two_containers_share_a_state_folder() -> None:
    mounted = [
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", ())
    ]
    assert sorted(mounted) == sorted(set(mounted)) == sorted(COMPOSE["volumes"])


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_write_nothing_but_their_state(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert {volume.split(":")[1] for volume in service.get("volumes", ())} <= {"/var/lib/mailer"}


def test_secrets_stand_in_no_file_and_must_be_given() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    for name in ("POSTGRES_PASSWORD", "MAILER_SECRET_KEY", "MAILER_SUPPRESSION_KEY"):
        assert f"${{{name}:?" in text
    assert not re.search(r"(?:KEY|PASSWORD): \"(?!\$\{)", text)


def test_services_wait_for_a_migrated_database_and_the_queue() -> None:
    for name in ("web", "worker", "scheduler"):
        assert COMPOSE["services"][name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }
    assert COMPOSE["services"]["migrate"]["restart"] == "no"
    assert COMPOSE["services"]["sink"]["profiles"] == ["dev"]


def test_the_queue_keeps_what_it_is_given() -> None:
    command = " ".join(COMPOSE["services"]["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


@pytest.mark.parametrize("name", OURS)
def test_containers_run_commands_that_exist(name: str) -> None:
    program, *arguments = COMPOSE["services"][name]["command"]
    if program == "celery":
        assert arguments[:3] in (["-A", "worker", "worker"], ["-A", "scheduler", "beat"])
        return
    assert program == "mailer"
    command: click.Command | None = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and arguments:
        command = command.get_command(context, arguments.pop(0))
    assert command is not None
    command.make_context(name, arguments, parent=context).close()


def test_the_image_is_slim_runs_as_nobody_special_and_copies_only_what_is_let_in() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(None, 1) for line in lines if line and not line.startswith(("#", " "))]
    bases = [rest for step, rest in steps if step == "FROM"]
    assert all("python:" in base and "-slim" in base for base in bases)
    last = steps[[step for step, _ in steps].index("FROM", 1) :]
    assert [rest for step, rest in last if step == "USER"] == ["mailer"]
    assert {"HEALTHCHECK", "CMD", "VOLUME"} <= {step for step, _ in last}

    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = {
        name
        for step, rest in steps
        if step == "COPY" and not rest.startswith("--from")
        for name in rest.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_the_lock_pins_everything_the_project_asks_for() -> None:
    pins = {}
    for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;@]+)", line)
        assert match, line
        pins[canonicalize_name(match[1])] = match[2]
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *extras["dev"], *extras["embedded"]]:
        wanted = Requirement(text)
        if wanted.name == PROJECT["name"]:
            continue
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), text


def test_everything_a_pinned_package_needs_is_pinned_too() -> None:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines if "==" in line}
    for name in pinned:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # not for this machine
        for need in map(Requirement, needs):
            if need.name == "pip":
                continue  # whatever installs the lock is there already
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in pinned, f"{name} needs {need.name}"


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    commands = script.read_text("utf-8").splitlines()
    assert {"make test", "make check", "export MAILER_TEST_STRICT=1"} <= set(commands)


def test_make_has_a_word_for_each_habit() -> None:
    shown = subprocess.run(
        ["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for word in ("install", "demo", "up", "test", "check", "pack"):
        assert f"make {word} " in shown


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as the Dockerfile builds it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "worker.py", "scheduler.py"):
        shutil.copy(ROOT / name, source)
    for name in ("mailer", "recipients", "templates"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), str(source)],
        check=True,
    )
    installed = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(installed), *map(str, built.glob("*.whl"))],
        check=True,
    )
    return installed


def test_the_installed_wheel_works_from_any_folder_with_its_letters_and_tables(
    wheel: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(wheel), "PYTHONSAFEPATH": "1"}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import mailer; print(mailer.__file__)").startswith(str(wheel))
    shown = run("-m", "mailer.cli", "--help")
    assert all(noun in shown for noun in NOUNS)
    run("-m", "mailer.cli", "init")
    run("-m", "mailer.cli", "campaign", "create", "brev", "--letter", "startpakke", "--tracking", "none")
    events = wheel / "mailer" / "templates" / "letters" / "startpakke" / "events.toml"
    run("-m", "mailer.cli", "event", "import", str(events))
    for module in ("worker", "scheduler"):
        assert run("-c", f"import {module}; print({module}.__file__)").startswith(str(wheel))


def test_the_wheel_holds_nothing_but_the_product(wheel: Path) -> None:
    top = {
        path.name for path in wheel.iterdir() if not path.name.endswith((".dist-info", "__pycache__"))
    }
    assert top - {"bin"} == {"mailer", "recipients", "worker.py", "scheduler.py"}
    shipped: list[Any] = [*wheel.glob("mailer/templates/*")]
    assert {path.name for path in shipped} == {path.name for path in (ROOT / "templates").iterdir()}
