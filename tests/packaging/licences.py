"""What licences the packages have that the daemon is installed with, as a table; refuses one that nobody looked at.

Run ``python -m tests.packaging.licences ENVIRONMENT``; the table goes to standard output.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

ACCEPTED = {
    "Apache-2.0",
    "BSD",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CNRI-Python",
    "ISC",
    # Used as libraries, unchanged.
    "LGPL-3.0-only",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "0BSD",
    "Unlicense",
}
"""What the project may be installed with; each was read before it was put here."""

SAID_OTHERWISE = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Names from before packages had SPDX expressions."""


class LicenceError(Exception):
    """A package has a licence that is not accepted, or says none."""


@dataclass(frozen=True, slots=True, order=True)
class Licensed:
    """One package and the licence that it says."""

    name: str
    version: str
    licence: str


def licence_of(package: Distribution) -> str:
    """What a package says, as an SPDX expression where that is known; empty when it says nothing."""
    metadata = package.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    classifiers = [line for line in metadata.get_all("Classifier") or () if line.startswith("License :: ")]
    names = [line.rpartition(" :: ")[2] for line in classifiers if not line.endswith("OSI Approved")]
    if not names:
        text = metadata["License"].strip() if "License" in metadata else ""
        names = [text] if text and "\n" not in text else []
    return " OR ".join(sorted({SAID_OTHERWISE.get(name, name) for name in names}))


def accepted(expression: str) -> bool:
    """Whether one of the alternatives consists of accepted licences only."""
    alternatives = expression.replace("(", "").replace(")", "").split(" OR ")
    return any(all(part.strip() in ACCEPTED for part in choice.split(" AND ")) for choice in alternatives)


def found_in(environment: Path) -> Iterator[Licensed]:
    """The packages of an environment, the project's own included."""
    places = [str(place) for place in environment.glob("lib/python*/site-packages")]
    for package in distributions(path=places):
        yield Licensed(package.metadata["Name"], package.version, licence_of(package))


def table(found: Iterable[Licensed]) -> str:
    """The table, by name.

    Raises:
        LicenceError: A licence is not accepted.
    """
    rows = sorted(found)
    refused = [f"{row.name} {row.version}: {row.licence or 'says none'}" for row in rows if not accepted(row.licence)]
    if refused:
        raise LicenceError("these licences are not among those that were looked at: " + "; ".join(refused))
    lines = [f"| {row.name} | {row.version} | {row.licence} |" for row in rows]
    return "\n".join(["| package | version | licence |", "|---|---|---|", *lines]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table(found_in(Path(sys.argv[1]))))
