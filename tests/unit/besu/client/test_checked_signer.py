"""What `CheckedSigner` makes of services that are not as they should be."""

import asyncio

import pytest
from eth_hash.auto import keccak

from orchestrator.besu.client.checked_signer import CheckedSigner
from orchestrator.besu.client.signer_ports import SignerAwayError, SignerRefusedError, WrongSignatureError
from orchestrator.besu.codec.account_signatures import sign_digest
from tests.simulation.virtual_time import in_virtual_time

# A well-known public development key.
KEY = bytes.fromhex("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
ADDRESS = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"


class Service:
    """Signs with the key, or does what the test wants."""

    def __init__(self, *does: BaseException | bytes | str | None) -> None:
        self.does = list(does)
        self.asked = 0

    async def sign(self, message: bytes) -> bytes:
        self.asked += 1
        todo = self.does.pop(0) if self.does else None
        if isinstance(todo, BaseException):
            raise todo
        if todo is not None:
            return todo  # type: ignore[return-value] # a service of others may return anything
        return sign_digest(keccak(message), KEY).statement_bytes()


@pytest.mark.parametrize(
    "error", [RuntimeError("Bearer abcdefghijkl"), KeyError("x"), OSError(5, "broken"), EOFError()]
)
async def test_an_unforeseen_failure_is_no_refusal(error: Exception) -> None:
    """Nobody knows what it means: the signer counts as away, its words are told without what looks like a secret."""
    signer = CheckedSigner(ADDRESS, "the service", Service(error))
    with pytest.raises(
        SignerAwayError, match=f"the service failed to sign as {ADDRESS}: {type(error).__name__}"
    ) as said:
        await signer.sign(b"message")
    assert "abcdefghijkl" not in str(said.value)
    assert (await signer.sign(b"message")).recovery_id in (0, 1)


async def test_what_a_service_raises_as_its_answer_is_passed_on() -> None:
    """A refusal is a refusal, and a time-out of its own is being away."""
    signer = CheckedSigner(ADDRESS, "the service", Service(SignerRefusedError("locked"), TimeoutError()))
    with pytest.raises(SignerRefusedError, match="locked"):
        await signer.sign(b"message")
    with pytest.raises(SignerAwayError, match="within 10 s"):
        await signer.sign(b"message")


@pytest.mark.parametrize("answer", [b"", b"\x30\x00", "0x12", b"\x00" * 65])
async def test_no_answer_but_a_signature_is_used(answer: bytes | str) -> None:
    """Bytes that are no signature are wrong; what are no bytes is a failure."""
    signer = CheckedSigner(ADDRESS, "the service", Service(answer))
    with pytest.raises(WrongSignatureError if isinstance(answer, bytes) else SignerAwayError):
        await signer.sign(b"message")


@in_virtual_time
async def test_waiting_for_a_turn_counts() -> None:
    """Whoever waits behind a signature that hangs is told after the same time, and has not asked the service."""

    class Hanging(Service):
        async def sign(self, message: bytes) -> bytes:
            self.asked += 1
            await asyncio.Event().wait()
            return message

    service = Hanging()
    signer = CheckedSigner(ADDRESS, "the service", service, timeout_seconds=10.0, at_once=1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(signer.sign(b"message") for _ in range(5)), return_exceptions=True)
    assert loop.time() - began == pytest.approx(10.0)
    assert all(isinstance(answer, SignerAwayError) for answer in answers)
    assert service.asked == 1
