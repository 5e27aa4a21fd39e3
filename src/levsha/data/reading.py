"""What became of every line of a pairs file, counted, and the sentences that say so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from levsha.data.fold import fold, unknown_capitals

QUERY_BYTES, QUERY_CUT = 60, 40  # the most bytes of each; a longer one is cut at the last space from ..._CUT on
RESPONSE_BYTES, RESPONSE_CUT = 50, 30
PAIR, BLANK, COMMENT = "pair", "blank", "comment"
SEPARATORS = {"\t": "tab", ";": "semicolon", ",": "comma"}  # what people put where a | belongs
UNFOLDED = "write them small: a query in capitals is another query"
MOST_SHOWN = 60  # characters of a line that a sentence quotes


@dataclass(frozen=True)
class Reading:
    """Counts of lines; numbers of lines are from 1 on, 0 where there is none.

    used + ignored + blank + comments = lines. reasons: what the ignored ones lack, with counts, the commonest first.
    separator: what most ignored lines without a | have exactly one of, a tab for instance.
    """

    lines: int = 0
    used: int = 0
    ignored: int = 0
    reasons: tuple[tuple[str, int], ...] = ()
    first_ignored_line: int = 0
    first_ignored: str = ""
    separator: str = ""
    blank: int = 0
    comments: int = 0
    cut_queries: int = 0
    cut_responses: int = 0
    first_cut_line: int = 0
    duplicates: int = 0  # lines that say what an earlier one says; they are used
    hashed: int = 0  # pairs whose query starts with #: perhaps meant as comments
    first_hashed_line: int = 0
    controls: int = 0  # queries with control characters, which no chat lets through
    first_controls_line: int = 0
    unfolded: int = 0  # queries with capitals of a script that fold does not know
    first_unfolded_line: int = 0

    @property
    def warning(self) -> bool:
        """Whether most of the lines that are neither blank nor comments are ignored; the first sentence then says so."""
        return self.ignored > self.used

    @property
    def loss(self) -> str:
        """How many lines are ignored, why, and the first of them; empty where none is.

        >>> survey(["hello|HI", "bye\\tBYE"]).loss
        '1 ignored (no |), the first: line 2 "bye\\\\tBYE"; most hold one tab: write | instead of it'
        """
        if not self.ignored:
            return ""
        why = self.reasons[0][0] if len(self.reasons) == 1 else ", ".join(f"{n} {reason}" for reason, n in self.reasons)
        hint = f"; most hold one {self.separator}: write | instead of it" if self.separator else ""
        return f"{self.ignored} ignored ({why}), the first: line {self.first_ignored_line} {self.first_ignored}{hint}"

    def sentences(self) -> list[str]:
        """Return what a user should know of how the file was read; the first counts the lines.

        >>> survey(["# small talk", "hello|HI", "", "a|B", "HELLO|hi", "and then"]).sentences()
        ['2 of 6 lines used; 2 ignored (1 query under 2 characters, 1 no |), the first: line 4 "a|B"; 1 comment; 1 blank', 'lines that repeat an earlier pair: 1']
        """
        counts = [f"{self.used} of {_counted(self.lines, 'line')} used", self.loss]
        counts += [
            _counted(self.comments, "comment") if self.comments else "",
            f"{self.blank} blank" if self.blank else "",
        ]
        first = "; ".join(part for part in counts if part)
        said = [f"most lines are ignored: {first}" if self.warning else first, self._cuts()]
        said.append(f"lines that repeat an earlier pair: {self.duplicates}" if self.duplicates else "")
        for what, count, line, advice in (
            ("queries that start with #", self.hashed, self.first_hashed_line, "a comment must hold no |"),
            ("queries with control characters", self.controls, self.first_controls_line, "no chat lets them through"),
            ("queries with capitals that are not folded", self.unfolded, self.first_unfolded_line, UNFOLDED),
        ):
            said.append(f"{what}: {count}, the first: line {line}; {advice}" if count else "")
        return [sentence for sentence in said if sentence]

    def _cuts(self) -> str:
        cut = [
            f"{_counted(count, noun, plural)} longer than {most} bytes"
            for count, noun, plural, most in (
                (self.cut_queries, "query", "queries", QUERY_BYTES),
                (self.cut_responses, "reply", "replies", RESPONSE_BYTES),
            )
            if count
        ]
        return f"cut: {' and '.join(cut)}, the first: line {self.first_cut_line}" if cut else ""


def sides(line: str) -> tuple[str, str]:
    """Return what is before the first `|` of a line and what is behind it, without white space around it; the reply is upper-cased.

    >>> sides(" Hello there | hi | you ")
    ('Hello there', 'HI | YOU')
    """
    query, _, response = line.partition("|")
    return query.strip(), response.strip().upper()


def kind_of(line: str) -> str:
    """Return PAIR, BLANK, COMMENT, or why there is no pair in a line.

    >>> [kind_of(line) for line in ("hi|HO", " ", "# hi", "hi", "a|B", "hi| ", "#hi|HO")]
    ['pair', 'blank', 'comment', 'no |', 'query under 2 characters', 'no reply', 'pair']
    """
    query, response = sides(line)
    if "|" not in line:
        return COMMENT if query.startswith("#") else "no |" if query else BLANK
    return "query under 2 characters" if len(query) < 2 else PAIR if response else "no reply"


def survey(lines: list[str]) -> Reading:
    """Count what becomes of the lines of a pairs file.

    >>> survey(["hello|HI", "x" * 61 + "|HI"]).first_cut_line, survey([]) == Reading()
    (2, True)
    """
    kinds = [kind_of(line) for line in lines]
    pairs = {number: sides(line) for number, line in enumerate(lines, 1) if kinds[number - 1] == PAIR}
    reasons = Counter(kind for kind in kinds if kind not in (PAIR, BLANK, COMMENT))
    ignored = [number for number, kind in enumerate(kinds, 1) if kind in reasons]
    cut_queries = [number for number, (query, _) in pairs.items() if len(query.encode()) > QUERY_BYTES]
    cut_responses = [number for number, (_, response) in pairs.items() if len(response.encode()) > RESPONSE_BYTES]
    hashed = [number for number, (query, _) in pairs.items() if query.startswith("#")]
    controls = [number for number, (query, _) in pairs.items() if any(c < " " or c == "\x7f" for c in query)]
    unfolded = [number for number, (query, _) in pairs.items() if unknown_capitals(query)]
    return Reading(
        lines=len(lines),
        used=len(pairs),
        ignored=len(ignored),
        reasons=tuple(reasons.most_common()),
        first_ignored_line=_first(ignored),
        first_ignored=_quoted(lines[ignored[0] - 1]) if ignored else "",
        separator=_separator([line for line, kind in zip(lines, kinds, strict=True) if kind in reasons]),
        blank=kinds.count(BLANK),
        comments=kinds.count(COMMENT),
        cut_queries=len(cut_queries),
        cut_responses=len(cut_responses),
        first_cut_line=_first(sorted([*cut_queries, *cut_responses])),
        duplicates=len(pairs) - len({(fold(query.encode()), response) for query, response in pairs.values()}),
        hashed=len(hashed),
        first_hashed_line=_first(hashed),
        controls=len(controls),
        first_controls_line=_first(controls),
        unfolded=len(unfolded),
        first_unfolded_line=_first(unfolded),
    )


def _first(numbers: list[int]) -> int:
    return numbers[0] if numbers else 0


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def _separator(lines: list[str]) -> str:
    """What more than half of the lines have exactly one of, with something on both sides of it."""
    for mark, name in SEPARATORS.items():
        if 2 * sum("|" not in line and line.strip().count(mark) == 1 for line in lines) > len(lines):
            return name
    return ""


def _quoted(line: str) -> str:
    shown = line if len(line) <= MOST_SHOWN else line[:MOST_SHOWN] + "..."
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown) + '"'
