import aiohttp
import pytest

from orchestrator.besu import FlexiblePrivacyGroups, HttpNode, Node, signer_from_key

# A well-known public development key, and an enclave key of the recordings.
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
ENCLAVE_KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="


async def test_the_senders_enclave_key_may_be_the_nodes() -> None:
    """A node that knows its enclave key is enough to change groups; without one anywhere the mistake is named."""
    async with aiohttp.ClientSession() as session:
        http = HttpNode(session, "http://127.0.0.1:1")
        signer = signer_from_key(OWNER_KEY)
        FlexiblePrivacyGroups(Node(http, enclave_key=ENCLAVE_KEY), signer)
        FlexiblePrivacyGroups(Node(http), signer, ENCLAVE_KEY)
        with pytest.raises(ValueError, match="enclave key"):
            FlexiblePrivacyGroups(Node(http), signer)
