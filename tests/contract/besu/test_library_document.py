"""What docs/library.md prints: its program, and its table of JavaScript calls, run as they stand."""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestrator.besu import (
    FlexiblePrivacyGroups,
    HttpNode,
    Method,
    Node,
    NodeSocket,
    PrivateAccount,
    PrivateTransaction,
    open_session,
    sign_private_transaction,
    signer_from_key,
)
from orchestrator.besu.codec.identifiers import privacy_group_id_from_bytes
from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, encode_call
from orchestrator.devnet import DevnetConfig, running_devnet
from orchestrator.devnet.accounts import DEVELOPMENT_KEYS, RECORDED_VALIDATORS

DOCUMENT = Path(__file__).parents[3] / "docs" / "library.md"


async def test_the_program_in_the_document_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied into a file it makes a group of two, adds the third member, and prints all three."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    with os.fdopen(os.open(tmp_path / "owner.key", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(DEVELOPMENT_KEYS[RECORDED_VALIDATORS[0]])
    monkeypatch.chdir(tmp_path)
    async with running_devnet(DevnetConfig(base_port=0, block_period_seconds=0.1)) as devnet:
        assert "http://127.0.0.1:8545" in program
        adapted = program.replace("http://127.0.0.1:8545", devnet.nodes[0].http_url)
        printed = io.StringIO()

        def run() -> None:
            with contextlib.redirect_stdout(printed):
                exec(compile(adapted, "library.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own text

        await asyncio.to_thread(run)
    for node in devnet.nodes:
        assert node.enclave_key in printed.getvalue()


def rows() -> list[tuple[list[str], list[str]]]:
    """Return the lines of the two tables that begin with the names of JavaScript objects."""
    text = DOCUMENT.read_text("utf-8")
    found = []
    for line in text[text.index("| `web3.eth") :].splitlines():
        cells = [re.findall(r"`(.*?)`", cell) for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0] and not cells[0][0].startswith("web3."):
            found.append((cells[0], cells[1]))
    return found


async def test_every_javascript_call_is_in_the_table(node_path: str, web3js_quorum_folder: Path) -> None:
    """The first column is what web3js-quorum has for flexible groups, nothing more and nothing less."""
    script = """
    const client = new (require("web3js-quorum"))(new (require("web3"))("http://127.0.0.1:1"), {}, false);
    console.log(JSON.stringify([...Object.keys(client.eth.flexiblePrivacyGroup), ...Object.keys(client.priv)]));
    """
    process = await asyncio.create_subprocess_exec(
        node_path, "-e", script, cwd=web3js_quorum_folder, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert sorted(name for theirs, _ in rows() for name in theirs) == sorted(json.loads(printed))


async def test_every_line_of_the_table_works() -> None:
    """What the second column says runs on emulated nodes, line after line, and returns something."""
    contract, data = MANAGEMENT_PROXY, encode_call(Method.GET_VERSION)
    owner = signer_from_key(DEVELOPMENT_KEYS[RECORDED_VALIDATORS[0]])
    config = DevnetConfig(base_port=0, block_period_seconds=0.1, replay_ms_per_transaction=0)
    async with running_devnet(config) as devnet, open_session() as session:
        keys = [node.enclave_key for node in devnet.nodes]
        node = Node(HttpNode(session, devnet.nodes[0].http_url), enclave_key=keys[0])
        async with NodeSocket(devnet.nodes[0].ws_url, random=Random(1)) as socket:  # noqa: S311 - spreads retries
            account = PrivateAccount(node, owner, socket=socket, poll_seconds=0.02)
            names: dict[str, Any] = {
                "node": node,
                "socket": socket,
                "account": account,
                "groups": FlexiblePrivacyGroups(node, owner, socket=socket, poll_seconds=0.02),
                "group": privacy_group_id_from_bytes(bytes(range(32))),
                **dict(zip(("FIRST", "SECOND", "THIRD"), keys, strict=True)),
                "CONTRACT": contract,
                "DATA": data,
            }
            sent_before: list[str] = []
            for line in (line for _, ours in rows() for line in ours):
                if "(raw)" in line:
                    # What was sent before is mined first: it would use up the nonce between its count and this send.
                    for sent in sent_before:
                        await account.receipt(sent)
                    transaction = PrivateTransaction(
                        private_nonce=await account.transaction_count(names["group"]),
                        private_from=keys[0],
                        to=contract,
                        data=data,
                        privacy_group_id=names["group"],
                        chain_id=await node.chain_id(),
                    )
                    names["raw"] = sign_private_transaction(transaction, DEVELOPMENT_KEYS[RECORDED_VALIDATORS[0]])
                names["block"] = await node.head_number()
                before = {*names, "answer"}
                code = compile(f"answer = {line}", line, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                running = eval(code, names)  # noqa: S307 - our own text
                if inspect.isawaitable(running):
                    await running
                if "send(" in line or "send_raw(" in line:
                    sent_before.append(str(names.get("answer") or names["pmt"]))
                if set(names) == before and "private_logs" not in line and line != "await logs.close()":
                    assert names["answer"] not in (None, ()), line
            receipt = await account.receipt(names["pmt"])
            assert (receipt.status, len(receipt.output)) == (1, 32)
            assert await account.call(names["group"], contract, data) == receipt.output
