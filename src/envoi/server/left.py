"""What a withdrawal leaves: files of its site that it does not reach and that count all the same.

A notice reaches up to a number. A site whose files were written in two working folders may have
sent a higher one, and would believe that it had taken back everything. What came after the notice
is left out here: with that the site came back.
"""

from dataclasses import dataclass

from envoi.server.ledger import Entry, Ledger, State


@dataclass(frozen=True, slots=True)
class Left:
    """A file that a notice of its site does not reach.

    Attributes:
        site: Whose it is.
        reached: The number up to which the notice takes back.
        counting: The number of the file, which counts.
    """

    site: str
    reached: int
    counting: int

    def __str__(self) -> str:
        return (
            f"number {self.counting} of {self.site} still counts: the site's notice takes back "
            f"its files up to number {self.reached}. Ask the site whether it meant all of them."
        )


def left_by(notice: Entry, ledger: Ledger) -> Left | None:
    """The file that was there before `notice` and counts, or None."""
    if notice.state is not State.WITHDRAWN or notice.site is None or notice.sequence is None:
        return None
    before = ledger.entries[: ledger.entries.index(notice)]
    counting = (one for one in before if one.site == notice.site and one.state is State.RECEIVED)
    numbers = [one.sequence for one in counting if one.sequence is not None]
    above = max((number for number in numbers if number > notice.sequence), default=None)
    return None if above is None else Left(notice.site, notice.sequence, above)


def left_in(ledger: Ledger) -> tuple[Left, ...]:
    """What all notices of a ledger leave: one for each site, of the notice that reaches highest."""
    found: dict[str, Left] = {}
    for entry in ledger.entries:
        left = left_by(entry, ledger) if entry.notice else None
        if left and (left.site not in found or found[left.site].reached < left.reached):
            found[left.site] = left
    return tuple(found[site] for site in sorted(found))
