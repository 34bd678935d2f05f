"""The story of the clients, told by redis-py."""
import os
import subprocess
import time

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

host, port = os.environ["HOST"], int(os.environ["PORT"])


def client(**more):
    return redis.Redis(host=host, port=port, socket_timeout=20, **more)


# Older ones speak RESP2 alone; newer ones are asked for RESP3.
try:
    r = client(protocol=3)
    r.ping()
    speaks = "RESP3"
except TypeError:
    r = client()
    speaks = "RESP2"
assert r.flushall()
assert r.ping()

# A pipeline.
p = r.pipeline(transaction=False)
for i in range(1000):
    p.set(f"p:{i}", i)
    p.incr(f"p:{i}")
assert p.execute() == [x for i in range(1000) for x in (True, i + 1)]

# A transaction whose watched key changes is not done; one whose key does not, is.
r.set("a", 1)
with r.pipeline() as p:
    p.watch("a")
    seen = int(p.get("a"))
    client().set("a", 5)
    p.multi()
    p.set("a", seen + 1)
    try:
        p.execute()
        raise AssertionError("a transaction was done though its key had changed")
    except redis.WatchError:
        pass
assert r.get("a") == b"5"
assert r.transaction(lambda p: (p.multi(), p.incr("a"), p.get("a")), "a") == [6, b"6"]

# SCAN finds each of 100 000 keys.
want = {b"key:%d" % i for i in range(100_000)}
keys = sorted(want)
for at in range(0, len(keys), 10_000):
    r.mset({k: k[4:] for k in keys[at : at + 10_000]})
found = set(r.scan_iter(match="key:*", count=1000))
assert found == want, f"{len(found)} of {len(want)}"

# Bytes of all kinds, as keys too.
every = bytes(range(256)) * 400
r.set(every[:256], every)
assert r.get(every[:256]) == every
assert r.getrange(every[:256], 255, 257) == b"\xff\x00\x01"

# Expiry.
assert r.set("short", "x", px=50)
until = time.monotonic() + 20
while r.exists("short"):
    assert time.monotonic() < until, "a key does not expire"
r.set("long", "x", ex=100)
assert 90 < r.ttl("long") <= 100
assert r.persist("long")
assert r.set("long", "y", nx=True) is None

# An error is an error.
try:
    r.incr("long")
    raise AssertionError("INCR of what is no number")
except redis.ResponseError as e:
    assert "integer" in str(e), e

# The server goes away and comes back, with all that was written.
patient = client(retry=Retry(ConstantBackoff(0.1), 100), retry_on_error=[redis.ConnectionError])
assert patient.get("a") == b"6"
subprocess.run(os.environ["RESTART"].split(), check=True)
assert patient.get("a") == b"6"
until = time.monotonic() + 20
while patient.dbsize() != 100_000 + 1000 + 3:  # an expired one may be counted for a second
    assert time.monotonic() < until, "another number of keys"
print(f"{redis.__version__}, {speaks}: the story")
