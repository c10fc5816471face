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
    assert (use.keys, use.presence, use.whole) == ({}, frozenset(), None)


def test_asking_whether_it_is_there_needs_only_that() -> None:
    use = read("{% if not recipient.name and recipient.workplace %}x{% endif %}{{ recipient.name }}")
    assert use.slots == {"name"}
    assert use.presence == {"name", "workplace"}
    assert use.keys == {}


@pytest.mark.parametrize(
    "asks", ["attributes.get('nr')", "attributes['get']('nr')", "attributes.items()"]
)
def test_a_method_of_the_attributes_is_no_attribute(asks: str) -> None:
    use = read(f"{{{{ recipient.{asks} }}}}")
    assert use.whole == "uses the recipient as a whole"
    assert (use.slots, use.keys) == (frozenset(), {})


def test_comparing_with_constants_needs_only_which_of_them() -> None:
    use = read(
        "{% if recipient.role == 'minister' %}a"
        "{% elif recipient.role in ('borgmester', 'leder') %}b{% endif %}"
    )
    assert use.compared == {"role": frozenset({"minister", "borgmester", "leder"})}
    assert use.keys == {}


@pytest.mark.parametrize(
    ("template", "how"),
    [
        ("{{ recipient.name|upper }}", "filters {}"),
        ("{% filter upper %}{{ recipient.name }}{% endfilter %}", "prints {} in a filter block"),
        ("{% set x %}{{ recipient.name }}{% endset %}{{ x|upper }}", "prints {} in a set block"),
        ("{% set x = recipient.name %}{{ x }}", "gives {} another name"),
        ("{% with x = recipient.name %}{{ x }}{% endwith %}", "gives {} another name"),
        ("{% macro m() %}{{ recipient.name }}{% endmacro %}{{ m()|upper }}", "prints {} in a macro"),
        ("{% macro m(x) %}{% endmacro %}{{ m(recipient.name) }}", "hands {} to a function or macro"),
        ("{% for c in recipient.name %}{{ c }}{% endfor %}", "loops over {}"),
        (
            "{% if recipient.name == recipient.workplace %}{% endif %}",
            "compares {} with more than constants",
        ),
        ("{% if recipient.name|length > 3 %}{% endif %}{{ recipient.name }}", "filters {}"),
        ("{% if recipient.name is none %}{% endif %}{{ recipient.name }}", "tests {} with is"),
        ("{{ 'x' ~ recipient.name }}", "joins {} with something"),
        ("{{ recipient.name * 2 }}", "reckons with {}"),
        ("{{ [recipient.name] }}", "puts {} into a list"),
        ("{{ recipient.name[0] }}", "takes {} apart"),
        ("{{ recipient.name.upper }}", "takes {} apart"),
        ("{% include recipient.name %}", "includes a part by {}"),
        (
            "{% autoescape false %}{{ recipient.name }}{% endautoescape %}",
            "prints {} in an autoescape block",
        ),
        ("{% filter upper %}{% block b %}{% endblock %}{% endfilter %}", "prints {} in a filter block"),
    ],
)
def test_any_other_use_belongs_to_the_key_and_is_named(template: str, how: str) -> None:
    use = read(template, "{% block b %}{{ recipient.name }}{% endblock %}")
    assert use.keys["name"] == how


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
    assert read("{% if recipient.role == 'x' %}{{ recipient.role }}{% endif %}").keys.keys() == {"role"}


def test_the_language_chooses_the_templates_and_is_never_a_slot() -> None:
    use = read("{{ recipient.language }}")
    assert use.keys == {"language": "chooses its templates by {}"}
    assert use.slots == frozenset()
