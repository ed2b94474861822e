"""A reason against publishing: a sentence for people, with a code for code."""

from __future__ import annotations

from typing import Literal, Self

ObjectionCode = Literal[
    "learnt_shortcut", "chance_on_unseen", "worse_on_unseen", "chance", "unknown", "worse_than_probe", "data"
]


class Objection(str):
    """The sentence; `code` says what kind of reason it is, for the advice on what to collect."""

    __slots__ = ("code",)

    code: ObjectionCode

    def __new__(cls, code: ObjectionCode, sentence: str) -> Self:
        made = super().__new__(cls, sentence)
        made.code = code
        return made
