"""``orchestrator devnet``: runs the emulated network, and writes a configuration for it where one is asked for."""

import asyncio
from pathlib import Path
from typing import Final

from orchestrator.cli.display.output import Exit, fail
from orchestrator.cli.new_configuration import (
    DEFAULT_LISTEN,
    FILE_NAME,
    KEY_FILE_NAME,
    AccountEntry,
    NewConfigurationError,
    NodeEntry,
    configuration_text,
    write_files,
)
from orchestrator.devnet import Devnet, DevnetError, serve
from orchestrator.devnet.__main__ import argument_parser, config_of
from orchestrator.devnet.accounts import DEVELOPMENT_KEYS, RECORDED_VALIDATORS

_CHAIN: Final = "chain"
"""Folder of the network itself: with a configuration, and so with a database, it has to last as long as they do."""


def run(arguments: list[str]) -> None:
    """Run a devnet until it is stopped; wrong options end the program with 2."""
    parser = argument_parser()
    parser.add_argument(
        "--write-config",
        type=Path,
        default=None,
        metavar="DIR",
        help=f"write DIR/{FILE_NAME} and the owner's key for this network, and keep the network in DIR/{_CHAIN}",
    )
    parser.add_argument(
        "--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help="where a daemon with that configuration listens"
    )
    given = parser.parse_args(arguments)
    directory: Path | None = given.write_config
    if directory is not None and given.data_dir is None:
        given.data_dir = directory / _CHAIN

    def write(devnet: Devnet) -> None:
        if directory is not None:
            _write_configuration(directory, devnet, given.listen)

    try:
        asyncio.run(serve(config_of(given), write))
    except (DevnetError, NewConfigurationError) as error:
        raise fail(str(error), Exit.USAGE) from None


def _write_configuration(directory: Path, devnet: Devnet, listen: str) -> None:
    owner = RECORDED_VALIDATORS[0]
    nodes = [
        NodeEntry(
            name=f"member{node.number}",
            http=node.http_url,
            ws=node.ws_url,
            enclave_keys=(node.enclave_key,),
            comment=f"Emulated, Besu {devnet.config.besu_version}.",
        )
        for node in devnet.nodes
    ]
    accounts = [
        AccountEntry(
            address=owner,
            key_file=KEY_FILE_NAME,
            comment="A public development account: never to hold anything of value.",
        )
    ]
    period = devnet.config.block_period_seconds or None
    text = configuration_text(nodes, accounts, listen=listen, block_period_seconds=period)
    files = (
        (KEY_FILE_NAME, DEVELOPMENT_KEYS[owner] + "\n", 0o600),
        (FILE_NAME, text, 0o644),
    )
    write_files(directory, files)
