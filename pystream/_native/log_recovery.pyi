"""Opening a directory as a log."""

CUT: str
CUT_ALARM: str
CUT_KEEPING: str
DAMAGE: str
DAMAGE_MARK: str
LARGEST_BASE_OFFSET: int

class Listing:
    bases: list[int]
    snapshots: list[int]
    side_files: list[tuple[int, str]]
    leftovers: list[str]
    def __init__(self, directory: str) -> None: ...

def verdict(
    *,
    below_recovery_point: bool,
    closed: bool,
    wrong_epoch: bool,
    valid_follows: bool,
    ends_inside: bool,
    lossy: bool,
) -> str: ...
def finish_leftovers(directory: str, listing: Listing) -> None: ...
