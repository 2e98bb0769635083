"""Jobs that do nothing, through taskiq on NATS JetStream; run by the baselines' own interpreter.

Arguments: the server's address, how many jobs, how many at the same time. Prints one line of JSON.
"""

import asyncio
import json
import logging
import sys
import time

from taskiq.api import run_receiver_task
from taskiq_nats import PullBasedJetStreamBroker


async def main(url: str, jobs: int, at_once: int) -> None:
    broker = PullBasedJetStreamBroker([url], stream_name="jobs", durable="jobs", pull_consume_batch=at_once)
    done = 0
    last = asyncio.Event()

    @broker.task(task_name="nothing")
    async def nothing(number: int) -> None:
        nonlocal done
        done += 1
        if done == jobs:
            last.set()

    await broker.startup()
    numbers = iter(range(jobs))

    async def ask() -> None:
        for number in numbers:
            await nothing.kiq(number)

    begun = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(at_once)))
    accepted = jobs / (time.perf_counter() - begun)
    begun = time.perf_counter()
    worker = asyncio.create_task(run_receiver_task(broker, max_async_tasks=at_once))
    await last.wait()
    worked = jobs / (time.perf_counter() - begun)
    worker.cancel()
    await asyncio.wait([worker])
    await broker.shutdown()
    sys.stdout.write(json.dumps({"accepted_per_second": accepted, "done_per_second": worked}))


logging.disable(logging.ERROR)
asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
