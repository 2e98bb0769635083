"""``python -m orchestrator.devnet``: the devnet alone, with the options of ``orchestrator devnet``."""

import argparse
import asyncio
import sys
from pathlib import Path

from orchestrator.devnet.accounts import RECORDED_TENANT_KEY
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.enclaves.kinds import ORION
from orchestrator.devnet.errors import DevnetError
from orchestrator.devnet.runtime import serve


def config_from_arguments(arguments: list[str]) -> DevnetConfig:
    """Read the options of the command line; argparse ends the program when they are wrong.

    Raises:
        DevnetError: the options do not fit together.
    """
    return config_of(argument_parser().parse_args(arguments))


def argument_parser() -> argparse.ArgumentParser:
    """Return what reads the options; `config_of` makes a configuration of them."""
    parser = argparse.ArgumentParser(
        prog="orchestrator devnet",
        usage="%(prog)s [options]",
        description="Run a network of emulated Besu nodes and enclaves; see docs/devnet.md.",
    )
    parser.add_argument("--nodes", type=int, default=3, help="members' nodes, each with an enclave")
    parser.add_argument("--validators", type=int, default=None, help="how many of them make blocks (default: 3)")
    parser.add_argument("--base-port", type=int, default=20_000, help="first port; 0 takes free ports")
    parser.add_argument("--block-period", type=float, default=1.0, help="seconds; 0 makes blocks on demand only")
    parser.add_argument("--besu-version", default="23.10.3", help="from 20.10.0 to 25.5.0")
    parser.add_argument("--replay-ms-per-transaction", type=float, default=5.0)
    parser.add_argument("--submission-ms", type=float, default=2.0, help="what any eea_sendRawTransaction takes")
    parser.add_argument("--sends-at-once", type=int, default=0, help="sends that the nodes work on; 0: any number")
    parser.add_argument("--addition-ms", type=float, default=0.0, help="what adding a member takes on top")
    parser.add_argument("--marker-ms", type=float, default=0.0, help="what executing a marker transaction takes")
    parser.add_argument("--history", type=int, default=0, help="private transactions that a group has at the start")
    parser.add_argument("--data-dir", type=Path, default=None, help="keep the network between runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fixed-marker-key", action="store_true")
    parser.add_argument("--marker-balance-wei", type=int, default=0)
    parser.add_argument("--min-gas-price-wei", type=int, default=0)
    parser.add_argument(
        "--tx-pool-no-local-priority", action="store_true", help="what comes through a node's own API must pay as well"
    )
    parser.add_argument(
        "--free-node",
        action="append",
        type=int,
        default=[],
        metavar="NODE",
        help="a node that asks no gas price and signs its markers with random keys; may be given several times",
    )
    parser.add_argument(
        "--balance",
        action="append",
        default=[],
        metavar="ACCOUNT=WEI",
        help="what an account holds at the start, besides the development accounts; may be given several times",
    )
    parser.add_argument("--no-base-fee", action="store_true", help="blocks as before London")
    parser.add_argument("--gossip-ms", type=float, default=0.0, help="what a transaction takes from pool to pool")
    parser.add_argument("--privacy-nonce-always-increments", action="store_true")
    parser.add_argument("--jwt-public-key-file", type=Path, default=None)
    parser.add_argument(
        "--tenant-key",
        action="append",
        default=[],
        metavar="NODE=KEY",
        help="a further enclave key that a node hosts, for instance 1=A1aVtMxL…; may be given several times",
    )
    parser.add_argument(
        "--replicas",
        action="append",
        default=[],
        metavar="NODE=MS,MS,…",
        help="replicas that answer in turn on a node's HTTP address, and how late each is: 1=0,400,1500",
    )
    parser.add_argument("--identity", default="", help="as Besu's option: web3_clientVersion is besu/IDENTITY/v…")
    parser.add_argument("--build", default="", help="said in web3_clientVersion instead of the version, e.g. null")
    parser.add_argument(
        "--rpc-api",
        action="append",
        default=[],
        metavar="API",
        help="an API that nodes enable, such as eth; may be given several times (default: all that are emulated)",
    )
    parser.add_argument("--max-batch-size", type=int, default=None, help="as Besu's --rpc-http-max-batch-size")
    parser.add_argument("--host-allowlist", action="append", default=[], metavar="HOST", help="as Besu's option")
    parser.add_argument(
        "--enclave-key",
        action="append",
        default=[],
        metavar="NODE=KEY",
        help="the own enclave key of a node, instead of the usual one; may be given several times",
    )
    parser.add_argument("--tls-certificate-file", type=Path, default=None)
    parser.add_argument("--tls-key-file", type=Path, default=None)
    parser.add_argument(
        "--enclave-http", action="store_true", help="enclaves have ports, and nodes speak to them there"
    )
    parser.add_argument(
        "--enclave",
        "--enclave-kind",
        action="append",
        default=[],
        metavar="[NODE=]KIND",
        help="orion (default) or tessera: the kind of all enclaves, or of one node's; may be given several times",
    )
    parser.add_argument(
        "--bundle-limit-bytes", type=int, default=None, help="the largest history that enclaves take; 0: no limit"
    )
    parser.add_argument(
        "--peer-loss",
        type=float,
        default=0.0,
        help="how likely (0 to 1) a node loses its peers for good when its enclave is dead while a block needs it",
    )
    parser.add_argument("--virtual-time", action="store_true", help="time moves only when devnet_advanceTime moves it")
    return parser


def config_of(given: argparse.Namespace) -> DevnetConfig:
    """Return the configuration that options ask for.

    Raises:
        DevnetError: the options do not fit together.
    """
    return DevnetConfig(
        nodes=given.nodes,
        validators=min(3, given.nodes) if given.validators is None else given.validators,
        base_port=given.base_port,
        block_period_seconds=given.block_period,
        besu_version=given.besu_version,
        replay_ms_per_transaction=given.replay_ms_per_transaction,
        submission_ms=given.submission_ms,
        sends_at_once=given.sends_at_once,
        addition_ms=given.addition_ms,
        marker_ms=given.marker_ms,
        history=given.history,
        data_dir=given.data_dir,
        seed=given.seed,
        fixed_marker_key=given.fixed_marker_key,
        marker_balance_wei=given.marker_balance_wei,
        min_gas_price_wei=given.min_gas_price_wei,
        local_priority=not given.tx_pool_no_local_priority,
        free_nodes=frozenset(given.free_node),
        balances_wei=_balances(given.balance),
        base_fee=not given.no_base_fee,
        gossip_ms=given.gossip_ms,
        privacy_nonce_always_increments=given.privacy_nonce_always_increments,
        jwt_public_key_file=given.jwt_public_key_file,
        replica_lags_ms=_lags(given.replicas),
        identity=given.identity,
        build=given.build,
        rpc_apis=tuple(api.lower() for api in given.rpc_api),
        max_batch_requests=given.max_batch_size,
        host_allowlist=frozenset(given.host_allowlist or {"*"}),
        enclave_keys={node: keys[-1] for node, keys in _keys("--enclave-key", given.enclave_key).items()},
        extra_enclave_keys=_tenant_keys(given.tenant_key, multi_tenant=given.jwt_public_key_file is not None),
        tls_certificate_file=given.tls_certificate_file,
        tls_key_file=given.tls_key_file,
        enclave_http=given.enclave_http,
        enclave=_kind(given.enclave),
        enclaves=_kinds(given.enclave),
        bundle_limit_bytes=given.bundle_limit_bytes,
        peer_loss=given.peer_loss,
        virtual_time=given.virtual_time,
    )


def _tenant_keys(given: list[str], *, multi_tenant: bool) -> dict[int, tuple[str, ...]]:
    return {1: (RECORDED_TENANT_KEY,)} if multi_tenant and not given else _keys("--tenant-key", given)


def _keys(option: str, given: list[str]) -> dict[int, tuple[str, ...]]:
    keys: dict[int, tuple[str, ...]] = {}
    for item in given:
        node, separator, key = item.partition("=")
        if not separator or not node.isdigit():
            raise DevnetError(f"{option} {item!r} must be a node's number, '=' and an enclave key")
        keys[int(node)] = (*keys.get(int(node), ()), key)
    return keys


def _kind(given: list[str]) -> str:
    """The kind of all enclaves that have none of their own."""
    return next((item for item in reversed(given) if "=" not in item), ORION.name)


def _kinds(given: list[str]) -> dict[int, str]:
    kinds = {}
    for item in given:
        node, separator, kind = item.partition("=")
        if separator and not node.isdigit():
            raise DevnetError(f"--enclave {item!r} must be orion or tessera, or a node's number, '=' and one of them")
        if separator:
            kinds[int(node)] = kind
    return kinds


def _lags(given: list[str]) -> dict[int, tuple[float, ...]]:
    lags = {}
    for item in given:
        node, _, numbers = item.partition("=")
        try:
            lags[int(node)] = tuple(float(number) for number in numbers.split(","))
        except ValueError as error:
            raise DevnetError(f"--replicas {item!r} must be a node's number, '=' and milliseconds") from error
    return lags


def _balances(given: list[str]) -> dict[str, int]:
    balances = {}
    for item in given:
        account, separator, wei = item.partition("=")
        if not separator or not (wei.isascii() and wei.isdigit()):
            raise DevnetError(f"--balance {item!r} must be an account, '=' and a number of wei")
        balances[account.lower()] = int(wei)
    return balances


def main() -> int:
    """Run the devnet; returns the exit code."""
    try:
        asyncio.run(serve(config_from_arguments(sys.argv[1:])))
    except DevnetError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
