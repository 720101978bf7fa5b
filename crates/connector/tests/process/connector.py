#!/usr/bin/env python3
"""A connector for tests: `config.mode` names what it does. Standard library only."""
import json, os, signal, subprocess, sys, time

STREAM = {"name": "a", "json_schema": {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}},
          "supported_sync_modes": ["full_refresh", "incremental"], "unknown": {"kept": True}}
SPEC = {"documentationUrl": "https://example.com", "advanced_auth": {"auth_flow_type": "oauth2.0"},
        "connectionSpecification": {"type": "object", "properties": {"mode": {"type": "string"}, "password": {"type": "string", "airbyte_secret": True}}}}


def raw(line): sys.stdout.write(line + "\n"); sys.stdout.flush()
def msg(kind, field, payload): raw(json.dumps({"type": kind, field: payload}, ensure_ascii=False))
def record(data, stream="a", **more): msg("RECORD", "record", {"stream": stream, "data": data, "emitted_at": 1735689600000, **more})
def state(payload): msg("STATE", "state", payload)
def stream_state(blob, stream="a", **more): state({"type": "STREAM", "stream": {"stream_descriptor": {"name": stream}, "stream_state": blob}, **more})
def trace(kind, field, payload): msg("TRACE", "trace", {"type": kind, "emitted_at": 1735689600000.5, field: payload})
def status(word, stream="a"): trace("STREAM_STATUS", "stream_status", {"stream_descriptor": {"name": stream}, "status": word})
def error(kind): trace("ERROR", "error", {"message": "Wrong password " + CONFIG["password"], "internal_message": "401", "failure_type": kind})
def arg(name): return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None
def rows(first, last):
    for i in range(first, last + 1): record({"id": i, "name": f"row {i}"})


def hang():
    """Two processes that do not want to end; their numbers go to `config.pids`."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 100; done"], stdout=sys.stdout)
    with open(CONFIG["pids"] + ".new", "w") as file: file.write(f"{os.getpid()} {child.pid}")
    os.rename(CONFIG["pids"] + ".new", CONFIG["pids"])
    record({"id": 1})
    while True: time.sleep(100)


def read(mode):
    if mode == "plain": rows(1, 5)
    elif mode == "resume":
        given = json.load(open(arg("--state"))) if arg("--state") else []
        for i in range(given[0]["stream"]["stream_state"]["id"] if given else 0, 30):
            rows(i + 1, i + 1)
            if i % 10 == 9: stream_state({"id": i + 1})
    elif mode == "garbage":
        raw("Loading drivers ..."); raw(""); rows(1, 1); raw('{"level": "info", "text": "structured"}'); raw("[1]"); rows(2, 2)
        raw('{"type": "PIGEON", "pigeon": {}}'); raw('{"type": "LOG", "log": {"level": "WARN", "message": "slow ' + CONFIG["password"] + '"}}')
        print("on stderr " + CONFIG["password"], file=sys.stderr, flush=True)
    elif mode == "malformed":
        rows(1, 1); raw('{"type": "RECORD", "record": {"stream": "a", "data": {"id": 2}'); raw('{"type": "RECORD", "record": {"stream": "a", "data": [2]}}'); rows(3, 3)
    elif mode == "exit_1":
        rows(1, 2); stream_state({"id": 2}); rows(3, 4); print("out of luck", file=sys.stderr, flush=True); sys.exit(1)
    elif mode == "killed": rows(1, 2); os.kill(os.getpid(), signal.SIGKILL)
    elif mode == "empty": pass
    elif mode == "config_error": rows(1, 1); error("config_error"); error("system_error"); sys.exit(1)
    elif mode == "announced": rows(1, 1); error("transient_error")
    elif mode == "transient_error": error("transient_error"); sys.exit(1)
    elif mode == "incomplete": status("STARTED"); rows(1, 1); status("INCOMPLETE")
    elif mode == "statuses": status("STARTED"); status("RUNNING"); rows(1, 2); stream_state({"id": 2}); status("COMPLETE"); status("COMPLETE", "stranger")
    elif mode == "hang": hang()
    elif mode == "silent": time.sleep(100)
    elif mode == "leaves_a_child":
        rows(1, 1); subprocess.Popen(["sleep", "100"], stdout=sys.stdout)
    elif mode == "trickle":
        record({"id": 1})
        # Goes on only when the row before was seen on the other side.
        while not os.path.exists(CONFIG["seen"]): time.sleep(0.01)
        record({"id": 2})
    elif mode == "huge":
        rows(1, 1); record({"id": 2, "name": "é" * CONFIG["size"]}); rows(3, 4)
    elif mode == "unknown": rows(1, 1); record({"id": 1}, stream="stranger")
    elif mode == "namespaces":
        record({"id": 1}, namespace=None); record({"id": 2}, namespace=""); record({"id": 3}, namespace="n"); record({"id": 4}, "b", namespace="n")
    elif mode == "states":
        stream_state({"deep": 12345678901234567890.123456789}, id=7, sourceStats={"recordCount": 0.0}, data={"old": 1})
        rows(1, 2)
        state({"type": "GLOBAL", "global": {"shared_state": {"lsn": 1}, "stream_states": [{"stream_descriptor": {"name": "a"}, "stream_state": {"x": 1}, "note": 1}], "more": 2}, "sourceStats": {"recordCount": 3}})
        rows(3, 3)
        state({"data": {"cursor": 3}, "partition_id": "p"})
    elif mode == "invalid_utf8":
        sys.stdout.buffer.write(b'{"type":"RECORD","record":{"stream":"a","data":{"id":1,"name":"a\xffb"},"emitted_at":1}}\n'); sys.stdout.flush(); rows(2, 2)
    elif mode == "changes":
        record({"id": 1}, meta={"changes": [{"field": "name", "change": "TRUNCATED", "reason": "SOURCE_FIELD_SIZE_LIMITATION"}, {"field": "name", "change": "X", "reason": "Y"}, {"field": "hidden", "change": "NULLED", "reason": "SOURCE_RETRIEVAL_ERROR"}]})
        record({"id": "x", "name": 5})
    elif mode == "clocks":
        for at in (1000, 1500, 2000, 2001, 900, 950.5): record({"id": 1}, emitted_at=at)
    elif mode == "inputs":
        for name in ("--config", "--catalog", "--state"):
            path = arg(name)
            if path: msg("LOG", "log", {"level": "INFO", "message": f"{name[2:]} {oct(os.stat(path).st_mode & 0o777)} {oct(os.stat(os.path.dirname(path)).st_mode & 0o777)} {json.dumps(json.load(open(path)))}"})
        msg("LOG", "log", {"level": "INFO", "message": "env " + " ".join(sorted(os.environ))})
        msg("LOG", "log", {"level": "INFO", "message": "args " + " ".join(a if not a.startswith("/") else "PATH" for a in sys.argv[1:])})
    elif mode == "control": msg("CONTROL", "control", {"type": "CONNECTOR_CONFIG", "emitted_at": 1, "connectorConfig": {"config": {"token": "fresh"}}})
    else: sys.exit(2)


CONFIG = json.load(open(arg("--config"))) if arg("--config") else {}
command, mode = sys.argv[1], CONFIG.get("mode", "")
if command == "spec":
    raw("Starting"); msg("SPEC", "spec", SPEC)
elif command in ("check", "discover"):
    if mode == "hang": hang()
    elif mode == "failed": msg("CONNECTION_STATUS", "connectionStatus", {"status": "FAILED", "message": "Wrong password " + CONFIG["password"]})
    elif mode == "answer_then_1": msg("CONNECTION_STATUS", "connectionStatus", {"status": "SUCCEEDED"}); sys.exit(1)
    elif mode == "crash": error("transient_error"); sys.exit(1)
    elif mode == "exit_3": print("boom", file=sys.stderr); sys.exit(3)
    elif mode == "mute": pass
    elif mode == "unreadable": msg("CONNECTION_STATUS", "connectionStatus", {"status": "PERHAPS"})
    elif command == "check": msg("CONNECTION_STATUS", "connectionStatus", {"status": "SUCCEEDED"})
    else: msg("CATALOG", "catalog", {"streams": [STREAM]})
elif command == "read": read(mode)
else: sys.exit(2)
