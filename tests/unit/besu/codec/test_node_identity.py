import pytest

from orchestrator.besu.codec.node_identity import address_of_enode
from orchestrator.besu.errors import ProtocolError

# The public key of the well-known development account 0xfe3b557e….
PUBLIC_KEY = (
    "09b02f8a5fddd222ade4ea4528faefc399623af3f736be3c44f03e2df22fb792"
    "f3931a4d9573d333ca74343305762a753388c3422a86d98b713fc91c1ea04842"
)


def test_a_node_is_listed_by_the_address_of_its_key() -> None:
    """The address is the one that an account with the node's key has."""
    assert address_of_enode(f"enode://{PUBLIC_KEY}@127.0.0.1:30303") == "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"


@pytest.mark.parametrize("enode", [None, 5, "", "enode://12@host", "http://" + PUBLIC_KEY])
def test_what_is_no_enode_is_refused(enode: object) -> None:
    """Anything else raises the error for a wrong answer."""
    with pytest.raises(ProtocolError):
        address_of_enode(enode)
