"""A cluster's servers, named one after the other in the address."""

from dataclasses import replace

from tests.contract.broker.conftest import QueueUnderTest
from tests.servers.ports import free_port


async def test_the_next_server_is_tried_when_one_is_away(queue: QueueUnderTest) -> None:
    """A request comes through the server that answers, whichever place it has, also when it was away for a while."""
    scheme, _, rest = queue.url.partition("://")
    credentials, at, _ = rest.rpartition("@")
    nobody = f"{scheme}://{credentials}{at}127.0.0.1:{free_port()}"
    for url in (f"{nobody},{queue.url}", f"{queue.url},{nobody}"):
        async with replace(queue, url=url).open() as broker:
            await broker.check()
            await broker.check_events()
