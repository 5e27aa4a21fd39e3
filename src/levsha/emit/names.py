"""What things are called in a net's C, and which names cannot be given."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from levsha.errors import LevshaError
from levsha.ir import Graph

_WORDS = (
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const constexpr const_cast "
    "continue decltype default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline "
    "int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register "
    "reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct switch template this "
    "thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq"
)
WORDS = frozenset(_WORDS.split())
"""Keywords of C and C++."""
_HEADERS = (
    "arduino assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic "
    "stdbool stddef stdint stdio stdlib stdnoreturn string strings tgmath threads time uchar unistd wchar wctype"
)
HEADERS = frozenset(_HEADERS.split())
"""Headers that a NAME.h of the same name would stand in for."""
IDENTIFIER = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")
MOST_LETTERS = 41


@dataclass(frozen=True)
class Names:
    """How the text refers to the net's own things; see Style in c.py."""

    prefix: str
    instance: bool
    private: bool
    single: bool = False
    body_mark: str = "\0body"  # no text that a person wrote holds it

    @property
    def linkage(self) -> str:
        """What stands before a function that the caller calls."""
        return "static " if self.private else ""

    @property
    def upper(self) -> str:
        """The prefix of macros."""
        return self.prefix.upper()

    @property
    def argument(self) -> str:
        """What a caller who has a state called `net` gives every function."""
        return "" if self.instance else "&net"

    @property
    def state(self) -> str:
        """What a caller calls the state."""
        return f"{self.prefix}_instance" if self.instance else "net"

    def function(self, name: str, const: bool = False) -> str:
        """Return name and parameters of a function in its declaration."""
        state = "void" if self.instance else f"{'const ' if const else ''}{self.prefix}_state *state"
        return f"{self.prefix}_{name}({state})"

    def call(self, name: str) -> str:
        """Return a call from inside another function of the net."""
        return f"{self.prefix}_{name}({'' if self.instance else 'state'})"

    def member(self, name: str) -> str:
        """Return a member of the state."""
        return f"{self.prefix}_instance.{name}" if self.instance else f"state->{name}"


def check_prefix(prefix: str) -> None:
    """Raise LevshaError for a prefix that C reserves, or whose files would stand in for the compiler's own.

    >>> check_prefix("math")
    Traceback (most recent call last):
    levsha.errors.LevshaError: --prefix: is 'math'; a math.h would be taken for the compiler's own. Give another name, such as my_math.
    """
    if len(prefix) > MOST_LETTERS or not IDENTIFIER.fullmatch(prefix) or prefix in WORDS:
        raise LevshaError(
            f"--prefix: is {prefix!r}; give a C identifier of at most {MOST_LETTERS} letters, digits and single underscores, that starts with a "
            "letter, ends in none, and is no keyword."
        )
    if prefix.lower() in HEADERS:
        raise LevshaError(
            f"--prefix: is {prefix!r}; a {prefix}.h would be taken for the compiler's own. Give another name, such as my_{prefix}."
        )


def check_names(graph: Graph, prefix: str) -> None:
    """Raise LevshaError where an input or output has a name that a library cannot give to a function, a macro or a member."""
    public = list(dict.fromkeys((*graph.inputs, *graph.outputs)))
    for name in public:
        if not IDENTIFIER.fullmatch(name) or (name in WORDS and name in graph.inputs):
            raise LevshaError(f"C: a value is called {name!r}; a C identifier that is no keyword is needed. Rename it.")
    made = ["state", "instance", "run", "self_test", "real", "arena", *(f"run_{name}" for name in graph.inputs)]
    made += [name for name in public if name in graph.outputs or name == "arena"]
    for names in (made, [name.upper() for name in public]):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise LevshaError(f"C: two things would be called {prefix}_{twice[0]}; rename an input or output.")
