import pytest

from orchestrator.besu.codec.transaction_fields import InvalidFieldError, read_fields

KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="


def test_fields_become_arguments() -> None:
    """Names and types of other clients are translated; what is None counts as not given."""
    given = {
        "nonce": "0x10",
        "gasPrice": 5,
        "to": None,
        "data": "0x0102",
        "privateFrom": KEY,
        "privateFor": [KEY],
        "chainId": 1337,
    }
    assert read_fields(given) == {
        "private_nonce": 16,
        "gas_price": 5,
        "to": None,
        "data": b"\x01\x02",
        "private_from": KEY,
        "private_for": (KEY,),
        "chain_id": 1337,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nonce", True),
        ("nonce", "12"),
        ("nonce", "0xzz"),
        ("nonce", 1.5),
        ("to", 12),
        ("data", 12),
        ("data", "0x1"),
        ("privateFor", KEY),
        ("privateFor", 12),
        ("privateFor", [1]),
        ("from", "0x"),
    ],
)
def test_fields_of_the_wrong_type_are_named(field: str, value: object) -> None:
    """The message names the field that cannot be read."""
    with pytest.raises(InvalidFieldError, match=field):
        read_fields({"nonce": 0, "privateFrom": KEY, field: value})
