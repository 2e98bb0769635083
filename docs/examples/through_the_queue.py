"""Publishes a request to NATS and listens to the status events until the change has come to its end.

Usage: python through_the_queue.py NATS_URL KIND GROUP KEY...; needs nats-py. For RabbitMQ see docs/events.md.
"""

import asyncio
import hashlib
import json
import sys

import nats

ENDS = {f"membership.change.{end}.v1" for end in ("succeeded", "failed", "parked", "cancelled")}


async def main(url: str, kind: str, group: str, members: list[str]) -> None:
    """Publish with an acknowledgement, and print each event of the request."""
    data = {"kind": kind, "privacy_group_id": group, "members": members}
    # The same request has the same id: publishing it again after a broken connection is safe.
    request_id = "example-" + hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]
    request = {
        "specversion": "1.0",
        "id": request_id,
        "source": "/example",
        "type": "membership.change.requested.v1",
        "data": data,
    }
    connection = await nats.connect(url)
    stream = connection.jetstream()
    events = await stream.subscribe("membership.events.>")  # from the oldest that is kept
    await stream.publish("membership.requests", json.dumps(request).encode())
    async for message in events.messages:
        await message.ack()
        event = json.loads(message.data)
        if event["data"].get("request_id") == request_id:
            print(event["type"])
            if event["type"] in ENDS:
                break
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
