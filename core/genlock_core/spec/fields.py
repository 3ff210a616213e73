"""One grammar for each field that two sides check, so that what one of them takes the other one takes as well.

A manifest, a request over HTTP, a message on a data channel, the control stream and the record have the same fields.
Each stands here once, with its bounds. All of them are strict: text is no number, `true` is not 1, 2.0 is not 2,
and half a character, which JSON's escapes can name, is no text.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticKnownError

MAX_PROMPT_CHARS: Final = 2_000
PROMPT_PATTERN: Final = r"^[^\x00-\x08\x0b-\x1f]*[^\x00-\x20][^\x00-\x08\x0b-\x1f]*$"
"""Something that is no blank, and no control characters but tabs and new lines. The API server reads it as well."""
MAX_NUMBER: Final = 2**53
"""Numbers of requests are smaller: up to here each client's arithmetic is exact."""

_PROMPT = re.compile(PROMPT_PATTERN)


def _only_true(value: object) -> object:
    # For pydantic 1 is `true` here, because it equals it.
    if value is not True:
        raise PydanticKnownError("literal_error", {"expected": "True"})
    return value


def _says_something(prompt: str) -> str:
    if not _PROMPT.fullmatch(prompt):
        raise ValueError("must contain a visible character and no control characters")
    return prompt


Prompt = Annotated[
    str,
    Field(min_length=1, max_length=MAX_PROMPT_CHARS, strict=True, json_schema_extra={"pattern": PROMPT_PATTERN}),
    AfterValidator(_says_something),
]
"""What the picture becomes."""

MOST_STEPS: Final = 4
"""Denoising steps that a model takes."""

Steps = Annotated[int, Field(ge=1, le=MOST_STEPS, strict=True)]
"""Denoising steps."""

NoiseScale = Annotated[float, Field(ge=0.1, le=1.0, strict=True, allow_inf_nan=False)]
"""Upper bound of the motion-aware noise controller."""

Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
"""Of all noise of a session."""

Switch = Annotated[bool, Field(strict=True)]
"""On or off."""

OnlyTrue = Annotated[Literal[True], BeforeValidator(_only_true)]
"""A wish that is there or is left out."""

ClientName = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._-]{1,64}$")]
"""Who asks for a change, as it calls itself."""

RequestNumber = Annotated[int, Field(ge=0, lt=MAX_NUMBER, strict=True)]
"""Which of its client's requests a change is."""
