"""Jobs that do nothing, through procrastinate on PostgreSQL; run by the baselines' own interpreter.

Arguments: the database's address, how many jobs, how many at the same time. Prints one line of JSON.
"""

import asyncio
import json
import logging
import sys
import time

from procrastinate import App, PsycopgConnector


async def main(url: str, jobs: int, at_once: int) -> None:
    app = App(connector=PsycopgConnector(conninfo=url, min_size=4, max_size=16))
    done = 0
    last = asyncio.Event()

    @app.task(name="nothing", pass_context=False)
    async def nothing(number: int) -> None:
        nonlocal done
        done += 1
        if done == jobs:
            last.set()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        numbers = iter(range(jobs))

        async def defer() -> None:
            for number in numbers:
                # A lock each, as each group has its lane.
                await nothing.configure(lock=str(number % 200)).defer_async(number=number)

        begun = time.perf_counter()
        await asyncio.gather(*(defer() for _ in range(at_once)))
        accepted = jobs / (time.perf_counter() - begun)
        begun = time.perf_counter()
        worker = asyncio.create_task(app.run_worker_async(concurrency=at_once, install_signal_handlers=False))
        await last.wait()
        worked = jobs / (time.perf_counter() - begun)
        worker.cancel()
        await asyncio.wait([worker])
    sys.stdout.write(json.dumps({"accepted_per_second": accepted, "done_per_second": worked}))


logging.disable(logging.ERROR)
asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
