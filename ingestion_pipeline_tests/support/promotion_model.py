"""The plain model to which promotion is held: dictionaries, and one rule for names.

A place of the model is a number; the test holds that each number is one `poi_id` for ever.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

MEMORY_DAYS = 90


class Public(NamedTuple):
    """A public place of the model."""

    ref: str
    upstream: str
    name: str
    hidden: bool
    first: date
    changed: date


State = dict[int, Public]


@dataclass
class Proposal:
    """A promotion of the model, and the state to which it leads."""

    number: int
    day: date
    evidence: Any
    base: int | None
    after: State
    retired: set[tuple[int, str]]
    status: str = "PROPOSED"
    undoes: Proposal | None = None


@dataclass
class Model:
    """What is staged, public, decided and overridden in one city."""

    staged: dict[date, dict[str, str]] = field(default_factory=dict)
    public: State = field(default_factory=dict)
    line: list[Proposal] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    open: Proposal | None = None
    made: list[Proposal] = field(default_factory=list)
    overrides: dict[tuple[int, str], tuple[int, Any]] = field(default_factory=dict)
    retired_by: dict[int, dict[tuple[int, str], tuple[int, Any]]] = field(default_factory=dict)
    ids: Any = field(default_factory=itertools.count)
    numbers: Any = field(default_factory=itertools.count)

    def promote(self, day: date, policy: str) -> Proposal | None:
        """Promote a staged day; None where it must be stopped."""
        if self.open and self.open.status == "APPROVED" and self.open.day == day:
            return self.make_public(self.open)
        base = self.line[-1] if self.line else None
        evidence = (
            day,
            tuple(sorted(self.staged[day].items())),
            tuple(sorted(number for number, _ in self.overrides.values())),
        )
        if base and base.undoes is None and (base.day, base.evidence) == (day, evidence):
            return base
        same = [
            each
            for each in self.made
            if each.day == day
            and each.base == (base.number if base else None)
            and each.status != "SUPERSEDED"
            and each.undoes is None
        ]
        if same and same[-1].evidence == evidence and same[-1].status in ("PROPOSED", "REJECTED"):
            return same[-1]
        after, retired = self.next_state(day)
        unchanged = after == self.public
        if base and base.day == day and unchanged:
            return base
        if (base and day < base.day) or (self.open and day < self.open.day):
            return None
        proposal = Proposal(
            next(self.numbers), day, evidence, base.number if base else None, after, retired
        )
        self.add(proposal)
        asks = policy == "review" or (base is not None and base.undoes is not None)
        return proposal if asks and not unchanged else self.make_public(proposal)

    def add(self, proposal: Proposal) -> None:
        if self.open:
            self.open.status = "SUPERSEDED"
        self.open = proposal
        self.made.append(proposal)

    def make_public(self, proposal: Proposal) -> Proposal:
        proposal.status = "PROMOTED"
        self.open = None
        self.states.append(self.public)
        self.public = proposal.after
        self.line.append(proposal)
        self.retired_by[proposal.number] = {
            key: self.overrides.pop(key) for key in proposal.retired if key in self.overrides
        }
        if proposal.undoes is not None:
            undone = self.line[self.line.index(proposal.undoes) : -1]
            for each in reversed(undone):
                for key, override in self.retired_by.pop(each.number, {}).items():
                    self.overrides.setdefault(key, override)
        return proposal

    def decide(self, status: str) -> None:
        assert self.open is not None
        self.open.status = status
        if status == "REJECTED":
            self.open = None

    def revert(self, undone: Proposal) -> Proposal:
        """Approve the promotion that restores the state before another one."""
        for known in (self.line[-1], self.open):
            if known is not None and known.undoes is undone:
                return known
        place = self.line.index(undone)
        before = self.line[place - 1] if place else undone
        proposal = Proposal(
            next(self.numbers),
            before.day,
            before.evidence,
            self.line[-1].number,
            self.states[place],
            set(),
            "APPROVED",
            undone,
        )
        self.add(proposal)
        return proposal

    def next_state(self, day: date) -> tuple[State, set[tuple[int, str]]]:
        """Return the public places after a day, and the overrides that have done their work."""
        names = self.staged[day]
        by_ref = {place.ref: number for number, place in self.public.items()}
        ids = {ref: by_ref[ref] for ref in names if ref in by_ref}
        gone = {number: place for number, place in self.public.items() if place.ref not in names}
        ids |= self._by_name(gone, names, ids)
        memory = self._memory(day)
        last: dict[str, int] = {}
        for number, place in memory.items():
            last.setdefault(place.ref, number)
        ids |= {ref: last[ref] for ref in names if ref not in ids and ref in last}
        rest = {
            number: place
            for number, place in memory.items()
            if number not in ids.values() and last[place.ref] == number
        }
        ids |= self._by_name(rest, names, ids)
        state: State = {}
        retired: set[tuple[int, str]] = set()
        for ref, upstream in names.items():
            number = ids[ref] if ref in ids else next(self.ids)
            known = self.public.get(number) or memory.get(number)
            name, hidden = upstream, False
            for column in ("name", "hidden"):
                if (number, column) not in self.overrides:
                    continue
                value = self.overrides[number, column][1]
                if column == "name" and value == upstream:
                    retired.add((number, column))
                elif column == "name":
                    name = value
                else:
                    hidden = True
            first = day if known is None else known.first
            place = Public(ref, upstream, name, hidden, first, day)
            old = self.public.get(number)
            unchanged = old is not None and place._replace(changed=old.changed) == old
            state[number] = old if old is not None and unchanged else place
        return state, retired

    def _by_name(self, places: State, names: dict[str, str], ids: dict[str, int]) -> dict[str, int]:
        left = [place.upstream for place in places.values()]
        new = {ref: name for ref, name in names.items() if ref not in ids}
        free = list(new.values())
        return {
            ref: number
            for number, place in places.items()
            for ref, name in new.items()
            if name == place.upstream and left.count(name) == 1 and free.count(name) == 1
        }

    def _memory(self, day: date) -> State:
        """Return the places that went within the memory and are not public, the newest first."""
        found: State = {}
        after = self.public
        for before, proposal in zip(reversed(self.states), reversed(self.line), strict=True):
            if proposal.day >= day - timedelta(days=MEMORY_DAYS):
                went = [number for number in before if number not in after]
                for number in sorted(went, key=lambda each: before[each].ref):
                    if number not in self.public:
                        found.setdefault(number, before[number])
            after = before
        return found
