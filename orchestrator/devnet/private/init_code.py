"""What the init code of a contract returns, for straight-line constructors. Pure.

Application code is not emulated (docs/devnet.md); but what a constructor returns is the new contract's code, which
clients read back, and constructors of ordinary compilers need only the few instructions here. Anything else ends the
run, and the contract's code is then empty.
"""

from typing import Final

_MAX_STEPS: Final = 2_000
_MAX_MEMORY: Final = 1 << 17
_STOP, _ISZERO, _CALLVALUE, _CODECOPY, _CODESIZE = 0x00, 0x15, 0x34, 0x39, 0x38
_CALLDATASIZE, _POP, _MSTORE, _MSTORE8, _SSTORE = 0x36, 0x50, 0x52, 0x53, 0x55
_MLOAD, _JUMP, _JUMPI, _JUMPDEST, _RETURN = 0x51, 0x56, 0x57, 0x5B, 0xF3
_ADD, _SUB, _PUSH0, _CALLER, _SHL, _SLOAD = 0x01, 0x03, 0x5F, 0x33, 0x1B, 0x54
_WORD: Final = 1 << 256


def run_init_code(code: bytes) -> bytes:
    """Run a constructor and return the code that it leaves; nothing when it needs more than is emulated."""
    machine = _Machine(code)
    try:
        return machine.run()
    except (IndexError, _UnsupportedError):
        return b""


class _UnsupportedError(Exception):
    """The code needs an instruction, or more memory or steps, than is emulated."""


class _Machine:
    """A stack, a memory and a place in the code."""

    def __init__(self, code: bytes) -> None:
        self._code = code
        self._stack: list[int] = []
        self._memory = bytearray()
        self._at = 0

    def run(self) -> bytes:
        for _ in range(_MAX_STEPS):
            if self._at >= len(self._code):
                return b""
            instruction = self._code[self._at]
            self._at += 1
            if instruction == _STOP:
                return b""
            if instruction == _RETURN:
                start, length = self._stack.pop(), self._stack.pop()
                self._reach(start + length)
                return bytes(self._memory[start : start + length])
            self._step(instruction)
        raise _UnsupportedError

    def _step(self, instruction: int) -> None:
        stack = self._stack
        if _PUSH0 <= instruction <= 0x7F:
            size = instruction - _PUSH0
            stack.append(int.from_bytes(self._code[self._at : self._at + size].ljust(size, b"\0")))
            self._at += size
        elif 0x80 <= instruction <= 0x8F:
            stack.append(stack[-(instruction - 0x7F)])
        elif 0x90 <= instruction <= 0x9F:
            other = -(instruction - 0x8E)
            stack[-1], stack[other] = stack[other], stack[-1]
        elif instruction in {_CALLVALUE, _CALLDATASIZE, _CALLER}:
            stack.append(0)
        elif instruction == _CODESIZE:
            stack.append(len(self._code))
        elif instruction in {_JUMP, _JUMPI}:
            target = stack.pop()
            if instruction == _JUMP or stack.pop():
                if self._code[target] != _JUMPDEST:
                    raise _UnsupportedError
                self._at = target
        elif instruction in {_MSTORE, _MSTORE8, _MLOAD, _CODECOPY}:
            self._use_memory(instruction)
        else:
            self._calculate(instruction)

    def _calculate(self, instruction: int) -> None:
        stack = self._stack
        if instruction in {_POP, _SLOAD}:
            stack.pop()
            if instruction == _SLOAD:
                stack.append(0)
        elif instruction == _SSTORE:
            stack.pop()
            stack.pop()
        elif instruction == _ISZERO:
            stack.append(int(stack.pop() == 0))
        elif instruction in {_ADD, _SUB, _SHL}:
            first, second = stack.pop(), stack.pop()
            if instruction == _SHL:
                stack.append((second << min(first, 256)) % _WORD)
            else:
                stack.append((first + second if instruction == _ADD else first - second) % _WORD)
        elif instruction != _JUMPDEST:
            raise _UnsupportedError

    def _use_memory(self, instruction: int) -> None:
        if instruction == _CODECOPY:
            to, start, length = self._stack.pop(), self._stack.pop(), self._stack.pop()
            self._reach(to + length)
            self._memory[to : to + length] = self._code[start : start + length].ljust(length, b"\0")
            return
        at = self._stack.pop()
        size = 1 if instruction == _MSTORE8 else 32
        self._reach(at + size)
        if instruction == _MLOAD:
            self._stack.append(int.from_bytes(self._memory[at : at + 32]))
        else:
            self._memory[at : at + size] = (self._stack.pop() % (1 << (8 * size))).to_bytes(size)

    def _reach(self, end: int) -> None:
        if end > _MAX_MEMORY:
            raise _UnsupportedError
        if end > len(self._memory):
            self._memory.extend(bytes(end - len(self._memory)))
