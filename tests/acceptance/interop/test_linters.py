"""What linters and parsers of others find in the descriptions and metrics that a daemon gives."""

import json
import subprocess
import urllib.request
from pathlib import Path

from tests.acceptance.interop.conftest import Interop
from tests.patience import patient
from tests.servers import programs


def test_the_linter_of_redocly_finds_nothing(running: Interop) -> None:
    """The document keeps redocly's recommended rules."""
    script = """
        import { createConfig, lintFromString } from "@redocly/openapi-core";
        const source = await (await fetch(process.argv[2] + "/openapi.json")).text();
        const config = await createConfig({ extends: ["recommended"] });
        const found = await lintFromString({ source, absoluteRef: "openapi.json", config });
        console.log(JSON.stringify(found.map((one) => [one.ruleId, one.message, one.location[0].pointer])));
    """
    assert json.loads(running.javascript(script, running.url)) == []


def test_spectral_finds_nothing(running: Interop, tmp_path: Path) -> None:
    """Both documents keep spectral's recommended rules, but for texts that would say nothing."""
    # A contact would be whoever runs the daemon, and what a summary says needs no description. A daemon does not tell
    # the address of its message queue.
    rules = {
        "openapi.json": ("spectral:oas", ["info-contact", "operation-description"]),
        "asyncapi.json": (
            "spectral:asyncapi",
            [
                "asyncapi-info-contact",
                "asyncapi-3-operation-description",
                "asyncapi-3-tags",
                "asyncapi-servers",
                "asyncapi-latest-version",
            ],
        ),
    }
    for document, (extends, off) in rules.items():
        (tmp_path / document).write_text(json.dumps(running.get(f"/{document}")))
        ruleset = {"extends": [extends], "rules": dict.fromkeys(off, "off")}
        (tmp_path / "ruleset.json").write_text(json.dumps(ruleset))
        spectral = str(running.clients / "node_modules" / ".bin" / "spectral")
        options = ["--ruleset", "ruleset.json", "--format", "json", "--fail-severity", "hint", "--quiet"]
        found = running.tool(running.node, spectral, "lint", document, *options, folder=tmp_path)
        assert json.loads(found) == []


def test_the_parser_of_asyncapi_reads_the_document(running: Interop) -> None:
    """Its parser takes the document whole: every message but the dead letter, which is as it came, has a payload."""
    script = """
        import parser from "@asyncapi/parser";
        const source = await (await fetch(process.argv[2] + "/asyncapi.json")).text();
        const { document, diagnostics } = await new parser.Parser().parse(source);
        const found = diagnostics.filter((one) => one.code !== "asyncapi-latest-version");
        const payloads = document.allMessages().all().map((message) => [message.id(), message.payload()?.type()]);
        console.log(JSON.stringify([found.map((one) => one.message), payloads]));
    """
    found, payloads = json.loads(running.javascript(script, running.url))
    assert found == []
    assert len(payloads) > 15
    assert [name for name, kind in payloads if kind != "object"] == ["deadLetter"]


def test_promtool_finds_nothing(running: Interop) -> None:
    """The metrics keep the habits that Prometheus' own linter looks for, and it parses all of them."""
    with urllib.request.urlopen(f"{running.url}/metrics", timeout=patient(20)) as answer:  # noqa: S310 - HTTP on loopback
        metrics = answer.read()
    assert b"orchestrator_" in metrics
    checked = subprocess.run(
        [programs.find_program("promtool"), "check", "metrics"],
        input=metrics,
        capture_output=True,
        timeout=patient(20),
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
