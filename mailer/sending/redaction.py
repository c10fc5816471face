"""What is told of a letter that cannot be written, without the values of its recipient."""

import re

from mailer.sending.addressees import Addressee

_LONGEST_DETAIL = 300


def redact(detail: str, to: Addressee) -> str:
    """The words without what they tell of the recipient: values, and words of them, become ``…``."""
    values = to.values
    personal = [
        to.email,
        values.name,
        values.workplace,
        values.organisation,
        *values.attributes.values(),
    ]
    words = {word for value in personal if value for word in (str(value), *str(value).split())}
    words = {word for word in words if len(word) > 1}
    if words:
        longest_first = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
        detail = re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", "…", detail, flags=re.IGNORECASE)
    return detail[:_LONGEST_DETAIL]
