"""Templates and recipients made at random: every use of a field, and hostile values."""

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from mailer.rendering.values import Attributes, RecipientValues
from recipients.models import Region, Role, Sector

PLAIN = RecipientValues(
    name="Åse Sørensen",
    role="tillidsrepræsentant",
    sector="kommune",
    organisation="Aarhus Kommune",
    workplace="Skødstrup Skole",
    confederation="FTF",
    region="Midtjylland",
    language="da",
    attributes=Attributes(nr="7"),
)
HOSTILE = (
    "a\r\nBcc: x@evil.example",
    "a\nBcc: x@evil.example",
    "a\rBcc: x@evil.example",
    "=?utf-8?q?=0ABcc:_x@evil.example?=",
    "nul\0byte",
    ".",
    "..\n.\n",
    "=",
    "=3D=0A",
    " \t ",
    "ends in a break\r",
    "\n",
    "a\u2028Bcc: x@evil.example\u2029\x85",
    "quote \" and ' and \\ backslash",
    "x" * 300,
    "å" * 300,
    ". " * 150,
    "emoji 🏛️ ok",
    "\u202eright to left",
    "{{ recipient.name }}{% raw %}",
    "<script>alert(1)</script>",
    "</style></title><!--",
    "&lt;amp&amp;",
    "amp",
    "a, b; c: d <e@f.example>",
    "\ue000q0123456789-name\ue001",
    "\ue000",
    "qx0x",
)
ADDRESSES = (
    "o'hara+tag!#$%&*/=?^_`{|}~-@b.example",
    "=?utf-8?q?=0ABcc:_x?=@b.example",
    "{{recipient.name}}@b.example",
    "&lt;amp&amp@b.example",
    "a.b.c@B.Example",
    "x" * 64 + "@" + "y" * 60 + "." + "z" * 60 + ".example",
    "søren@b.example",
    "a@blåbær.example",
    "søren@faß.example",
    "\u202etfel@b.example",
    "\ue000q0123456789-name\ue001@b.example",
)
"""What may stand in an address book."""
UNFIT_ADDRESSES = (
    "a@b.example>\r\nRCPT TO:<x@evil.example",
    "a@b.example\r\nBcc: x@evil.example",
    "a@b.example\n.\r\nMAIL FROM:<x@evil.example",
    "a@b.example\r",
    "a@b.example\0",
    "a@b.example> SIZE=1",
    "<a@b.example>",
    "Eva <a@b.example>",
    "a\u2028b@b.example",
    "a\x85@b.example",
    "a\xa0@b.example",
    "a@b..example",
    "a@-☃-.example",
    "a@å" + "å" * 80 + ".example",
    "a@b@c.example",
    "a,x@b.example",
    '"a b"@b.example',
    '"a"@b.example',
    "(x)a@b.example",
    "@",
    "a",
    "",
)
"""What no import takes, and what would reach further if it got into the envelope."""
some_text = st.text(st.characters(codec="utf-8"), max_size=8)
addresses = st.one_of(
    st.none(),
    st.sampled_from(ADDRESSES),
    st.one_of(
        st.sampled_from(UNFIT_ADDRESSES),
        st.builds("{}@b.example".format, some_text),
        st.builds("a@{}.example".format, some_text),
    ),
)
"""None stands for a usual one."""
hostile_text = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec="utf-8"), max_size=40))
"""No database stores a lone surrogate, so no recipient has one."""
maybe_text = st.one_of(st.none(), st.just(""), st.just("Åse Sørensen"), hostile_text)
attribute_values = st.one_of(
    maybe_text, st.booleans(), st.integers(-1, 2), st.lists(st.just("<"), max_size=1)
)
recipients = st.builds(
    replace,
    st.just(PLAIN),
    name=maybe_text,
    role=st.sampled_from([role.value for role in Role]),
    sector=st.sampled_from([sector.value for sector in Sector]),
    region=st.sampled_from([None, *[region.value for region in Region]]),
    organisation=maybe_text,
    workplace=maybe_text,
    language=st.sampled_from(["da", "en"]),
    attributes=st.dictionaries(st.sampled_from(["nr", "MED-udvalg"]), attribute_values).map(Attributes),
)

BOUNDED = ("role", "sector", "region", "confederation", "language")
FREE = ("name", "workplace", "organisation", "attributes.nr", "attributes['MED-udvalg']")
FILTERS = (
    *("upper", "lower", "title", "capitalize", "trim", "string", "length", "wordcount", "int", "float"),
    *("first", "last", "list", "reverse", "sort", "unique|list", "min", "max", "abs", "round", "sum"),
    *("e", "forceescape", "striptags", "urlencode", "urlize", "tojson", "pprint", "filesizeformat"),
    *("wordwrap(4)", "truncate(2)", "truncate(10)", "indent(2)", "indent(true)", "center(20)"),
    *("default('x')", "default('x', true)", "replace('a', '<b>')", "join('-')", "join", "format(1)"),
    *("batch(2)|list", "slice(2)|list", "map('upper')|join", "select|list", "reject('none')|list"),
    *("dictsort", "xmlattr", "items|list", "attr('nr')", "groupby('x')", "long_date", "clock_time"),
)
"""Those of Jinja2 and ours, but for what is never the same twice, and what marks any HTML as safe."""
MACROS = "{% macro twice(x) %}<i>{{ x }}</i>{{ x }}{% endmacro %}"
WORDS = ("", "Hej å", "\n", ".", "\n.", "=", " ", " \n", "x" * 90, "<b>ord</b>", "&amp;", "a: ")


@dataclass(frozen=True)
class Grammar:
    """Statements over fields: those that are only printed, and those that may be used in any way."""

    printed: tuple[str, ...]
    used: tuple[str, ...]

    def templates(self) -> st.SearchStrategy[str]:
        """Texts that are templates of text and of HTML alike."""
        statements = st.recursive(self._outputs(), self._blocks, max_leaves=6)
        return st.lists(statements, min_size=1, max_size=4).map("".join)

    def _outputs(self) -> st.SearchStrategy[str]:
        """What prints something by itself."""
        printed = st.sampled_from([f"recipient.{name}" for name in self.printed])
        used = st.sampled_from([f"recipient.{name}" for name in self.used])
        return st.one_of(
            st.sampled_from(WORDS),
            printed.map("{{{{ {} }}}}".format),
            printed.map('<a title="{{{{ {} }}}}">x</a>'.format),
            st.builds("{{{{ {} or {} }}}}".format, printed, printed),
            st.builds("{{{{ {} or 'kollega' }}}}".format, printed),
            st.builds("{{{{ {} if {} else '-' }}}}".format, printed, printed),
            st.builds("{{{{ {} if {} == 'kommune' else {} }}}}".format, printed, used, printed),
            st.builds("{{{{ {}|{} }}}}".format, used, st.sampled_from(FILTERS)),
            st.builds("{{{{ {}|default('x', true)|{} }}}}".format, used, st.sampled_from(FILTERS)),
            used.map("{{{{ {} ~ '!' }}}}".format),
            used.map("{{{{ twice({}) }}}}".format),
            used.map("{{% import 'macros.html' as kit %}}{{{{ kit.thrice({}) }}}}".format),
            used.map("{{% for c in {} or '' %}}{{{{ c }}}}.{{% endfor %}}".format),
            used.map("{{% set x = {} %}}{{{{ x }}}}".format),
            used.map("{{% if {} is none %}}none{{% endif %}}".format),
            st.just("{% include 'part.html' %}"),
            st.sampled_from(["{{ links.pack }}", "{{ links.unsubscribe }}", "{{ links.pass_on }}"]),
        )

    def _blocks(self, body: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        """What stands around other statements."""
        asked = st.sampled_from([f"recipient.{name}" for name in (*self.printed, *self.used)])
        used = st.sampled_from([f"recipient.{name}" for name in self.used])
        both = st.builds("{}{}".format, body, body)
        blocks = [
            both,
            st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, asked, body, body),
            st.builds("{{% if not {} and {} %}}{}{{% endif %}}".format, asked, asked, body),
            st.builds("{{% if {} == 'kommune' %}}{}{{% endif %}}".format, used, body),
            st.builds("{{% if {} in ('stat', 'leder') %}}{}{{% endif %}}".format, used, body),
            st.builds("{{% for x in ['a', 'b'] %}}{}{{{{ x }}}}{{% endfor %}}".format, body),
            body.map(
                "{{% for e in events %}}{}{{{{ e.title }}}}{{{{ e.remind }}}}{{% endfor %}}".format
            ),
            st.builds("{{% with y = 1 %}}{}{{% endwith %}}".format, body),
        ]
        if self.used == self.printed:
            blocks += [
                st.builds("{{% filter upper %}}{}{{% endfilter %}}".format, body),
                st.builds("{{% set z %}}{}{{% endset %}}{{{{ z }}}}".format, body),
                st.builds("{{% macro m() %}}{}{{% endmacro %}}{{{{ m() }}}}".format, body),
            ]
        return st.one_of(*blocks)


ANY_USE = Grammar((*FREE, *BOUNDED), (*FREE, *BOUNDED))
"""Every field in every way: many of these letters can only be rendered per recipient."""
COMPILABLE = Grammar((*FREE, *BOUNDED), BOUNDED)
"""What is free is only printed and asked for: all of these letters are compiled."""
PARTS = {
    "part.html": "{% if recipient.name %}({{ recipient.name }}){% endif %}{{ recipient.workplace }}\n",
    "macros.html": "{% macro thrice(x) %}{{ x }}{{ x }}\n{{ x }}{% endmacro %}",
}
"""Fragments of the letters."""
