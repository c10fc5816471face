"""Jinja2 as letters may use it: sandboxed, strict about names, with the filters for dates and times."""

from collections.abc import Callable, Mapping
from datetime import date, time
from typing import Any, NoReturn, TypeVar

from jinja2 import FunctionLoader, StrictUndefined, UndefinedError
from jinja2.exceptions import FilterArgumentError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mailer.rendering.bytecode import KeptBytecode
from mailer.rendering.errors import RecipientValueError
from mailer.rendering.source import DEFAULT_LANGUAGE
from mailer.rendering.values import PLAIN_FIELDS, Attributes

_DAYS = {
    "da": ("mandag", "tirsdag", "onsdag", "torsdag", "fredag", "lørdag", "søndag"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
_MONTHS = {
    "da": (
        *("januar", "februar", "marts", "april", "maj", "juni"),
        *("juli", "august", "september", "oktober", "november", "december"),
    ),
    "en": (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
}
_BYTECODE = {
    (language, autoescape): KeptBytecode() for language in _DAYS for autoescape in (True, False)
}
"""What environments made alike share."""

Moment = TypeVar("Moment", date, time)


class Missing(StrictUndefined):
    """A name the letter may not use; a missing attribute is the recipient's, any other the letter's."""

    def _fail_with_undefined_error(self, *args: Any, **kwargs: Any) -> NoReturn:
        if isinstance(self._undefined_obj, Attributes):
            raise RecipientValueError(f"the recipient has no attribute {self._undefined_name!r}")
        super()._fail_with_undefined_error(*args, **kwargs)

    __iter__ = __str__ = __len__ = _fail_with_undefined_error
    __eq__ = __ne__ = __bool__ = __hash__ = __contains__ = _fail_with_undefined_error


class LetterEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, which need not look twice at values that are ours and plain."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A field of a value; what is not ours, or is no field, goes the sandbox's long way."""
        if attribute in PLAIN_FIELDS.get(type(obj), ()):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)


def make_environment(files: Mapping[str, str], language: str, *, autoescape: bool) -> LetterEnvironment:
    """An environment over a letter's files, with dates and times in its language.

    A file goes by its path, so that an error's traceback tells which of them it came from.
    """
    language = language if language in _DAYS else DEFAULT_LANGUAGE
    environment = LetterEnvironment(
        loader=FunctionLoader(lambda path: (files[path], path, None) if path in files else None),
        undefined=Missing,
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_print_nothing_for_none,
        bytecode_cache=_BYTECODE[language, autoescape],
    )
    filters: dict[str, Callable[..., str]] = {
        "long_date": lambda day: long_date(_given(day, date), language),
        "clock_time": lambda moment: clock_time(_given(moment, time), language),
    }
    environment.filters.update(filters)
    return environment


def _print_nothing_for_none(value: object) -> object:
    """A letter says nothing where a value is missing, and never "None"."""
    return "" if value is None else value


def _given(moment: object, kind: type[Moment]) -> Moment:
    """The date or time that a filter was given.

    Raises:
        UndefinedError, FilterArgumentError: it is missing, or something else.
        RecipientValueError: it is an attribute that the recipient does not have.
    """
    if isinstance(moment, Missing):
        str(moment)  # raises
    if moment is None:
        raise UndefinedError("a date or time to be written out is missing")
    if not isinstance(moment, kind):
        raise FilterArgumentError(f"what is to be written out as a {kind.__name__} is none")
    return moment


def long_date(day: date, language: str) -> str:
    """``mandag den 24. marts 2014``, ``Monday 24 March 2014``."""
    weekday, month = _DAYS[language][day.weekday()], _MONTHS[language][day.month - 1]
    if language == "da":
        return f"{weekday} den {day.day}. {month} {day.year}"
    return f"{weekday} {day.day} {month} {day.year}"


def clock_time(moment: time, language: str) -> str:
    """``kl. 9.30``, ``9:30 am``."""
    if language == "da":
        return f"kl. {moment.hour}.{moment.minute:02}"
    return f"{moment.hour % 12 or 12}:{moment.minute:02} {'am' if moment.hour < 12 else 'pm'}"
