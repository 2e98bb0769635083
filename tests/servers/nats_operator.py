"""NATS in operator mode: an operator, an account with JetStream and a user, as ``nsc`` makes them.

Every key is made for one test; nothing of it is kept.
"""

import base64
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped] # it has no types

_CREDENTIALS = """\
-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------

*************************************************************
"""
_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
_ACCOUNT = _UNLIMITED | {"imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
_STORING = {"mem_storage": 64 << 20, "disk_storage": 1 << 30, "streams": -1, "consumer": -1}


@dataclass(frozen=True)
class Operator:
    """What a server in operator mode is configured with, and what its user connects with.

    Attributes:
        settings: Part of the server's configuration file.
        credentials: Contents of the user's file of credentials.
    """

    settings: str
    credentials: str

    def write_credentials(self, path: Path) -> Path:
        """Write the user's credentials to a file that only its owner reads."""
        path.touch(mode=0o600)
        path.write_text(self.credentials)
        return path


def make_operator() -> Operator:
    """Make an operator, a system account, an account with JetStream and a user of that account."""
    operator, system, account, user = (_key(kind) for kind in (b"O", b"A", b"A", b"U"))
    operator_jwt = _signed(operator, operator, {"type": "operator", "version": 2, "system_account": _id(system)})
    accounts = {
        _id(system): _signed(operator, system, {"type": "account", "version": 2, "limits": _ACCOUNT}),
        _id(account): _signed(operator, account, {"type": "account", "version": 2, "limits": _ACCOUNT | _STORING}),
    }
    user_jwt = _signed(account, user, {"type": "user", "version": 2, **_UNLIMITED})
    preloaded = "\n".join(f"{name}: {jwt}" for name, jwt in accounts.items())
    return Operator(
        settings=f"operator: {operator_jwt}\nsystem_account: {_id(system)}\nresolver: MEMORY\n"
        f"resolver_preload: {{\n{preloaded}\n}}\n",
        credentials=_CREDENTIALS.format(jwt=user_jwt, seed=bytes(user.seed).decode()),
    )


def make_nkey() -> tuple[str, str]:
    """Make a user's key; returns its public half, by which servers name the user, and the seed."""
    user = _key(b"U")
    return _id(user), bytes(user.seed).decode()


def _key(kind: bytes) -> Any:
    prefixes = {b"O": nkeys.PREFIX_BYTE_OPERATOR, b"A": nkeys.PREFIX_BYTE_ACCOUNT, b"U": nkeys.PREFIX_BYTE_USER}
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), prefixes[kind]))


def _id(key: Any) -> str:
    return bytes(key.public_key).decode()


def _signed(issuer: Any, subject: Any, nats: dict[str, Any]) -> str:
    claims = {"iat": int(time.time()), "iss": _id(issuer), "sub": _id(subject), "name": nats["type"], "nats": nats}
    claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
    head = _encoded(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    signed = f"{head}.{_encoded(json.dumps(claims).encode())}"
    return f"{signed}.{_encoded(bytes(issuer.sign(signed.encode())))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
