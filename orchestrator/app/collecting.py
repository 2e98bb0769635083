"""Python's cyclic garbage collector, set for a process that runs for months and must not pause.

A full collection looks at every object that is alive. At start those are mostly modules, models and statements that
never go away: some hundred thousand objects, and a look at them takes a tenth of a second, in the middle of a lock
window.
"""

import gc
from typing import Final

NEW_OBJECTS: Final = 20_000
"""New containers between collections of the youngest; the 700 that Python begins with is for small programs."""

YOUNG_COLLECTIONS: Final = 20
MIDDLE_COLLECTIONS: Final = 20


def spare_what_stays() -> None:
    """Leave everything that is alive now out of all later collections, and collect less often.

    Call it once, when the process is set up and before its work begins.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS)
