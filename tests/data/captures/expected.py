#!/usr/bin/env python3
"""Reads what the tests expect out of straces: expected.py LOG.ttt.log... writes LOG.queries.txt and LOG.connections.txt.

Knows the captures' own form of log only (strace -f -ttt -T -yy), and shares nothing with the importer."""

import ast
import re
import struct
import sys


def queries(path):
    accepts, found = 0, []
    for line in open(path):
        if re.search(r"accept\(.*\) = (\d+)", line) or re.search(r"accept resumed>.*\) = (\d+)", line):
            accepts += 1
        sent = re.search(r'sendto\(\d+<UDP:\[[^\]]*->([0-9.]+:53)\]>, ("(?:[^"\\]|\\.)*"), (\d+)', line)
        if sent:
            message = ast.literal_eval("b" + sent.group(2))
            assert len(message) == int(sent.group(3))
            at, labels = 12, []
            while message[at]:
                labels.append(message[at + 1 : at + 1 + message[at]].decode())
                at += 1 + message[at]
            (qtype,) = struct.unpack(">H", message[at + 1 : at + 3])
            (ident,) = struct.unpack(">H", message[:2])
            found.append(f"{sent.group(1)} {ident} {'.'.join(labels)} { {12: 'PTR', 1: 'A'}[qtype]}")
    return [f"accepts {accepts}", *found]


def connections(path):
    made, current, by_fd, pending = [], None, {}, {}
    for line in open(path):
        tid, time, rest = line.rstrip().split(" ", 2)
        now = int(time.replace(".", ""))
        took = re.search(r" <(\d+)\.(\d+)>$", rest)
        took = int(took.group(1)) * 10**6 + int(took.group(2)) if took else 0
        start, text, resumed = now, rest, re.match(r"<\.\.\. (\w+) resumed>(.*)", rest)
        begun = re.match(r"(\w+)\((.*) <unfinished \.\.\.>$", rest)
        if begun:
            pending[tid] = (now, begun.group(1), begun.group(2))
        if resumed:
            start, name, before = pending.pop(tid)
            text = f"{name}({before}{resumed.group(2)}"
        name = text.split("(")[0]
        accepted = re.search(r"= (\d+)<TCP:\[[0-9.:]+->([0-9.:]+)\]> <", text)
        if name == "accept" and accepted and not begun:
            current = {"peer": accepted.group(2), "at": start + took, "tid": tid, "first": None, "end": None, "queries": 0}
            made.append(current)
            by_fd[int(accepted.group(1))] = current
        if resumed:
            continue
        fd = re.match(r"\w+\((\d+)", text)
        connection = by_fd.get(int(fd.group(1))) if fd else None
        if current and tid == current["tid"] and re.match(r"close\(\d+</etc/hosts\.(allow|deny)>", text):
            current["end"] = now
        if current and name == "sendto" and ":53]>" in text:
            current["queries"] += 1
        if connection and name == "write" and "<TCP" in text and connection["first"] is None:
            connection["first"] = now
    lines = ["# peer outcome wrapper_us greeting_us queries"]
    for c in made:
        outcome, greeting = ("greeted", c["first"] - c["at"]) if c["first"] else ("refused", "-")
        lines.append(f"{c['peer']} {outcome} {c['end'] - c['at']} {greeting} {c['queries']}")
    return lines


for log in sys.argv[1:]:
    for kind, read in (("queries", queries), ("connections", connections)):
        with open(log.replace(".ttt.log", f".{kind}.txt"), "w") as out:
            out.write("\n".join(read(log)) + "\n")
