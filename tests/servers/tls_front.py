"""TLS before a plain server: who shows no certificate of the authority is not let through."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme


class Certificates:
    """An authority of a test's own, and the certificates that it issued, in files.

    Args:
        folder: Where they are written: ``ca.pem``, and by name ``NAME.pem`` and ``NAME.key``.
        names: Clients that get a certificate, with their common names; ``server`` is the server's.
    """

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        issued = {name: authority.issue_cert(common_name=name) for name in names}
        for name, found in {"server": authority.issue_cert("127.0.0.1", "localhost"), **issued}.items():
            found.private_key_pem.write_to_path(str(folder / f"{name}.key"))
            for pem in found.cert_chain_pems:
                pem.write_to_path(str(folder / f"{name}.pem"), append=True)
            (folder / f"{name}.key").chmod(0o600)

    def server_context(self, *, asks: bool) -> ssl.SSLContext:
        """Return what a server speaks TLS with; `asks`: only clients with a certificate are let in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        if asks:
            context.load_verify_locations(self.folder / "ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@asynccontextmanager
async def tls_front(certificates: Certificates, port: int) -> AsyncIterator[int]:
    """Stand before a plain server on loopback; yields the port that asks for certificates."""
    open_ones: set[asyncio.StreamWriter] = set()
    passing: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
        writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        passing.add(task)
        open_ones.add(writer)
        try:
            behind, to_behind = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        open_ones.add(to_behind)
        await asyncio.gather(pass_on(reader, to_behind), pass_on(behind, writer))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=certificates.server_context(asks=True))
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        # Over TLS a farewell may not be answered any more, and what is not closed then is found open by another test.
        for writer in open_ones:
            writer.transport.abort()
        await asyncio.gather(*passing, return_exceptions=True)
        await asyncio.sleep(0)
