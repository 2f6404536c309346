"""Sustained requests a second of `factory prompts extract --llm openai` against the server's own limit, in one run.

    python benchmarks/llm_throughput.py [--rows 5000] [--slots 32] [--latency-ms 250] [--concurrency 48] [--budget]

A local server of its own process answers at most `slots` requests together, each after a fixed time, so
its limit is slots / latency. What it really reaches on this machine is measured by a client of bare
sockets, before and after, with as many connections as ours: more than slots, so that a slot never waits for
a client. Ours is timed from the first report to the last
row: requests, SQLite cache and ledger, grounding, and the comparison with the rules included.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from prompts.llm.answer import empty_answer
from prompts.llm.instructions import RequestSettings
from prompts.llm.ledger import Budget, Prices
from prompts.llm.openai_chat import OpenAIChat, request_body
from prompts.llm.pace import PaceConfig
from prompts.llm.reports import ModelSettings
from prompts.llm.session import Spending, read_with_model
from prompts.sources import Report

NEED = 0.95
TEXT = "A {age}-year-old woman. CT of the abdomen: 34 mm left renal mass. No nodes. Study {number}."


def report(number: int) -> Report:
    return Report(f"bench#{number}", TEXT.format(age=40 + number % 40, number=number))


def answer() -> bytes:
    """One answer for all reports: its sex and tumour are in each of them."""
    tumour = {"quote": "34 mm left renal mass", "status": "present", "organ": "kidney", "site": "not_stated"}
    tumour |= {"side": "left", "count": "1", "size_quote": "34 mm", "size": "34", "size_unit": "mm"}
    tumour |= {"stage_quote": "", "t": "not_stated", "n": "not_stated", "m": "not_stated"}
    stated = {"sex_quote": "woman", "sex": "female", "tumours": [tumour]}
    content = json.dumps({**empty_answer().model_dump(mode="json"), **stated})
    message = {"role": "assistant", "content": content}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "fast-1"}
    body |= {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    body |= {"usage": {"prompt_tokens": 900, "completion_tokens": 200, "total_tokens": 1100}}
    return json.dumps(body).encode()


class FixedLatency(asyncio.Protocol):
    """Answers each request after a fixed time, while one of the server's slots is held."""

    def __init__(self, slots: asyncio.Semaphore, latency_s: float, reply: bytes) -> None:
        self.slots, self.latency_s, self.reply = slots, latency_s, reply
        self.buffer = b""
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self.buffer.lower().index(b"content-length:") + 15
        need = head + 4 + int(self.buffer[start : self.buffer.index(b"\r\n", start)])
        if len(self.buffer) >= need:
            self.buffer = self.buffer[need:]
            task = asyncio.ensure_future(self.respond())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def respond(self) -> None:
        async with self.slots:
            await asyncio.sleep(self.latency_s)
        self.transport.write(self.reply)


def serve(pipe: Connection, slots: int, latency_s: float) -> None:
    body = answer()
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def main() -> None:
        limit = asyncio.Semaphore(slots)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: FixedLatency(limit, latency_s, reply), "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def bare(port: int, count: int, connections: int, body: bytes) -> float:
    """Requests a second of a client that sends one prepared request and reads its answer, again and again."""
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    request = head % len(body) + body
    left = iter(range(count))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(request)
            fields = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(fields.split(b"content-length:")[1].split(b"\r\n")[0]))
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    return count / (time.perf_counter() - started)


def ours(port: int, rows: int, connections: int, budget: Budget) -> tuple[float, float]:
    """Rows a second of the whole extraction, and seconds of our processor for each of them."""
    model = OpenAIChat("fast-1", f"http://127.0.0.1:{port}/v1")
    reports = [report(number) for number in range(rows)]
    settings = ModelSettings("openai", model.name, model.endpoint)
    with tempfile.TemporaryDirectory() as folder:
        spending = Spending(Path(folder) / "cache.sqlite", budget, PaceConfig(concurrency=connections))
        started, worked = time.perf_counter(), time.process_time()
        account = read_with_model(reports, settings, model, spending, lambda _: None)
        wall, cpu = time.perf_counter() - started, time.process_time() - worked
    good = [row for row in account.rows if row.prompt.tumours and row.prompt.patient.sex == "female"]
    assert len(good) == rows, f"{len(good)} of {rows} rows"
    return rows / wall, cpu / rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--latency-ms", type=float, default=250.0)
    parser.add_argument("--concurrency", type=int, help="requests in flight; default: half as many again as slots")
    parser.add_argument("--budget", action="store_true", help="with prices and a budget to keep")
    options = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "none")
    budget = Budget(Prices(1.0, 2.0), max_usd=1e6) if options.budget else Budget()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there, options.slots, options.latency_ms / 1e3), daemon=True)
    server.start()
    port = here.recv()
    settings = ModelSettings("openai", "fast-1", f"127.0.0.1:{port}/v1", RequestSettings())
    body = json.dumps(request_body(settings.first(report(0)))).encode()
    flight = options.concurrency or options.slots * 3 // 2
    before = asyncio.run(bare(port, options.rows // 2, flight, body))
    rate, cpu_s = ours(port, options.rows, flight, budget)
    after = asyncio.run(bare(port, options.rows // 2, flight, body))
    server.terminate()
    limit = (before + after) / 2
    print(
        f"nominal limit {options.slots / options.latency_ms * 1e3:.0f}/s, bare sockets {before:.1f} and {after:.1f}/s"
    )
    print(f"extraction {rate:.1f}/s, {1e3 * cpu_s:.2f} ms of our processor for each row")
    print(f"ratio {rate / limit:.3f} (need {NEED}): {'pass' if rate / limit >= NEED else 'FAIL'}")


if __name__ == "__main__":
    main()
