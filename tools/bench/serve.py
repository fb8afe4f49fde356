"""Loads a running `dualad serve` with clients that wait for each answer, as cameras do. Needs Python's standard library only.

    dualad serve --model MODEL &
    python3 tools/bench/serve.py part.png                                   # 60, 64 and 100 connections, 10 s each
    python3 tools/bench/serve.py part.png --connections 8 --path '/inspect?category=gear'

Every client keeps its connection and sends the next image as soon as it has its answer. An answer with status 503 is repeated at
once; `--patient` waits as long as `Retry-After` says. Prints one line of JSON for each number of connections: answers by status,
requests that failed without an answer, and the times of good answers in ms.
"""

import argparse
import collections
import http.client
import json
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
    times = sorted(time for count in counts for time in count[1])
    line = {"connections": connections, "answers": dict(sorted(statuses.items()))}
    if times:
        line |= {"median": statistics.median(times), "p95": times[int(0.95 * len(times))], "max": times[-1]}
    return {key: round(value, 1) if isinstance(value, float) else value for key, value in line.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", help="the file that every request sends")
    parser.add_argument("--address", default="127.0.0.1:8080", help="the server's address and port")
    parser.add_argument("--path", default="/inspect", help="the path and query of the requests")
    parser.add_argument("--connections", default="60,64,100", help="numbers of connections, one after the other")
    parser.add_argument("--seconds", type=float, default=10, help="the time for each number of connections")
    parser.add_argument("--patient", action="store_true", help="wait as long as an answer with status 503 says")
    options = parser.parse_args()
    with open(options.image, "rb") as file:
        body = file.read()
    for connections in map(int, options.connections.split(",")):
        print(json.dumps(load(options, body, connections)), flush=True)


if __name__ == "__main__":
    main()
