"""Mistakes that concern more than one value: looked for in the raw values, so that they are told beside all others."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from orchestrator.besu.codec.account_signatures import address_of_public_key
from orchestrator.config.values import check_group_id, has_password, is_loopback_listen

_OTHER_NAMES: Final = {
    "dead": "membership.requests.dead",
    "events": "membership.events",
    "verdicts": "membership.verdicts",
}
"""Where requests do not come in, as long as nothing else is configured."""
_WAYS_TO_SIGN: Final = ("keystore", "key_file", "private_key", "web3signer", "pkcs11", "installed")
_BY_ENVIRONMENT_ONLY: Final = {"accounts": ("private_key",), "webhooks": ("secret",)}
_TRUTH: Final = TypeAdapter(bool)
_NUMBER: Final = TypeAdapter(float)


def secret_problems(in_file: Mapping[str, Any]) -> list[str]:
    """Return one message for each secret that stands in the file itself."""
    problems = []
    for section, keys in _BY_ENVIRONMENT_ONLY.items():
        for index, entry in _tables(in_file.get(section)):
            problems += [
                f"{section}.{index}.{key}: a secret must not stand in the configuration; "
                f"name a file that holds it, or set {_variable(section, index, key)}"
                for key in keys
                if key in entry
            ]
    for section, files in (("store", "password_file"), ("broker", "password_file or token_file")):
        url = _table(in_file.get(section)).get("url")
        if isinstance(url, str) and has_password(url):
            problems.append(
                f"{section}.url: holds a password, which must not stand in the configuration; "
                f"name a {files}, or set ORCHESTRATOR_{section.upper()}__URL"
            )
    return problems


def relation_problems(values: Mapping[str, Any]) -> list[str]:
    """Return one message for each thing that is given twice, or not at all, or not together with what it needs."""
    nodes = list(_tables(values.get("nodes")))
    accounts = list(_tables(values.get("accounts")))
    webhooks = list(_tables(values.get("webhooks")))
    peers = list(_tables(values.get("peers")))
    problems = [
        *_repeated("nodes", "name", ((i, n.get("name")) for i, n in nodes)),
        # Tenants of one node share its address; each proves itself by its own means (docs/besu.md#multi-tenancy).
        *_repeated("nodes", "http", ((i, n.get("http")) for i, n in nodes if not _proofs(n))),
        # One token is one tenant's, so that two nodes with it are the same node twice.
        *_repeated("nodes", "token_file", ((i, n.get("token_file")) for i, n in nodes)),
        *(problem for i, n in nodes for problem in _credential_problems(f"nodes.{i}", n)),
        *_repeated("nodes", "enclave_keys", ((i, key) for i, n in nodes for key in _items(n.get("enclave_keys")))),
        *_repeated("accounts", "address", ((i, _lower(a.get("address"))) for i, a in accounts)),
        *_repeated("webhooks", "name", ((i, w.get("name")) for i, w in webhooks)),
        *_repeated("peers", "enclave_key", ((i, p.get("enclave_key")) for i, p in peers)),
        *_speaker_problems(nodes, {_lower(a.get("address")) for _, a in accounts}),
    ]
    retention = _table(values.get("retention"))
    if retention.get("audit_days") is not None and retention.get("archive_dir") is None:
        problems.append("retention.audit_days: needs retention.archive_dir, where the entries go")
    for index, account in accounts:
        problems += _account_problems(f"accounts.{index}", account)
    for index, webhook in webhooks:
        if ("secret_file" in webhook) == ("secret" in webhook):
            variable = _variable("webhooks", index, "secret")
            problems.append(f"webhooks.{index}: give either secret_file or {variable}; receivers check it")
    store = _table(values.get("store"))
    if ("certificate_file" in store) != ("key_file" in store):
        problems.append("store: a client certificate needs both certificate_file and key_file")
    problems += _access_problems(_table(values.get("access")), _table(values.get("api")), _table(values.get("groups")))
    problems += _guard_problems(_table(values.get("guard")), nodes)
    broker = _table(values.get("broker"))
    problems += _signature_problems(list(_tables(broker.get("sources"))), _table(values.get("retention")))
    return problems + _broker_problems(broker, _table(values.get("groups")))


def _proofs(node: Mapping[str, Any]) -> list[str]:
    return [key for key in ("token_file", "token", "user") if key in node]


def _credential_problems(path: str, node: Mapping[str, Any]) -> list[str]:
    problems = []
    if len(given := _proofs(node)) > 1:
        problems.append(f"{path}: has several credentials ({', '.join(given)}); keep one")
    if ("user" in node) != ("password_file" in node):
        problems.append(f"{path}: basic authentication needs both user and password_file")
    if ("certificate_file" in node) != ("key_file" in node):
        problems.append(f"{path}: a client certificate needs both certificate_file and key_file")
    if "token" not in node:
        return problems
    token = _table(node["token"])
    if ("command" in token) == ("url" in token):
        problems.append(f"{path}.token: give either command or url: where the token comes from")
    if "url" in token and not {"client_id", "client_secret_file"} <= set(token):
        problems.append(f"{path}.token: url needs client_id and client_secret_file")
    url = token.get("url")
    if isinstance(url, str) and not _is_private(url):
        problems.append(f"{path}.token.url: must be https, or http on loopback: the secret goes there")
    return problems


def _guard_problems(guard: Mapping[str, Any], nodes: list[tuple[int, dict[str, Any]]]) -> list[str]:
    problems = []
    node = guard.get("node")
    if isinstance(node, str) and node not in [entry.get("name") for _, entry in nodes]:
        problems.append(f"guard.node: {node[:100]} is none of nodes")
    for certificate, key in (("certificate_file", "key_file"), ("enclave_certificate_file", "enclave_key_file")):
        if (certificate in guard) != (key in guard):
            problems.append(f"guard: a certificate needs both {certificate} and {key}")
    if "client_ca_file" in guard and "certificate_file" not in guard:
        problems.append("guard.client_ca_file: needs certificate_file, without which there is no TLS")
    if guard.get("accept") == "known-owners" and not _items(guard.get("known_owners")):
        problems.append("guard.known_owners: is empty, so that known-owners would accept nothing")
    return problems


def _access_problems(access: Mapping[str, Any], api: Mapping[str, Any], names: Mapping[str, Any]) -> list[str]:
    problems = []
    listen = api.get("listen")
    if _is_false(access.get("required")) and isinstance(listen, str) and not _is_local(listen):
        problems.append(
            "access.required: is false, and api.listen is more than loopback, so that whoever reaches it could change "
            "groups: leave required out, or listen on 127.0.0.1"
        )
    if ("certificate_file" in api) != ("key_file" in api):
        problems.append("api: a certificate needs both certificate_file and key_file")
    jwt = access.get("jwt")
    if isinstance(jwt, dict):
        if ("jwks_file" in jwt) == ("jwks_url" in jwt):
            problems.append("access.jwt: give either jwks_file or jwks_url: the issuer's keys")
        url = jwt.get("jwks_url")
        if isinstance(url, str) and not _is_private(url):
            problems.append("access.jwt.jwks_url: must be https, or http on loopback: who can change keys is everybody")
    users, limits = list(_tables(access.get("users"))), list(_tables(access.get("limits")))
    problems += _repeated("access.users", "uid", ((index, str(user.get("uid"))) for index, user in users))
    problems += _repeated("access.limits", "caller", ((index, limit.get("caller")) for index, limit in limits))
    for section, entries in (("users", users), ("limits", limits)):
        for index, entry in entries:
            problems += group_problems(f"access.{section}.{index}", entry, names)
    return problems


def group_problems(path: str, entry: Mapping[str, Any], names: Mapping[str, Any]) -> list[str]:
    """Return one message for each group of a scope that is neither a name of the configuration nor an id."""
    return [
        f"{path}.groups: {group[:100]} is no name of [groups] and no privacy group id (base64 of 32 bytes)"
        for group in _items(entry.get("groups"))
        if isinstance(group, str) and group not in names and not _is_group_id(group)
    ]


def _is_group_id(text: str) -> bool:
    try:
        check_group_id(text)
    except ValueError:
        return False
    return True


def _is_false(value: Any) -> bool:
    """Return whether a raw value will be read as false, be it a text of the environment, such as `off` or `0`."""
    try:
        return value is not None and not _TRUTH.validate_python(value)
    except ValidationError:
        return False  # neither, which is told elsewhere


def _number(value: Any) -> float | None:
    """Return the number that a raw value will be read as, be it a text of the environment; None for none."""
    try:
        return _NUMBER.validate_python(value)
    except ValidationError:
        return None  # told elsewhere


def _is_local(listen: str) -> bool:
    try:
        return is_loopback_listen(listen)
    except ValueError:
        return True  # no address at all, which is told elsewhere


def _is_private(url: str) -> bool:
    parts = urlsplit(url)
    # Whether it is loopback is told of addresses to listen on; the port does not matter.
    return parts.scheme == "https" or (parts.hostname is not None and _is_local(f"{parts.hostname}:1"))


def _speaker_problems(nodes: list[tuple[int, dict[str, Any]]], known: set[Any]) -> list[str]:
    return [
        f"nodes.{index}.speaker: {speaker[:100]} is none of accounts; give its key there"
        for index, node in nodes
        if isinstance(speaker := node.get("speaker"), str) and speaker.lower() not in known
    ]


def _account_problems(path: str, account: Mapping[str, Any]) -> list[str]:
    ways = [key for key in _WAYS_TO_SIGN if key in account]
    if not ways:
        return [
            f"{path}: has no key; give keystore with password_file, or key_file, or what holds it: web3signer, pkcs11 "
            "or installed"
        ]
    if len(ways) > 1:
        return [f"{path}: has several keys ({', '.join(ways)}); keep one"]
    problems = []
    if ways == ["keystore"] and "password_file" not in account:
        problems.append(f"{path}: a keystore needs its password; give password_file")
    if ways != ["keystore"] and "password_file" in account:
        problems.append(f"{path}.password_file: only a keystore has a password; leave it out beside {ways[0]}")
    problems += _web3signer_problems(path, _table(account.get("web3signer")), _lower(account.get("address")))
    token = _table(account.get("pkcs11"))
    if token and "key_label" not in token and "key_id" not in token:
        problems.append(f"{path}.pkcs11: names no key; give key_label or key_id, or both")
    return problems


def _web3signer_problems(path: str, signer: Mapping[str, Any], address: Any) -> list[str]:
    problems = []
    url, public_key = signer.get("url"), signer.get("public_key")
    if isinstance(url, str) and not _is_private(url):
        problems.append(
            f"{path}.web3signer.url: must be https, or http on loopback: whoever reads our requests could use the "
            "token in them"
        )
    if ("certificate_file" in signer) != ("key_file" in signer):
        problems.append(f"{path}.web3signer: a client certificate needs both certificate_file and key_file")
    if isinstance(public_key, str) and isinstance(address, str):
        try:
            of = address_of_public_key(bytes.fromhex(public_key.removeprefix("0x")))
        except ValueError:
            of = address  # no key at all, which is told elsewhere
        if of != address:
            problems.append(f"{path}.web3signer.public_key: is the key of {of}, not of {address}")
    return problems


def _broker_problems(broker: Mapping[str, Any], group_names: Mapping[str, Any]) -> list[str]:
    problems = []
    if "password_file" in broker and "user" not in broker:
        problems.append("broker.user: is missing beside password_file")
    if ("certificate_file" in broker) != ("key_file" in broker):
        problems.append("broker: a client certificate needs both certificate_file and key_file")
    url, mechanism = broker.get("url"), broker.get("sasl_mechanism")
    if mechanism == "PLAIN" and isinstance(url, str) and url.startswith("kafka:"):
        problems.append("broker.sasl_mechanism: PLAIN shows the password to the network: take kafkas://, or SCRAM")
    names = _table(broker.get("names"))
    chosen = [name for key in ("requests", "dead", "events", "verdicts") if isinstance(name := names.get(key), str)]
    if len(set(chosen)) != len(chosen):
        problems.append("broker.names: requests, dead, events and verdicts must differ")
    return problems + _source_problems(broker, names, group_names)


def _source_problems(broker: Mapping[str, Any], names: Mapping[str, Any], group_names: Mapping[str, Any]) -> list[str]:
    sources = list(_tables(broker.get("sources")))
    problems = [
        *_repeated("broker.sources", "name", ((index, source.get("name")) for index, source in sources)),
        *_shared_subjects(sources),
    ]
    taken = {names.get(key, default) for key, default in _OTHER_NAMES.items()}
    events = f"{names.get('events', _OTHER_NAMES['events'])}."
    for index, source in sources:
        subject = source.get("subject")
        if isinstance(subject, str) and (subject in taken or subject.startswith(events)):
            problems.append(f"broker.sources.{index}.subject: {subject[:100]} is where something else goes")
        problems += group_problems(f"broker.sources.{index}", source, group_names)
    return problems


def _shared_subjects(sources: list[tuple[int, dict[str, Any]]]) -> list[str]:
    """Where several send by one subject only their signatures tell who sent what."""
    unsigned = {source.get("subject") for _, source in sources if "keys_file" not in source}
    found = _repeated(
        "broker.sources", "subject", ((i, s.get("subject")) for i, s in sources if s.get("subject") in unsigned)
    )
    return [f"{problem}: to share it each needs keys_file" for problem in found]


def _signature_problems(sources: list[tuple[int, dict[str, Any]]], retention: Mapping[str, Any]) -> list[str]:
    """A signature must not outlive what it asked for: sent again, it would be another change."""
    kept_days = _number(retention.get("changes_days", 90.0))
    if "archive_dir" not in retention or kept_days is None:
        return []
    return [
        f"broker.sources.{index}.signed_hours: is longer than retention.changes_days, after which a request that is "
        "sent again is not recognised"
        for index, source in sources
        if "keys_file" in source and (hours := _number(source.get("signed_hours", 168.0))) is not None
        if hours > kept_days * 24
    ]


def _repeated(section: str, key: str, given: Iterable[tuple[int, Any]]) -> list[str]:
    first: dict[str, int] = {}
    problems = []
    for index, value in given:
        if not isinstance(value, str):
            continue
        if value in first:
            where = f"{section}.{first[value]}" if first[value] != index else "the same list"
            problems.append(f"{section}.{index}.{key}: {value[:100]} is given in {where} already")
        first.setdefault(value, index)
    return problems


def _tables(value: Any) -> list[tuple[int, dict[str, Any]]]:
    return [(index, entry) for index, entry in enumerate(_items(value)) if isinstance(entry, dict)]


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _variable(section: str, index: int, key: str) -> str:
    return f"ORCHESTRATOR_{section.upper()}__{index}__{key.upper()}"
