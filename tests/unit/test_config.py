"""The configuration: where values come from, and how every mistake is told."""

import json
import re
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from orchestrator.config import Config, ConfigError, load_config, secret_files
from tests.servers.http_signers import identifier_of

KEY = "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo="
OTHER_KEY = "k2zXEin4Ip/qBGlRkJejnGWdP9cjkK+DAvKNW31L2C8="
DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
# The well-known public development key of 0xfe3b…: never to hold anything of value.
DEVELOPMENT_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"

NODE = f"""
[[nodes]]
name = "member1"
http = "http://127.0.0.1:8545"
ws = "ws://127.0.0.1:8546"
enclave_keys = ["{KEY}"]
"""
ACCOUNT = """
[[accounts]]
address = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
key_file = "owner.key"
"""
SIGNED = NODE + "[[accounts]]\naddress = '0x627306090abab3a6e1400e9345bc60c78a8bef57'\n"
PUBLIC_KEY = identifier_of(bytes.fromhex(DEVELOPMENT_KEY))

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a configuration beside a key file, and load it."""
    (tmp_path / "owner.key").write_text(DEVELOPMENT_KEY)
    (tmp_path / "owner.key").chmod(0o600)
    (tmp_path / "open").write_text("a secret that everybody can read")
    (tmp_path / "open").chmod(0o644)

    def load_text(text: str, **environment: str) -> Config:
        path = tmp_path / "orchestrator.toml"
        path.write_text(text)
        return load_config(path, environment)

    return load_text


def problems_of(load: Load, text: str, **environment: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(text, **environment)
    return caught.value.problems


def test_one_node_is_enough(load: Load, tmp_path: Path) -> None:
    """A file with one node gives a whole configuration, whose relative paths start at the file's folder."""
    config = load(NODE)
    assert config.nodes[0].enclave_keys == (KEY,)
    assert config.store.url == f"sqlite:///{tmp_path}/orchestrator.db"
    assert config.broker.url == "embedded:"
    assert config.broker.data_dir == tmp_path / "orchestrator-broker"
    assert config.api.listen == "127.0.0.1:8080"
    assert (config.chain.confirmations, config.chain.proof_blocks) == (0, 3)


def test_an_account_comes_from_a_key_file(load: Load, tmp_path: Path) -> None:
    """An account's address is made lower case and its key file is found beside the configuration."""
    account = load(NODE + ACCOUNT).accounts[0]
    assert account.address == "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
    assert account.key_file == tmp_path / "owner.key"


def test_the_environment_overrides_the_file(load: Load) -> None:
    """Values, elements of lists and whole lists come from the environment, over the file's."""
    config = load(
        NODE + "[store]\nurl = 'sqlite:///a.db'\n",
        ORCHESTRATOR_STORE__URL="postgresql://o:secret@db/orchestrator",
        ORCHESTRATOR_CHAIN__CONFIRMATIONS="12",
        ORCHESTRATOR_NODES__0__HTTP="http://10.0.0.1:8545",
        ORCHESTRATOR_NODES__0__ENCLAVE_KEYS=f'["{KEY}", "{OTHER_KEY}"]',
        ORCHESTRATOR_BROKER__NAMES__REQUESTS="asked",
        ORCHESTRATOR_URL="http://127.0.0.1:1",
    )
    assert config.store.url == "postgresql://o:secret@db/orchestrator"
    assert config.chain.confirmations == 12
    assert config.nodes[0].http == "http://10.0.0.1:8545"
    assert config.nodes[0].enclave_keys == (KEY, OTHER_KEY)
    assert config.broker.names.requests == "asked"


def test_lists_grow_from_the_environment(load: Load) -> None:
    """A node and an account that the file does not have are appended."""
    config = load(
        NODE,
        ORCHESTRATOR_NODES__1=f'{{"name": "member2", "http": "http://127.0.0.1:1", "enclave_keys": ["{OTHER_KEY}"]}}',
        ORCHESTRATOR_ACCOUNTS__0__ADDRESS="0xfe3b557e8fb62b89f4916b721be55ceb828dbd73",
        ORCHESTRATOR_ACCOUNTS__0__PRIVATE_KEY=DEVELOPMENT_KEY,
    )
    assert [node.name for node in config.nodes] == ["member1", "member2"]
    key = config.accounts[0].private_key
    assert key is not None
    assert key.get_secret_value() == DEVELOPMENT_KEY
    assert DEVELOPMENT_KEY not in repr(config)


def test_more_than_ten_elements_come_from_the_environment(load: Load) -> None:
    """Elements are put in by what their numbers count, so that the tenth does not come before the second."""
    hooks = {
        f"ORCHESTRATOR_WEBHOOKS__{number}__{key}": value
        for number in range(12)
        for key, value in (("NAME", f"hook{number}"), ("URL", "https://x"), ("SECRET", "s" * 32))
    }
    assert [hook.name for hook in load(NODE, **hooks).webhooks] == [f"hook{number}" for number in range(12)]


def test_every_mistake_is_told_with_its_key(load: Load) -> None:
    """All mistakes of a file come at once, one message each, beginning with the key's path."""
    problems = problems_of(
        load,
        """
        [store]
        urll = "sqlite:///a.db"
        [chain]
        proof_blocks = -1
        gas_limit = "much"
        [api]
        listen = "example.org:8080"
        [[nodes]]
        name = "member1"
        ws = "http://127.0.0.1:8546"
        enclave_keys = ["short"]
        [[accounts]]
        address = "0x12"
        [[webhooks]]
        name = "ours"
        url = "https://example.org/hook"
        """,
        ORCHESTRATOR_STOER__URL="x",
        ORCHESTRATOR_CHAIN__CONFIRMATIONS="some",
    )
    told = {problem.split(":")[0].split(" ")[0]: problem for problem in problems}
    assert set(told) == {
        "store.urll",
        "chain.proof_blocks",
        "chain.gas_limit",
        "chain.confirmations",
        "api.listen",
        "nodes.0.http",
        "nodes.0.ws",
        "nodes.0.enclave_keys.0",
        "accounts.0.address",
        "accounts.0",
        "webhooks.0",
        "ORCHESTRATOR_STOER__URL",
    }
    assert told["store.urll"] == "store.urll: is not known; did you mean url?"
    assert told["nodes.0.http"] == "nodes.0.http: is missing. JSON-RPC over HTTP."
    assert "from ORCHESTRATOR_CHAIN__CONFIRMATIONS" in told["chain.confirmations"]
    assert "localhost" in told["api.listen"]
    assert "keystore" in told["accounts.0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "nodes: is missing"),
        ("nodes = []", "nodes: must not be empty"),
        (NODE + NODE.replace(KEY, OTHER_KEY), "nodes.1.name: member1 is given in nodes.0 already"),
        (NODE + NODE.replace("member1", "member2"), f"nodes.1.enclave_keys: {KEY} is given in nodes.0 already"),
        (NODE.replace(f'"{KEY}"', f'"{KEY}", "{KEY}"'), "nodes.0.enclave_keys"),
        (NODE.replace("//127", "//user:word@127"), "nodes.0.http: must not hold a user or a password"),
        (NODE + ACCOUNT + ACCOUNT, "accounts.1.address"),
        (NODE + ACCOUNT + "keystore = 'owner.key'", "accounts.0: has several keys (keystore, key_file)"),
        (NODE + ACCOUNT.replace("key_file", "keystore"), "accounts.0: a keystore needs its password"),
        (NODE + "[retention]\naudit_days = 90", "retention.audit_days: needs retention.archive_dir"),
        (NODE + ACCOUNT.replace("owner", "nobody"), "accounts.0.key_file: "),
        (NODE + ACCOUNT + "private_key = '0x1'", "accounts.0.private_key: a secret must not stand"),
        (
            NODE + ACCOUNT + "[accounts.web3signer]\nurl='https://s'",
            "accounts.0: has several keys (key_file, web3signer)",
        ),
        (
            SIGNED + "web3signer = {url = 'http://signer:9000'}",
            "accounts.0.web3signer.url: must be https, or http on loop",
        ),
        (
            SIGNED + "web3signer = {url = 'https://s', key_file = 'owner.key'}",
            "needs both certificate_file and key_file",
        ),
        (
            SIGNED + "web3signer = {url = 'https://s', public_key = '0x12'}",
            "public_key: must be a public key of secp256k1",
        ),
        (
            SIGNED + f"web3signer = {{url = 'https://s', public_key = '{PUBLIC_KEY}'}}",
            "is the key of 0xfe3b557e8fb62b89f4",
        ),
        (SIGNED + "web3signer = {url = 'https://s', token_file = 'open'}", "token_file: "),
        (SIGNED + "web3signer = {url = 'https://s'}\npassword_file = 'owner.key'", "only a keystore has a password"),
        (SIGNED + "pkcs11 = {module = 'owner.key', token = 't', pin_file = 'owner.key'}", "pkcs11: names no key"),
        (
            SIGNED + "pkcs11 = {module = 'gone', token = 't', key_id = 'xy', pin_file = 'open'}",
            "key_id: must be the hexa",
        ),
        (SIGNED + "pkcs11 = {module = 'gone', token = 't', key_id = 'xy', pin_file = 'open'}", "pkcs11.module: "),
        (SIGNED + "pkcs11 = {module = 'gone', token = 't', key_id = 'xy', pin_file = 'open'}", "chmod 600"),
        (SIGNED + "installed = {name = 'kms', settings = {token = 'x'}}", "token looks like a secret"),
        (SIGNED + "installed = {name = 'kms', settings = {token_file = 'open'}}", "chmod 600"),
        (SIGNED + "installed = {name = 'kms', settings = {token_file = 7}}", "token_file must be the path of a file"),
        (SIGNED + "installed = {name = 'kms'}\nsign_timeout_seconds = 0", "sign_timeout_seconds: "),
        (NODE + "[store]\nurl = 'postgresql://o:word@db/o'", "store.url: holds a password"),
        (NODE + "[store]\nurl = 'postgresql://o@one:1,two:x/o'", "store.url: is no address"),
        (NODE + "[store]\nurl = 'postgresql://o:word@one,two/o'", "store.url: holds a password"),
        (NODE + "[store]\nurl = 'mysql://db/o'", "store.url: must be"),
        (NODE + "[store]\nurl = 'sqlite://a.db'", "store.url: must name a file"),
        (NODE + "[broker]\nurl = 'nats://token@host'", "broker.url: holds a password"),
        (NODE + "[broker]\nurl = 'nats://host,nats://token@host'", "broker.url: holds a password"),
        (NODE + "[broker]\nurl = 'mqtt://host'", "broker.url: must be"),
        (NODE + "[broker]\nurl = 'kafka://one,kafkas://two'", "broker.url: names servers of several kinds"),
        (
            NODE + "[broker]\nurl = 'kafka://host'\nsasl_mechanism = 'PLAIN'",
            "broker.sasl_mechanism: PLAIN shows the password to the network",
        ),
        (NODE + "[broker]\npassword_file = 'owner.key'", "broker.user: is missing"),
        (NODE + "[broker.names]\nrequests = 'a'\nevents = 'a'", "broker.names: requests, dead, events and verdicts"),
        (NODE + "[broker.names]\nrequests = 'a.*'", "broker.names.requests: must consist of"),
        (NODE + "[api]\nlisten = '8080'", "api.listen: must be"),
        (NODE + "[[webhooks]]\nname='a'\nurl='https://x'", "webhooks.0: give either secret_file"),
        ("[store", "is not valid TOML"),
    ],
)
def test_a_mistake_says_what_to_do(load: Load, text: str, expected: str) -> None:
    """Each kind of mistake has a message that names the key and what is expected there."""
    assert any(expected in problem for problem in problems_of(load, text))


def test_signers_tell_which_secrets_they_read(load: Load, tmp_path: Path) -> None:
    """The files with secrets of each kind of signer are among those that are looked at again."""
    files = {"client.key", "token", "pin", "kms.token", "client.pem"}
    for name in files:
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    config = load(
        NODE + "[[accounts]]\naddress = '0x627306090abab3a6e1400e9345bc60c78a8bef57'\n[accounts.web3signer]\n"
        "url = 'https://s'\ncertificate_file = 'client.pem'\nkey_file = 'client.key'\ntoken_file = 'token'\n"
        "[[accounts]]\naddress = '0xf17f52151ebef6c7334fad080c5704d77216b732'\n[accounts.pkcs11]\n"
        "module = 'client.pem'\ntoken = 't'\nkey_id = '0x01'\npin_file = 'pin'\n"
        "[[accounts]]\naddress = '0xfe3b557e8fb62b89f4916b721be55ceb828dbd73'\n[accounts.installed]\nname = 'kms'\n"
        "settings = {url = 'https://k', token_file = 'kms.token', ca_file = 'client.pem'}\n"
    )
    assert set(secret_files(config)) == {tmp_path / name for name in files - {"client.pem"}}


def test_a_guards_secrets_are_looked_at_again(load: Load, tmp_path: Path) -> None:
    """What the guard of the same configuration proves itself by is among the files with secrets."""
    config = load(
        NODE + "[guard]\ncertificate_file = 'owner.key'\nkey_file = 'owner.key'\n"
        "enclave_certificate_file = 'owner.key'\nenclave_key_file = 'owner.key'\nenclave_token_file = 'owner.key'\n"
    )
    guard = config.guard
    assert {guard.key_file, guard.enclave_key_file, guard.enclave_token_file} == set(secret_files(config))


def test_a_cluster_is_several_addresses(load: Load) -> None:
    """The servers of a NATS cluster are given in one text, separated by commas."""
    url = "nats://one:4222,nats://two:4222"
    assert load(NODE + f"[broker]\nurl = '{url}'").broker.url == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@one:5432,two:5433/d",
        "postgresql://u@/d?host=one:1&host=two:2",
        "postgresql://u@h/d?options=-cx%3Dy",
    ],
)
def test_an_address_of_postgresql_is_taken_as_it_is(load: Load, url: str) -> None:
    """Several hosts in both ways to write them, and options, are left to the driver."""
    assert load(NODE + f"[store]\nurl = '{url}'").store.url == url


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:8080", "localhost:80", "127.9.9.9:65535"])
def test_loopback_addresses_are_listened_on(load: Load, listen: str) -> None:
    """Every loopback address is accepted."""
    assert load(NODE + f"[api]\nlisten = '{listen}'").api.listen == listen


@pytest.mark.parametrize("listen", ["example.org:1", "127.0.0.1:65536", ":1"])
def test_what_is_no_address_is_refused(load: Load, listen: str) -> None:
    """A name that others would have to resolve, or a port that there is not, is no place to listen."""
    assert problems_of(load, NODE + f"[api]\nlisten = '{listen}'")[0].startswith("api.listen: ")


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "192.168.0.1:1", "[::]:1"])
def test_beyond_loopback_there_is_access_control(load: Load, listen: str) -> None:
    """Where others could reach the interface callers prove who they are, and that can't be turned off."""
    config = load(NODE + f"[api]\nlisten = '{listen}'")
    assert config.access.is_required(config.api.listen)
    text = NODE + f"[api]\nlisten = '{listen}'\n[access]\nrequired = false"
    assert problems_of(load, text)[0].startswith("access.required: ")


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "OFF"])
def test_no_spelling_turns_access_control_off_beyond_loopback(load: Load, word: str) -> None:
    """The environment gives texts: whatever will be read as false is refused as false is."""
    environment = {"ORCHESTRATOR_ACCESS__REQUIRED": word, "ORCHESTRATOR_API__LISTEN": "0.0.0.0:8080"}
    assert problems_of(load, NODE, **environment)[0].startswith("access.required: ")


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("", False),
        ("[access]\nrequired = true", True),
        ("[[access.users]]\nuid = 1000\nname = 'operations'\nrole = 'operator'", True),
        ("[[access.limits]]\ncaller = 'token:org1'\nkinds = ['add_members']", True),
        ("[access]\nrequired = false\n[[access.users]]\nuid = 1\nname = 'one'\nrole = 'viewer'", False),
    ],
)
def test_on_loopback_there_is_access_control_when_it_is_configured(load: Load, text: str, required: bool) -> None:
    """Nothing said of access leaves loopback open, and anything said of it closes it unless that is said, too."""
    config = load(NODE + text)
    assert config.access.is_required(config.api.listen) is required


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[access.jwt]\nissuer = 'i'\naudience = 'a'", "access.jwt: give either jwks_file or jwks_url"),
        (
            "[access.jwt]\nissuer = 'i'\naudience = 'a'\njwks_url = 'http://keys.example.org/'",
            "access.jwt.jwks_url: must be https",
        ),
        (
            "[access.jwt]\nissuer = 'i'\naudience = 'a'\njwks_url = 'https://h/'\nalgorithms = ['HS256']",
            "access.jwt.algorithms.0: must be one of",
        ),
        (
            "[access.jwt]\nissuer = 'i'\naudience = 'a'\njwks_url = 'https://h/'\nalgorithms = ['none']",
            "access.jwt.algorithms.0: must be one of",
        ),
        ("[[access.limits]]\ncaller = 'token:a'\ngroups = ['*']", "access.limits.0.groups: * is no name"),
        ("[[access.limits]]\ncaller = 'anybody'", "access.limits.0.caller: "),
        (2 * "[[access.limits]]\ncaller = 'token:a'\n", "access.limits.1.caller: token:a is given"),
        ("[[access.users]]\nuid = -1\nname = 'a'\nrole = 'admin'", "access.users.0.uid: "),
        ("[[access.users]]\nuid = 1\nname = 'a'\nrole = 'root'", "access.users.0.role: "),
        ("[api]\ncertificate_file = 'owner.key'", "api: a certificate needs both"),
        ("[api]\nsocket = '/" + 120 * "a" + "'", "api.socket: has more than"),
    ],
)
def test_mistakes_about_access_are_told(load: Load, text: str, expected: str) -> None:
    """What would let in whom nobody meant, or nobody at all, is a mistake."""
    assert any(problem.startswith(expected) for problem in problems_of(load, NODE + text)), problems_of(
        load, NODE + text
    )


def test_a_key_that_others_can_read_is_refused(load: Load, tmp_path: Path) -> None:
    """A private key's file must have mode 0600; the message says how to get there."""
    (tmp_path / "owner.key").chmod(0o640)
    (problem,) = problems_of(load, NODE + ACCOUNT)
    assert problem.startswith("accounts.0.key_file: ")
    assert "chmod 600" in problem


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A configuration that is not there is one problem that names the path."""
    with pytest.raises(ConfigError, match=r"absent\.toml: can't be read: No such file"):
        load_config(tmp_path / "absent.toml", {})


def test_secrets_never_show_in_problems(load: Load) -> None:
    """A secret in a wrong place, or in a broken value, is not repeated in the message."""
    problems = problems_of(
        load,
        NODE + f"[[accounts]]\naddress = '0x12'\nprivate_key = '{DEVELOPMENT_KEY}'\n",
        ORCHESTRATOR_ACCOUNTS__1=f'{{"private_key": "{DEVELOPMENT_KEY}"',
        ORCHESTRATOR_ACCOUNTS__0__WORD="hunter2",
        ORCHESTRATOR_CHAIN__GAS_LIMIT="hunter2",
    )
    assert not any(DEVELOPMENT_KEY in problem or "hunter2" in problem for problem in problems)


@given(st.dictionaries(st.text("abcORCHESTATOR_01", max_size=30), st.text(max_size=20)))
def test_no_environment_breaks_the_overlay(environment: dict[str, str]) -> None:
    """Whatever is in the environment, loading ends with a configuration or with told problems."""
    path = DOCUMENT.with_name("absent.toml")
    with pytest.raises(ConfigError):
        load_config(path, environment)


@given(st.lists(st.sampled_from(["nodes", "0", "1", "7", "http", "store", "url", "x"]), min_size=1, max_size=5))
def test_every_path_of_a_variable_is_applied_or_told(tmp_path_factory: pytest.TempPathFactory, path: list[str]) -> None:
    """A variable with any path either takes effect or is a told problem: no other exception leaves."""
    file = tmp_path_factory.mktemp("config") / "orchestrator.toml"
    file.write_text(NODE)
    problems: tuple[str, ...] = ()
    try:
        load_config(file, {"ORCHESTRATOR_" + "__".join(path).upper(): "value"})
    except ConfigError as error:
        problems = error.problems
    assert all(": " in problem for problem in problems)


def test_the_documented_example_is_valid(tmp_path: Path) -> None:
    """The example in the documentation loads, with the files that it names."""
    example = re.findall(r"## Example\n```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[0]
    for name in re.findall(r'(?:_file|keystore) = "([^"]+)"', example):
        (tmp_path / name).write_text("something")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "orchestrator.toml").write_text(example)
    config = load_config(tmp_path / "orchestrator.toml", {})
    assert set(tomllib.loads(example)) == set(Config.model_fields)
    assert len(config.nodes) == 2


def test_every_key_is_documented() -> None:
    """The documentation's tables hold each key with its default and its meaning, as the code has them."""
    document = DOCUMENT.read_text()
    for row in documented_rows(Config, ""):
        assert row in document, f"docs/configuration.md lacks this row:\n{row}"


def documented_rows(model: type[BaseModel], path: str) -> list[str]:
    rows = []
    for name, field in model.model_fields.items():
        section = re.search(r"orchestrator\.config\.(?:\w+_)?sections?\.(\w+)", repr(field.annotation))
        if section is not None:
            module = import_module(section[0].rpartition(".")[0])
            inner = getattr(module, section[1])
            rows += documented_rows(inner, f"{path}{name}.")
            continue
        default = "required" if field.is_required() else _shown(field.default)
        rows.append(f"| `{path}{name}` | {default} | {field.description} |")
    return rows


def _shown(default: object) -> str:
    match default:
        case None | ():
            return ""
        case dict() if not default:
            return ""
        case tuple():
            return f"`{json.dumps(default)}`"
        case bool():
            return f"`{str(default).lower()}`"
        case Path() | str():
            return f'`"{default}"`'
        case int() | float():
            return f"`{default}`"
        case _:
            return str(default)


@pytest.mark.parametrize(
    "text",
    [
        '[store]\nurl = "postgresql://u@h/d"\npassword_file = "secret"\n' + NODE,
        '[broker]\nurl = "nats://h"\ntoken_file = "secret"\n' + NODE,
        '[broker]\nurl = "nats://h"\ncredentials_file = "secret"\n' + NODE,
        '[broker]\nurl = "tls://h"\ncertificate_file = "owner.key"\nkey_file = "secret"\n' + NODE,
        NODE + 'token_file = "secret"\n',
        NODE + '[[webhooks]]\nname = "w"\nurl = "https://h"\nsecret_file = "secret"\n',
    ],
    ids=["password", "token", "credentials", "TLS key", "node's token", "webhook's secret"],
)
def test_a_secret_that_others_can_read_is_refused(load: Load, tmp_path: Path, text: str) -> None:
    """A file with any secret must be its owner's only, as one with a private key."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o640)
    assert any("mode 0640" in problem and "chmod 600" in problem for problem in problems_of(load, text))
    (tmp_path / "secret").chmod(0o600)
    load(text)


def test_secrets_are_taken_as_services_hand_them_over(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in systemd's folder of credentials may have mode 0440, which is how its access list shows; not 0444."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    text = '[broker]\nurl = "nats://h"\ntoken_file = "secret"\n' + NODE
    secret.chmod(0o440)
    load(text)
    secret.chmod(0o444)
    assert any("mode 0444" in problem for problem in problems_of(load, text))


def test_the_empty_password_of_a_keystore_is_one(load: Load, tmp_path: Path) -> None:
    """A keystore's password may be empty; no other secret may."""
    for name in ("owner.json", "empty"):
        (tmp_path / name).touch(mode=0o600)
    (tmp_path / "owner.json").write_text("{}")
    load(NODE + ACCOUNT.replace('key_file = "owner.key"', 'keystore = "owner.json"\npassword_file = "empty"'))
    text = '[broker]\nurl = "nats://h"\ntoken_file = "empty"\n' + NODE
    assert any("empty is empty" in problem for problem in problems_of(load, text))


def test_marks_of_editors_are_no_mistake(load: Load, tmp_path: Path) -> None:
    """A byte order mark before the first section is left out; UTF-16 is named."""
    assert load("\ufeff" + NODE).nodes
    path = tmp_path / "utf16.toml"
    path.write_bytes(NODE.encode("utf-16"))
    with pytest.raises(ConfigError, match="written in UTF-16"):
        load_config(path, {})


@pytest.mark.parametrize(
    ("section", "key", "right", "wrong"),
    [
        ("[events]", "source", "https://org.example/membership", "/besu-membership-orchestrator"),
        ("[events]", "source", "urn:uuid:3f1c9f0e-8f55-4d0b-9d5c-0c1d2e3f4a5b", "urn:with space"),
        (
            "[[webhooks]]\nname = 'a'\nurl = 'https://org.example'",
            "origin",
            "membership.example.org",
            "https://x.example",
        ),
        ("[[webhooks]]\nname = 'a'\nurl = 'https://org.example'", "origin", "localhost", "a..b"),
    ],
)
def test_what_others_are_told_is_checked(load: Load, section: str, key: str, right: str, wrong: str) -> None:
    """A source has to be an absolute URI, and an origin a DNS name."""
    secret = {"ORCHESTRATOR_WEBHOOKS__0__SECRET": "shared"} if "webhooks" in section else {}
    load(f"{NODE}\n{section}\n{key} = '{right}'\n", **secret)
    (problem,) = problems_of(load, f"{NODE}\n{section}\n{key} = '{wrong}'\n", **secret)
    assert key in problem


@pytest.mark.parametrize(
    "wrong", ["console.example.org", "https://x.example/", "ftp://x.example", "https://u@x.example"]
)
def test_an_origin_of_pages_is_scheme_and_host(load: Load, wrong: str) -> None:
    """Where a proxy's pages come from is written as browsers write it, in lower case."""
    assert load(f"{NODE}\n[api]\norigins = ['https://Console.example.org']\n").api.origins == (
        "https://console.example.org",
    )
    assert problems_of(load, f"{NODE}\n[api]\norigins = ['{wrong}']\n")[0].startswith("api.origins.0")


ISSUED = """
[nodes.token]
url = "https://issuer.example.org/token"
client_id = "orchestrator"
client_secret_file = "owner.key"
"""


def test_tenants_share_an_address_by_whatever_proves_them(load: Load) -> None:
    """Nodes at one address with credentials of their own are no repetition; without they are."""
    other = NODE.replace("member1", "member2").replace(KEY, OTHER_KEY)
    config = load(NODE + ISSUED + other + 'user = "b"\npassword_file = "owner.key"\n')
    assert [node.token is not None for node in config.nodes] == [True, False]
    assert any("is given in nodes.0 already" in problem for problem in problems_of(load, NODE + other))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('user = "a"', "nodes.0: basic authentication needs both user and password_file"),
        ('certificate_file = "owner.key"', "nodes.0: a client certificate needs both certificate_file and key_file"),
        ('token_file = "owner.key"' + ISSUED, "nodes.0: has several credentials (token_file, token); keep one"),
        ("[nodes.token]", "nodes.0.token: give either command or url: where the token comes from"),
        (ISSUED + 'command = ["/bin/a"]', "nodes.0.token: give either command or url: where the token comes from"),
        ('[nodes.token]\nurl = "https://i"', "nodes.0.token: url needs client_id and client_secret_file"),
        (
            ISSUED.replace("https", "http"),
            "nodes.0.token.url: must be https, or http on loopback: the secret goes there",
        ),
        (
            '[nodes.token]\ncommand = ["get-token"]',
            "nodes.0.token.command: must begin with the program's absolute path: no shell looks for it",
        ),
        ("[nodes.token]\ncommand = []", "nodes.0.token.command: must not be empty"),
        ('user = "a:b"\npassword_file = "owner.key"', "nodes.0.user: must be 1 to 256 printable characters"),
    ],
)
def test_mistakes_of_what_proves_us_to_a_node_are_told(load: Load, lines: str, problem: str) -> None:
    """What is missing, given twice, or would show a secret to others is a mistake."""
    assert any(found.startswith(problem) for found in problems_of(load, f"{NODE}{lines}\n"))


def sources(*lines: str) -> str:
    return NODE + "".join(f'[[broker.sources]]\nsubject = "consortium"\n{line}\n' for line in lines)


def test_sources_share_a_subject_where_each_signs(load: Load) -> None:
    """Only signatures tell then who sent what: one that has no key can't share."""
    signing = 'name = "{}"\nkeys_file = "owner.key"'
    config = load(sources(signing.format("a"), signing.format("b") + "\nshare = 3"))
    assert [(source.name, source.share) for source in config.broker.sources] == [("a", 1), ("b", 3)]
    (problem,) = problems_of(load, sources(signing.format("a"), 'name = "b"'))
    assert problem.endswith("is given in broker.sources.0 already: to share it each needs keys_file")


def test_a_signature_does_not_outlive_what_it_asked_for(load: Load) -> None:
    """Where ended changes leave the store, a signature must have ended before: sent again it would be a new request."""
    lines = 'name = "a"\nkeys_file = "owner.key"\nsigned_hours = 25'
    kept = '[retention]\narchive_dir = "archive"\nchanges_days = 1\n'
    (problem,) = problems_of(load, kept + sources(lines))
    assert problem.startswith("broker.sources.0.signed_hours: is longer than retention.changes_days")
    kept = kept.replace("changes_days = 1\n", "")
    (by_environment,) = problems_of(load, kept + sources(lines), ORCHESTRATOR_RETENTION__CHANGES_DAYS="1")
    assert by_environment == problem
    assert load(sources(lines)).broker.sources[0].signed_hours == 25
