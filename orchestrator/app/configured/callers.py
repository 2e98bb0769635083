"""Who may ask, as the configuration says: callers over HTTP, and senders by their subject or queue."""

import os
from datetime import timedelta
from typing import Final

from orchestrator.access.callers import Caller, Door, Role, Scope, scope_of
from orchestrator.api.callers.authentication import AccessRules, LocalUser
from orchestrator.app.configured.sender_keys import SenderKeys
from orchestrator.config import Config
from orchestrator.config.access_section import LimitConfig, UserConfig
from orchestrator.config.source_section import SourceConfig
from orchestrator.engine.intake.admission import AdmissionRules
from orchestrator.engine.intake.senders import Sender, Senders

_OWNER: Final = "owner"
"""What the user is called who runs the daemon: who can read its files is an admin anyway."""


def access_rules(config: Config) -> AccessRules:
    """Return who may use the interface, as the configuration says."""
    users = {os.getuid(): LocalUser(name=_OWNER, role=Role.ADMIN)}
    # A user of the configuration comes after, so that also the daemon's own one can be given less than everything.
    users |= {
        user.uid: LocalUser(name=user.name, role=user.role, scope=configured_scope(user, config.groups))
        for user in config.access.users
    }
    return AccessRules(
        required=config.access.is_required(config.api.listen),
        users=users,
        limits={limit.caller: configured_scope(limit, config.groups) for limit in config.access.limits},
    )


def configured_scope(section: UserConfig | LimitConfig | SourceConfig, names: dict[str, str]) -> Scope:
    """Return the scope that a section of the configuration gives; its groups may be written by their names."""
    groups = None if section.groups is None else [names.get(group, group) for group in section.groups]
    return scope_of(groups, section.accounts, section.kinds)


def senders(config: Config) -> Senders:
    """Return who asks by which subject or queue; empty where whoever may publish asks for whatever it likes."""
    found: dict[str, list[Sender]] = {}
    for source in config.broker.sources:
        caller = Caller(
            name=asker_name(source),
            role=Role.OPERATOR,
            scope=configured_scope(source, config.groups),
            door=Door.QUEUE,
        )
        keys = None if source.keys_file is None else SenderKeys(source.keys_file, source.name).present
        sender = Sender(caller=caller, keys=keys, signed_within=timedelta(hours=source.signed_hours))
        found.setdefault(source.subject, []).append(sender)
    return found


def shares(config: Config) -> dict[str, int]:
    """Return how many turns at work each sender gets that has more than one for each of another's."""
    return {asker_name(source): source.share for source in config.broker.sources if source.share > 1}


def admission_rules(config: Config) -> AdmissionRules:
    """Return how much of each sender's may be unfinished."""
    return AdmissionRules(
        per_source=config.admission.per_source,
        per_account=config.admission.per_account,
        when_full=config.admission.when_full,
        of_source={
            asker_name(source): source.unfinished for source in config.broker.sources if source.unfinished is not None
        },
    )


def asker_name(source: SourceConfig) -> str:
    """Return how a source is told from all other callers."""
    return f"queue:{source.name}"
