#!/usr/bin/env python3
"""Writes matrix-coverage.tsv: every operation of the Matrix specification that a homeserver serves.

    spec/matrix-coverage.py FOLDER     FOLDER is data/api of a checkout of the Matrix specification

The columns are the method, the path, the operation's id, the document that defines it, whether this server serves it
(`yes`, `no`, or `partial` with a remark) and the remark. What the last two columns say is kept for operations that the
specification still has; an operation that is served but no longer specified is an error.
"""

import pathlib
import sys

import yaml

TABLE = pathlib.Path(__file__).with_name("matrix-coverage.tsv")
HEADER = ["method", "path", "operation", "document", "served", "remark"]
METHODS = ["get", "put", "post", "delete", "head", "options", "patch"]
# Application services and push gateways serve the other two APIs; the homeserver is their client.
APIS = ["client-server", "server-server"]
# Served by a policy server, which is a separate program.
NOT_OURS = {"server-server/room_policy", "client-server/policy_server"}


def operations(folder):
    """Yields (method, path, operation id, document) of each operation."""
    for api in APIS:
        for file in sorted((folder / api).glob("*.yaml")):
            document = f"{api}/{file.stem}"
            if document in NOT_OURS:
                continue
            spec = yaml.safe_load(file.read_text(encoding="utf-8"))
            base = spec["servers"][0]["variables"]["basePath"]["default"].rstrip("/")
            for path, item in spec["paths"].items():
                for method in METHODS:
                    if method in item:
                        # The documents tell two operations on one path apart by a trailing space.
                        yield method.upper(), (base + path).strip(), item[method]["operationId"], document


def read_table():
    """Gives {(method, path, operation): (served, remark)} of the table as it stands."""
    if not TABLE.exists():
        return {}
    rows = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]]
    return {tuple(row[:3]): (row[4], row[5]) for row in rows}


def main():
    """Merges the specification into the table."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    known = read_table()
    rows, specified = [], set()
    for method, path, operation, document in operations(pathlib.Path(sys.argv[1])):
        specified.add((method, path, operation))
        served, remark = known.get((method, path, operation), ("no", ""))
        rows.append([method, path, operation, document, served, remark])
    lost = [key for key, (served, _) in known.items() if served != "no" and key not in specified]
    if lost:
        sys.exit(f"served but no longer specified: {lost}")
    lines = ["\t".join(row) for row in [HEADER, *rows]]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(rows)} operations, {sum(row[4] != 'no' for row in rows)} served")


main()
