"""Loads a running `dualad serve` with clients that wait for each answer, as cameras do. Needs Python's standard library only.

    dualad serve --model MODEL &
    python3 tools/bench/serve.py part.png                                   # 60, 64 and 100 connections, 10 s each
    python3 tools/bench/serve.py part.png --connections 8 --path '/inspect?category=gear'
    python3 tools/bench/serve.py part.png --flood 1500                      # among clients that send slowly

Every client keeps its connection and sends the next image as soon as it has its answer. An answer with status 503 is repeated at
once; `--patient` waits as long as `Retry-After` says. Prints one line of JSON for each number of connections: answers by status,
requests that failed without an answer, and the times of good answers in ms.

With `--flood` as many further clients send a request byte by byte, and connect again when they are disconnected. Meanwhile one client
asks for the server's health and one for an inspection, each on a new connection every time. Prints a line for each. The limit of open
files bounds the flood: `ulimit -n`.
"""

import argparse
import asyncio
import collections
import http.client
import itertools
import json
import multiprocessing
import statistics
import threading
import time


def client(options, body, until, statuses, times):
    connection = http.client.HTTPConnection(options.address, timeout=60)
    while time.monotonic() < until:
        begun = time.monotonic()
        try:
            connection.request("POST", options.path, body)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            statuses[type(error).__name__] += 1
            connection.close()
            continue
        statuses[str(answer.status)] += 1
        if answer.status == 200:
            times.append(1000 * (time.monotonic() - begun))
        elif options.patient and answer.status == 503:
            time.sleep(float(answer.headers.get("Retry-After", "1")))
    connection.close()


def load(options, body, connections):
    until = time.monotonic() + options.seconds
    # One counter and one list for each thread: nothing is shared.
    counts = [(collections.Counter(), []) for _ in range(connections)]
    threads = [threading.Thread(target=client, args=(options, body, until, *count)) for count in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sum((count[0] for count in counts), collections.Counter())
    return summary({"connections": connections}, statuses, [time for count in counts for time in count[1]])


def summary(line, statuses, times):
    line |= {"answers": dict(sorted(statuses.items()))}
    times = sorted(times)
    if times:
        line |= {"median": statistics.median(times), "p95": times[int(0.95 * len(times))], "max": times[-1]}
    return {key: round(value, 1) if isinstance(value, float) else value for key, value in line.items()}


# The start of a slow request, by its name.
STARTS = {
    "head": b"POST /inspect HTTP/1.1\r\nHost: x\r\nX: ",
    "body": b"POST /inspect HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
    "silent": b"",
}


async def slow_client(options, start, made):
    """Sends the start of a request, then byte by byte, and connects again whenever the connection ends. Counts its connections."""
    host, port = options.address.rsplit(":", 1)
    source = (options.flood_from, 0) if options.flood_from else None
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, int(port), local_addr=source)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        made.value += 1
        try:
            writer.write(start)
            while True:
                try:
                    if not await asyncio.wait_for(reader.read(4096), 0.1):
                        break
                except asyncio.TimeoutError:
                    if start:
                        writer.write(b"x")
                        await writer.drain()
        except OSError:
            pass
        writer.transport.abort()


def flood(options, clients, made):
    async def all_clients():
        starts = itertools.cycle(STARTS[name] for name in options.slow.split(","))
        await asyncio.gather(*(slow_client(options, next(starts), made) for _ in range(clients)))

    asyncio.run(all_clients())


def one_by_one(options, method, path, body, statuses, times):
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        connection = http.client.HTTPConnection(options.address, timeout=200)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            statuses[str(answer.status)] += 1
        except (OSError, http.client.HTTPException) as error:
            statuses[type(error).__name__] += 1
        # Also of failures: they keep the client waiting.
        times.append(1000 * (time.monotonic() - begun))
        connection.close()
        time.sleep(0.05)


def in_a_flood(options, body):
    # One process could not keep up with so many.
    made = [multiprocessing.Value("q", 0) for _ in range(2)]
    halves = [options.flood // 2, options.flood - options.flood // 2]
    flooding = [multiprocessing.Process(target=flood, args=(options, *part)) for part in zip(halves, made)]
    for process in flooding:
        process.start()
    time.sleep(3)
    begun, before = time.monotonic(), sum(count.value for count in made)
    kinds = {"inspect": ("POST", options.path, body), "health": ("GET", "/healthz", None)}
    counts = {name: (collections.Counter(), []) for name in kinds}
    threads = [threading.Thread(target=one_by_one, args=(options, *kinds[name], *counts[name])) for name in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = round((sum(count.value for count in made) - before) / (time.monotonic() - begun))
    for process in flooding:
        process.kill()
        process.join()
    for name, count in counts.items():
        print(json.dumps(summary({"asked for": name, "flood": options.flood, "its connections/s": rate}, *count)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", help="the file that every request sends")
    parser.add_argument("--address", default="127.0.0.1:8080", help="the server's address and port")
    parser.add_argument("--path", default="/inspect", help="the path and query of the requests")
    parser.add_argument("--connections", default="60,64,100", help="numbers of connections, one after the other")
    parser.add_argument("--seconds", type=float, default=10, help="the time for each number of connections")
    parser.add_argument("--patient", action="store_true", help="wait as long as an answer with status 503 says")
    parser.add_argument("--flood", type=int, default=0, help="the number of slow clients; 0 for none")
    parser.add_argument("--slow", default="head,body", help="what they send slowly: head, body or silent")
    parser.add_argument("--flood-from", help="the address that they connect from, such as 127.0.0.2")
    options = parser.parse_args()
    with open(options.image, "rb") as file:
        body = file.read()
    if options.flood:
        return in_a_flood(options, body)
    for connections in map(int, options.connections.split(",")):
        print(json.dumps(load(options, body, connections)), flush=True)


if __name__ == "__main__":
    main()
