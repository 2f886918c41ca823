"""Functions of other libraries replaced by name, and put back.

A library that looks its functions up by name at each call, in a dictionary or as a module's
attribute, gets others for as long as somebody wants them there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any

from fastact.loading import lock

__all__ = ["Refused", "Replacement", "Switch", "check_signature"]


class Refused(RuntimeError):  # noqa: N818  what is said reads "Refused: ..."
    """A library is not what its integration was written for; nothing of it has been replaced."""


@dataclasses.dataclass(frozen=True, eq=False)
class Replacement:
    """A function, and the entry of a dictionary (or ``vars(module)``) that it takes the place of.

    ``where`` is what messages call it. ``exact``: its results are the original's, bit for bit.
    """

    where: str
    namespace: MutableMapping[str, Any]
    name: str
    original: Callable[..., Any]
    function: Callable[..., Any]
    exact: bool = False

    @property
    def in_place(self) -> bool:
        return self.namespace.get(self.name) is self.function

    def put(self) -> None:
        if self.namespace.get(self.name) is self.original:
            self.namespace[self.name] = self.function

    def take_back(self) -> None:
        """Restore the original, unless somebody else has put another there since."""
        if self.in_place:
            self.namespace[self.name] = self.original


class Switch:
    """Replacements that are in place while somebody wants them.

    ``patch`` and ``unpatch`` want them, or not, for the process; each ``with patched()`` wants them
    for its block. So blocks may be nested, also in several threads, in any order.
    """

    def __init__(self, find: Callable[[], list[Replacement]]) -> None:
        """``find`` makes the replacements, or raises Refused; it is called when there are none."""
        self._find = find
        self._found: list[Replacement] = []
        self._wanted: dict[object, bool] = {}

    def patch(self, *, exact: bool = False) -> None:
        """Replace everything, or only what is ``exact``."""
        self._want(self, exact)

    def unpatch(self) -> None:
        """Put back what ``patch`` has replaced, but for what somebody else has replaced since."""
        with lock:
            self._wanted.pop(self, None)
            self._arrange()

    @contextlib.contextmanager
    def patched(self, *, exact: bool = False) -> Iterator[None]:
        """``with patched():`` what ``patch`` does, until the end of the block, in all threads."""
        block = object()
        self._want(block, exact)
        try:
            yield
        finally:
            with lock:
                del self._wanted[block]
                self._arrange()

    def replaced(self) -> list[str]:
        """What of the library is fastact's now."""
        return [r.where for r in self._found if r.in_place]

    def _want(self, who: object, exact: bool) -> None:
        # The lock is that of all that is loaded: with one of its own, a fork could inherit it held.
        with lock:
            if not self._wanted:
                self._found = self._find()
            self._wanted[who] = exact
            self._arrange()

    def _arrange(self) -> None:
        every, some = False in self._wanted.values(), bool(self._wanted)
        for replacement in self._found:
            if every or (some and replacement.exact):
                replacement.put()
            else:
                replacement.take_back()


def check_signature(where: str, function: Any, parameters: Iterable[str]) -> None:
    """Raise Refused unless it is a function of just these parameters."""
    try:
        found = [*inspect.signature(function).parameters]
    except (TypeError, ValueError):
        found = []
    if found != [*parameters]:
        wanted = ", ".join(parameters)
        raise Refused(f"{where} takes ({', '.join(found)}), not ({wanted}): nothing is replaced")
