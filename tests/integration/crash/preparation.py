"""What every run begins with, done once in the process that they are forked from: a third of a run's processor time.

A run that is measured must do it by itself: ``make bench`` does not load this module.
"""

import gc

from tests.integration.crash import launcher  # noqa: F401 - imported once, before the fork

gc.collect()
gc.freeze()
