"""Templates that are compiled once: the same text is shared, anything else is not."""

from datetime import date
from typing import Any

import pytest
from jinja2 import DictLoader, Environment

from mailer.rendering.bytecode import KeptBytecode
from mailer.rendering.environment import make_environment


class Counting(Environment):
    """Says what it compiled."""

    def __init__(self, files: dict[str, str], kept: KeptBytecode) -> None:
        super().__init__(loader=DictLoader(files), bytecode_cache=kept, autoescape=True)
        self.compiled: list[str | None] = []

    def compile(self, source: Any, name: str | None = None, *more: Any, **named: Any) -> Any:
        self.compiled.append(name)
        return super().compile(source, name, *more, **named)


def render(files: dict[str, str], kept: KeptBytecode, name: str = "a") -> tuple[str, int]:
    """What the template says, and how many were compiled for it."""
    environment = Counting(files, kept)
    return environment.get_template(name).render(), len(environment.compiled)


def test_a_template_is_compiled_once_for_all_environments() -> None:
    kept = KeptBytecode()
    files = {"a": "{% include 'b' %}!", "b": "{{ 1 + 1 }}"}
    assert render(files, kept) == ("2!", 2)
    assert render(files, kept) == ("2!", 0)


def test_another_text_under_the_same_name_is_another_template() -> None:
    kept = KeptBytecode()
    assert render({"a": "before"}, kept) == ("before", 1)
    assert render({"a": "after"}, kept) == ("after", 1)
    assert render({"a": "before"}, kept) == ("before", 0)


def test_the_same_text_under_another_name_is_another_template() -> None:
    kept = KeptBytecode()
    files = {"a": "{{ self._TemplateReference__context.name }}"}
    assert render(files, kept) == ("a", 1)
    assert render({"b": files["a"]}, kept, "b") == ("b", 1)


def test_only_so_many_are_kept_and_the_oldest_goes_first() -> None:
    kept = KeptBytecode()
    for number in range(200):
        render({"a": f"text {number}"}, kept)
    assert render({"a": "text 199"}, kept)[1] == 0
    assert render({"a": "text 100"}, kept)[1] == 0
    assert render({"a": "text 0"}, kept)[1] == 1


@pytest.mark.parametrize("first", [True, False])
def test_letters_with_and_without_escaping_share_nothing(first: bool) -> None:
    files = {"a": "{{ '<b>' }}{{ name }}"}
    said = {
        escaping: make_environment(files, "da", autoescape=escaping).get_template("a").render(name="<i>")
        for escaping in (first, not first)
    }
    assert said == {True: "&lt;b&gt;&lt;i&gt;", False: "<b><i>"}


def test_each_language_writes_its_own_days() -> None:
    files = {"a": "{{ day|long_date }}"}
    said = [
        make_environment(files, language, autoescape=False)
        .get_template("a")
        .render(day=date(2014, 3, 24))
        for language in ("da", "en", "da")
    ]
    assert said == ["mandag den 24. marts 2014", "Monday 24 March 2014", "mandag den 24. marts 2014"]
