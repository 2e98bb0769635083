import itertools

import pytest

from orchestrator.besu.client.own_markers import OwnMarkers, one_time_account, pooled_keys
from orchestrator.devnet.chain.public_signatures import decode_public_transaction
from orchestrator.engine.ports.nodes import MarkerAccount, NodeError

PAYLOAD_KEY = b"\x22" * 32
SEED = b"\x07" * 32


def test_a_one_time_marker_can_be_renewed_and_burnt_from_what_is_stored() -> None:
    """All forms share the account and its first nonce, so that one of them can be mined."""
    markers = OwnMarkers(gas_limit=22_024, gas_price=0)
    marker = markers.make(PAYLOAD_KEY, 1337, one_time_account(b"\x11" * 32))
    forms = [marker.raw, markers.renew(marker).raw, markers.burn(marker).raw, markers.burn(marker, 1).raw]
    decoded = [decode_public_transaction(raw) for raw in forms]
    assert {(d.sender, d.account_nonce) for d in decoded} == {(marker.account, 0)}
    assert {d.gas_price for d in decoded} == {0}
    assert len({d.hash for d in decoded}) == 4


def test_pooled_accounts_are_derived_from_the_seed_alone() -> None:
    """A larger pool begins with the accounts of the smaller one: what was permitted and funded stays of use."""
    ten = pooled_keys(SEED, 10)
    assert list(pooled_keys(SEED, 3)) == list(ten)[:3]
    assert len(ten) == 10
    assert not set(ten) & set(pooled_keys(b"\x08" * 32, 10))


def test_a_pooled_marker_is_stored_without_its_key() -> None:
    """The key of an account with funds stays in the configuration; it is found again by the address."""
    keys = pooled_keys(SEED, 2)
    address = list(keys)[1]
    markers = OwnMarkers(gas_limit=22_024, gas_price=1_000, keys=keys)
    marker = markers.make(PAYLOAD_KEY, 1337, MarkerAccount(account=address, account_nonce=5))
    assert (marker.account, marker.account_nonce, marker.key) == (address, 5, b"")
    burn = markers.burn(marker)
    assert (burn.sender, burn.transaction.account_nonce) == (address, 5)


def test_what_replaces_a_paid_marker_pays_a_tenth_more_at_least() -> None:
    """Pools let nothing replace a transaction with a price that pays less."""
    keys = pooled_keys(SEED, 1)
    markers = OwnMarkers(gas_limit=22_024, gas_price=1_001, keys=keys)
    marker = markers.make(PAYLOAD_KEY, 1337, MarkerAccount(account=next(iter(keys))))
    renewed = markers.renew(marker)
    prices = [marker.gas_price, renewed.gas_price]
    prices += [markers.burn(renewed, n).transaction.gas_price for n in range(3)]
    assert all(10 * after >= 11 * before for before, after in itertools.pairwise(prices))


def test_an_account_that_is_not_configured_any_more_is_named() -> None:
    """Without its key nothing can be taken back: a person has to bring it back."""
    keys = pooled_keys(SEED, 1)
    marker = OwnMarkers(gas_limit=22_024, gas_price=0, keys=keys).make(
        PAYLOAD_KEY, 1337, MarkerAccount(account=next(iter(keys)))
    )
    with pytest.raises(NodeError) as refused:
        OwnMarkers(gas_limit=22_024, gas_price=0).burn(marker)
    assert refused.value.reason.slug == "account_unavailable"
    assert marker.account in refused.value.reason.detail
