"""One letter, ready to be rendered for anybody: subject, text and HTML."""

import re
from dataclasses import dataclass

import css_inline
from jinja2 import Template, TemplateError, TemplateSyntaxError, meta

from mailer.rendering.environment import make_environment
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.rendering.source import PARTS, LetterSource
from mailer.rendering.values import LetterValues

_INLINER = css_inline.CSSInliner(load_remote_stylesheets=False)
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
        """Parse every part in every language.

        Raises:
            LetterError: a part is no template; the message names file and line.
        """
        self.source = source
        languages = {"da", *(path.split("/")[0] for path in source.files if "/" in path)}
        self._parts = {
            (part, language): self._parse(part, language)
            for language in sorted(languages)
            for part in PARTS
        }

    def uses(self, name: str) -> bool:
        """Whether any part asks for a name at the top, such as ``events``."""
        environment = make_environment(self.source.files, "da", autoescape=False)
        return any(
            name in meta.find_undeclared_variables(environment.parse(text))
            for path, text in self.source.files.items()
            if path.rpartition("/")[2] in PARTS
        )

    def render(self, values: LetterValues, *, pixel: str | None) -> RenderedLetter:
        """Render for one recipient, in their language if the letter has it, else in Danish.

        Args:
            pixel: the open pixel's address; None leaves it out.

        Raises:
            RecipientValueError: this recipient lacks something the letter uses.
            LetterError: the letter asks for something nobody has; the message names file and line.
        """
        language = values.recipient.language
        subject, text, html = (self._render(part, language, values) for part in PARTS)
        html = _INLINER.inline(html)
        if pixel is not None:
            html = add_pixel(html, pixel)
        return RenderedLetter(" ".join(subject.split()), text, html)

    def _parse(self, part: str, language: str) -> Template:
        path = self.source.part(part, language)
        try:
            environment = make_environment(
                self.source.files, language, autoescape=part.endswith(".html")
            )
            return environment.get_template(path)
        except TemplateSyntaxError as error:
            place = f"{self.source.name}/{error.name or path}:{error.lineno}"
            raise LetterError(f"letter {place}: {error.message}") from error

    def _render(self, part: str, language: str, values: LetterValues) -> str:
        template = self._parts.get((part, language)) or self._parts[part, "da"]
        try:
            return template.render(values.context())
        except RecipientValueError:
            raise
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            place = f"{self.source.name}/{template.name}{_line_of(error, template)}"
            raise LetterError(f"letter {place}: {error}") from error


def add_pixel(html: str, address: str) -> str:
    """The HTML with the open pixel at the end of its body."""
    pixel = _PIXEL.format(address)
    ends = [match.start() for match in _BODY_END.finditer(html)]
    end = ends[-1] if ends else len(html)
    return html[:end] + pixel + html[end:]


def _line_of(error: BaseException, template: Template) -> str:
    """The template's line an error came from: Jinja2 rewrites tracebacks to name it."""
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in {template.filename, "<template>", template.name}:
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line
