"""One letter, ready to be rendered for anybody: subject, text and HTML."""

import functools
import re
from dataclasses import dataclass

from jinja2 import Template, TemplateNotFound, TemplateSyntaxError, meta

from mailer.rendering.environment import make_environment
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.rendering.inlining import inline_css
from mailer.rendering.source import DEFAULT_LANGUAGE, PARTS, LetterSource
from mailer.rendering.values import LetterValues

_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_PIXEL = '<img src="{}" width="1" height="1" alt="" style="display:block;width:1px;height:1px;border:0">'


@dataclass(frozen=True, slots=True)
class RenderedLetter:
    """One letter to one recipient, before it becomes a message."""

    subject: str
    text: str
    html: str


class Letter:
    """A letter's templates, parsed once."""

    def __init__(self, source: LetterSource) -> None:
        """Parse every part in every language, and what the parts extend or include.

        Raises:
            LetterError: a file is no template; the message names file and line.
        """
        self.source = source
        self._parts = {
            (part, language): template
            for language in source.languages
            for part, template in self._parse(language).items()
        }

    def uses(self, name: str) -> bool:
        """Whether the letter, its frame included, asks for a name at the top, such as ``events``."""
        return any(name in _names_asked_for(text) for text in self.source.files.values())

    def render(self, values: LetterValues, *, pixel: str | None) -> RenderedLetter:
        """Render for one recipient, in their language if the letter has it, else in Danish.

        Args:
            pixel: the open pixel's address; None leaves it out.

        Raises:
            RecipientValueError: this recipient lacks something the letter uses.
            LetterError: the letter asks for something nobody has; the message names file and line.
        """
        subject, text, html = self.render_parts(values)
        html = inline_css(html)
        if pixel is not None:
            html = add_pixel(html, pixel)
        return RenderedLetter(" ".join(subject.split()), text, html)

    def render_parts(self, values: LetterValues) -> tuple[str, str, str]:
        """Subject, text and HTML as the templates write them, the styles not yet inlined.

        Raises:
            RecipientValueError, LetterError: as ``render``.
        """
        language = values.recipient.language
        subject, text, html = (self._render(part, language, values) for part in PARTS)
        return subject, text, html

    def _parse(self, language: str) -> dict[str, Template]:
        """The parts in one language; the environments keep what these extend or include.

        Fragments are parsed in their own language; another that shares one parses it when asked for it.
        """
        files = self.source.files
        plain = make_environment(files, language, autoescape=False)
        escaping = make_environment(files, language, autoescape=True)

        def parse(path: str) -> Template:
            return (escaping if path.endswith(".html") else plain).get_template(path)

        try:
            for path in self.source.fragments:
                if self._language_of(path) == language:
                    parse(path)
            return {part: parse(self.source.part(part, language)) for part in PARTS}
        except TemplateSyntaxError as error:
            place = f"{self.source.name}/{error.name}:{error.lineno}"
            raise LetterError(f"letter {place}: {error.message}") from error
        except (
            SyntaxError,
            RecursionError,
            MemoryError,
        ) as error:  # Python's, of what Jinja2 made of it
            raise LetterError(
                f"letter {self.source.name}: too deeply nested ({_reason(error)})"
            ) from error

    def _language_of(self, path: str) -> str:
        """The language a fragment is written in, by its folder; Danish where it names none."""
        named = set(path.split("/")[:-1]) & set(self.source.languages)
        return named.pop() if named else DEFAULT_LANGUAGE

    def _render(self, part: str, language: str, values: LetterValues) -> str:
        template = self._parts.get((part, language)) or self._parts[part, "da"]
        try:
            return template.render(values.context())
        except RecipientValueError:
            raise
        except Exception as error:
            # A template is a program that somebody else wrote: there is nothing it could not raise.
            place = f"letter {self.source.name}/{self._place_of(error) or template.name}"
            if isinstance(error, MemoryError):  # it may be the machine that is short of it
                error.add_note(place)
                raise
            raise LetterError(f"{place}: {_reason(error)}") from error

    def _place_of(self, error: BaseException) -> str | None:
        """The file and line an error came from: Jinja2 rewrites tracebacks to name them."""
        place = None
        trace = error.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if file in self.source.files:
                place = f"{file}:{trace.tb_lineno}"
            trace = trace.tb_next
        return place


@functools.lru_cache(maxsize=128)
def _names_asked_for(text: str) -> frozenset[str]:
    """The names a template asks for at the top; kept, since the tree is long to walk."""
    environment = make_environment({}, DEFAULT_LANGUAGE, autoescape=False)
    return frozenset(meta.find_undeclared_variables(environment.parse(text)))


def _reason(error: Exception) -> str:
    """What went wrong in a template, in words also where the error has none."""
    if isinstance(error, TemplateNotFound):
        return f"there is no {error.name}"
    return str(error) or type(error).__name__


def add_pixel(html: str, address: str) -> str:
    """The HTML with the open pixel at the end of its body."""
    pixel = _PIXEL.format(address)
    ends = [match.start() for match in _BODY_END.finditer(html)]
    end = ends[-1] if ends else len(html)
    return html[:end] + pixel + html[end:]
