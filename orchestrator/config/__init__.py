"""The daemon's configuration: one TOML file, each value also by environment, every mistake told at once.

`load_config` is the way in. Where a value comes from and what it may be is in ``docs/configuration.md``.

Values are read and checked here, and files of secrets looked at. What is opened, connected or signed with them is in
`app`, and whether nodes and servers are what it says is the doctor's to ask.
"""

from orchestrator.config.account_section import AccountConfig, InstalledConfig, Pkcs11Config, Web3SignerConfig
from orchestrator.config.guard_section import GuardConfig
from orchestrator.config.loader import ConfigError, load_config
from orchestrator.config.sections import (
    AdmissionConfig,
    ApiConfig,
    BrokerConfig,
    BrokerNames,
    ChainConfig,
    Config,
    EngineConfig,
    LogConfig,
    MarkersConfig,
    NodeConfig,
    PeerConfig,
    RetentionConfig,
    WebhookConfig,
    secret_files,
)
from orchestrator.config.store_section import StoreConfig
from orchestrator.config.values import secret_trouble

__all__ = [
    "AccountConfig",
    "AdmissionConfig",
    "ApiConfig",
    "BrokerConfig",
    "BrokerNames",
    "ChainConfig",
    "Config",
    "ConfigError",
    "EngineConfig",
    "GuardConfig",
    "InstalledConfig",
    "LogConfig",
    "MarkersConfig",
    "NodeConfig",
    "PeerConfig",
    "Pkcs11Config",
    "RetentionConfig",
    "StoreConfig",
    "Web3SignerConfig",
    "WebhookConfig",
    "load_config",
    "secret_files",
    "secret_trouble",
]
