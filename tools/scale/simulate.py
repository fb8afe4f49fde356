#!/usr/bin/env python3
"""Simulates the scoring of an archive by many workers, with measured service times.

    tools/scale/simulate.py seconds.txt [--workers 1000] [--images 1e9] [--part 10000] [--seed 0]

`seconds.txt` has one measured time per line: the seconds of one core for one image, from `tools/scale/service_times.py`. A worker is
one core. The simulation draws the time of a part of the archive from them (the sum of many draws, by its mean and variance), multiplies
it by the speed of the worker, and lets workers fail. It compares two ways to give out the parts:

- static: every worker gets its share at the start, as a query engine does with one task for each worker;
- on demand: a worker that is done takes the next part, as `dualad-score --workers` and other queues of jobs do.

A worker that fails loses the part it is at (static: all of its share that is not done is redone by it when it is back) and is back after
ten minutes. Prints the hours to the last result, and the share of the workers' time that was useful.
"""

import argparse
import heapq
import random
import statistics


def positive(text):
    """Returns a whole number of 1 or more, such as 1000 or 1e9."""
    number = float(text)
    if not 1 <= number <= 1e15:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return int(number)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", help="a file with one measured time per line")
    parser.add_argument("--workers", type=positive, default=1000)
    parser.add_argument("--images", type=positive, default=1_000_000_000)
    parser.add_argument("--part", type=positive, default=10_000, help="images in a part")
    parser.add_argument("--slow", type=float, default=0.05, help="share of workers that run at half speed")
    parser.add_argument("--failures", type=float, default=0.01, help="failures per worker and hour")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


class Fleet:
    """Workers with a speed each, and failures at random times."""

    def __init__(self, args, seconds):
        self.random = random.Random(args.seed)
        self.mean, self.deviation = statistics.fmean(seconds), statistics.pstdev(seconds)
        # Cores of one kind differ by a few percent; some are slow: a full machine, a hot one.
        self.speed = [
            self.random.gauss(1, 0.03) * (0.5 if self.random.random() < args.slow else 1) for _ in range(args.workers)
        ]
        self.rate = args.failures / 3600
        self.useful = self.lost = 0.0

    def part(self, worker, images, start):
        """Returns when a part that begins at `start` ends, and whether the worker failed before."""
        time = self.random.gauss(self.mean * images, self.deviation * images**0.5) / max(self.speed[worker], 0.1)
        failure = self.random.expovariate(self.rate) if self.rate else float("inf")
        if failure < time:
            self.lost += failure + DOWN
            return start + failure + DOWN, True
        self.useful += time
        return start + time, False


DOWN = 600.0


def static(fleet, parts, args):
    """Every worker does its share, part by part."""
    end = 0.0
    for worker in range(args.workers):
        share = parts[worker :: args.workers]
        now = 0.0
        for images in share:
            failed = True
            while failed:
                now, failed = fleet.part(worker, images, now)
        end = max(end, now)
    return end


def on_demand(fleet, parts, args):
    """A worker that is free takes the next part."""
    free = [(0.0, worker) for worker in range(args.workers)]
    heapq.heapify(free)
    queue, end = list(reversed(parts)), 0.0
    while queue:
        now, worker = heapq.heappop(free)
        images = queue.pop()
        now, failed = fleet.part(worker, images, now)
        if failed:
            queue.append(images)
        else:
            end = max(end, now)
        heapq.heappush(free, (now, worker))
    return end


def main():
    args = arguments()
    with open(args.seconds, encoding="utf-8") as file:
        seconds = [float(line) for line in file if line.strip()]
    if not seconds:
        raise SystemExit(f"{args.seconds} has no times: write them with tools/scale/service_times.py")
    images = args.images
    parts = [args.part] * (images // args.part)
    if images % args.part:
        parts.append(images % args.part)
    mean = statistics.fmean(seconds)
    print(f"{len(seconds)} measured times: mean {mean * 1e3:.2f} ms, largest {max(seconds) * 1e3:.2f} ms")
    print(f"{images:.3g} images, {args.workers} workers, parts of {args.part}: {images * mean / 3600:.0f} hours of one core")
    print(f"without slow workers and failures: {images * mean / 3600 / args.workers:.2f} h")
    for name, run in [("static", static), ("on demand", on_demand)]:
        fleet = Fleet(args, seconds)
        end = run(fleet, parts, args)
        busy = images * mean / (end * args.workers)
        print(f"{name:10} {end / 3600:7.2f} h, {busy:6.1%} of the workers' time is useful, {fleet.lost / 3600:.0f} h lost to failures")


if __name__ == "__main__":
    main()
