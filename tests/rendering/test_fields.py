"""What a letter prints and what it decides with, read off its syntax tree."""

import pytest
from jinja2 import Environment

from mailer.rendering.fields import FieldUse, read_fields


def read(*files: str) -> FieldUse:
    return read_fields(Environment(autoescape=True), files)


def test_bare_output_is_a_slot() -> None:
    use = read(
        "Kære {{ recipient.name }} på {{ recipient['workplace'] }}: {{ recipient.attributes.nr }}"
    )
    assert use.slots == {"name", "workplace", "attributes.nr"}
    assert (use.keys, use.presence, use.whole) == (frozenset(), frozenset(), None)


def test_asking_whether_it_is_there_needs_only_that() -> None:
    use = read("{% if not recipient.name and recipient.workplace %}x{% endif %}{{ recipient.name }}")
    assert use.slots == {"name"}
    assert use.presence == {"name", "workplace"}
    assert use.keys == frozenset()


def test_comparing_with_constants_needs_only_which_of_them() -> None:
    use = read(
        "{% if recipient.role == 'minister' %}a"
        "{% elif recipient.role in ('borgmester', 'leder') %}b{% endif %}"
    )
    assert use.compared == {"role": frozenset({"minister", "borgmester", "leder"})}
    assert use.keys == frozenset()


@pytest.mark.parametrize(
    "template",
    [
        "{{ recipient.name|upper }}",
        "{% filter upper %}{{ recipient.name }}{% endfilter %}",
        "{% set x %}{{ recipient.name }}{% endset %}{{ x|upper }}",
        "{% set x = recipient.name %}{{ x }}",
        "{% macro m() %}{{ recipient.name }}{% endmacro %}{{ m()|upper }}",
        "{% for c in recipient.name %}{{ c }}{% endfor %}",
        "{% if recipient.name == recipient.workplace %}{% endif %}",
        "{% if recipient.name|length > 3 %}{% endif %}{{ recipient.name }}",
        "{% if recipient.name is none %}{% endif %}{{ recipient.name }}",
        "{{ 'x' ~ recipient.name }}",
        "{{ [recipient.name] }}",
        "{% autoescape false %}{{ recipient.name }}{% endautoescape %}",
        "{% filter upper %}{% block b %}{% endblock %}{% endfilter %}",
    ],
)
def test_any_other_use_belongs_to_the_key(template: str) -> None:
    assert "name" in read(template, "{% block b %}{{ recipient.name }}{% endblock %}").keys


@pytest.mark.parametrize(
    "template",
    [
        "{{ recipient }}",
        "{% for x in recipient.attributes %}{{ x }}{% endfor %}",
        "{% set recipient = 1 %}",
        "{% for recipient in events %}{% endfor %}",
        "{% filter upper %}{% include 'x' %}{% endfilter %}",
        "{% block b %}{{ recipient.name }}{% endblock %}{{ self.b()|upper }}",
        "{% block b %}{{ super()|upper }}{% endblock %}",
    ],
)
def test_what_is_not_understood_is_rendered_per_recipient(template: str) -> None:
    assert read(template).whole is not None


def test_a_choice_between_fields_prints_them_bare() -> None:
    use = read(
        "{{ recipient.name or recipient.workplace }}{{ recipient.name if recipient.role == 'x' else 1 }}"
    )
    assert use.slots == {"name", "workplace"}
    assert use.presence == {"name"}


def test_a_field_compared_and_printed_is_a_key() -> None:
    assert read("{% if recipient.role == 'x' %}{{ recipient.role }}{% endif %}").keys == {"role"}
