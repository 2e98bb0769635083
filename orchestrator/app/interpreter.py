"""Python's own settings for a process that runs for months and must not pause.

*Collecting.* A full collection of cycles looks at every object that is alive. At start those are mostly modules, models
and statements that never go away: some hundred thousand objects, and a look at them takes a tenth of a second, in the
middle of a lock window.

*Taking turns.* A thread that wants to run Python code waits until the running one lets go, or has had its turn of 5 ms.
The store's threads work in small pieces, and the event loop wants its turn back after each system call: with turns of
5 ms it waited longer than it worked.
"""

import gc
import sys
from typing import Final

NEW_OBJECTS: Final = 20_000
"""New containers between collections of the youngest; the 700 that Python begins with is for small programs."""

YOUNG_COLLECTIONS: Final = 20
MIDDLE_COLLECTIONS: Final = 20
TURN_SECONDS: Final = 0.0005


def settle_interpreter() -> None:
    """Leave everything that is alive now out of all later collections, which are made seldom, and take short turns.

    Call it once, when the process is set up and before its work begins.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(NEW_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS)
    sys.setswitchinterval(TURN_SECONDS)
