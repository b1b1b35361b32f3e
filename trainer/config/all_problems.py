"""Several checks, whose problems are raised together at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from osparse.errors import ConfigError, InputError


class AllProblems:
    """Collects the input errors of several checks; at its end it raises the one there is, or all as a ConfigError.

    with AllProblems("the inputs") as problems:
        with problems.collected():
            first()
        with problems.collected():
            second()
    """

    def __init__(self, source: str) -> None:
        """``source`` names what was checked."""
        self.source = source
        self._errors: list[InputError] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None or not self._errors:
            return
        if len(self._errors) == 1:
            raise self._errors[0]
        raise ConfigError(self.source, [line for collected in self._errors for line in _lines(collected)])

    @contextmanager
    def collected(self) -> Iterator[None]:
        """An :class:`InputError` of the block is kept, and the code after the block runs."""
        try:
            yield
        except InputError as error:
            self._errors.append(error)


def _lines(error: InputError) -> list[str]:
    if not isinstance(error, ConfigError):
        return [str(error)]
    return [problem if problem.startswith(error.source) else f"{error.source}: {problem}" for problem in error.problems]
