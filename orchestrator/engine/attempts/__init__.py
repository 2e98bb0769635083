"""One transaction of a change and its one marker: signed, stored, broadcast, mined or burnt."""
