"""Clients that generators of others make of the description, calling a daemon by the examples of the documentation."""

import json
from pathlib import Path

from tests.acceptance.interop.conftest import Interop
from tests.acceptance.interop.later_daemon import later_daemon
from tests.servers import programs

# Its defaults, but for names, and for a library of Java's that only the generated project brings.
GENERATORS = {
    "python": "additionalProperties: {packageName: membership}\n",
    "java": 'library: native\nadditionalProperties: {openApiNullable: "false"}\n',
    "go": 'additionalProperties: {packageName: membership, withGoMod: "false", enumUnknownDefaultCase: "true"}\n',
}
# Java's own until version 9, and among what the generated project fetches.
GENERATED = """
package javax.annotation;
public @interface Generated { String[] value(); String date() default ""; String comments() default ""; }
"""
PYTHON = """
import membership
with membership.ApiClient(membership.Configuration(host={url!r})) as client:
    request = membership.RequestData(
        kind="add_members",
        privacy_group_id="DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w=",
        members=["k2zXEin4Ip/qBGlRkJejnGWdP9cjkK+DAvKNW31L2C8="],
    )
    change = membership.ChangesApi(client).post_change(request, idempotency_key="add-member3-by-openapi-generator")
    print(change.change_id, change.state.value, *change.additional_properties)
"""
GO = """
package main

import (
	"context"
	"fmt"
	"log"

	"example.org/onboarding/membership"
)

func main() {
	configuration := membership.NewConfiguration()
	configuration.Servers = membership.ServerConfigurations{{URL: "http://127.0.0.1:8080"}}
	request := membership.NewRequestData(membership.KIND_ADD_MEMBERS)
	request.SetPrivacyGroupId("DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w=")
	request.SetMembers([]string{"k2zXEin4Ip/qBGlRkJejnGWdP9cjkK+DAvKNW31L2C8="})
	change, _, err := membership.NewAPIClient(configuration).ChangesAPI.PostChange(context.Background()).
		RequestData(*request).IdempotencyKey("add-member3-by-openapi-generator-go").Execute()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(change.ChangeId, change.State)
}
"""


def test_a_client_of_generated_types_compiles_and_asks(running: Interop, tmp_path: Path) -> None:
    """openapi-typescript's types take a call without nulls, and openapi-fetch asks by them."""
    modules = running.clients / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "example.ts").write_text(running.example("http.md", "http-ts"))
    node = running.node
    generator = str(modules / "openapi-typescript" / "bin" / "cli.js")
    running.tool(node, generator, f"{running.url}/openapi.json", "-o", "api.d.ts", folder=tmp_path)
    options = ["--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", "--lib", "es2022,dom"]
    running.tool(node, str(modules / "typescript" / "bin" / "tsc"), *options, "example.ts", folder=tmp_path)
    change_id, _ = running.tool(node, "example.js", folder=tmp_path).split()
    assert running.asked("add-member3-by-openapi-fetch")["change_id"] == change_id


def test_a_generated_python_client_asks(running: Interop, tmp_path: Path) -> None:
    """openapi-python-client makes a client of the document, without a warning, and that asks for a change."""
    generator = str(running.clients / ".venv" / "bin" / "openapi-python-client")
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    said = running.tool(
        generator, "generate", "--url", f"{running.url}/openapi.json", "--config", "config.yml", folder=tmp_path
    )
    assert "WARNING" not in said.upper()
    script = running.example("http.md", "http-python-generated")
    change_id, _ = running.python(script, tmp_path / "besu-membership-orchestrator-client").split()
    assert running.asked("add-member3-by-openapi-python-client")["change_id"] == change_id


def test_a_client_of_oapi_codegen_asks(running: Interop, tmp_path: Path) -> None:
    """oapi-codegen makes Go that compiles, asks for a change, and reads answers with further fields."""
    with later_daemon(running.url) as url:
        folder = running.go_module(tmp_path, running.example("http.md", "http-go-generated").replace(running.url, url))
        (folder / "openapi.json").write_text(json.dumps(running.get("/openapi.json")))
        (folder / "api").mkdir()
        options = ["-generate", "types,client", "-package", "api", "-o", "api/api.gen.go", "openapi.json"]
        running.tool(str(running.clients / "go" / "bin" / "oapi-codegen"), *options, folder=folder)
        change_id, state = running.go(folder).split()
    assert running.asked("add-member3-by-oapi-codegen")["change_id"] == change_id
    assert state == "queued"


def test_clients_of_openapi_generator_ask(running: Interop, tmp_path: Path) -> None:
    """Its clients in Python, Java and Go ask for a change and read answers with further fields, by its own defaults.

    Go's reads a word that it does not know, too, being told to.
    """
    (tmp_path / "openapi.json").write_text(json.dumps(running.get("/openapi.json")))
    for language, options in GENERATORS.items():
        (tmp_path / f"{language}.yaml").write_text(
            f"generatorName: {language}\ninputSpec: openapi.json\noutputDir: {language}\n{options}"
        )
    (jar,) = (running.clients / ".venv" / "lib").glob("python3*/site-packages/openapi_generator_cli/*.jar")
    java, javac = programs.find_program("java"), programs.find_program("javac")
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]
    said = running.tool(java, *quick, "-jar", str(jar), "batch", *_configurations(tmp_path), folder=tmp_path)
    assert "finished 3 generators successfully" in said
    with later_daemon(running.url) as url:
        told = running.python(PYTHON.format(url=url), tmp_path / "python").split()
        assert told[1:] == ["queued", "of_a_later_version"]
        assert running.asked("add-member3-by-openapi-generator")["change_id"] == told[0]

        sources = tmp_path / "java" / "src" / "main" / "java"
        (sources / "Onboarding.java").write_text(
            running.example("http.md", "http-java-generated").replace(running.url, url)
        )
        (sources / "Generated.java").write_text(GENERATED)
        files = [str(file) for file in sources.rglob("*.java")]
        # What Jackson the generator itself has is what its project would fetch.
        made = ["-nowarn", "-proc:none", "-classpath", str(jar), "-d", "classes"]
        running.tool(javac, "-J-XX:TieredStopAtLevel=1", *made, *files, folder=tmp_path)
        told = running.tool(java, *quick, "-classpath", f"classes:{jar}", "Onboarding", folder=tmp_path).split()
        assert told[1:] == ["queued"]
        assert running.asked("add-member3-by-openapi-generator-java")["change_id"] == told[0]
    with later_daemon(running.url, state="of_a_later_version") as url:
        folder = running.go_module(tmp_path / "module", GO.replace("http://127.0.0.1:8080", url))
        (folder / "membership").mkdir()
        for file in (tmp_path / "go").glob("*.go"):
            file.rename(folder / "membership" / file.name)
        told = running.go(folder).split()
        assert told[1:] == ["unknown_default_open_api"]
        assert running.asked("add-member3-by-openapi-generator-go")["change_id"] == told[0]


def _configurations(folder: Path) -> list[str]:
    return [str(file) for file in sorted(folder.glob("*.yaml"))]
